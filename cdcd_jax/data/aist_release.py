"""The official release of AIST++: its lists, and its dances cut into segments.

How the files lie, and what is assumed of them, stands at the top of `aist`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdcd_jax.data.aist_names import FRAME_RATE, to_segment, track_of
from cdcd_jax.data.audio import suffixes
from cdcd_jax.data.folders import read_lines, refuse_repeated, wrong_tree
from cdcd_jax.data.segments import Segment
from cdcd_jax.data.smpl import read_motion
from cdcd_jax.data.sources import Unreadable
from cdcd_jax.errors import InputError

TREE = """
path/motions/gBR_sBM_cAll_d04_mBR0_ch01.pkl
path/splits/crossmodal_train.txt, crossmodal_val.txt, crossmodal_test.txt
path/music/mBR0.wav
path/ignore_list.txt   (may be missing)"""
_IGNORED = "ignore_list.txt"


def read(root: Path, options: Mapping[str, Any], split: str) -> list[str]:
    """Names of the motions of a split, without those to leave out.

    Raises:
        InputError: not such a tree, or lists that leave out all.
    """
    del options
    for folder in ("motions", "music"):
        if not (root / folder).is_dir():
            raise wrong_tree(f"no folder {root / folder}", TREE)
    path = root / f"splits/crossmodal_{split}.txt"
    names = [_motion_of(line) for line in read_lines(path, TREE)]
    refuse_repeated(names, path)
    left_out = _ignored(root)
    for name in names:
        track_of(name)
    if not (kept := [name for name in names if name not in left_out]):
        raise InputError(
            f"Found all the names of {path} in {root / _IGNORED}, such as "
            f"{names[0]!r}; expected some of the motions, not all; correct it, or take "
            "it away."
        )
    return kept


def _motion_of(line: str) -> str:
    """A motion's name, of its name or its file's."""
    return line.rpartition("/")[2].removesuffix(".pkl")


def _ignored(root: Path) -> list[str]:
    """Names that are left out, in order."""
    path = root / _IGNORED
    if not path.exists():
        return []
    lines = read_lines(path, TREE, may_be_empty=True)
    names = list(map(_motion_of, lines))
    for name in names:
        track_of(name)
    return names


def remarks(root: Path) -> list[str]:
    """How many lines of the ignore list leave out nothing, if some do so.

    Raises:
        InputError: all of them.
    """
    names = _ignored(root)
    listed = {
        name
        for path in (root / "splits").glob("crossmodal_*.txt")
        for name in map(_motion_of, read_lines(path, TREE))
    }
    there = lambda name: name in listed or (root / "motions" / f"{name}.pkl").exists()
    strange = [name for name in names if not there(name)]
    if names and len(strange) == len(names):
        raise InputError(
            f"Found a motion's name in no line of {root / _IGNORED}, such as "
            f"{names[0]!r}; expected some of the motions, not all; correct it, or "
            "take it away."
        )
    said = f"{len(strange)} of {len(names)} lines of {_IGNORED} name no motion"
    return [f"{said}, such as {strange[0]!r}"] if strange else []


def cut(root: Path, name: str, options: Mapping[str, Any]) -> list[Segment]:
    """The segments of one sequence; of an unreadable one, a first that says so."""
    seconds, path = options["seconds"], root / "motions" / f"{name}.pkl"
    try:
        frames = len(read_motion(path)["smpl_trans"])
    except Unreadable:
        frames = seconds * FRAME_RATE
    wave = _music(root, track_of(name))
    starts = range(0, frames // FRAME_RATE - seconds + 1, options["stride"] or seconds)
    return [
        to_segment(name, f"{name}_seg{number}", wave, path, None, start)
        for number, start in enumerate(starts, 1)
    ]


def _music(root: Path, track: str) -> Path:
    """The file of a piece: .wav, or what else it is kept as, in any case."""
    kinds = (".wav", *sorted(suffixes() - {".wav"}))
    names = [f"{track}{form}" for kind in kinds for form in (kind, kind.upper())]
    files = [root / "music" / name for name in names]
    return next((file for file in files if file.exists()), files[0])
