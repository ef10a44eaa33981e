"""How long a sound file says it is: the heads of wav and mp3, the pages of ogg.

libsndfile gives what is left of such a file without a word, so that a truncated one is
found here. Heads in the wild are loose: writers to a pipe do not know the length, and
the size of the whole is often wrong where that of the sound is right.
"""

import functools
import os
import struct
from typing import BinaryIO, NamedTuple

# From here on a length means that the writer did not know it (a pipe): 0xFFFFFFFF of
# ffmpeg, 0x7FFFF000 and the like of SoX and arecord.
PIPED = 2**31 - 2**16

_RATES = (44100, 48000, 32000)  # of MPEG 1; half of it in MPEG 2, a quarter in 2.5
_BITS = {  # (MPEG 1, layer) -> kbit/s by index
    (True, 1): (0, *range(32, 449, 32)),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BITS[False, 3] = _BITS[False, 2]


class Known(NamedTuple):
    """What is known of a file by its head and its frames."""

    fault: str = ""  # what it lacks of what it says
    samples: int = 0  # that the frames of an mp3 hold; 0 where nothing is known


def look(path: str | os.PathLike[str]) -> Known:
    """Looks at a wav or an mp3; of other files nothing is known.

    Raises:
        OSError: it cannot be read.
    """
    found = os.stat(path)
    return _look(os.fspath(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # long pieces are read part by part
def _look(path: str, total: int, changed: int) -> Known:
    del changed
    with open(path, "rb") as file:
        head = file.read(12)
        if len(head) < 8:
            return Known(f"{len(head)} bytes")
        if head[:4] == b"OggS":
            return Known(_of_ogg(file, total))
        if head[:4] in (b"RIFF", b"RIFX"):
            size = "<I" if head[:4] == b"RIFF" else ">I"
            return Known(_of_wav(file, total, size))
        file.seek(0)
        start = _after_id3(file)
        file.seek(start)
        data = file.read()
    return _of_mp3(data) if _frame(data, 0) else Known()


def _of_wav(file: BinaryIO, total: int, size: str) -> str:
    """The chunk 'data' against the file."""
    place = 12
    while place + 8 <= total:
        file.seek(place)
        name, length = file.read(4), struct.unpack(size, file.read(4))[0]
        place += 8
        if name == b"data":
            if 0 < length < PIPED and place + length > total:
                return f"{total - place} of {length} bytes of sound"
            return ""
        if length >= PIPED:
            return ""
        place += length
        file.seek(place)
        if length % 2 and file.read(1) == b"\0":  # which some writers leave out
            place += 1
    return "no sound" if place > total else ""


def _of_ogg(file: BinaryIO, total: int) -> str:
    """Its pages: each whole, and the last one of each stream marked as its end."""
    place, open_streams = 0, set()
    while place < total:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS"[: len(head)]:
            break  # what others have put behind it
        sizes = file.read(head[26]) if len(head) == 27 else b""
        length = 27 + len(sizes) + sum(sizes)
        if len(head) < 27 or len(sizes) < head[26] or place + length > total:
            return f"{total - place} bytes of a last page that is longer"
        stream, place = head[14:18], place + length
        open_streams.add(stream)
        if head[5] & 4:
            open_streams.discard(stream)
    return "a stream without its last page" if open_streams else ""


def _after_id3(file: BinaryIO) -> int:
    """Where the sound begins: after tags, which may be several."""
    place = 0
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return place
        size = functools.reduce(lambda n, byte: n << 7 | byte & 127, head[6:10], 0)
        place += 10 + size + 10 * bool(head[5] & 16)  # a footer repeats the head


def _frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Of an mp3 frame its length, the bytes before a head of all, and its samples.

    None where there is no frame.
    """
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    speed, pad = _BITS[first, layer][bits] * 1000, head[2] >> 1 & 1
    if layer == 1:
        length = (12 * speed // hertz + pad) * 4
    else:
        length = (144 if first or layer == 2 else 72) * speed // hertz + pad
    mono = head[3] >> 6 == 3
    side = {(True, False): 32, (False, True): 9}.get((first, mono), 17)
    short = layer == 3 and not first
    return length, 4 + side, {1: 384}.get(layer, 576 if short else 1152)


def _of_mp3(data: bytes) -> Known:
    """Frames that are there, against the first one's own count and their own ends."""
    length, before, samples = _frame(data, 0)
    said = _said_frames(data[:length], before)
    place = length if said is not None else 0
    count = 0
    while found := _frame(data, place):
        if place + found[0] > len(data):
            left = f"{len(data) - place} of {found[0]} bytes"
            return Known(f"a frame of {left} at the end")
        place, count = place + found[0], count + 1
    if said is not None and count < said:
        return Known(f"{count} of {said} frames")
    return Known(samples=count * samples)


def _said_frames(frame: bytes, before: int) -> int | None:
    """How many frames the head of Xing, LAME or Fraunhofer says; None for no head."""
    at = before
    if frame[at : at + 4] in (b"Xing", b"Info"):
        known = len(frame) >= at + 12 and frame[at + 7] & 1
        return struct.unpack(">I", frame[at + 8 : at + 12])[0] if known else 0
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return struct.unpack(">I", frame[50:54])[0]
    return None
