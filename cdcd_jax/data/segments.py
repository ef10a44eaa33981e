"""Segments of dance with music, in the files of D2M-GAN: for `aist` and `tiktok`.

Lists name the segments of a split, one a line and one list for each of audio, motion
and video, in the same order. A line is a path of the machine on which it was written;
what follows from the last folder named audio*, motion* or video* on is looked up below
`path`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cdcd_jax.data import audio
from cdcd_jax.data.folders import read_lines, refuse_repeated, wrong_tree
from cdcd_jax.data.sources import Example, Unreadable

SAMPLE_RATE = 22050
PEAK = 0.95
MARGIN = 0.1  # seconds
VIDEO_WIDTH = 2048  # I3D


@dataclass(frozen=True)
class Segment:
    """The files of one segment, and what its name tells."""

    key: str
    audio: Path
    motion: Path
    video: Path | None
    condition: Mapping[str, Any]
    groups: Mapping[str, str]
    start: float = 0.0  # of the segment in the sound file, in seconds
    first: int = 0  # its first frame of motion


def read_lists(
    root: Path, options: Mapping[str, Any], name: str, tree: str
) -> list[tuple[Path, Path, Path | None]]:
    """Sound, motion and video file of each segment of a split.

    Args:
        root: of the dataset.
        options: `lists`, the lists' folder ("" is root), and `video`, whether to read
            those of video; without them the third file is None.
        name: of the lists, with %s where they say audio, motion, video.
        tree: for the error.

    Raises:
        InputError: lists that are missing, malformed or not aligned, or no such folder.
    """
    kinds = ["audio", "motion"] + ["video"] * options["video"]
    place = Path(options["lists"] or root)
    lists = {place / (name % k): k for k in kinds}
    files = {path: read_list(path, k, root, tree) for path, k in lists.items()}
    check_aligned(files, tree)
    for found in files.values():
        if not found[0].parent.is_dir():
            raise wrong_tree(f"no folder {found[0].parent}", tree)
    rows = list(zip(*files.values(), strict=True))
    return [(*row, None)[:3] for row in rows]


def read_list(path: Path, folder: str, root: Path, tree: str) -> list[Path]:
    """The files that a list names, below `root`.

    Args:
        path: the list.
        folder: what the name of the files' folder begins with: "audio", ...
        root: of the dataset.
        tree: for the error.

    Raises:
        InputError: no such list, a name twice, or a line without such a folder.
    """
    lines = read_lines(path, tree)
    files = []
    for line in lines:
        parts = PurePosixPath(line).parts
        at = [i for i, part in enumerate(parts[:-1]) if part.startswith(folder)]
        if not at or ".." in parts:
            raise wrong_tree(
                f"the line {line!r} in {path}, which names no folder {folder}*", tree
            )
        files.append(root.joinpath(*parts[at[-1] :]))
    refuse_repeated((file.stem for file in files), path)
    return files


def check_aligned(lists: Mapping[Path, list[Path]], tree: str) -> None:
    """Raises InputError unless all lists name the same segments in the same order."""
    (first, files), *rest = lists.items()
    for path, others in rest:
        for number, (one, other) in enumerate(zip(files, others, strict=False), 1):
            if one.stem != other.stem:
                raise wrong_tree(
                    f"{one.stem} in line {number} of {first}, but {other.stem} in "
                    f"{path}",
                    tree,
                )
        if len(files) != len(others):
            raise wrong_tree(
                f"{len(files)} lines in {first}, but {len(others)} in {path}", tree
            )


@dataclass(frozen=True)
class SegmentSplit:
    """Segments of `seconds`; motion is a NumPy file unless `load_motion` reads it."""

    segments: list[Segment]
    seconds: int
    motion_shape: tuple[int, int]  # frames, width
    video_frames: int
    amplitude: bool
    load_motion: Callable[[Segment], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.segments)

    def names(self) -> list[str]:
        """The keys, see `sources.RawSplit`."""
        return [segment.key for segment in self.segments]

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`audio` float32 [seconds * 22050], motion, and video and genre where known.

        With `rng` only the loudness changes: motion and music must stay together.
        """
        segment = self.segments[index]
        condition = dict(segment.condition)
        if self.load_motion is None:
            motion = load_array(segment.motion)
        else:
            motion = self.load_motion(segment)
        condition["motion"] = as_frames(motion, self.motion_shape, segment.motion)
        if segment.video is not None:
            shape = (self.video_frames, VIDEO_WIDTH)
            video = load_array(segment.video)
            condition["video"] = as_frames(video, shape, segment.video)
        return {
            "key": segment.key,
            "audio": self._sound(segment, rng),
            "condition": condition,
            "groups": dict(segment.groups),
        }

    def _sound(self, segment: Segment, rng: np.random.Generator | None) -> np.ndarray:
        # resampling rings where sound is cut, so it is cut afterwards
        before = min(segment.start, MARGIN)
        wave, rate = audio.read(
            segment.audio, segment.start - before, before + self.seconds + MARGIN
        )
        wave = audio.resample(wave, rate, SAMPLE_RATE)
        length, skip = self.seconds * SAMPLE_RATE, round(before * SAMPLE_RATE)
        wave = wave[skip : skip + length]
        if not len(wave):
            raise Unreadable(str(segment.audio), f"ends before {segment.start} s")
        return audio.fit(audio.scale_to_peak(wave, PEAK), length, rng, self.amplitude)


def load_array(path: Path) -> np.ndarray:
    """The array of a .npy file; raises Unreadable. Pickled objects are refused."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise Unreadable(str(path), "no such file") from error
    except MemoryError as error:  # a damaged shape
        raise Unreadable(str(path), "not a sound NumPy file") from error
    except Exception as error:  # damaged headers raise nearly anything
        raise Unreadable(str(path), f"not a sound NumPy file ({error})") from error


def as_frames(array: Any, shape: tuple[int, int], path: Path) -> np.ndarray:
    """The array as float32 [frames, width].

    Axes of length 1 do not matter, nor does a width in two parts (25 joints of 3).

    Raises:
        Unreadable: another shape, no numbers, NaN or infinity.
    """
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise Unreadable(str(path), f"{array.dtype} in place of numbers")
    kept = [n for n in array.shape if n != 1]
    if shape[0] == 1:
        fits = array.size == shape[1] and len(kept) <= 1
    else:
        fits = kept[:1] == [shape[0]] and array.size == shape[0] * shape[1]
    if not fits:
        raise Unreadable(
            str(path), f"shape {list(array.shape)}; expected {list(shape)}"
        )
    with np.errstate(over="ignore"):
        frames = array.reshape(shape).astype(np.float32)
    if not np.isfinite(frames).all():
        raise Unreadable(str(path), "numbers that are NaN or infinite")
    return frames


def card(
    name: str,
    splits: tuple[str, ...],
    seconds: int,
    conditions: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of a source of segments; see `sources.RawSource`."""
    return {
        "name": name,
        "splits": splits,
        "conditions": dict(conditions),
        "media": {
            "kind": "audio",
            "shape": [seconds * SAMPLE_RATE],
            "sample_rate": SAMPLE_RATE,
        },
    }


def array_spec(frames: int, width: int) -> dict[str, Any]:
    """The card's entry for a condition [frames, width]."""
    return {"kind": "array", "shape": [frames, width], "dtype": "float32"}
