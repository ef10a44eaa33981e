"""Texts of raw examples as records hold them: tokens and, on request, features."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.data.vocabulary import FILE_NAME, ClipVocabulary, Vocabulary
from cdcd_jax.errors import InputError
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.reporting import files
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.runtime.leaf_table import weights_digest

ROWS = 32  # texts that the tower takes at once, so that one shape compiles


class TextEncoder:
    """Turns the `text` conditions of a source into arrays; others pass.

    A condition `caption` becomes `caption` int32 [length], tokens of CLIP's byte pairs
    or of a vocabulary of these records. With a text tower it becomes the tower's
    features float32 [length, D], and `caption_tokens` holds the byte pairs.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        conditions: Mapping[str, Mapping[str, Any]],
        trained: Vocabulary | None = None,
    ) -> None:
        """Reads the text tower, if there is one.

        Args:
          settings: `text` of the records' config.
          conditions: of a source's card.
          trained: the vocabulary, of these or of other records; None for CLIP's.

        Raises:
          InputError: no such text tower.
        """
        self._length, self._truncate = settings["length"], settings["truncate"]
        self._names = text_conditions(conditions)
        self._vocabulary, self._tower = trained or ClipVocabulary(), None
        if self._names and settings["features"]:
            self._tower = TextTower(
                settings["features"], self._length, settings["normalize"]
            )
        self.conditions = {}
        for name, spec in conditions.items():
            self.conditions |= self._specs(name, spec)

    def _specs(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        if name not in self._names:
            return {name: dict(spec)}
        tokens = dict(kind="tokens", shape=[self._length], dtype="int32")
        if isinstance(self._vocabulary, ClipVocabulary):
            tokens |= dict(vocabulary="clip")
        else:
            tokens |= dict(
                vocabulary="trained",
                num_tokens=self._vocabulary.num_tokens,
                file=FILE_NAME,
                sha256=self._vocabulary.sha256,
            )
        if self._tower is None:
            return {name: tokens}
        shape = [self._length, self._tower.width]
        features = dict(kind="array", shape=shape, dtype="float32")
        return {name: features, f"{name}_tokens": tokens}

    @property
    def fingerprint(self) -> str:
        """Of what was trained, tower or vocabulary; "" without one."""
        if isinstance(self._vocabulary, Vocabulary):
            return self._vocabulary.sha256[:16]
        return self._tower.fingerprint if self._tower else ""

    def save(self, directory: Path) -> None:
        """Writes the trained vocabulary, if there is one, beside the records."""
        if isinstance(self._vocabulary, Vocabulary):
            self._vocabulary.save(directory / FILE_NAME)

    def encode(
        self, rows: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()
    ) -> list[dict[str, np.ndarray]]:
        """The conditions of examples, as `conditions` says.

        Args:
          rows: the conditions of each.
          keys: their names, for errors.

        Raises:
          InputError: a text that is too long, unless they are to be truncated, or a
            word that the trained vocabulary cannot spell.
        """
        done = [dict(row) for row in rows]
        for name in self._names if rows else ():
            tokens = self._tokens([row[name] for row in rows], keys)
            found = {name: tokens}
            if self._tower is not None:
                found = {name: self._tower(tokens), f"{name}_tokens": tokens}
            for i, row in enumerate(done):
                row |= {key: value[i] for key, value in found.items()}
        return done

    def _tokens(self, texts: list[str], keys: Sequence[str]) -> np.ndarray:
        encode = functools.partial(
            self._vocabulary.encode, length=self._length, truncate=self._truncate
        )
        try:
            return encode(texts)
        except InputError:  # which of them, and what helps
            faults, advice = [], ""
            names = keys or [f"text {i}" for i in range(len(texts))]
            for key, text in zip(names, texts, strict=True):
                try:
                    encode(text)
                except InputError as error:
                    faults.append(f"{key}: {error}")
                    if isinstance(error, bpe.TooLong):
                        advice = (
                            "\nIn the records' config the tokens of a text are "
                            "text.length, and text.truncate=True cuts long ones."
                        )
            listed = "\n".join(faults)
            raise InputError(f"{listed}{advice}") from None


def text_conditions(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the conditions of a source's card that are texts."""
    return [name for name, spec in conditions.items() if spec["kind"] == "text"]


class TextTower:
    """A converted CLIP text tower (`python -m cdcd_jax.convert --family=clip`)."""

    def __init__(self, path: str, length: int, normalize: bool) -> None:
        """Reads it.

        Args:
          path: the converter's output.
          length: of the texts, tokens.
          normalize: see `ClipText`.

        Raises:
          InputError: there is none, or it takes texts of another length.
        """
        file = files.as_path(path) / "config.json"
        try:
            config = json.loads(file.read_text("utf-8"))
            sizes = config["model"] if config["task"] == "clip_text" else None
            self._network = ClipText(**sizes, normalize=normalize)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Found no text tower in {path} ({type(error).__name__}: {error}); "
                "expected what `python -m cdcd_jax.convert --family=clip` wrote; "
                "convert one, or correct text.features."
            ) from error
        if sizes["length"] != length:
            raise InputError(
                f"Found a text tower of {sizes['length']} tokens in {path}; expected "
                f"{length}, as text.length says; set it to {sizes['length']}."
            )
        self.width = sizes["width"]
        tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
        init = lambda key, tokens: self._network.init(key, tokens)["params"]
        shapes = jax.eval_shape(init, jax.random.key(0), tokens)
        self._params = load_parts(path, shapes, {})[1]
        self.fingerprint = weights_digest(self._params).hexdigest()[:16]
        self._apply = jax.jit(lambda p, x: self._network.apply({"params": p}, x)[0])

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Features float32 [N, length, D] of tokens int32 [N, length]."""
        parts = []
        for i in range(0, len(tokens), ROWS):
            rows = np.minimum(np.arange(i, i + ROWS), len(tokens) - 1)
            with jax.default_matmul_precision("highest"):
                features = self._apply(self._params, tokens[rows])
            parts.append(np.asarray(features)[: len(tokens) - i])
        return np.concatenate(parts)
