"""Texts of raw examples as records hold them: byte pairs and, on request, features."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.errors import InputError


class TextEncoder:
    """Turns the `text` conditions of a source into arrays; others pass.

    A condition `caption` becomes `caption` int32 [length] of CLIP's byte pairs. With a
    text tower it becomes the tower's features float32 [length, D], and `caption_tokens`
    holds the byte pairs.
    """

    def __init__(
        self, settings: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Args: `text` of the records' config, the conditions of a source's card.

        Raises:
          InputError: no such text tower.
        """
        self._length, self._truncate = settings["length"], settings["truncate"]
        self._names = [n for n, spec in conditions.items() if spec["kind"] == "text"]
        self._tower = None
        if self._names and settings["features"]:
            from cdcd_jax.clip import open_text_tower

            self._tower = open_text_tower(settings["features"])
        self.conditions = {}
        for name, spec in conditions.items():
            self.conditions |= self._specs(name, spec)

    def _specs(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        if name not in self._names:
            return {name: dict(spec)}
        tokens = dict(
            kind="tokens", shape=[self._length], dtype="int32", vocabulary="clip"
        )
        if self._tower is None:
            return {name: tokens}
        shape = [self._length, self._tower.width]
        features = dict(kind="array", shape=shape, dtype="float32")
        return {name: features, f"{name}_tokens": tokens}

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """The conditions of examples, as `conditions` says.

        Raises:
          InputError: a text that is too long, unless they are to be truncated.
        """
        done = [dict(row) for row in rows]
        for name in self._names if rows else ():
            tokens = self._tokens([row[name] for row in rows])
            found = {name: tokens}
            if self._tower is not None:
                features = np.asarray(jax.device_get(self._tower(tokens)))
                found = {name: features, f"{name}_tokens": tokens}
            for i, row in enumerate(done):
                row |= {key: value[i] for key, value in found.items()}
        return done

    def _tokens(self, texts: list[str]) -> np.ndarray:
        try:
            return bpe.encode(texts, self._length, self._truncate)
        except InputError as error:
            raise InputError(
                f"{error} In the records' config that is text.length, or "
                "text.truncate=True to cut long texts."
            ) from None
