"""What the names of AIST++ say of a dance: its music, and so its genre and track."""

from pathlib import Path

import numpy as np

from cdcd_jax.data.segments import Segment
from cdcd_jax.errors import InputError

GENRES = ("BR", "PO", "LO", "MH", "LH", "HO", "WA", "KR", "JS", "JB")
FRAME_RATE = 60  # of motion, Hz


def to_segment(
    name: str, key: str, wave: Path, motion: Path, video: Path | None, start: int = 0
) -> Segment:
    """The segment; genre and track come from the music in `name`, such as mBR0.

    Args:
        name: of the dance.
        key: of the example.
        wave, motion, video: files.
        start: second at which it begins in them.

    Raises:
        InputError: no music in the name.
    """
    track = track_of(name)
    genre = np.int32(GENRES.index(track[1:3]))
    groups = {"genre": track[:3], "track": track}
    at = {"start": float(start), "first": start * FRAME_RATE}
    return Segment(key, wave, motion, video, {"genre": genre}, groups, **at)


def track_of(name: str) -> str:
    """The music in a name: mLO5 of gLO_sBM_c01_d14_mLO5_ch04_seg1.

    Raises:
        InputError: there is none.
    """
    for part in name.split("_"):
        if len(part) == 4 and part[0] == "m" and part[1:3] in GENRES:
            return part
    raise InputError(
        f"Found the name {name}; expected a piece of music in it, such as mBR0, of the "
        f"genres {' '.join(GENRES)}; correct the lists."
    )
