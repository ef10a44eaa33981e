"""The Fréchet distance of sounds in the features of a network that the user names.

As FAD (Kilgour et al. 2019), but no network comes along: the published ones (VGGish,
CLAP) have weights of their makers. A figure compares with those of the same network, at
the same sample rate, alone.
"""

import importlib
from collections.abc import Callable

import numpy as np

from cdcd_jax.errors import InputError, UsageError

# waves float32 [n, S] and their rate in Hz -> float [n, D], or [n, T, D] of T windows
Embedding = Callable[[np.ndarray, int], np.ndarray]
BATCH = 32  # clips that are embedded at once


def open_embedding(name: str) -> Embedding:
    """The function of `package.module:function`, which is imported: its code runs.

    It takes waves float32 [n, S] in [-1, 1] and a sample rate in Hz, and returns float
    [n, D], or [n, T, D] where it has T windows of each clip. Resampling is its own
    affair. With an attribute `fingerprint`, a text that changes with its weights, the
    statistics of real sounds can be kept.

    Raises:
        UsageError: no such module or function.
    """
    module, _, function = name.partition(":")
    expected = (
        "expected package.module:function, a function of waves [N, S] and their rate "
        "that returns features [N, D]"
    )
    do = "Correct the name, or put the module's folder on PYTHONPATH."
    if not module or not function:
        raise UsageError(f"Found the audio embedding {name!r}; {expected}. {do}")
    try:
        found = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UsageError(
            f"Found the audio embedding {name!r}, which cannot be imported ({error}); "
            f"{expected}. {do}"
        ) from error
    if not callable(found):
        raise UsageError(
            f"Found the audio embedding {name!r}, a {type(found).__name__}; "
            f"{expected}. {do}"
        )
    return found


def embed(embedding: Embedding, audio: np.ndarray, rate: int) -> np.ndarray:
    """Features float64 [M, D] of sounds float [N, S]; M = N, or N T of T windows.

    Raises:
        InputError: it returned something else than promised.
    """
    rows = []
    for i in range(0, len(audio), BATCH):
        waves = np.asarray(audio[i : i + BATCH], np.float32)
        found = np.asarray(embedding(waves, rate))
        if found.ndim not in (2, 3) or len(found) != len(waves) or not found.size:
            raise InputError(
                f"Found features of shape {list(found.shape)} of {len(waves)} sounds; "
                f"expected [{len(waves)}, D] or [{len(waves)}, T, D] of the audio "
                "embedding. Correct its function."
            )
        found = found.reshape(-1, found.shape[-1]).astype(np.float64)
        if not np.isfinite(found).all():
            raise InputError(
                "Found features that are not finite; expected numbers of the audio "
                "embedding. Correct its function; silent sounds may be the cause."
            )
        rows.append(found)
    if len({part.shape[1] for part in rows}) != 1:
        widths = sorted({part.shape[1] for part in rows})
        raise InputError(
            f"Found features of widths {widths}; expected the audio embedding to "
            "return as many for all sounds. Correct its function."
        )
    return np.concatenate(rows)
