"""Files that were published in parts, such as `cub_pretrained_aa` to `_ag`, joined."""

import contextlib
import re
import shutil
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cdcd_jax.convert.torch_files import CutShort
from cdcd_jax.errors import InputError

_PART = re.compile(r"(.+[._-]?)([a-z]{2})")
_ENDS = [a + b for a in string.ascii_lowercase for b in string.ascii_lowercase]
_OTHERS = {".json", ".bin", ".safetensors", ".pt", ".pth", ".ckpt", ".tar", ".msgpack"}


@contextlib.contextmanager
def whole(path: str, output: str) -> Iterator[str]:
    """The path itself, or of a temporary file that the parts make.

    Args:
        path: a file; of a file in parts, any one of them or a folder of nothing else.
        output: in or above whose folder is room for the joined file.

    Raises:
        InputError: parts are missing, the first, between others or, as the body finds
            out, the last; or a folder has parts of several files.
    """
    parts = _parts(Path(path))
    if not parts:
        yield path
        return
    try:
        if len(parts) == 1:
            yield str(parts[0])
            return
        room = next(p for p in Path(output).absolute().parents if p.is_dir())
        with tempfile.TemporaryDirectory(dir=room, prefix=".joined-") as folder:
            name = parts[0].name[:-2].rstrip("._-") or "joined"
            joined = Path(folder) / name
            with joined.open("wb") as file:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
            yield str(joined)
    except CutShort as error:
        raise _incomplete(parts) from error


def _incomplete(parts: list[Path]) -> InputError:
    """What is missing: all parts but the last, which may be shorter, have one size."""
    first, last = parts[0], parts[-1]
    size = first.stat().st_size
    short = next((p for p in parts[1:-1] if p.stat().st_size != size), None)
    following = last.name[:-2] + _ENDS[_ENDS.index(last.name[-2:]) + 1]
    missing = f"{following} after them, or a longer {last.name}"
    if short:
        found = f"{short.stat().st_size:,}"
        missing = f"{size:,} bytes in {short.name} too, instead of {found}"
    return InputError(
        f"Found {first.name} to {last.name} in {first.parent}, which together are cut "
        f"short; expected {missing}. Download what is missing."
    )


def _parts(path: Path) -> list[Path]:
    """All parts in order; none where it is no file in parts."""
    part = _any_part(path) if path.is_dir() else path
    found = part and _PART.fullmatch(part.name)
    if not found or not part.parent.is_dir():
        return []
    stem = found[1]
    names = {f.name for f in part.parent.iterdir() if f.is_file()}
    ends = [end for end in _ENDS if stem + end in names]
    paths = [part.with_name(stem + end) for end in ends]
    if "aa" not in ends and not (paths and _goes_on(paths[0])):
        return []
    needed = _ENDS[: _ENDS.index(ends[-1]) + 1]
    missing = [stem + end for end in needed if end not in ends]
    if missing:
        raise InputError(
            f"Found {len(ends)} parts of {stem}* in {part.parent} without "
            f"{', '.join(missing[:5])}; expected all, from {stem}aa on. Download the "
            "others too."
        )
    return paths


def _any_part(folder: Path) -> Path | None:
    """A part of the only file in parts that a folder without other weights has."""
    files = sorted(f for f in folder.iterdir() if f.is_file())
    if any(f.suffix in _OTHERS for f in files):
        return None
    starts = [f for f in files if f.name.endswith("aa")]
    starts = starts or [f for f in files if _goes_on(f)]
    stems = sorted({f.name[:-2] for f in starts})
    if len(stems) > 1:
        raise InputError(
            f"Found parts of {len(stems)} files in {folder} ({'*, '.join(stems[:3])}*);"
            " expected those of one. Name one of its parts."
        )
    return starts[0] if starts else None


def _goes_on(path: Path) -> bool:
    """Whether it has a part's name, and does not begin as a file of weights does."""
    found = _PART.fullmatch(path.name)
    if not found or found[1][-1] not in "_-":
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return not (head.startswith((b"PK", b"\x80")) or head[8:] == b"{")
