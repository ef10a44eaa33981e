"""Files of every format that libsndfile writes: whole, cut, or refused by name."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import audio, sound_heads
from cdcd_jax.data.sources import Unreadable

KINDS = [
    *(("mp3", None), ("wav", None), ("flac", None), ("aiff", None)),
    *(("ogg", "VORBIS"), ("ogg", "OPUS")),
]


@pytest.mark.parametrize(("kind", "coding"), KINDS)
def test_a_part_of_a_file_is_no_sound(kind: str, coding, tmp_path: Path) -> None:
    """Noise of some seconds, so that a page or a frame is not all of it."""
    file = tmp_path / f"x.{kind}"
    wave = 0.5 * np.random.default_rng(0).uniform(-1, 1, 20 * 24000).astype(np.float32)
    soundfile.write(file, wave, 24000, subtype=coding)
    data = file.read_bytes()
    assert len(audio.read(file)[0]) >= len(wave)
    for left in (len(data) // 2, int(0.9 * len(data)), len(data) - 2):
        file.write_bytes(data[:left])
        with pytest.raises(Unreadable):
            audio.read(file)


# format -> bytes at its end that are no sound
COUNTED = {
    **dict.fromkeys(("NIST", "AVR", "WVE", "SDS", "HTK", "SVX", "CAF", "AU"), 0),
    **dict.fromkeys(("W64", "RF64", "AIFF", "WAV", "WAVEX", "FLAC"), 0),
    "VOC": 1,
}
UNCOUNTED = ("IRCAM", "PAF", "PVF", "SD2", "XI", "MPC2K", "MAT4", "MAT5")


def written(path: Path, form: str, coding: str | None = None, channels=1) -> bytes:
    """Noise of 4,000 samples."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, channels))
    if coding is None:
        codings = soundfile.available_subtypes(form)
        coding = "PCM_16" if "PCM_16" in codings else next(iter(codings))
    rate = 44100 if form == "MPC2K" else 8000
    soundfile.write(path, wave, rate, coding, format=form)
    return path.read_bytes()


def test_every_format_is_in_a_table() -> None:
    known = {*COUNTED, *UNCOUNTED, "OGG", "MP3", "RAW"}
    assert set(soundfile.available_formats()) <= known


def refused(path: Path, data: bytes, match: str) -> None:
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=match):
        audio.read(path)


@pytest.mark.parametrize("form", COUNTED)
def test_formats_that_say_how_long_they_are(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form.lower()}"
    data = written(path, form)
    assert len(audio.read(path)[0]) == 4000
    end = len(data) - COUNTED[form]
    for left in (end - 1, end - 2, int(0.9 * end), end // 2, end - 1000, 40, 9):
        refused(path, data[:left], "truncated|not a whole sound file|no length")
    if form != "HTK":  # whose size is all that tells it
        path.write_bytes(data + bytes(30))
        assert len(audio.read(path)[0]) == 4000


@pytest.mark.parametrize("form", UNCOUNTED)
def test_formats_that_do_not_are_refused_by_name(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form.lower()}"
    data = written(path, form)
    for left in (len(data), len(data) - 2, len(data) // 2 & ~3):
        refused(path, data[:left], rf"{form}.* not say how long .*as wav or flac")


@pytest.mark.parametrize("suffix", [".wav", ".dat"])
@pytest.mark.parametrize("form", ["NIST", "AVR", "IRCAM", "PAF", "PVF"])
def test_another_suffix_hides_nothing(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    data = written(path, form)
    refused(path, data[: len(data) // 2 & ~3], "truncated|not say how long")


CODED = [
    *(("AVR", "PCM_S8", 2), ("NIST", "ULAW", 1), ("NIST", "PCM_24", 2)),
    *(("NIST", "ALAW", 2), ("SDS", "PCM_S8", 1), ("SDS", "PCM_24", 1)),
    *(("VOC", "PCM_U8", 1), ("VOC", "PCM_U8", 2), ("VOC", "ALAW", 2)),
    *(("CAF", "ALAC_16", 2), ("CAF", "ALAC_24", 1), ("CAF", "ULAW", 1)),
    *(("AU", "DOUBLE", 2), ("AU", "G721_32", 1), ("W64", "GSM610", 1)),
    *(("WAV", "GSM610", 1), ("WAV", "MS_ADPCM", 2), ("WAV", "NMS_ADPCM_16", 1)),
    *(("SVX", "PCM_S8", 1), ("AIFF", "DOUBLE", 2)),
]


@pytest.mark.parametrize(("form", "coding", "channels"), CODED)
def test_codings(form: str, coding: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form.lower()}"
    data = written(path, form, coding, channels)
    wave, rate = audio.read(path)
    assert 4000 <= len(wave) <= 4600 and abs(rate - 8000) < 80
    part, _ = audio.read(path, start=0.25, seconds=0.125)
    np.testing.assert_array_equal(part, wave[round(0.25 * rate) :][: len(part)])
    for left in (len(data) - 3, int(0.9 * len(data)), len(data) // 2):
        refused(path, data[:left], "truncated|not a whole sound file")


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_au_of_a_pipe(endian: str, tmp_path: Path) -> None:
    path = tmp_path / "x.au"
    soundfile.write(path, np.full(4000, 0.25), 8000, endian=endian)
    data = path.read_bytes()
    for length in (bytes(4), b"\xff" * 4):
        path.write_bytes(data[:8] + length + data[12:])
        assert (audio.read(path)[0] == 0.25).all() and len(audio.read(path)[0]) == 4000
        refused(path, path.read_bytes()[:-1], "1 of 2 bytes of a last sample")


def test_a_flac_of_a_pipe(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "x.flac", "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    refused(tmp_path / "x.flac", data, "does not say how long it is, as from a pipe")


def test_a_voc_of_several_blocks(tmp_path: Path) -> None:
    data = written(tmp_path / "x.voc", "VOC", "PCM_U8")
    silence = b"\3\3\0\0" + struct.pack("<HB", 999, 131)[:3]
    refused(tmp_path / "x.voc", data[:-1] + silence + b"\0", "a voc of several blocks")


def test_what_libsndfile_is_given() -> None:
    """A new head, then a part of the file; its places are those of the whole."""
    known = sound_heads.Known(head=b"HEAD", begin=3, end=7)
    part = sound_heads.Part(io.BytesIO(b"0123456789"), known)
    assert part.read() == b"HEAD3456" and part.read(1) == b""
    assert part.seek(-6, io.SEEK_END) == 2 and part.read(4) == b"AD34"
    assert part.tell() == 6 and part.seek(1, io.SEEK_CUR) == 7
    assert part.read(9) == b"6" and part.seek(20) == 20 and part.read(1) == b""
