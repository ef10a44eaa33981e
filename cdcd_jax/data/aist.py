"""Raw source `aist`: AIST++ dances and their music, in two layouts.

layout="segments" is what D2M-GAN and CDCD publish, cut to `seconds` = 2 or 6:

    path/aist_audio_train_segment.txt, aist_motion_..., aist_video_..., and val, test
                                      (2 s; for 6 s the names end in _segment_s6.txt)
    path/audio_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.wav
    path/motion_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.npy     [60 * seconds, 219]
    path/video_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.npy      I3D, [1, 2048]

The lists hold absolute paths of their author; from audio_s2/ and so on they are taken
as they are. All lists of a split must name the same segments in the same order (the
reference pairs them by line and does not look). `lists` is their folder, if not `path`.

layout="release" is the official data set with the AIST database's music:

    path/motions/gBR_sBM_cAll_d04_mBR0_ch01.pkl   smpl_poses, smpl_trans, smpl_scaling
    path/splits/crossmodal_train.txt              and val, test: names, one a line
    path/ignore_list.txt                          names to leave out (may be missing)
    path/music/mBR0.wav                           or .mp3, .flac, ..; .wav comes first

Lists without val, as D2M-GAN and EDGE publish them, give train and test alone. A motion
without smpl_scaling, as generators write it, is taken to be scaled already.

It is cut into segments of `seconds` every `stride` seconds (0: without overlap), and
motion is put together as in google-research/mint: root translation / scaling [3], then
24 rotation matrices, row by row [216]. Assumed as there: the music starts with the
dance, at 60 frames a second. These are not the segments of D2M-GAN.

Conditions: `motion` float32 [60 * seconds, 219] as stored, not scaled; `genre`, read
from the music's name (mBR0 is BR) and numbered in the reference's order; with
video=True, which only the segments have, `video` [video_frames, 2048]. Groups: genre
and track.

Sound: one channel, 22,050 Hz, from the start of its segment, each segment scaled to the
peak 0.95, zeros at the end of a shorter one. The reference does so in training but
leaves out the scaling at inference, and draws a random loudness even in validation:
here the scaling is everywhere, and loudness changes in augmented views only. A missing
or bad file, motion or video of another shape, and NaN are reported by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cdcd_jax.data import aist_release, segments
from cdcd_jax.data.aist_names import FRAME_RATE, GENRES, to_segment
from cdcd_jax.data.folders import check_options, class_spec, in_both, open_folder
from cdcd_jax.data.segments import Segment, SegmentSplit
from cdcd_jax.data.smpl import load_motion
from cdcd_jax.data.sources import known_split, tell
from cdcd_jax.errors import InputError, UsageError

OPTIONS: dict[str, Any] = {
    "layout": "segments",  # segments, release
    "seconds": 2,  # of an example: 2 or 6 (release: any)
    "stride": 0,  # release: seconds between starts; 0: as long as an example
    "lists": "",  # segments: folder of the lists, if not data.path
    "video": False,  # segments: give I3D features too
    "video_frames": 1,  # rows of a video file
    "amplitude": True,  # augmented views are 0.3 to 1 times as loud
}
SPLITS = ("train", "val", "test")
MOTION_WIDTH = 219
TREES = {
    "segments": """
path/aist_audio_train_segment.txt, aist_motion_train_segment.txt, aist_video_...
     (also _val_ and _test_; for 6 s _segment_s6.txt)
