"""Sound files -> one channel at one rate and one length."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.data import marks, sound_heads
from cdcd_jax.data.folders import check_options
from cdcd_jax.data.sources import Unreadable
from cdcd_jax.errors import UsageError

# of a source of sound files: what an example is
OPTIONS: dict[str, Any] = {
    "sample_rate": 22050,  # Hz
    "seconds": 2.0,  # of an example
    "length": 0,  # the same in samples; 0: as `seconds` says
    "peak": 0.0,  # scale each file to this largest magnitude; 0: leave it
    "amplitude": True,  # augmented views are 0.3 to 1 times as loud
    "latest": 0.0,  # seconds; augmented views of shorter files begin up to then
}

# Of formats of libsndfile that are not called like the file's suffix, or not only.
_SUFFIXES = {
    "AIFF": (".aif", ".aifc", ".aiff"),
    "AU": (".au", ".snd"),
    "IRCAM": (".sf",),
    "MAT4": (),  # arrays
    "MAT5": (),
    "MPC2K": (),  # .mpc is another format as a rule
    "NIST": (".nist", ".sph"),
    "OGG": (".ogg", ".oga"),
    "RAW": (),  # has no head that says what it is
    "SVX": (".8svx", ".svx", ".iff"),
    "WAV": (".wav", ".wave", ".bwf"),
}
_HEAD = 1 << 16  # bytes that tell what a file is
_DELAY = 4 * 1152  # samples at both ends of an mp3 that decoders leave out
AMPLITUDE = (0.3, 1.0)  # the reference's range of random loudness (aist_dataset.py)


def suffixes() -> set[str]:
    """Those (".wav") of all that libsndfile decodes here: not of .m4a or .wma."""
    import soundfile  # not needed by the core

    known = {
        suffix
        for kind in soundfile.available_formats()
        for suffix in _SUFFIXES.get(kind, (f".{kind.lower()}",))
    }
    return known | {".opus"} if "OPUS" in soundfile.available_subtypes("OGG") else known


def read(
    path: str | os.PathLike[str], start: float = 0.0, seconds: float | None = None
) -> tuple[np.ndarray, int]:
    """The file's sound, float32 [S] in [-1, 1], and its rate in Hz.

    Channels are averaged. Files of floats may exceed 1: what is read is then divided by
    its peak, which keeps its shape.

    Args:
        path: a file that libsndfile decodes.
        start: of the part to read, in seconds.
        seconds: its length (less where the file ends); None is all.

    Raises:
        Unreadable: missing, not a sound file, truncated, without samples (in the part),
            or with NaN or infinity.
    """
    import soundfile  # not needed by the core

    name = str(path)
    if not os.path.isfile(path):
        raise Unreadable(name, "no such file")
    try:
        known = sound_heads.look(path)
        if known.fault:
            raise Unreadable(name, known.fault)
        with open(path, "rb") as content:
            part = sound_heads.Part(content, known)
            with soundfile.SoundFile(part) as file:
                if file.format not in known.formats:
                    raise Unreadable(
                        name,
                        f"read as {file.format}, which does not say how long it is: "
                        f"{sound_heads.ANEW}",
                    )
                rate, inexact = file.samplerate, file.format in ("MP3", "MPEG")
                frames = _frames(name, file.frames, known.samples, inexact)
                first = min(round(start * rate), frames)
                if first and file.seekable():
                    file.seek(first)
                elif first:
                    file.read(first)
                count = frames - first
                if seconds is not None:
                    count = min(count, round(seconds * rate))
                wave = file.read(count, dtype="float32", always_2d=True)
    except MemoryError as error:
        raise Unreadable(name, "a length that cannot be") from error
    except soundfile.SoundFileError as error:
        said = getattr(error, "error_string", str(error))
        with open(path, "rb") as content:
            said = marks.called(content.read(_HEAD)) or said
        raise Unreadable(name, f"not a whole sound file ({said})") from error
    except OSError as error:
        raise Unreadable(name, error.strerror or "cannot be read") from error
    except (RuntimeError, ValueError) as error:
        raise Unreadable(name, f"not a whole sound file ({error})") from error
    if not len(wave):
        raise Unreadable(name, "no samples")
    promised = min(count, known.samples - _DELAY - first) if inexact else count
    if len(wave) < promised:
        raise Unreadable(name, f"truncated: {len(wave)} of {promised} samples")
    if not np.isfinite(wave).all():
        raise Unreadable(name, "samples that are NaN or infinite")
    mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1, dtype=np.float32)
    peak = np.abs(mono).max()
    return np.ascontiguousarray(mono / peak if peak > 1 else mono), int(rate)


def _frames(name: str, found: int, counted: int, inexact: bool) -> int:
    """Samples to read: those that libsndfile finds, of those that were counted."""
    if counted > found + (_DELAY if inexact else 0):
        raise Unreadable(
            name,
            f"libsndfile finds {found} of {counted} samples, since no head counts "
            "them: write it anew, as `ffmpeg -c copy` does",
        )
    return min(found, counted) if counted and not inexact else found


def check(options: Mapping[str, Any]) -> None:
    """Raises UsageError for bad values of `OPTIONS`."""
    check_options(options, positive=["sample_rate", "seconds"])
    limits = (("length", 0, 2**31), ("peak", 0, 1), ("latest", 0, 3600))
    for name, low, high in limits:
        if not low <= options[name] <= high:
            raise UsageError(
                f"Found data.options.{name} = {options[name]!r}; expected a number "
                f"from {low} to {high}; correct it."
            )


def length_of(options: Mapping[str, Any]) -> int:
    """Samples of an example, as `OPTIONS` say."""
    return options["length"] or round(options["seconds"] * options["sample_rate"])


def media(options: Mapping[str, Any]) -> dict[str, Any]:
    """What examples are, for the card of a source."""
    rate = options["sample_rate"]
    return {"kind": "audio", "shape": [length_of(options)], "sample_rate": rate}


def load(
    path: str | os.PathLike[str],
    options: Mapping[str, Any],
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A file as `OPTIONS` say, float32 [length]; with `rng` an augmented view of it.

    Raises:
        Unreadable: see `read`.
    """
    wave, rate = read(path)
    wave = resample(wave, rate, options["sample_rate"])
    if options["peak"]:
        wave = scale_to_peak(wave, options["peak"])
    latest = round(options["latest"] * options["sample_rate"])
    return fit(wave, length_of(options), rng, options["amplitude"], latest)


def resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """The wave [S] at `target` Hz, float32 [ceil(S * target / rate)].

    soxr's high quality, through librosa. Ringing beyond [-1, 1] is cut off.
    """
    if rate == target:
        return np.asarray(wave, np.float32)
    import librosa  # slow to import

    wave = librosa.resample(wave, orig_sr=rate, target_sr=target, res_type="soxr_hq")
    return np.clip(wave, -1, 1).astype(np.float32)


def fit(
    wave: np.ndarray,
    length: int,
    rng: np.random.Generator | None = None,
    amplitude: bool = True,
    latest: int = 0,
) -> np.ndarray:
    """`length` samples of the wave [S], float32 [length].

    A longer wave is cut: its centre, or a random part with `rng`. A shorter one gets
    zeros at its end, and with `rng` at its start too, at most `latest`. With `rng` and
    `amplitude` the result is multiplied by a random number in [0.3, 1], as the
    reference does.
    """
    room = len(wave) - length
    onset = 0
    if room > 0:
        start = room // 2 if rng is None else int(rng.integers(room + 1))
        wave = wave[start : start + length]
    elif rng is not None and latest:
        onset = int(rng.integers(min(latest, -room) + 1))
    fitted = np.zeros(length, np.float32)
    fitted[onset : onset + len(wave)] = wave
    if rng is not None and amplitude:
        fitted *= np.float32(rng.uniform(*AMPLITUDE))
    return fitted


def scale_to_peak(wave: np.ndarray, peak: float) -> np.ndarray:
    """The wave [S] scaled so that its largest magnitude is `peak`; silence stays."""
    loudest = np.abs(wave).max()
    return wave if loudest == 0 else (wave * (peak / loudest)).astype(np.float32)
