"""Files that were published in parts, such as `cub_pretrained_aa` to `_ag`, joined."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cdcd_jax.errors import InputError

_PART = re.compile(r"(.+[._-]?)([a-z]{2})")


@contextlib.contextmanager
def whole(path: str, output: str) -> Iterator[str]:
    """The path itself, or of a temporary file that the parts make.

    Args:
        path: a file; of a file in parts, any one of them or a folder of nothing else.
        output: in or above whose folder is room for the joined file.

    Raises:
        InputError: a part in the middle is missing.
    """
    parts = _parts(Path(path))
    if not parts:
        yield path
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


def _parts(path: Path) -> list[Path]:
    """All parts in order; none where it is no file in parts."""
    if path.is_dir():
        files = [f for f in path.iterdir() if f.is_file()]
        starts = [f for f in files if f.name.endswith("aa") and not f.suffix[3:]]
        stems = {f.name[:-2] for f in starts}
        if len(stems) != 1 or any(f.suffix in (".json", ".bin") for f in files):
            return []
        path = starts[0]
    found = _PART.fullmatch(path.name)
    if not found or not path.parent.is_dir():
        return []
    stem = found[1]
    names = {f.name for f in path.parent.iterdir() if f.is_file()}
    ends = sorted(
        n[-2:] for n in names if n[:-2] == stem and re.fullmatch("[a-z]{2}", n[-2:])
    )
    if "aa" not in ends and "ab" not in ends:
        return []
    letters = "abcdefghijklmnopqrstuvwxyz"
    every = [a + b for a in letters for b in letters]
    needed = every[: every.index(ends[-1]) + 1]
    missing = [stem + end for end in needed if end not in ends]
    if len(ends) < 2 and not missing:
        return []
    if missing:
        raise InputError(
            f"Found {len(ends)} parts of {stem}* in {path.parent} without "
            f"{', '.join(missing[:5])}; expected all, from {stem}aa on. Download the "
            "others too."
        )
    return [path.parent / (stem + end) for end in ends]
