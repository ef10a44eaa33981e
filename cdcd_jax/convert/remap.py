"""Tables that leave out codes which data never uses, as VQ-Diffusion's 2,887 and 974.

A table is `to` [K of the codebook] -> code, and `back` [codes] -> the first entry of
the codebook that became this code. It is read from a file, or made from counts.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.convert.files import read_tensors
from cdcd_jax.errors import InputError, UsageError

Table = dict[str, np.ndarray]
_NAMES = ("to", "full_to_quantize", "")


def read_remap(path: str | Path, codebook: np.ndarray, codes: int = 0) -> Table:
    """The table that a file holds, or one of the codes that token records use.

    Args:
        path: `.npy`, `.json`, `.safetensors` or a PyTorch file of whole numbers [K]:
            the code of each entry of the codebook, bare or under 'to' or
            'full_to_quantize', or how often each occurs under 'counts'. Or a
            directory of token records with all K codes.
        codebook: float [K, D].
        codes: how many codes there are afterwards; 0 for all that occur in counts, or
            all of a table.

    Raises:
        InputError: the file cannot be read, or is no table of this codebook.
        UsageError: more `codes` than occur in counts, or fewer than a table has.
    """
    path = Path(path)
    values, are_counts = (
        (count_records(path, len(codebook)), True)
        if path.is_dir()
        else _read_file(path)
    )
    values = np.asarray(values)
    shape = (len(codebook),)
    if values.shape != shape or values.dtype.kind not in "iu" or values.min() < 0:
        raise InputError(
            f"Found {values.dtype} numbers of shape {list(values.shape)} in {path}; "
            f"expected whole numbers from 0 of shape {list(shape)}, one an entry of "
            "the codebook. Use the table that was made for this codebook."
        )
    values = values.astype(np.int64)
    if are_counts:
        return from_counts(values, codebook, codes)
    return from_table(values, codes, path)


def from_table(to: np.ndarray, codes: int = 0, path: str | Path = "the table") -> Table:
    """`to`, and as `back` the first entry of each code, as in the reference.

    Args:
        to: int [K], the code of each entry of the codebook.
        codes: how many there are, where no entry becomes some of them; these stand for
            entry 0. With 0 each code must have an entry.
        path: of the errors' texts.

    Raises:
        InputError: a code between others that no entry becomes.
        UsageError: more codes in the table than `codes`.
    """
    found, first = np.unique(to, return_index=True)
    largest = int(found[-1])
    if not codes and len(found) != largest + 1:
        absent = int(np.argmax(found != np.arange(len(found))))
        raise InputError(
            f"Found no entry that becomes code {absent} in {path}, but some that "
            f"become code {largest}; expected codes without a gap from 0. Say how many "
            "codes there are with --remap_codes, or use another table."
        )
    if codes and codes <= largest:
        raise UsageError(
            f"Found --remap_codes={codes}, but code {largest} in {path}; expected more "
            "than that. Raise it, or leave it away."
        )
    back = np.zeros(codes or largest + 1, np.int32)
    back[found] = first
    return {"to": to.astype(np.int32), "back": back}


def from_counts(counts: np.ndarray, codebook: np.ndarray, keep: int = 0) -> Table:
    """Keeps the most frequent codes, in their order; others become the nearest kept.

    Args:
        counts: int [K], how often each code occurs.
        codebook: float [K, D].
        keep: how many codes; 0 for all that occur.

    Raises:
        UsageError: fewer codes than `keep` occur.
        InputError: none occurs.
    """
    used = int(np.count_nonzero(counts))
    if keep > used or keep < 0:
        raise UsageError(
            f"Found --remap_codes={keep}, but {used} codes that occur; expected at "
            "most as many. Lower it, or leave it away to keep all that occur."
        )
    if not used:
        raise InputError(
            "Found no code that occurs in the counts; expected some. Use counts of the "
            "codes of your data."
        )
    # the first of equally frequent ones
    back = np.sort(np.argsort(-counts, kind="stable")[: keep or used])
    to = np.zeros(len(counts), np.int64)
    kept = codebook[back].astype(np.float64)
    squares = np.sum(kept**2, 1)
    for start in range(0, len(to), 1024):
        rows = codebook[start : start + 1024].astype(np.float64)
        to[start : start + 1024] = np.argmin(squares - 2 * rows @ kept.T, axis=1)
    to[back] = np.arange(len(back))  # also where two entries are equal
    return {"to": to.astype(np.int32), "back": back.astype(np.int32)}


def count_records(directory: str | Path, num_codes: int) -> np.ndarray:
    """How often each code occurs in the training split, int64 [K].

    Raises:
        InputError: no such records, or of another number of codes.
    """
    from cdcd_jax.data.card import read_card
    from cdcd_jax.data.records import RecordSource

    card = read_card(directory)
    if card.num_codes != num_codes:
        raise InputError(
            f"Found records with {card.num_codes} codes in {directory}; expected "
            f"{num_codes}, as the codebook has. Make them with this tokenizer and no "
            "remap."
        )
    counts = np.zeros(num_codes, np.int64)
    for split in ["train"] if "train" in card.splits else card.splits:
        source = RecordSource(card, split)
        for i in range(len(source)):
            counts += np.bincount(source[i]["tokens"], minlength=num_codes)
    return counts


def _read_file(path: Path) -> tuple[Any, bool]:
    """A file's numbers, and whether they are counts."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False), False
        if path.suffix == ".json":
            content = json.loads(path.read_bytes())
            content = content if isinstance(content, dict) else {"": content}
            tensors = {name: np.array(value) for name, value in content.items()}
        else:
            tensors = read_tensors(path)
    except InputError:
        raise
    except Exception as error:  # of a damaged file it may raise any kind
        raise InputError(
            f"Found {path}, which cannot be read ({error}); expected a table of codes "
            "as .npy, .json, .safetensors or .pt. Correct --remap, or copy the file "
            "anew."
        ) from error
    if "counts" in tensors:
        return tensors["counts"], True
    for name in _NAMES:
        if name in tensors:
            return tensors[name], False
    raise InputError(
        f"Found {', '.join(map(repr, list(tensors)[:3]))} in {path}; expected the "
        "codes of all entries under 'to' or 'full_to_quantize', or 'counts'. Rename it."
    )
