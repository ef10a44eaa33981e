"""Every key that all tasks share, with its default and meaning, and the tasks' tables.

Plain nested dicts, so that the core runs where ml_collections is absent. A file in
`configs/` calls `experiment(...)` with what differs; a key that is not here or beside
its task is an error.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cdcd_jax.config import bridge, composable, conditional, mt_diffusion, tokenizer
from cdcd_jax.config.merging import merge
from cdcd_jax.errors import UsageError

Config = Mapping[str, Any]

# task -> its sections with their defaults; one more task is one more entry, which may
# come from outside this package
TASK_SETTINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "conditional": conditional.settings,
    "mt_diffusion": mt_diffusion.settings,
    "bridge": bridge.settings,
    "composable": composable.settings,
    "tokenizer": tokenizer.settings,
}


def defaults(task: str = "conditional") -> dict[str, Any]:
    """Settings of a training run of a task.

    Raises:
        UsageError: unknown task.
    """
    if task not in TASK_SETTINGS:
        raise UsageError(
            f"task = {task!r} is unknown: choose one of {', '.join(TASK_SETTINGS)}"
        )
    return {**_common(), "task": task, **TASK_SETTINGS[task]()}


def experiment(**sections: Any) -> dict[str, Any]:
    """The defaults of `task` (conditional) with `sections` laid over them.

    Raises:
        UsageError: an unknown key.
    """
    return merge(defaults(sections.get("task", "conditional")), sections)


def with_defaults(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, with today's defaults for keys that came after it.

    As json has it; a stage's own keys stay. Keys that are gone since are left as well,
    for `differences` to name.
    """

    def fill(base: Any, value: Any) -> Any:
        both = isinstance(base, Mapping) and isinstance(value, Mapping)
        if not both or value.get("kind") != base.get("kind"):
            return value
        return {**base, **{k: fill(base.get(k), v) for k, v in value.items()}}

    task = saved.get("task", "conditional")
    return fill(json.loads(json.dumps(defaults(task))), saved)


def _common() -> dict[str, Any]:
    return dict(
        seed=0,  # of parameters, noise, order of examples and samples
        # name -> settings of what must exist first; each runs under <workdir>/<name>,
        # and "@<name>" in a path stands for that directory. A stage with
        # on_request=True is only made by its own mode
        stages={},
        # a work directory whose newest averaged parameters to start from, "" for none
        init_from="",
        # part of the parameters -> the work directory that it comes from; of a/b the
        # directory of that part alone, such as text/tower of a converted CLIP; or
        # dict(path=.., part=..) where it lies at another place there
        init_parts={},
        optim=dict(
            # updates of a whole run; 0 keeps what it starts from, such as parts that
            # init_parts joins
            num_steps=1000,
            learning_rate=1e-3,  # the highest, after the warm-up
            schedule="cosine",  # cosine (to 0), plateau, constant
            warmup_steps=100,  # in which it rises from 0
            # of schedule=plateau: the rate times `factor` when `metric` did not fall by
            # the share `threshold` for `patience` steps
            plateau=dict(metric="loss", factor=0.5, patience=1000, threshold=0.1),
            betas=(0.9, 0.96),  # of AdamW
            weight_decay=0.045,  # on arrays of two or more axes
            clip_norm=1.0,  # of all gradients together
            ema_decay=0.999,  # of the averaged parameters, which samples are drawn by
            accumulate=1,  # microbatches a step
        ),
        mesh=dict(
            data=-1,  # shards of the batch; -1: what the other axes and the batch leave
            fsdp=1,  # shards of the batch and of every large parameter
            tensor=1,  # shards of heads, hidden features and codes; -1: all devices
            # that the rows of a batch leave over
        ),
        report=dict(
            log_every=50,  # steps from row to row of metrics.jsonl
            sample_every=0,  # steps from sheet to sheet of samples, 0 for never
            checkpoint_every=500,  # steps; the last one is always saved
            keep_checkpoints=2,  # the newest ones
        ),
    )
