"""Files of tensors by PyTorch name, and what a converter makes of one.

Tensors in float32 stay views of the mapped file until they are written anew
(`__main__.py`), after all was checked; others are cast one by one.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.convert.safetensors_files import read_safetensors
from cdcd_jax.convert.torch_files import AGAIN, Tensor, torch_content
from cdcd_jax.errors import InputError
from cdcd_jax.runtime.lean_saving import let_go

Tensors = dict[str, np.ndarray]
INDEX = ".index.json"  # ends the name of the list of shards


@dataclass(frozen=True)
class Converted:
    """A checkpoint of ours that is not written yet.

    Attributes:
        config: sections that differ from the defaults of the task.
        params: arrays, as `task.init` has them.
        extra: further state of the task: codebooks, remap tables.
        tokenizer: of a model of tokens, what made them; None where the file has none.
    """

    config: dict[str, Any]
    params: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    tokenizer: "Converted | None" = None


def read_tensors(
    path: str | Path,
    inside: Sequence[str] = (),
    together: Sequence[str] = (),
    drop: str = "",
    choose: Callable[[Collection[str]], Collection[str]] = lambda names: names,
) -> Tensors:
    """All tensors of a file by name; floats of any size as float32.

    Args:
        path: `.safetensors`, or what `torch.save` or `torch.jit.save` wrote, or the
            `.index.json` of several such files.
        inside: names of dicts that may stand around the tensors, such as 'state_dict';
            the first that is there is entered.
        together: names of dicts that are all entered, such as 'model' and 'ema'; what
            they hold is then called 'model.<name>', as it must be in safetensors.
        drop: a pattern; tensors in whose names it is found are left out unseen.
        choose: of the other names those that are read; the rest costs no memory.

    Returns:
        Name -> array; a file of one bare tensor gives it the name "".

    Raises:
        InputError: no such file, another format, a broken file, or a value that is not
            finite.
    """
    path = Path(path)
    if path.name.endswith(INDEX):
        shards = [
            read_tensors(p, inside, together, drop, choose) for p in shards_of(path)
        ]
        return {name: value for shard in shards for name, value in shard.items()}
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(
            f"Found no readable file {path} ({error.strerror}); expected a checkpoint "
            "as PyTorch or safetensors writes it. Correct --input."
        ) from error

    def wanted(names: Collection[str]) -> Collection[str]:
        return choose([n for n in names if not (drop and re.search(drop, n))])

    if path.suffix == ".safetensors" or head[8:] == b"{":
        found = iter(read_safetensors(path, wanted).items())
    else:
        found = _torch_items(path, head, inside, together, wanted)
    tensors = {}
    for name, value in found:
        tensors[name] = as_float32(value)
        kind = tensors[name].dtype.kind
        finite = kind != "f" or np.isfinite(tensors[name]).all()
        let_go(value)
        if not finite:
            raise InputError(
                f"Found values that are not finite in {name!r} of {path}; expected "
                f"finite weights. {AGAIN}, the data may be damaged."
            )
    if not tensors:
        raise InputError(
            f"Found no tensors in {path}; expected weights by name"
            + (f", maybe inside of {' or '.join(inside)}" if inside else "")
            + ". Check that this is the right file."
        )
    return tensors


def shards_of(path: Path) -> list[Path]:
    """The files that an index names, each once; all are there.

    Raises:
        InputError: the index cannot be read, or a file is missing.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Found no readable index {path} ({error!r}); expected 'weight_map', from "
            f"tensors to files. {AGAIN}."
        ) from error
    # names of files alone: an index opens nothing outside of its folder
    files = [path.parent / Path(str(name)).name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise InputError(
            f"Found {path} without {', '.join(missing) or 'any file'}; expected all "
            f"{len(files)} files that it names beside it. Download the others too."
        )
    return files


def check_tensors(
    found: Mapping[str, Any],
    expected: Mapping[str, Sequence[int]],
    what: str,
    floats: bool = True,
) -> None:
    """Raises InputError unless both have the same names and shapes.

    Args:
        found: arrays.
        expected: shapes.
        what: of the error's text, such as "file.ckpt as a VQGAN".
        floats: whether all must be numbers with a point.
    """
    missing = [name for name in expected if name not in found]
    odd = [name for name in found if name not in expected]
    wrong = [
        f"{name} {list(found[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name].shape) != tuple(shape)
    ]
    whole = [name for name in found if floats and found[name].dtype.kind != "f"]
    parts = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", odd),
            ("of another shape", wrong),
            ("not of floats", whole),
        )
        if names
    ]
    if parts:
        raise InputError(
            f"Found {what}, with tensors {'; '.join(parts)}; expected exactly the "
            f"{len(expected)} tensors of this model. Check --family, or get the "
            "complete file."
        )


def shape_of(
    state: Mapping[str, np.ndarray], name: str, rank: int, path: str, expected: str
) -> tuple[int, ...]:
    """The shape of a tensor that tells sizes.

    Args:
        state: arrays by name.
        rank: how many axes it has.
        path: of the error's text.
        expected: what the file should be, and what to do if it is not.

    Raises:
        InputError: it is missing, has another number of axes, or no elements.
    """
    found = state.get(name)
    if found is None or found.ndim != rank or not found.size:
        what = "no" if found is None else f"the shape {list(found.shape)} of"
        raise InputError(f"Found {what} {name!r} in {path}; expected {expected}")
    return found.shape


def as_float32(value: np.ndarray) -> np.ndarray:
    """Floats of another size as float32; all else as it is."""
    is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return value.astype(np.float32, copy=False) if is_float else value


def _torch_items(
    path: Path,
    head: bytes,
    inside: Sequence[str],
    together: Sequence[str],
    wanted: Callable,
) -> Iterator[tuple[str, np.ndarray]]:
    with torch_content(path, head) as content:
        for name in inside:
            if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
                content = content[name]
                break
        if isinstance(content, Mapping):
            parts = {k: content.get(k) for k in together}
            parts = {k: v for k, v in parts.items() if isinstance(v, Mapping)}
            flat = {f"{k}.{name}": v for k, p in parts.items() for name, v in p.items()}
            content = flat or content
        if isinstance(content, Tensor):
            content = {"": content}
        content = content if isinstance(content, Mapping) else {}
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        for name in wanted([*tensors]):
            yield name, tensors[name].read()
