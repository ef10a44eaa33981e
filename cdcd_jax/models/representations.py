"""Vectors of examples as records hold them: made by encoders, or means of a class."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.encoders import ROWS, open_encoder
from cdcd_jax.tasks.bridge import TOKENS


class Representations:
    """Turns tokens into the conditions that `represent` of the records' config names.

    Each becomes a condition float32 [features] of length 1: the vector of the example,
    or, with `mean_by`, the mean of those training examples that share its class.

    Attributes:
        conditions: name -> spec, as a card has it; `encoder` is the fingerprint.
        averaged: name -> the condition whose classes means are of, of those with some.
    """

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]],
        conditions: Mapping[str, Mapping[str, Any]],
        tokenizer: Any,
    ) -> None:
        """Opens the encoders.

        Args:
            settings: `represent`.
            conditions: of the source's card.
            tokenizer: what makes the tokens.

        Raises:
            UsageError: a name that the source uses, classes that it does not have, or
                a tower of another field.
            InputError: no such encoder, or one of other tokens.
        """
        self.conditions: dict[str, dict[str, Any]] = {}
        self.averaged: dict[str, str] = {}
        self._encoders, self._means = {}, {}
        for name, own in settings.items():
            _check(name, own, conditions)
            encoder = open_encoder(own["path"], own["tower"])
            if encoder.field != TOKENS:
                raise UsageError(
                    f"Found represent.{name}.tower = {own['tower']!r}, which reads the "
                    f"condition {encoder.field!r}; expected a tower of the tokens, of "
                    "which vectors are made; name that one, or leave it out."
                )
            if encoder.tokenizer not in (None, tokenizer.fingerprint):
                raise InputError(
                    f"Found represent.{name}.path = {own['path']}, an encoder of "
                    f"tokens of the tokenizer {encoder.tokenizer}; expected "
                    f"{tokenizer.fingerprint}, which makes these records' tokens; "
                    "train it on records of the same tokenizer."
                )
            shape = [encoder.features]
            spec = dict(kind="array", shape=shape, dtype="float32")
            self.conditions[name] = {**spec, "encoder": encoder.fingerprint}
            self._encoders[name] = encoder
            if own["mean_by"]:
                self.averaged[name] = own["mean_by"]
                self.conditions[name]["mean_by"] = own["mean_by"]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the encoders."""
        return {name: encoder.fingerprint for name, encoder in self._encoders.items()}

    def learn(self, examples: Iterable[Mapping[str, Any]]) -> None:
        """Takes the means of classes.

        Args:
            examples: of training, with `tokens` and `condition`.
        """
        sums: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.averaged}
        stream = iter(examples)
        while part := list(itertools.islice(stream, ROWS)):
            tokens = np.stack([example["tokens"] for example in part])
            for name, key in self.averaged.items():
                vectors = self._encoders[name].encode(tokens).astype(np.float64)
                for example, vector in zip(part, vectors, strict=True):
                    own = _class(example["condition"][key])
                    sums[name][own] = sums[name].get(own, 0.0) + vector
        self._means = {
            name: {k: (v / np.linalg.norm(v)).astype(np.float32) for k, v in of.items()}
            for name, of in sums.items()
        }

    def encode(
        self, tokens: np.ndarray, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, np.ndarray]]:
        """The vectors of examples, by name.

        Args:
            tokens: int [N, L].
            rows: their conditions.

        Raises:
            InputError: a class that no training example has.
        """
        found = {
            name: self._of_class(name, rows)
            if name in self.averaged
            else encoder.encode(tokens)
            for name, encoder in self._encoders.items()
        }
        return [{name: found[name][i] for name in found} for i in range(len(rows))]

    def _of_class(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list:
        key, means = self.averaged[name], self._means[name]
        missing = sorted({_class(row[key]) for row in rows} - set(means))
        if missing:
            raise InputError(
                f"Found {key} = {missing[0]}, which no training example has; expected "
                f"the mean of some for represent.{name}; leave mean_by away, or train "
                "on such examples too."
            )
        return [means[_class(row[key])] for row in rows]


def _class(value: Any) -> str:
    return str(np.asarray(value).tolist())


def _check(
    name: str, own: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
) -> None:
    if name in conditions:
        raise UsageError(
            f"Found represent.{name}, which the source gives itself; expected another "
            f"name than {', '.join(conditions)}; choose one."
        )
    if own["mean_by"] and own["mean_by"] not in conditions:
        raise UsageError(
            f"Found represent.{name}.mean_by = {own['mean_by']!r}; expected a "
            f"condition of the source ({', '.join(conditions) or 'it has none'}), or "
            "'' for the vectors themselves; correct it."
        )
