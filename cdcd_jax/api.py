"""The Python handle: what the modes of the command line themselves call.

    model = cdcd_jax.open("runs/digits")
    model.sample(label=[3, 8], number=4).save("three_eight")

Conditions are given as people have them, samples come as arrays. What is asked here and
by flags goes one way, so that the same seed and name give the same samples.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cdcd_jax.config import experiment, merge, resolve_stages
from cdcd_jax.config.files import default_workdir
from cdcd_jax.errors import UsageError
from cdcd_jax.generation.asked import edit_of
from cdcd_jax.generation.called import drawn
from cdcd_jax.generation.samples import Samples
from cdcd_jax.models import hub
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import check_model, load_config, saved_config
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts, lock
from cdcd_jax.stages import order
from cdcd_jax.stages.run import run_stages


class Model:
    """A trained or converted model, opened from its work directory by `open`.

    Attributes:
        config: a whole experiment, its stages resolved.
        workdir: where it lies.
    """

    def __init__(
        self, config: Mapping[str, Any], workdir: Any, given: str = ""
    ) -> None:
        """Args: config: a whole experiment, whose stages lie in the directory.

        given: what the config is called, for advice.
        """
        self._whole, self.workdir, self._given = config, workdir, given
        self.config = resolve_stages(config, workdir)
        self._trained = Trained(self.config, workdir)

    def check(self) -> None:
        """Raises UsageError for settings that cannot be on these devices."""
        self._trained.check()

    @property
    def step(self) -> int:
        """Of the newest checkpoint.

        Raises:
            InputError: there is none.
        """
        return self._trained.step

    @property
    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Modality -> what the model takes of it: kind, shape, classes, ..."""
        return self._trained.conditions

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> what the model draws: kind, shape, ..."""
        return self._trained.description["outputs"]

    @property
    def tokenizer(self) -> Any:
        """Pictures or sound to tokens and back: `encode`, `decode`.

        Of a tokenizer's work directory, itself.
        """
        return self._trained.tokenizer

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; [] of a model that was not trained here."""
        file = self.workdir / "metrics.jsonl"
        lines = file.read_text("utf-8").split("\n") if file.exists() else []
        return [json.loads(line) for line in lines if line]

    def __repr__(self) -> str:
        return self._trained.told()

    def sample(
        self,
        *,
        number: int | None = None,
        seed: int | None = None,
        name: str = "user",
        condition: Mapping[str, Any] | None = None,
        directory: str | os.PathLike | None = None,
        **asked: Any,
    ) -> Samples:
        """Draws samples of the newest checkpoint.

            out = model.sample(label=[3, 8], number=4, steps=10, seed=0)
            out.images.shape  # (8, H, W, C): four 3s, then four 8s

        Args:
            number: of each row of the conditions; `sampling.num_samples` by default.
            seed: of the draw; that of the config by default.
            name: other names draw other samples.
            condition: modality -> value, for modalities that are called like an option.
            directory: gets the files, see `Samples.save`; the place is tried first.
            **asked: conditions by their names (classes, int for numbers and str for
                names; prompts, arrays, paths), and options of `config.sampling` (steps,
                method, guidance_scale, ...). Without any condition: every class, or
                held-out records; none of a model whose conditions are all optional.

        Raises:
            UsageError: a name or a value that cannot be.
            InputError: no sound checkpoint, or files that cannot be used.
        """
        wanted = (number, seed, name, directory)
        return drawn(self._trained, asked, condition or {}, {}, *wanted)

    def edit(
        self,
        input: Any = None,
        *,
        mask: Any = None,
        strength: float | None = None,
        expand: Sequence[int] | None = None,
        seconds: float | None = None,
        toward: Mapping[str, Any] | None = None,
        number: int | None = None,
        seed: int | None = None,
        name: str = "user",
        condition: Mapping[str, Any] | None = None,
        directory: str | os.PathLike | None = None,
        **asked: Any,
    ) -> Samples:
        """Draws a part of a picture or a sound anew, varies it, or goes beyond it.

            model.edit("three.png", mask="left", label=3)

        Args:
            input: a path (picture, sound, samples.npz), an array (uint8 [H, W, C] or
                [N, H, W, C]; float32 [S] or [N, S] at the model's rate), or `Samples`.
            mask: what is drawn anew: a part's name (left, right, top, bottom, center),
                a box (x0, y0, x1, y1) of shares, a path of a black-and-white picture,
                or bool [H, W], true where it is drawn anew;
                of sound 'START:END' in seconds.
            strength: how far what is drawn anew may go from the input, in (0, 1].
            expand: pixels added to the left, top, right and bottom.
            seconds: length of the sound.
            toward: modality -> the other end of an interpolation of conditions.
            number, seed, name, condition, directory, **asked: see `sample`.

        Raises:
            UsageError, InputError: see `sample`; or an input that does not fit.
        """
        change = dict(mask=mask, strength=strength, expand=expand, seconds=seconds)
        edit = edit_of(input, change, toward or {}, self.conditions)
        wanted = (number, seed, name, directory)
        return drawn(self._trained, asked, condition or {}, edit, *wanted)

    def evaluate(self, **changes: Any) -> dict[str, float]:
        """Draws and judges samples; writes evaluation.json and evaluation.html.

            model.evaluate(num_samples=500)["class_accuracy"]

        Args:
            **changes: of the section `eval` of the config.

        Returns:
            name -> figure, and `<name>/n` beside each estimate; see docs/metrics.md.

        Raises:
            UsageError: an unknown key, or settings that cannot be.
            InputError: no checkpoint, or unusable data.
        """
        from cdcd_jax.evaluation.evaluate import evaluate

        # are the stages still there
        order.todo(self._whole, "evaluate", self.workdir, self._given)
        if not changes:
            return evaluate(self._trained)
        changed = merge(self.config, {"eval": changes})
        return evaluate(self._trained.with_config(changed))

    def bound(
        self, batches: Iterable[Mapping[str, Any]] | str | None = None
    ) -> dict[str, float]:
        """The bound on the negative log-likelihood of examples, bits per token.

            model.bound("test")["bits_per_token"]

        Args:
            batches: of tokens int32 [B, L] and condition {modality: [B, ...]}; or a
                split of the model's records, `eval.split` by default.

        Returns:
            bits_per_token with its number, standard and Monte-Carlo errors.

        Raises:
            InputError: no checkpoint, or unusable records.
        """
        from cdcd_jax.evaluation.bounds import bound

        return bound(self._trained, batches)

    def save(self, directory: str | os.PathLike, licence: str = "") -> Any:
        """Writes the model as it is passed on: weights, config, tokenizers, a card.

            model.save("shared/digits", licence="cc-by-4.0")
            cdcd_jax.open("shared/digits").sample(label=3)

        Args:
            directory: local; not there yet, or empty.
            licence: of the weights, as hubs call it; "" where none was chosen.

        Returns:
            the directory.

        Raises:
            UsageError: a directory that holds something, or a URL.
            InputError: no sound checkpoint, or a tokenizer that is gone.
        """
        from cdcd_jax.models.export import export

        return export(self._trained, directory, licence)