path/audio_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.wav   (for 6 s audio_s6/)
path/motion_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.npy
path/video_s2/train/gLO_sBM_c01_d14_mLO5_ch04_seg1.npy   (with video=True)""",
    "release": aist_release.TREE,
}


@dataclass(frozen=True)
class Aist:
    """See the top of this file."""

    root: Path
    options: Mapping[str, Any]
    names: Mapping[str, list[Any]]  # split -> segments, or names of sequences
    remarks: Sequence[str] = ()  # see `sources.RawSource`

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        seconds = self.options["seconds"]
        motion = segments.array_spec(FRAME_RATE * seconds, MOTION_WIDTH)
        conditions = {"motion": motion, "genre": class_spec(GENRES)}
        if self.options["video"]:
            conditions["video"] = segments.array_spec(
                self.options["video_frames"], segments.VIDEO_WIDTH
            )
        card = segments.card("aist", tuple(self.names), seconds, conditions)
        return {**card, "remarks": self.remarks}

    def split(self, name: str) -> SegmentSplit:
        """One of 'train', 'test' and perhaps 'val', which shares the music of test."""
        known_split(name, tuple(self.names), "aist")
        options, found, load = self.options, self.names[name], None
        frames = FRAME_RATE * options["seconds"]
        if options["layout"] == "release":
            parts = {n: aist_release.cut(self.root, n, options) for n in found}
            if short := [n for n in found if not parts[n]]:
                tell(
                    f"aist: {len(short)} motions of {name} are shorter than "
                    f"{options['seconds']} s and left out, such as {short[0]}"
                )
            found = [s for n in found for s in parts[n]]
            if not found:
                raise InputError(
                    f"Found no motion of {options['seconds']} s in the split {name} of "
                    f"{self.root}; expected one or more; set data.options.seconds lower"
                )
            load = partial(load_motion, frames=frames)
        return SegmentSplit(
            found,
            options["seconds"],
            (frames, MOTION_WIDTH),
            options["video_frames"],
            options["amplitude"],
            load,
        )


def open_source(path: str, options: Mapping[str, Any], seed: int) -> Aist:
    """The source, whose splits are given by lists: `seed` is not used.

    Raises:
        UsageError: a bad option.
        InputError: not such a tree.
    """
    del seed
    layout = options["layout"]
    seconds = {"seconds": (2, 6)} if layout == "segments" else {}
    check_options(
        options,
        positive=["seconds", "video_frames"],
        choices={"layout": tuple(TREES), **seconds},
    )
    if layout == "release" and options["video"]:
        raise UsageError(
            "Found data.options.video with the layout release; expected it with the "
            "layout segments, which has I3D features; set it to False."
        )
    if options["stride"] < 0:
        raise UsageError(
            f"Found data.options.stride = {options['stride']}; expected seconds, 0 or "
            "more; correct it."
        )
    root = open_folder(path, "aist", TREES[layout])
    read = {"segments": _read_segments, "release": aist_release.read}[layout]
    found = {"train": read(root, options, "train"), "test": read(root, options, "test")}
    if _has_val(root, options):  # which D2M-GAN's and EDGE's lists have not
        found["val"] = read(root, options, "val")
    names = {split: found[split] for split in SPLITS if split in found}
    key = (
        (lambda name: name) if layout == "release" else (lambda found: found.audio.stem)
    )
    remarks = in_both({k: map(key, v) for k, v in names.items()}, "dances")
    remarks += aist_release.remarks(root) if layout == "release" else []
    return Aist(root, options, names, remarks)


def _has_val(root: Path, options: Mapping[str, Any]) -> bool:
    """Whether there is a list of it, of any kind."""
    if options["layout"] == "release":
        return (root / "splits" / "crossmodal_val.txt").exists()
    folder = Path(options["lists"] or root)
    return any(folder.glob(f"aist_*_val_segment{_ends(options)}.txt"))


def _ends(options: Mapping[str, Any]) -> str:
    """Of the names of lists, by the length of their segments."""
    return {2: "", 6: "_s6"}[options["seconds"]]


def _read_segments(root: Path, options: Mapping[str, Any], split: str) -> list[Segment]:
    tree, name = TREES["segments"], f"aist_%s_{split}_segment{_ends(options)}.txt"
    return [
        to_segment(wave.stem, f"{split}/{wave.stem}", wave, motion, video)
        for wave, motion, video in segments.read_lists(root, options, name, tree)
    ]
