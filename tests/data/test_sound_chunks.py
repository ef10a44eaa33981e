"""Wavs and aiffs as writers leave them, and what is left of them."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import audio
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


def rf64(mark=b"RF64", riff=None, data=None, **other) -> bytes:
    """Sizes in a chunk of their own; those of 32 bits say nothing."""
    plain = wav(**other)
    sizes = len(plain) + 36 if riff is None else riff, data or len(RAW), 0, 0
    body = b"WAVE" + chunk(b"ds64", struct.pack("<QQQI", *sizes)) + plain[12:]
    at = body.index(b"data" + struct.pack("<I", len(RAW))) + 4
    return mark + b"\xff" * 4 + body[:at] + b"\xff" * 4 + body[at + 4 :]


LIST = b"INFOISFT\x05\0\0\0Lavf\0"  # an odd one inside, which nothing fills up
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
    "a length of 0": wav(data=0),
    "lengths of 0": wav(riff=0, data=0),
    "a length of 0 and a whole without sound": wav(riff=36, data=0),
    "a length of 0 of a pipe": wav(riff=0xFFFFFFFF, data=0),
    "an odd chunk that nothing fills up": wav(before=chunk(b"JUNK", b"abc", False)),
    "an odd list that nothing fills up": wav(before=chunk(b"LIST", LIST, False)),
    "an odd bext that nothing fills up": wav(before=chunk(b"bext", bytes(603), False)),
    "two odd ones, one filled up": wav(
        before=chunk(b"JUNK", b"abc", False) + chunk(b"LIST", LIST)
    ),
    "an odd chunk that a letter fills up": wav(
        before=chunk(b"JUNK", b"abc", False) + b"x"
    ),
    "junk after": wav(after=b"junk" * 9),
    "a tag before": b"ID3\4\0\0\0\0\1\0" + bytes(128) + wav(),
    "a length that counts the file's head": wav(data=len(RAW) + 44),
    "a length that counts a head without its first 8": wav(data=len(RAW) + 36),
    "a length that counts 8 more": wav(data=len(RAW) + 8),
    "RF64": rf64(),
    "RF64 with a whole that is too large": rf64(riff=10**9),
    "RF64 with a whole of 0": rf64(riff=0),
    "RF64 of a pipe": rf64(riff=2**64 - 1, data=2**64 - 1),
    "RF64 with an odd chunk": rf64(before=chunk(b"JUNK", b"abc", False)),
    "BW64": rf64(b"BW64"),
    "BW64 with a whole that is too large": rf64(b"BW64", riff=len(RAW) * 3),
    "BW64 with metadata": rf64(b"BW64", after=chunk(b"axml", b"<x/>")),
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
    "name",
    [
        *("as the standard has it", "an odd chunk", "extensible", "RF64", "BW64"),
        *("an odd chunk that nothing fills up", "RF64 with a whole that is too large"),
        "BW64 with a whole that is too large",
    ],
)
@pytest.mark.parametrize("lost", [1, 2, 8, 36, 44, 100, len(RAW) - 2])
def test_a_truncated_wav(name: str, lost: int, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(WHOLE[name][:-lost])
    with pytest.raises(Unreadable, match=r"truncated: \d+ of \d+ bytes of sound"):
        audio.read(file)


@pytest.mark.parametrize(
    "name", ["a length of 0", "ffmpeg to a pipe", "RF64 of a pipe"]
)
def test_a_pipe_that_breaks_within_a_sample(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(WHOLE[name][:-1])
    with pytest.raises(Unreadable, match="truncated: 1 of 2 bytes of a last sample"):
        audio.read(file)


EMPTY = {
    "nothing": wav(raw=b""),
    "nothing but a note": wav(raw=b"", after=chunk(b"LIST", LIST)),
    "nothing but notes": wav(
        raw=b"", after=chunk(b"abcd", b"xyz") + chunk(b"id3 ", b"I")
    ),
    "nothing, of a pipe": wav(data=0xFFFFFFFF, raw=b""),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_sound(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(EMPTY[name])
    with pytest.raises(Unreadable, match="no samples"):
        audio.read(file)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (wav()[:36], "ends before its sound begins"),
        (wav(before=b"JUNK\xff\xff\0\0"), "ends before its sound begins"),
        (wav(fmt=b""), "no chunk 'fmt ' before its sound"),
        (wav(fmt=FMT[:12]), "before its sound"),
        (rf64(data=len(RAW) + 2), f"{len(RAW)} of {len(RAW) + 2} bytes"),
    ],
)
def test_no_way_to_the_sound(data: bytes, match: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(data)
    with pytest.raises(Unreadable, match=match):
        audio.read(file)


def test_a_wav_beyond_32_bits(tmp_path: Path) -> None:
    """4 GiB that take no place on the disk; by one byte less they are truncated."""
    file, size = tmp_path / "x.wav", 2**32 + 2**20
    sizes = struct.pack("<QQQI", size + 80, size, size // 2, 0)
    with open(file, "wb") as content:
        content.write(b"RF64" + b"\xff" * 4 + b"WAVE" + chunk(b"ds64", sizes) + FMT)
        content.write(b"data" + b"\xff" * 4)
        content.truncate(content.tell() + size)
        content.seek(-len(RAW), 2)
        content.write(RAW)
    wave, _ = audio.read(file, start=size / 2 / 22050 - 0.1)
    np.testing.assert_array_equal(wave, np.frombuffer(RAW, "<i2") / np.float32(32768))
    with open(file, "r+b") as content:
        content.truncate(file.stat().st_size - 1)
    with pytest.raises(Unreadable, match=f"{size - 1} of {size} bytes of sound"):
        audio.read(file, seconds=0.1)


def aiff(tmp_path: Path, channels: int = 1, coding: str = "PCM_16") -> bytes:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1001, channels))
    soundfile.write(tmp_path / "x.aif", wave, 8000, coding, format="AIFF")
    return (tmp_path / "x.aif").read_bytes()


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24", "FLOAT", "IMA_ADPCM", "GSM610"])
def test_aiff_whole_and_one_byte_short(coding: str, tmp_path: Path) -> None:
    file = tmp_path / "x.aif"
    data = aiff(tmp_path, coding=coding)
    assert 1001 <= len(audio.read(file)[0]) < 1200
    if coding == "PCM_24":  # 3,003 bytes: one fills up
        data = data[:-1]
        file.write_bytes(data)
        assert len(audio.read(file)[0]) == 1001
    file.write_bytes(data[:-1])
    with pytest.raises(Unreadable, match=r"truncated: \d+ of \d+ bytes of sound"):
        audio.read(file)


def test_loose_aiffs(tmp_path: Path) -> None:
    file, data = tmp_path / "x.aif", aiff(tmp_path)
    common, sound = data.index(b"COMM"), data.index(b"SSND")
    count = slice(common + 10, common + 14)
    size = slice(sound + 4, sound + 8)

    def changed(*parts: tuple[slice, int]) -> None:
        content = bytearray(data)
        for place, number in parts:
            content[place] = struct.pack(">I", number)
        file.write_bytes(content)

    for whole in (0, 99, 10**6):
        changed((slice(4, 8), whole))
        assert len(audio.read(file)[0]) == 1001
    changed((count, 0x7F000000), (size, 0xFE000008))  # SoX to a pipe
    assert len(audio.read(file)[0]) == 1001
    file.write_bytes(data[:12] + data[sound:] + data[12:sound])
    assert len(audio.read(file)[0]) == 1001
    changed((count, 1002))
    with pytest.raises(Unreadable, match="2010 of 2012 bytes of sound"):
        audio.read(file)
    changed((count, 0), (size, 0))
    with pytest.raises(Unreadable, match="does not say how long it is"):
        audio.read(file)


@pytest.mark.parametrize("after", [wav(), chunk(b"data", RAW)])
def test_sounds_one_behind_the_other(after: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_bytes(wav() + after)
    with pytest.raises(Unreadable, match="several sounds"):
        audio.read(file)
