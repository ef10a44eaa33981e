"""Videos of a dancing figure with its music, by the program ffmpeg where there is one.

Pillow draws the frames, and ffmpeg takes them from a pipe. Nothing here is needed to
make sound: what fails is told in a line, and the sound files stay.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cdcd_jax.reporting.skeleton import Skeleton, skeleton_of

SIZE = 480  # pixels a side; even, as h264 needs it
_MARGIN = 0.1  # of the side
_BACKGROUND, _GROUND = (250, 250, 248), (190, 190, 185)
_FIGURE, _JOINT = (40, 60, 110), (190, 70, 50)
# h264 and aac play everywhere; an ffmpeg without them takes what it has
_FALLBACK = ("-pix_fmt", "yuv420p")
_CODECS = ("-c:v", "libx264", *_FALLBACK, "-c:a", "aac")


def write_videos(
    directory: Path, motion: np.ndarray, rate: float, number: int
) -> list[Path]:
    """Writes sample_<i>.mp4 beside the first sample_<i>.wav files.

    Without ffmpeg, with motion of an unknown kind, or where ffmpeg fails, a line on
    standard error says so.

    Args:
        directory: of the samples.
        motion: [N, F, C].
        rate: frames a second.
        number: of videos at most; 0 for none, quietly.

    Returns:
        the files written.
    """
    number = min(number, len(motion))
    if not number:
        return []
    program = shutil.which("ffmpeg")
    reason = None if program else "found no program ffmpeg on PATH; install it"
    if motion.shape[-1] not in (75, 219):
        reason = f"motion of {motion.shape[-1]} channels is no body that is known here"
    written: list[Path] = []
    for i in range(number if reason is None else 0):
        wave = directory / f"sample_{i:05d}.wav"
        video = wave.with_suffix(".mp4")
        reason = encode(program, skeleton_of(motion[i]), rate, wave, video)
        if reason:
            break
        written.append(video)
    if reason:
        print(f"no video: {reason}", file=sys.stderr)
    return written


def frames_of(figure: Skeleton, size: int = SIZE) -> Iterator[np.ndarray]:
    """Pictures uint8 [size, size, 3] of each frame; the camera stands still."""
    from PIL import Image, ImageDraw

    points, ground = _on_screen(figure, size)
    thick = max(2, size // 80)
    for place, known in zip(points, figure.known, strict=True):
        picture = Image.new("RGB", (size, size), _BACKGROUND)
        pen = ImageDraw.Draw(picture)
        pen.line([(0, ground), (size, ground)], fill=_GROUND, width=2)
        for a, b in figure.limbs:
            if known[a] and known[b]:
                pen.line([*place[a], *place[b]], fill=_FIGURE, width=thick)
        for x, y in place[known]:
            box = (x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2)
            pen.ellipse(box, fill=_JOINT)
        yield np.asarray(picture)


def _on_screen(figure: Skeleton, size: int) -> tuple[np.ndarray, float]:
    """Points in pixels, y down, and the height of the ground: all frames fit."""
    seen = figure.points[figure.known & np.isfinite(figure.points).all(-1)]
    if not len(seen):
        return np.zeros_like(figure.points), float(size)
    low, high = seen.min(0), seen.max(0)
    scale = size * (1 - 2 * _MARGIN) / max(*(high - low), 1e-6)
    shifted = (figure.points - (low + high) / 2) * scale
    points = np.nan_to_num(size / 2 + shifted * (1, -1))
    return points, float(size / 2 + (high - low)[1] / 2 * scale)


def encode(
    program: str, figure: Skeleton, rate: float, wave: Path, video: Path
) -> str | None:
    """Joins a figure and a wav file to a video that is there whole or not at all.

    Args:
        program: ffmpeg.
        rate: frames a second.

    Returns:
        what went wrong; None if nothing did.
    """
    partial = video.with_name(f".{video.name}.{os.getpid()}.partial")
    error = None
    try:
        for codecs in (_CODECS, _FALLBACK):
            error = _run(program, figure, rate, wave, partial, codecs)
            if error is None:
                os.replace(partial, video)
                break
    except OSError as failure:  # it cannot be started, or a full disk
        return str(failure)
    finally:
        partial.unlink(missing_ok=True)
    return error


def _run(
    program: str,
    figure: Skeleton,
    rate: float,
    wave: Path,
    video: Path,
    codecs: Sequence[str],
) -> str | None:
    pictures = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{SIZE}x{SIZE}")
    command = [program, "-y", "-loglevel", "error"]
    command += [*pictures, "-framerate", f"{rate:g}", "-i", "pipe:0", "-i", str(wave)]
    command += [*codecs, "-f", "mp4", str(video)]
    with tempfile.TemporaryFile() as log:  # a pipe might fill up and stop it
        # no buffer: what could not be written is not written at the end either
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, bufsize=0
        ) as process:
            try:
                for picture in frames_of(figure):
                    _write_all(process.stdin, picture.tobytes())
            except BrokenPipeError:
                pass  # it ended early; its own words say why
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
    if process.returncode == 0 and video.exists():
        return None
    said = lines[-1] if lines else "no message"
    return f"{program} ended with {process.returncode}: {said}"


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[pipe.write(left) :]
