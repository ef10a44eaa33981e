"""Raw source `tiktok`: the TikTok Dance-Music set of D2M-GAN, in segments of 2 s.

    path/tiktok_audio_train_segment.txt, tiktok_motion_..., tiktok_video_..., also test
    path/audio_s2/000011_79_327_seg5.wav
    path/motion_s2/000011_79_327_seg5.npy      [60, 75]: 25 joints of 3, 30 a second
    path/video_s2/000011_79_327_seg5.npy       I3D, [1, 2048]

Some of the published lists hold absolute paths, some ./tiktok/motion_s2/...; from
audio_s2/ and so on they are taken as they are, and all lists of a split must name the
same segments in the same order. `lists` is their folder, if not `path`.

There is no genre. Of the three numbers in a name the second is taken to be the song and
the third the video: in the published lists they run to 85 and to 444, and the set has
445 videos. The group is `track`, the song. Conditions: `motion` float32 [60, 75], and
with video=True `video` [video_frames, 2048].

Sound and bad files: as for `aist`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdcd_jax.data import segments
from cdcd_jax.data.folders import check_options, in_both, open_folder, wrong_tree
from cdcd_jax.data.segments import Segment, SegmentSplit
from cdcd_jax.data.sources import known_split

OPTIONS: dict[str, Any] = {
    "lists": "",  # folder of the lists, if not data.path
    "video": False,  # give I3D features too
    "video_frames": 1,  # rows of a video file
    "amplitude": True,  # augmented views are 0.3 to 1 times as loud
}
SPLITS = ("train", "test")
SECONDS = 2
MOTION_SHAPE = (60, 75)
NAME = re.compile(r"\d+_(?P<song>\d+)_\d+_seg\d+")
TREE = """
path/tiktok_audio_train_segment.txt, tiktok_motion_train_segment.txt, tiktok_video_...
     (also _test_)
path/audio_s2/000011_79_327_seg5.wav
path/motion_s2/000011_79_327_seg5.npy
path/video_s2/000011_79_327_seg5.npy   (with video=True)"""


@dataclass(frozen=True)
class TikTok:
    """See the top of this file."""

    options: Mapping[str, Any]
    segments: Mapping[str, list[Segment]]  # by split

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        conditions = {"motion": segments.array_spec(*MOTION_SHAPE)}
        if self.options["video"]:
            conditions["video"] = segments.array_spec(
                self.options["video_frames"], segments.VIDEO_WIDTH
            )
        names = {k: (s.audio.stem for s in v) for k, v in self.segments.items()}
        card = segments.card("tiktok", SPLITS, SECONDS, conditions)
        said = in_both(names, "segments")
        return {**card, "remarks": said} if said else card

    def split(self, name: str) -> SegmentSplit:
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "tiktok")
        return SegmentSplit(
            self.segments[name],
            SECONDS,
            MOTION_SHAPE,
            self.options["video_frames"],
            self.options["amplitude"],
        )


def open_source(path: str, options: Mapping[str, Any], seed: int) -> TikTok:
    """The source, whose splits are given by lists: `seed` is not used.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree.
    """
    del seed
    check_options(options, positive=["video_frames"])
    root = open_folder(path, "tiktok", TREE)
    return TikTok(options, {split: _read(root, options, split) for split in SPLITS})


def _read(root: Path, options: Mapping[str, Any], split: str) -> list[Segment]:
    files = segments.read_lists(root, options, f"tiktok_%s_{split}_segment.txt", TREE)
    found = []
    for wave, motion, video in files:
        match = NAME.fullmatch(wave.stem)
        if not match:
            raise wrong_tree(f"the segment {wave.stem}, not named like these", TREE)
        groups = {"track": match["song"]}
        found.append(Segment(f"{split}/{wave.stem}", wave, motion, video, {}, groups))
    return found
