"""Tests of reading, resampling and cutting sound."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import audio
from cdcd_jax.data.sources import Unreadable


def tone(rate: int, seconds: float, pitch: float = 220.0) -> np.ndarray:
    at = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * at)).astype(np.float32)


FORMATS = {
    ".aif": ("AIFF", None),
    ".au": ("AU", None),
    ".caf": ("CAF", None),
    ".opus": ("OGG", "OPUS"),
    ".rf64": ("RF64", None),
    ".svx": ("SVX", None),
    ".voc": ("VOC", None),
    ".w64": ("W64", None),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_that_libsndfile_reads_too(tmp_path: Path, suffix: str) -> None:
    assert suffix in audio.suffixes()
    kind, subtype = FORMATS[suffix]
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, tone(48000, 0.25), 48000, subtype, format=kind)
    found, rate = audio.read(path)
    assert rate == 48000 and abs(len(found) - 12000) < 400
    assert 0.45 < np.abs(found).max() < 0.55
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(Unreadable, match=r"truncated|not a whole"):
        audio.read(path)


def test_suffixes_are_those_of_the_library() -> None:
    known = audio.suffixes()
    assert {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus"} <= known
    assert not {".m4a", ".wma", ".mat4", ".raw", ".txt"} & known


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    wave = tone(22050, 0.5)
    soundfile.write(path, wave, 22050)
    found, rate = audio.read(path)
    assert rate == 22050 and found.dtype == np.float32 and found.ndim == 1
    lossless = suffix in (".wav", ".flac")
    assert abs(len(found) - len(wave)) <= (0 if lossless else 2400)
    if lossless:
        np.testing.assert_allclose(found, wave, atol=1e-4)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(8000, 0.1), tone(8000, 0.1, 330.0)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], 1), 8000, "FLOAT")
    found, _ = audio.read(tmp_path / "x.wav")
    np.testing.assert_allclose(found, (left + right) / 2, atol=1e-6)


def test_loud_floats_are_scaled_into_range(tmp_path: Path) -> None:
    wave = 4 * tone(8000, 0.1)
    soundfile.write(tmp_path / "x.wav", wave, 8000, "FLOAT")
    found, _ = audio.read(tmp_path / "x.wav")
    np.testing.assert_allclose(found, wave / np.abs(wave).max(), atol=1e-6)


def test_part_of_a_file(tmp_path: Path) -> None:
    wave = tone(8000, 1.0)
    soundfile.write(tmp_path / "x.wav", wave, 8000, "FLOAT")
    found, _ = audio.read(tmp_path / "x.wav", start=0.25, seconds=0.5)
    np.testing.assert_array_equal(found, wave[2000:6000])
    found, _ = audio.read(tmp_path / "x.wav", start=0.75, seconds=0.5)
    np.testing.assert_array_equal(found, wave[6000:])
    with pytest.raises(Unreadable, match="no samples"):
        audio.read(tmp_path / "x.wav", start=1.5, seconds=0.5)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_unreadable_files(tmp_path: Path) -> None:
    def refuse(path: Path, match: str) -> None:
        with pytest.raises(Unreadable, match=match) as caught:
            audio.read(path)
        assert caught.value.name == str(path)

    refuse(tmp_path / "none.wav", "no such file")
    refuse(tmp_path, "no such file")
    refuse(write_bytes(tmp_path / "empty.wav", b""), "0 bytes")
    refuse(write_bytes(tmp_path / "text.wav", b"not a sound"), "not a whole sound")
    path = tmp_path / "zero.wav"
    soundfile.write(path, np.zeros(0), 8000)
    refuse(path, "no samples")
    for value in (np.nan, np.inf):
        path = tmp_path / "nan.wav"
        soundfile.write(path, np.array([0.0, value, 0.0]), 8000, "FLOAT")
        refuse(path, "NaN or infinite")


def test_truncated_files_are_unreadable(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 4000)
    for suffix in (".wav", ".flac"):
        path = tmp_path / f"x{suffix}"
        soundfile.write(path, noise, 8000)
        data = path.read_bytes()
        for length in (5, 30, len(data) // 2, len(data) - 500):
            write_bytes(path, data[:length])
            with pytest.raises(Unreadable):
                audio.read(path)


def test_wav_of_a_pipe_has_no_length(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(8000, 0.1), 8000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 2**32 - 1)
    found, _ = audio.read(write_bytes(path, bytes(data)))
    assert len(found) == 800


def test_damaged_files_never_crash(tmp_path: Path) -> None:
    """Flipped bytes give finite sound or Unreadable, nothing else."""
    rng = np.random.default_rng(0)
    for suffix, subtype in ((".wav", "PCM_16"), (".wav", "FLOAT"), (".flac", "PCM_16")):
        path = tmp_path / f"x{suffix}"
        soundfile.write(path, tone(8000, 0.05), 8000, subtype)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            changed = data.copy()
            changed[rng.integers(min(len(data), 100), size=3)] = rng.integers(0, 256, 3)
            try:
                wave, rate = audio.read(write_bytes(path, changed.tobytes()))
            except Unreadable:
                continue
            assert np.abs(wave).max() <= 1 and rate > 0


def test_resample_keeps_the_tone() -> None:
    wave = tone(48000, 0.5)
    found = audio.resample(wave, 48000, 22050)
    assert found.shape == (11025,) and found.dtype == np.float32
    inner = slice(500, -500)
    np.testing.assert_allclose(found[inner], tone(22050, 0.5)[inner], atol=2e-3)
    assert audio.resample(wave, 48000, 48000) is wave
    square = np.sign(tone(8000, 0.2) + 1e-6).astype(np.float32)
    assert np.abs(audio.resample(square, 8000, 22050)).max() <= 1


def test_fit() -> None:
    wave = np.linspace(0.1, 1, 10, dtype=np.float32)
    np.testing.assert_array_equal(audio.fit(wave, 4), wave[3:7])
    np.testing.assert_array_equal(audio.fit(wave, 12), [*wave, 0, 0])
    starts = set()
    for seed in range(60):
        found = audio.fit(wave, 4, np.random.default_rng(seed), amplitude=False)
        start = int(np.searchsorted(wave, found[0]))
        np.testing.assert_array_equal(found, wave[start : start + 4])
        starts.add(start)
    assert starts == set(range(7))


def test_fit_draws_an_onset_in_the_room_that_there_is() -> None:
    wave = np.linspace(0.1, 1, 10, dtype=np.float32)
    for room, latest, onsets in ((2, 5, {0, 1, 2}), (6, 3, {0, 1, 2, 3}), (6, 0, {0})):
        found = set()
        for seed in range(60):
            rng = np.random.default_rng(seed)
            view = audio.fit(wave, 10 + room, rng, amplitude=False, latest=latest)
            onset = int(np.flatnonzero(view)[0])
            np.testing.assert_array_equal(view[onset : onset + 10], wave)
            assert np.count_nonzero(view) == 10
            found.add(onset)
        assert found == onsets
    np.testing.assert_array_equal(audio.fit(wave, 12, latest=2)[:10], wave)


def test_fit_draws_loudness() -> None:
    wave = np.ones(4, np.float32)
    found = [audio.fit(wave, 4, np.random.default_rng(i))[0] for i in range(200)]
    assert 0.3 <= min(found) < 0.35 and 0.95 < max(found) <= 1


def test_scale_to_peak() -> None:
    wave = np.array([0.1, -0.2], np.float32)
    np.testing.assert_allclose(audio.scale_to_peak(wave, 0.95), [0.475, -0.95])
    assert not audio.scale_to_peak(np.zeros(3, np.float32), 0.95).any()
