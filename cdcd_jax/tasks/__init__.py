"""What the training loop and the modes ask of a task, and the tasks by name.

Who adds a task writes a class like `Task`, made from a whole config, and enters it:
`tasks.TASKS["mine"] = MyTask`. The loop, random batches, `--mode=plan` and the figures
of speed then serve it. Nothing else asks for its name: what they must know of a task
stands in its `describe()`.

Files: `conditional` (tokens under a condition) with `settings`, `target`, `contrast`,
`contrast_settings`, `drawing`, `prompt_weights`, `token_terms` and `bound`;
`mt_diffusion` (several modalities in one z) with `modalities`, `joint_network`,
`joint_values`, `joint_objective`, `joint_drawing` and `joint_asked`; `tokenizer`
(pictures or sound as codes) with `autoencoders`, `codebooks`, `reconstruction` and
`reconstruction_figures`; `bridge` (vectors that find each other) with `views`;
`composable` (any modality from any others) with `composable_parts`, `alignment` and
`together`; `labels` for all.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, Protocol, TypedDict

import jax

from cdcd_jax.config.ranges import check_ranges
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks.bridge import BridgeTask
from cdcd_jax.tasks.composable import ComposableTask
from cdcd_jax.tasks.conditional import ConditionalTask
from cdcd_jax.tasks.mt_diffusion import MTDiffusionTask
from cdcd_jax.tasks.tokenizer import TokenizerTask


class Field(TypedDict):
    """An array of a batch."""

    shape: tuple[int, ...]  # of one example
    dtype: str
    # what random batches are drawn from: whole numbers low <= x < high, or uniform
    # ones; floats without both are normal numbers
    low: NotRequired[float]
    high: NotRequired[float]
    # of tokens that come from records: how they lie; `high` is their number of codes
    grid: NotRequired[tuple[int, ...]]
    # a batch may come without it
    optional: NotRequired[bool]


class Description(TypedDict):
    """What a task takes and gives."""

    # modality -> what it is: kind, shape, num_classes, vocabulary, ... (the keys of its
    # kind in networks.conditioners), and `part`, where a part of `given` reads it; {}
    # for none
    conditions: dict[str, dict[str, Any]]
    # name -> what `sample` returns under it, beside kind and shape (of one example):
    # of kind "tokens" num_codes and grid, of kind "audio" sample_rate (Hz); {} of a
    # task that draws nothing and has no `sample`
    outputs: dict[str, dict[str, Any]]
    # what `loss` reads of a batch: name -> Field, or a dict of them
    batch: dict[str, Any]
    # positions of an example, by which tokens per second are counted
    units: int
    # examples of a batch that must stay together on one device; 1 for any
    group: int
    # of each example, that the records' table must bring; 0 for none
    negatives: int
    # parts of the parameters or of extra that training does not make: they come by
    # init_parts or init_from
    given: list[str]
    # parts of extra that go with the parameters into another run
    kept: list[str]
    # the condition that must differ among the examples, "" for none
    differ: NotRequired[str]
    # raw examples in place of records: kind ("image", "audio"), shape, sample_rate
    media: NotRequired[dict[str, Any]]


class Task(Protocol):
    """An object of pure functions; `extra` is state that is not trained.

    What is below is what training asks. Who draws from a model or evaluates it on
    records also asks its task for

        schedule, settings          noise levels, and the config that it was made from
        options(section)            the config's `sampling` as its samplers take it
        check_sampling(options, start)  ValueError if nothing can be drawn with these,
                                        from a time on (None for T)
        note(options)               what somebody who chose these should know, or ""
        sample(.., number, edit)    N where there is no condition; what is known of x_0
        bound(params, batches, key) the bound's terms, see `bound`; none of what is
                                    made of parts that have bounds of their own
        profile(bound)              loss by time for grids of times, or None

    and `--mode=plan` for `sampling(rows, options)`: the jitted function that draws a
    batch of `rows` samples, and the shapes (params, condition, key) of its arguments, a
    tuple. A task without the last is planned for training alone. A task may have
    `check_first(params, batch)`, which refuses settings that do not fit the first batch
    (UsageError).
    """

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """(params, extra), dicts of arrays; also under `jax.eval_shape`."""

    def loss(
        self, params: Any, extra: Any, batch: Any, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
        """(scalar, metrics (scalars), new extra) of a batch [B, ...]."""

    def sample(
        self, params: Any, extra: Any, condition: Any, key: jax.Array, options: Any
    ) -> dict[str, Any]:
        """condition: what is known; the rest by the names of `outputs`, [N, ...]."""

    def evaluate(
        self, params: Any, extra: Any, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Figures by name, with `<name>/n` beside each estimate."""

    def labels(self, params: Any) -> Any:
        """A tree like params of 'train', 'frozen' or 'discriminator'.

        'frozen' is neither differentiated nor averaged; 'discriminator' is trained with
        statistics of its own. It says the same of arrays, shapes and both copies of the
        parameters: see `labels.labels_by_prefix`.
        """

    def describe(self) -> Description:
        """What it takes and gives."""


TASKS: dict[str, Any] = {
    "conditional": ConditionalTask,
    "mt_diffusion": MTDiffusionTask,
    "bridge": BridgeTask,
    "composable": lambda config: ComposableTask(config, make_task),
    "tokenizer": TokenizerTask,
}


def make_task(config: Mapping[str, Any]) -> Task:
    """The task that `config["task"]` names.

    Raises:
        UsageError: unknown name, a number out of range, or settings that the task
            refuses.
    """
    if config["task"] not in TASKS:
        raise UsageError(
            f"task = {config['task']!r} is unknown: choose one of {', '.join(TASKS)}"
        )
    check_ranges(config)
    return TASKS[config["task"]](config)
