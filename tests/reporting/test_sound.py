"""Wav files and pictures of waveforms."""

import pathlib

import numpy as np
import pytest
import soundfile

from cdcd_jax.errors import InputError
from cdcd_jax.reporting.sound import spectrogram, write_wav

RATE = 8000


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def test_wav_is_read_back(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.wav"
    assert write_wav(path, tone(440), RATE) == 0
    audio, rate = soundfile.read(path)
    assert rate == RATE and soundfile.info(path).subtype == "PCM_16"
    np.testing.assert_allclose(audio, tone(440), atol=1 / 32000)
    first = path.read_bytes()
    write_wav(path, tone(440), RATE)  # over the old one, byte for byte
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_wav_tells_what_it_cuts_off(tmp_path: pathlib.Path) -> None:
    loud = np.array([0.5, 1.0, -1.0, 1.5, -2.0], np.float32)
    assert write_wav(tmp_path / "a.wav", loud, RATE) == 2
    audio, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    np.testing.assert_array_equal(audio, [16384, 32767, -32767, 32767, -32767])


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(0, np.float32),
        np.zeros(4, np.int16),
        np.array([0.0, np.nan], np.float32),
    ],
)
def test_bad_audio_leaves_no_file(tmp_path: pathlib.Path, audio: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        write_wav(tmp_path / "a.wav", audio, RATE)
    with pytest.raises(InputError, match="expected"):
        spectrogram(audio, RATE)
    assert not list(tmp_path.iterdir())


def test_spectrogram_shows_tones_in_order() -> None:
    rows = []
    for frequency in (200, 800, 3000):
        picture = spectrogram(tone(frequency), RATE)
        assert picture.shape == (96, 100, 3) and picture.dtype == np.uint8
        light = picture[:, 10:-10].astype(int).sum(-1).mean(1)
        rows.append(int(light.argmax()))
    assert rows[0] > rows[1] > rows[2]  # higher tones higher up
    mel = lambda f: np.log10(1 + f / 700)
    expected = [96 * (1 - mel(f) / mel(RATE / 2)) for f in (200, 800, 3000)]
    np.testing.assert_allclose(rows, expected, atol=2)


@pytest.mark.parametrize(
    ("samples", "columns"), [(1, 1), (79, 1), (81, 2), (80000, 598)]
)
def test_spectrogram_of_any_length(samples: int, columns: int) -> None:
    picture = spectrogram(np.full(samples, 0.1, np.float32), RATE)
    assert picture.shape == (96, columns, 3)
    assert picture.max() > 200


def test_spectrogram_of_silence_is_black() -> None:
    assert spectrogram(np.zeros(1000, np.float32), RATE).max() == 0
