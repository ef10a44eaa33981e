"""The tokenizer of a work directory, trained here or converted: codes and fingerprint.

Its networks are those of `tasks.tokenizer`; here they get the weights of a checkpoint,
all local devices, and batches of one size.
"""

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from cdcd_jax.config import defaults, merge
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.reporting import files
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.runtime.leaf_table import weights_digest
from cdcd_jax.tasks.tokenizer import OWN_PARTS, TokenizerTask

# Settings that came after the first fingerprints: those of tokenizers as before stay.
_LATER = dict(mid_attention=True, groups=32, normalize=False, bands=0, window=256)


class CheckpointTokenizer:
    """The tokenizer of a work directory, trained here or converted.

    Every local device encodes `batch_size` examples at a time, however many devices
    there are, so that the codes of an example do not depend on their number.
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        path: str,
        level: int,
        sample: bool,
        batch_size: int,
    ) -> None:
        """Reads `config.json` and the newest checkpoint; see `open_tokenizer`."""
        self.task = _read_task(path)
        self.level, self.path = level, path
        self._settings = dict(level=level, sample=sample)
        if not 0 <= level < len(self.task.hops):
            raise UsageError(
                f"Found tokenizer.level = {level}; expected 0 to "
                f"{len(self.task.hops) - 1}, the levels of {path}; correct it."
            )
        self.grid = self.task.grid(level)
        if self.grid != grid:
            raise InputError(
                f"Found the tokenizer {path} with tokens of {list(self.grid)} (level "
                f"{level}); expected {list(grid)}, as the config's grid says; set the "
                "grid to it, or choose another tokenizer or level."
            )
        if sample and not self.task.gumbel:
            raise UsageError(
                f"Found tokenizer.sample = True; expected False, since {path} has no "
                "Gumbel codes to draw from; leave it away."
            )
        self.num_codes, self.media = self.task.num_codes, self.task.media
        wanted = [
            {k: v for k, v in part.items() if k in OWN_PARTS}
            for part in jax.eval_shape(self.task.init, jax.random.key(0))
        ]
        _, params, extra = load_parts(path, *wanted)
        self._params, self._extra = self.task.own_parts(params, extra)
        self.fingerprint = self._fingerprint()
        self._batch_size = batch_size
        self._mesh = jax.make_mesh(
            (jax.local_device_count(),), ("rows",), devices=jax.local_devices()
        )
        whole = NamedSharding(self._mesh, PartitionSpec())
        self._params = jax.device_put(self._params, whole)
        self._extra = jax.device_put(self._extra, whole)
        self._encode = self._on_all_devices(self._encoded)
        self._decode = self._on_all_devices(self._decoded)

    @property
    def settings(self) -> dict[str, Any]:
        """What a config says of it."""
        return {"kind": "checkpoint", "path": str(self.path), **self._settings}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what `decode` gives for one example."""
        name = "images" if self.media["kind"] == "image" else "audio"
        return {name: tuple(self.media["shape"])}

    @property
    def sample_rate(self) -> int | None:
        """Hz, of sound."""
        return self.media.get("sample_rate")

    @property
    def hops(self) -> tuple[int, ...]:
        """Pixels of a side, or samples of sound, that a token of each level spans."""
        return self.task.hops

    @property
    def rows_at_once(self) -> int:
        """Examples that this process's devices take together."""
        return self._batch_size * jax.local_device_count()

    def start_encoding(
        self, media: np.ndarray, numbers: np.ndarray
    ) -> Callable[[], np.ndarray]:
        """Starts to encode at most `rows_at_once` examples.

        Args:
            media: uint8 [N, H, W, C] or float32 [N, S].
            numbers: int [N], by which sampled codes are drawn.

        Returns:
            a function that waits for the tokens int32 [N, L].
        """
        numbers = np.asarray(numbers, np.int32)
        codes = self._encode(self._params, self._extra, *self._filled(media, numbers))
        return lambda: np.asarray(codes)[: len(media)]

    def encode(self, media: np.ndarray) -> np.ndarray:
        """Tokens int32 [N, L] of any number of pictures or sounds."""
        size = self.rows_at_once
        starts, numbers = range(0, len(media), size), np.arange(len(media))
        parts = [
            self.start_encoding(media[i : i + size], numbers[i : i + size])
            for i in starts
        ]
        return np.concatenate([part() for part in parts])

    def decode(
        self, tokens: np.ndarray, grid: tuple[int, int] | None = None
    ) -> dict[str, np.ndarray]:
        """{"images": uint8 [N, H, W, C]} or {"audio": float32 [N, S]} of tokens [N, L].

        Of sound L is free, and S follows it.

        Args:
            grid: (H, W) of the tokens of larger pictures, which are decoded as one.

        Raises:
            InputError: a token that is none of this tokenizer's.
        """
        tokens = np.asarray(tokens)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.num_codes:
            raise InputError(
                f"Found tokens from {tokens.min()} to {tokens.max()}; expected them in "
                f"[0, {self.num_codes}); decode with the tokenizer that made them, "
                "after all mask tokens are gone."
            )
        # of larger ones fewer rows at once, so that it takes no more memory
        longer = -(-tokens.shape[1] // math.prod(self.grid))
        rows = max(1, self._batch_size // longer) * jax.local_device_count()
        parts = []
        for i in range(0, len(tokens), rows):
            part = tokens[i : i + rows].astype(np.int32)
            part = part.reshape(len(part), *(grid or (-1,)))
            (filled,) = self._filled(part, rows=rows)
            decoded = self._decode(self._params, self._extra, filled)
            parts.append(np.asarray(decoded)[: len(part)])
        (name,) = self.outputs
        return {name: np.concatenate(parts)}

    def _encoded(self, params, extra, media, numbers) -> jax.Array:
        numbers = numbers if self._settings["sample"] else None
        return self.task.encode_media(params, extra, media, numbers, self.level)

    def _decoded(self, params, extra, codes) -> jax.Array:
        return self.task.decode_codes(params, extra, codes, self.level)

    def _filled(self, *arrays: np.ndarray, rows: int = 0) -> list[jax.Array]:
        """Whole batches, the last row repeated, each device's part on it."""
        split = NamedSharding(self._mesh, PartitionSpec("rows"))
        chosen = np.arange(rows or self.rows_at_once)
        chosen = np.minimum(chosen, len(arrays[0]) - 1)
        return [jax.device_put(a[chosen], split) for a in arrays]

    def _on_all_devices(self, function: Callable) -> Callable:
        """Each device runs the same program on its rows."""
        rows, whole = PartitionSpec("rows"), PartitionSpec()

        @functools.wraps(function)
        def run(params, extra, *arrays):
            return jax.shard_map(
                function,
                mesh=self._mesh,
                in_specs=(whole, whole, *[rows] * len(arrays)),
                out_specs=rows,
                check_vma=False,
            )(params, extra, *arrays)

        compiled = jax.jit(run)

        # codes must not depend on the platform's fast products
        is_exact = self.task.model["dtype"] == "float32"
        precision = "highest" if is_exact else None

        def on_own_mesh(*args):
            # a caller may have set another mesh
            with jax.set_mesh(self._mesh), jax.default_matmul_precision(precision):
                return compiled(*args)

        return on_own_mesh

    def _fingerprint(self) -> str:
        """16 hexadecimal digits of the settings and of every weight."""
        own = {"model": self.task.model, "quantizer": self.task.quantizer}
        told = {
            name: {k: v for k, v in part.items() if _LATER.get(k, ...) != v}
            for name, part in own.items()
        } | self._settings
        digest = weights_digest({"params": self._params, "extra": self._extra})
        digest.update(json.dumps(told, sort_keys=True).encode())
        return digest.hexdigest()[:16]


def _read_task(path: str) -> TokenizerTask:
    """The task that the `config.json` of a work directory describes."""
    file = files.as_path(path) / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"Found no {file}; expected the work directory of a tokenizer that was "
            "trained (`python -m cdcd_jax.main --config=configs/tokenizers/<name>.py`) "
            "or converted (`python -m cdcd_jax.convert`); make one, or correct "
            "tokenizer.path."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"Found a bad {file} ({error}); expected the settings of a tokenizer as "
            "JSON; restore it, or train or convert the tokenizer again."
        ) from error
    if not isinstance(config, dict) or config.get("task") != "tokenizer":
        raise InputError(
            f"Found in {file} a run that is no tokenizer; expected task = 'tokenizer'; "
            "name a tokenizer's work directory in tokenizer.path."
        )
    try:
        # what older files do not say has its default
        default = defaults("tokenizer")
        own = {key: value for key, value in config.items() if key in default}
        return TokenizerTask(merge(default, own))
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise InputError(
            f"Found a bad {file} ({type(error).__name__}: {error}); expected the "
            "settings of a tokenizer; restore it, or train or convert the tokenizer "
            "again."
        ) from error
