"""Waveforms as files to hear and pictures to look at, for reports."""

import io
import os

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.networks.log_mel import mel_bands
from cdcd_jax.reporting.files import atomically

# A dark-to-light scale whose lightness grows evenly, as 5 colours to go between.
_COLOURS = np.array(
    [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)]
)
_RANGE = 80.0  # dB below the loudest point that are still shown


def write_wav(path: str | os.PathLike, audio: np.ndarray, rate: int) -> int:
    """Writes a mono wav file of 16 bits; it is there whole or not at all.

    Args:
        path: of the file.
        audio: float [S] in [-1, 1]. What lies outside is cut off, which the format
            cannot do without.
        rate: samples a second.

    Returns:
        How many samples were cut off.

    Raises:
        InputError: another shape, no samples, or values that are not finite.
    """
    data = wav_bytes(audio, rate)
    with atomically(path, sync=False) as file:  # a sound can be made again
        file.write(data)
    return int(np.count_nonzero(np.abs(audio) > 1.0))


def wav_bytes(audio: np.ndarray, rate: int) -> bytes:
    """A mono wav file of 16 bits; see `write_wav`."""
    import soundfile

    # 32767 steps on both sides: 1 and -1 are equally far from 0
    samples = np.rint(np.clip(_checked(audio), -1.0, 1.0) * 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def spectrogram(
    audio: np.ndarray, rate: int, height: int = 96, width: int = 600
) -> np.ndarray:
    """A log-mel spectrogram as a picture, low tones at the bottom.

    Args:
        audio: float [S].
        rate: samples a second.
        height: number of mel bands, from 0 Hz to half the rate.
        width: columns at most; one is 10 ms or, in long waveforms, longer.

    Returns:
        uint8 [height, W, 3]: 80 dB from black to yellow, the loudest point yellow;
        silence is black.

    Raises:
        InputError: another shape, no samples, or values that are not finite.
    """
    audio = _checked(audio)
    hop = max(rate // 100, -(-len(audio) // width), 1)
    n_fft = 1 << max(round(0.046 * rate), hop, 2 * height).bit_length()
    padded = np.pad(audio, (n_fft // 2, n_fft // 2 + hop))
    start = np.arange(0, len(audio), hop)
    frames = padded[start[:, None] + np.arange(n_fft)] * np.hanning(n_fft)
    power = np.abs(np.fft.rfft(frames)) ** 2 @ mel_bands(height, n_fft, rate).T
    loudest = power.max()
    if loudest < 1e-10:
        return np.zeros((height, len(start), 3), np.uint8)
    decibel = 10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE / 10)))
    place = (decibel.T[::-1] / _RANGE + 1) * (len(_COLOURS) - 1)
    channels = [
        np.interp(place, np.arange(len(_COLOURS)), c) for c in _COLOURS.T.astype(float)
    ]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _checked(audio: np.ndarray) -> np.ndarray:
    """float64 [S]."""
    audio = np.asarray(audio)
    if audio.ndim != 1 or not audio.size or audio.dtype.kind != "f":
        raise InputError(
            f"Found audio of shape {list(audio.shape)} and type {audio.dtype}; "
            "expected floats [S], S > 0; give one channel of one waveform."
        )
    if not np.isfinite(audio).all():
        raise InputError(
            f"Found {np.count_nonzero(~np.isfinite(audio))} samples that are not "
            "finite; expected numbers; look for the cause in the model or the file."
        )
    return audio.astype(np.float64)
