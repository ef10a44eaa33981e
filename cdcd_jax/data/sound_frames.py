"""The frames of an mp3 and the pages of an ogg: whether all are there.

libsndfile gives what is left of such a file without a word, and jumps over bytes that
belong to no frame.
"""

import struct
from typing import BinaryIO

from cdcd_jax.data.sound_chunks import Known, bytes_at, cut

_RATES = (44100, 48000, 32000)  # of MPEG 1; half of it in MPEG 2, a quarter in 2.5
_BITS = {  # (MPEG 1, layer) -> kbit/s by index
    (True, 1): (0, *range(32, 449, 32)),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BITS[False, 3] = _BITS[False, 2]
_CHAIN = 4  # frames in a row that are none by chance
_NOTES = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")  # behind the frames


def of_ogg(file: BinaryIO, start: int, total: int) -> Known:
    """Its pages: each whole, and the last one of each stream marked as its end.

    Of streams one behind the other, as of a radio, libsndfile reads the first alone.
    """
    place, open_streams = start, set()
    while place < total:
        head = bytes_at(file, place, 27)
        if head[:4] != b"OggS"[: len(head)]:
            break  # what others have put behind it
        sizes = file.read(head[26]) if len(head) == 27 else b""
        length = 27 + len(sizes) + sum(sizes)
        if len(head) < 27 or len(sizes) < head[26] or place + length > total:
            return cut(f"{total - place} bytes of a last page that is longer")
        if place > start and not open_streams:
            return Known(
                "several sounds one behind the other: write them anew as one, as "
                "`ffmpeg -i` does, or as one file each"
            )
        stream, place = head[14:18], place + length
        open_streams.add(stream)
        if head[5] & 4:
            open_streams.discard(stream)
    if open_streams:
        return cut("a stream without its last page")
    return Known("", ("OGG",), begin=start, end=place)


def frame(data: bytes, at: int) -> tuple[int, int, int] | None:
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


def of_mp3(data: bytes, start: int, junk: bool) -> Known:
    """Frames that are there, against the first one's own count and their own ends.

    Args:
        data: all of the file.
        start: where its tags end.
        junk: whether other bytes may come before the first frame.
    """
    begin = _first(data, start) if junk else -1
    if begin < 0:
        begin = start  # which may be a single frame
    if not frame(data, begin):
        return Known()
    length, before, samples = frame(data, begin)
    said = _said_frames(data[begin : begin + length], before)
    place = begin + length if said is not None else begin
    count = 0
    while found := frame(data, place):
        if place + found[0] > len(data):
            return cut(f"a frame of {len(data) - place} of {found[0]} bytes at the end")
        place, count = place + found[0], count + 1
    if said is not None and count < said:
        return cut(f"{count} of {said} frames")
    if not data.startswith(_NOTES, place) and _first(data, place) >= 0:
        return Known(
            f"not a whole sound file (no frame at byte {place}, but behind it)"
        )
    if not count:
        return cut("0 frames")
    return Known("", ("MP3", "MPEG"), b"", begin, place, count * samples)


def _first(data: bytes, start: int) -> int:
    """Where a row of frames of one kind begins, from `start` on; -1 if nowhere."""
    at = data.find(b"\xff", start)
    while at >= 0:
        place, links = at, 0
        while links < _CHAIN and (found := frame(data, place)):
            if data[place + 1] & 0xFE != data[at + 1] & 0xFE:
                break
            if data[place + 2] & 0x0C != data[at + 2] & 0x0C:
                break
            place, links = place + found[0], links + 1
        ends = place >= len(data) or data.startswith(_NOTES, place)
        if links == _CHAIN or (links > 1 and ends):
            return at
        at = data.find(b"\xff", at + 1)
    return -1


def _said_frames(data: bytes, before: int) -> int | None:
    """How many frames the head of Xing, LAME or Fraunhofer says; None for no head."""
    at = before
    if data[at : at + 4] in (b"Xing", b"Info"):
        known = len(data) >= at + 12 and data[at + 7] & 1
        return struct.unpack(">I", data[at + 8 : at + 12])[0] if known else 0
    if data[36:40] == b"VBRI" and len(data) >= 54:
        return struct.unpack(">I", data[50:54])[0]
    return None
