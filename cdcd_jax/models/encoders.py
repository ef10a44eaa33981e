"""Encoders by work directory: tokens, texts, ... of examples -> vectors of length 1.

Whoever makes records with vectors, or judges samples by them, opens the tower of a run
of task 'bridge' here. Records tell by its fingerprint which one made theirs.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cdcd_jax.data.card import Card
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.run_records import kept_records
from cdcd_jax.models.saved import saved_config
from cdcd_jax.reporting import files
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.runtime.leaf_table import weights_digest
from cdcd_jax.tasks.bridge import TOKENS, BridgeTask

ROWS = 256  # examples at once, so that one shape compiles


class Encoder:
    """A tower of pixels, codes or texts; see `open_encoder`.

    Attributes:
        field: of the records, which it learned from: `tokens`, or a condition.
        features: of a vector.
        length: L, numbers of its field.
        num_codes: K, they lie in [0, K).
        fingerprint: 16 hexadecimal digits of its settings and weights.
        tokenizer: fingerprint of what made the tokens that it learned from; None where
            that is not known, and of one that reads a condition.
    """

    def __init__(self, path: Any, task: BridgeTask, name: str) -> None:
        """Reads the weights of tower `name` of the run in `path`."""
        spec = task.specs[name]
        self.features = task.settings["model"]["features"]
        self.field, tower = spec["field"], task.towers[name]
        self.length, self.num_codes = tower.length, tower.num_codes
        whole = jax.eval_shape(task.init, jax.random.key(0))[0]["towers"]
        _, self._params, _ = load_parts(path, {"towers": {name: whole[name]}}, {})
        self._encode = jax.jit(lambda p, x: task.encode(p, name, x))
        kept = kept_records(path) if self.field == TOKENS else None
        self.tokenizer = kept and kept["tokenizer"]
        digest = weights_digest(self._params["towers"][name])
        told = {k: v for k, v in spec.items() if k not in ("field", "frozen")}
        digest.update(json.dumps([told, self.features], sort_keys=True).encode())
        self.fingerprint = digest.hexdigest()[:16]

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Vectors float32 [N, features] of length 1, of its field, int [N, L].

        Raises:
            InputError: tokens of another length, or none of its own.
        """
        tokens = np.asarray(tokens)
        fits = tokens.ndim == 2 and tokens.shape[1] == self.length
        if not fits or not np.issubdtype(tokens.dtype, np.integer):
            raise InputError(
                f"Found tokens {tokens.dtype}{list(tokens.shape)} for an encoder; "
                f"expected whole numbers [N, {self.length}]; name an encoder that was "
                "trained on examples of this size."
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.num_codes:
            raise InputError(
                f"Found tokens from {tokens.min()} to {tokens.max()} for an encoder; "
                f"expected them in [0, {self.num_codes}); name an encoder that was "
                "trained on tokens of the same tokenizer or vocabulary."
            )
        found = [np.zeros((0, self.features), np.float32)]
        for i in range(0, len(tokens), ROWS):
            rows = np.minimum(np.arange(i, i + ROWS), len(tokens) - 1)
            with jax.default_matmul_precision("highest"):
                vectors = self._encode(self._params, tokens[rows].astype(np.int32))
            found.append(np.asarray(vectors)[: len(tokens) - i])
        return np.concatenate(found)


def open_encoder(path: Any, tower: str = "") -> Encoder:
    """The encoder of a work directory.

    Args:
        path: of a run of task 'bridge'.
        tower: which of its towers; "" for the one that reads tokens.

    Raises:
        InputError: no such run, or no checkpoint in it.
        UsageError: no such tower.
    """
    try:
        config = saved_config(files.as_path(path))
        if config["task"] != "bridge":
            raise UsageError(f"a run of task = {config['task']!r}")
        task = BridgeTask(config)
    except UsageError as error:
        raise InputError(
            f"Found no encoder in {path} ({error}); expected the work directory of a "
            "run of task = 'bridge'; train one, or correct the path."
        ) from None
    by_tokens = [n for n, spec in task.specs.items() if spec["field"] == TOKENS]
    name = tower or by_tokens[0]
    if name not in task.specs:
        raise UsageError(
            f"Found tower = {tower!r} for the encoder {path}; expected one of "
            f"{', '.join(task.specs)}; correct it."
        )
    return Encoder(path, task, name)


def encoder_of(card: Card, condition: str) -> Encoder:
    """The encoder that made the vectors of records, to make some of other examples.

    It lies where the records' config says, or beside the records if they were moved
    together.

    Raises:
        InputError: it is not there, or it is another one now; or a condition that is no
            vector.
    """
    wanted = card.conditions.get(condition, {}).get("encoder")
    if wanted is None:
        raise InputError(
            f"Found no vectors {condition!r} in the records {card.directory}; expected "
            "a condition that an encoder made; make records with represent set."
        )
    settings = card.config["represent"][condition]
    path = Path(settings["path"])
    beside = Path(card.directory).resolve().parent / path.name
    place = path if path.exists() or not beside.exists() else beside
    encoder = open_encoder(place, settings["tower"])
    if encoder.fingerprint != wanted:
        raise InputError(
            f"Found the encoder {place} with fingerprint {encoder.fingerprint}; "
            f"expected {wanted}, which made the vectors of {card.directory}; bring it "
            "back, or make the records again."
        )
    return encoder
