"""A trained model as its work directory holds it: task, mesh, weights, decoders.

Nothing that costs is read before it is asked for, so that bad requests are refused
first.
"""

import functools
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from cdcd_jax.data.card import CARD_NAME, Card, read_card
from cdcd_jax.errors import InputError
from cdcd_jax.models.decoders import SINGLE, Decoders, open_decoders
from cdcd_jax.models.run_records import check_meaning, kept_records, vocabulary_digest
from cdcd_jax.models.tokenizers import check_config, check_made_with, open_tokenizer
from cdcd_jax.models.vocabularies import TEXTS
from cdcd_jax.reporting import files
from cdcd_jax.runtime.checkpoint import newest_step
from cdcd_jax.training.program import abstract_state, build, place
from cdcd_jax.training.start import load_params


class Trained:
    """A model and where it lies.

    Attributes:
        config: a whole experiment, its stages resolved.
        workdir: holds the checkpoint, gets evaluations and samples.
        began: whether `data.path` names records such as the run began with.
    """

    def __init__(
        self, config: Mapping[str, Any], workdir: Any, began: bool = True
    ) -> None:
        self.config, self.workdir, self.began = config, workdir, began

    @functools.cached_property
    def _built(self) -> tuple[Any, Any]:
        return build(self.config)

    @property
    def task(self) -> Any:
        """That the config names."""
        return self._built[0]

    @functools.cached_property
    def mesh(self) -> Mesh:
        """Of all devices."""
        return place(self.config, self.task)

    def check(self) -> None:
        """Refuses what can be refused without a file.

        Raises:
            UsageError: settings that contradict each other or do not fit the devices.
        """
        _ = self.mesh
        check_config(self.config)

    @functools.cached_property
    def description(self) -> Mapping[str, Any]:
        """What the task says of itself."""
        return self.task.describe()

    @property
    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Modality -> what the model takes of it; classes as they were when it learned.

        Names of the config go before those of the records that the run began with.
        """
        own = (self._kept or {}).get("conditions", {})
        found = {}
        for name, spec in self.description["conditions"].items():
            names = spec.get("names") or own.get(name, {}).get("names")
            found[name] = {**spec, "names": tuple(names)} if names else spec
        return found

    @functools.cached_property
    def _kept(self) -> dict[str, Any] | None:
        """The identity of the records that it has learned from, where it is known."""
        if self.workdir is None or not self.began:
            return None
        return kept_records(self.workdir)

    @property
    def newest_step(self) -> int | None:
        """Of the checkpoints, without reading one; None if there is none."""
        return newest_step(self.workdir)

    @property
    def step(self) -> int:
        """Of the newest checkpoint, without reading it.

        Raises:
            InputError: there is none.
        """
        step = self.newest_step
        if step is None:
            raise InputError(
                f"Found no checkpoint in {self.workdir}; expected a directory that a "
                "training or a converter wrote; train or convert first, or name another"
            )
        return step

    def at_newest(self) -> "Trained":
        """Itself; weights of a step that is not the newest any more are forgotten."""
        read = self.__dict__.get("weights")
        if read is not None and read[0] != self.newest_step:
            del self.__dict__["weights"]
        return self

    def with_config(self, config: Mapping[str, Any]) -> "Trained":
        """The same model under other settings than its own, such as `eval`."""
        other = Trained(config, self.workdir)
        if "weights" in self.at_newest().__dict__:
            other.__dict__["weights"] = self.weights
        return other

    def before(self, path: str, stream: str) -> "Trained":
        """The same model before other records, whose tokens are the modality `stream`.

        Args:
            path: of the records, in the place of `data.path`.
            stream: in the place of `model.stream`.
        """
        own = self.config
        data = {**own["data"], "path": path}
        config = {**own, "data": data, "model": {**own["model"], "stream": stream}}
        return Trained(config, self.workdir, began=False)

    @functools.cached_property
    def weights(self) -> tuple[int, Any, Any]:
        """Step, averaged parameters and extra of the checkpoint that was read.

        Raises:
            InputError: there is none, or it is damaged.
        """
        abstract = abstract_state(*self._built, self.mesh)
        return load_params(self.workdir, abstract)

    def open_records(self) -> Card:
        """The card of records to judge it on, checked: whole, and of the same meaning.

        Raises:
            UsageError: `data.path` is empty.
            InputError: missing, damaged or unlike records.
        """
        from cdcd_jax.data.pipeline import open_dataset  # which takes a second

        conditions = {
            name: {**spec, **self._words(spec)}
            for name, spec in self.description["conditions"].items()
        }
        described = {**self.description, "conditions": conditions}
        card = open_dataset(self.config["data"]["path"], described)
        if self.began:
            check_meaning(card, self.workdir)
        return card

    def _words(self, spec: Mapping[str, Any]) -> dict[str, str]:
        """sha256 of the vocabulary by which the model reads a condition, if it has one.

        A part of another run has learned that run's.
        """
        if spec["kind"] not in TEXTS:
            return {}
        source = self.config["init_parts"].get(spec.get("part"), self.workdir)
        source = source["path"] if isinstance(source, Mapping) else source
        digest = vocabulary_digest(self.workdir) or vocabulary_digest(source)
        return {"sha256": digest} if digest else {}

    @functools.cached_property
    def card(self) -> Card | None:
        """The card of the model's records, where they are at hand."""
        records = self.config["data"]["path"]
        if not records or not (files.as_path(records) / CARD_NAME).exists():
            return None
        return read_card(records)

    @functools.cached_property
    def decoders(self) -> Decoders:
        """What turns all that the model draws into what people see.

        Raises:
            InputError: no such tokenizer, or not the one that made the records.
        """
        outputs = self.description["outputs"]
        decoders = open_decoders(self.config, outputs, self.workdir, self.card)
        if (tokenizer := decoders.of(self.stream)) is not None:
            kept = self._kept and {"fingerprint": self._kept["tokenizer"]}
            for told, place in (
                (self.card and self.card.tokenizer, self.config["data"]["path"]),
                (kept, self.workdir),
            ):
                check_made_with(told, place, tokenizer)
        return decoders

    @property
    def stream(self) -> str:
        """The output that the tokens of records are, or `tokens`."""
        specs = self.description["conditions"]
        read = [n for n, spec in specs.items() if spec.get("field") == SINGLE]
        return next((n for n in read if n in self.description["outputs"]), SINGLE)

    @property
    def tokenizer(self) -> Any:
        """That of what it draws; of a tokenizer's work directory, itself.

        Raises:
            InputError: see `decoders`.
        """
        if "media" not in self.description:
            return self.decoders.tokenizer
        settings = dict(kind="checkpoint", path=str(self.workdir))
        return open_tokenizer(settings, self.description["outputs"]["tokens"]["grid"])

    def told(self) -> str:
        """Where it lies, how far it is, what it takes and gives; some lines."""

        def words(spec: Mapping[str, Any]) -> str:
            shown = ("shape", "num_classes", "num_codes", "vocabulary", "frame_rate")
            told = [f"{k} {spec[k]}" for k in shown if spec.get(k)]
            told += ["optional"] * bool(spec.get("optional"))
            return f"{spec['kind']} ({', '.join(told)})"

        step = self.newest_step
        lines = [
            f"Model of {self.workdir}, task {self.config['task']}, "
            + (f"step {step}" if step is not None else "without a checkpoint")
        ]
        both = ("takes", self.conditions), ("gives", self.description["outputs"])
        for head, specs in both:
            lines += [f"  {head} {name}: {words(spec)}" for name, spec in specs.items()]
        return "\n".join(lines)