def open(
    workdir: str | os.PathLike,
    config: Mapping[str, Any] | None = None,
    given: str = "",
    **changes: Mapping[str, Any],
) -> Model:
    """Opens a model that was trained, converted or exported.

        model = cdcd_jax.open("runs/digits", sampling=dict(batch_size=50))

    Its weights are read when they are first needed.

    Args:
        workdir: local, gs://, or hf://<who>/<what> of an export on a hub.
        config: a whole experiment, in place of the directory's own config.json.
        given: what the config is called, for advice.
        **changes: sections of the config, laid over it.

    Raises:
        UsageError: no config there, or one of another model.
        InputError: the directory holds no checkpoint.
    """
    hosts.start()
    place = files.as_path(hub.local(workdir))
    if config is None and not place.exists():
        raise UsageError(
            f"Found no {workdir}; expected the work directory of a trained or "
            "converted model; correct the path, or train one"
        )
    whole = saved_config(place) if config is None else _plain(config)
    whole = merge(whole, changes)
    model = Model(whole, place, given)
    model.check()
    check_model(whole, place)
    if config is None:
        model.step  # noqa: B018, which says so where there is none
    return model


def train(
    config: Any,
    workdir: str | os.PathLike | None = None,
    *,
    stage: str = "",
    profile: tuple[int, int] | None = None,
    given: str = "",
    **changes: Mapping[str, Any],
) -> Model | None:
    """Trains a model, after its stages; goes on where it stopped.

        config = "configs/digits.py"
        run = cdcd_jax.train(config, "runs/mine", optim=dict(num_steps=300))
        run.sample(label=3).show()

    Args:
        config: a config file with its variant, as --config has it, or a whole
            experiment (`cdcd_jax.config.experiment(...)`, a ConfigDict).
        workdir: gets records, checkpoints, metrics.jsonl, samples and the evaluation;
            for a config file runs/<its name> by default.
        stage: only this stage of the config, and what it needs.
        profile: the steps (from, to) of which to write a trace.
        given: what the config is called, for advice.
        **changes: sections of the config, laid over it.

    Returns:
        the trained model, or that of the stage; None of records.

    Raises:
        UsageError: a config that cannot be run.
        InputError: unusable data or checkpoints, or a loss that is not finite.
        Stopped: a signal asked for it; the state was saved.
    """
    if isinstance(config, str):
        given, config = config, load_config(config)
    whole = merge(_plain(config), changes)
    place = files.as_path(default_workdir(given) if workdir is None else workdir)
    if stage:
        run_stages(whole, place, "train", given, stage, profile=profile)
        made = resolve_stages(whole["stages"][stage], place)
        return None if made["mode"] == "pretokenize" else Model(made, place / stage)
    hosts.start()
    with lock.held(place):  # for the stages in it, too
        run_stages(whole, place, "train", given, profile=profile)
    return Model(whole, place, given)


def _plain(config: Any) -> dict[str, Any]:
    """A whole experiment as nested dicts, with all defaults."""
    return experiment(**(config.to_dict() if hasattr(config, "to_dict") else config))
