"""Frames of mp3s and pages of oggs: all of them, or a refusal."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import audio, sound_frames
from cdcd_jax.data.sources import Unreadable


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
    file.write_bytes(data + data)  # as `cat` and radios make them
    with pytest.raises(Unreadable, match="several sounds"):
        audio.read(file)


NOISE = np.random.default_rng(0).bytes(5000)
JUNK = {
    "a byte": b"\0",
    "zeros": bytes(300),
    "many zeros": bytes(100_000),
    "random bytes": NOISE[:300],
    "many random bytes": NOISE,
    "ones": b"\xff" * 10,
    "starts of frames": b"\xff\xfb\x90\x00" * 3,
    "an answer's head": b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n",
    "a page": b"<html><body>moved</body></html>\n",
    "a tag and zeros": TAGS[1][0] + bytes(300),
    "a tag that is longer than it says": TAGS[1][0] + b"xyz" * 40,
}


@pytest.mark.parametrize("name", JUNK)
def test_mp3_behind_junk(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.mp3"
    data = mp3(file)
    file.write_bytes(JUNK[name] + data)
    assert len(audio.read(file)[0]) == 2 * 22050
    for share in (0.5, 0.9, 0.97):
        file.write_bytes(JUNK[name] + data[: int(len(data) * share)])
        with pytest.raises(Unreadable, match="truncated"):
            audio.read(file)
    _, *own = frames(data)
    file.write_bytes(JUNK[name] + (max(own, key=len) * 50)[:-7])
    with pytest.raises(Unreadable, match=r"a frame of .* at the end"):
        audio.read(file)


def test_mp3_with_junk_within_and_behind(tmp_path: Path) -> None:
    file = tmp_path / "x.mp3"
    _, *own = frames(mp3(file))
    largest = max(own, key=len)
    for behind in (bytes(5000), NOISE, b"APETAGEX" + largest * 3, b"TAG" + bytes(125)):
        file.write_bytes(largest * 50 + behind)
        assert len(audio.read(file)[0]) == 50 * 576
    file.write_bytes(largest * 25 + NOISE[:90] + largest * 25)
    with pytest.raises(Unreadable, match=r"no frame at byte \d+, but behind it"):
        audio.read(file)


@pytest.mark.parametrize(
    "data", [NOISE, bytes(3000), b"\xff" * 3000, b"\xff\xfb" * 999]
)
def test_no_mp3_at_all(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.mp3"
    file.write_bytes(data)
    with pytest.raises(Unreadable, match="not a whole sound file"):
        audio.read(file)
