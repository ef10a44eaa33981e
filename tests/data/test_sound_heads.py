"""Lengths that sound files say, as writers leave them, and what is left of them."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import audio, sound_frames
from cdcd_jax.data.sources import Unreadable

RAW = (np.sin(np.arange(2205) / 20) * 9000).astype("<i2").tobytes()
FMT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 22050, 44100, 2, 16)
EXTENSIBLE = struct.pack("<4sIHHIIHH", b"fmt ", 40, 0xFFFE, 1, 22050, 44100, 2, 16)
EXTENSIBLE += struct.pack("<HHI", 22, 16, 4) + bytes.fromhex(
    "0100000000001000800000aa00389b71"
)


def chunk(name: bytes, content: bytes, pad: bool = True) -> bytes:
    return (
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2 & pad)
    )


def wav(riff=None, data=None, before=b"", after=b"", fmt=FMT, raw=RAW) -> bytes:
    body = b"WAVE" + fmt + before + b"data"
    body += struct.pack("<I", len(raw) if data is None else data) + raw + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


WHOLE = {
    "as the standard has it": wav(),
    "ffmpeg to a pipe": wav(0xFFFFFFFF, 0xFFFFFFFF),
    "SoX to a pipe": wav(0x7FFFF024, 0x7FFFF000),
    "arecord to a pipe": wav(0x80000024, 0x80000000),
    "a size of the whole that is too large": wav(riff=len(wav())),
    "a size of the whole of 0": wav(riff=0),
    "a list before": wav(before=chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0")),
    "an odd chunk": wav(before=chunk(b"JUNK", b"abc")),
    "bext before": wav(before=chunk(b"bext", bytes(602))),
    "id3 after": wav(after=chunk(b"id3 ", b"ID3")),
    "extensible": wav(fmt=EXTENSIBLE),
}


@pytest.mark.parametrize("name", WHOLE)
def test_wavs_in_the_wild(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(WHOLE[name])
    wave, rate = audio.read(file)
    assert rate == 22050
    expected = np.frombuffer(RAW, "<i2") / np.float32(32768)
    np.testing.assert_array_equal(wave[: len(expected)], expected)
    assert len(wave) == len(expected)


@pytest.mark.parametrize(
    "name", ["as the standard has it", "an odd chunk", "extensible"]
)
@pytest.mark.parametrize("lost", [1, 2, 100, len(RAW) - 2])
def test_a_truncated_wav(name: str, lost: int, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(WHOLE[name][:-lost])
    with pytest.raises(Unreadable, match=r"truncated: \d+ of \d+ bytes of sound"):
        audio.read(file)


def mp3(path: Path, rate: int = 22050, channels: int = 1, seconds: float = 2) -> bytes:
    wave = 0.5 * np.sin(np.arange(int(rate * seconds)) / 20)
    wave = np.stack([wave] * channels, axis=1).astype(np.float32)
    soundfile.write(path, wave, rate, format="MP3")
    return path.read_bytes()


MPEG = [(44100, 1), (44100, 2), (22050, 1), (24000, 2), (16000, 1), (8000, 1)]


TAGS = [(b"", b""), (b"ID3\4\0\0\0\0\1\0" + bytes(128), b"TAG" + bytes(125))]


@pytest.mark.parametrize(("rate", "channels"), MPEG)
@pytest.mark.parametrize(("before", "after"), TAGS, ids=["bare", "tags"])
def test_mp3_whole_and_truncated(rate, channels, before, after, tmp_path: Path) -> None:
    file = tmp_path / "x.mp3"
    data = mp3(file, rate, channels)
    file.write_bytes(before + data + after)
    wave, found = audio.read(file)
    assert found == rate and abs(len(wave) - 2 * rate) < 3000
    for share in (0.5, 0.9, 0.97):
        file.write_bytes(before + data[: int(len(data) * share)])
        with pytest.raises(Unreadable, match="truncated"):
            audio.read(file)


def frames(data: bytes) -> list[bytes]:
    """The frames of an mp3."""
    found, at = [], 0
    while known := sound_frames.frame(data, at):
        found.append(data[at : at + known[0]])
        at += known[0]
    return found


def test_mp3_without_a_head_that_counts(tmp_path: Path) -> None:
    """Frames of one size tell the length; of several, libsndfile guesses too little."""
    file = tmp_path / "x.mp3"
    _, *own = frames(mp3(file, 44100))
    file.write_bytes(b"".join(own))
    with pytest.raises(Unreadable, match=r"finds 14\d\d\d of 8\d\d\d\d samples"):
        audio.read(file)
    largest = max(own, key=len)
    file.write_bytes(largest * 50)
    assert len(audio.read(file)[0]) >= 45 * 1152
    file.write_bytes((largest * 50)[:-7])
    with pytest.raises(Unreadable, match=r"a frame of .* at the end"):
        audio.read(file)


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


def test_an_ogg_that_ends_with_a_page_but_not_the_last(tmp_path: Path) -> None:
    file = tmp_path / "x.ogg"
    wave = 0.5 * np.random.default_rng(0).uniform(-1, 1, 20 * 24000).astype(np.float32)
    soundfile.write(file, wave, 24000)
    data = file.read_bytes()
    file.write_bytes(data[: data.rindex(b"OggS")])
    with pytest.raises(Unreadable, match="a stream without its last page"):
        audio.read(file)
    file.write_bytes(data + b"TAG" + bytes(125))  # behind it may be others' notes
    assert len(audio.read(file)[0]) == len(wave)
