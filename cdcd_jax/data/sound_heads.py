"""How long a sound file says it is, and the part of it that libsndfile is to read.

libsndfile gives what is left of a truncated file, without a word in most formats, so
that lengths are compared here, of each format that states one. Files of the others are
not read: half of one looks whole.
"""

import functools
import io
import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from cdcd_jax.data import sound_chunks, sound_frames
from cdcd_jax.data.sound_chunks import Known, bytes_at, cut, until

_FIELD = re.compile(rb"^(\w+) -i (\d+)\s*$", re.MULTILINE)  # of a NIST head
_AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # coding -> bytes
_VOC_WIDTHS = {0: 1, 4: 2, 6: 1, 7: 1}  # of a sample
ANEW = "write it anew as wav or flac"


class Part:
    """What libsndfile reads of a file: a new head, and bytes from `begin` to `end`."""

    def __init__(self, file: BinaryIO, known: Known) -> None:
        self._file, self._head, self._at = file, known.head, 0
        self._skip = known.begin - len(known.head)
        self._size = known.end - self._skip

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The new place, which may be behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, less at the end; -1 is all."""
        left = max(self._size - self._at, 0)
        count = left if count < 0 else min(count, left)
        data = self._head[self._at : self._at + count]
        if len(data) < count:
            self._file.seek(self._at + len(data) + self._skip)
            data += self._file.read(count - len(data))
        self._at += len(data)
        return data


def look(path: str | os.PathLike[str]) -> Known:
    """What the head of a file says, compared with the file.

    Raises:
        OSError: it cannot be read.
    """
    found = os.stat(path)
    return _look(os.fspath(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # long pieces are read part by part
def _look(path: str, total: int, changed: int) -> Known:
    del changed
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".sd2":
        return Known(f"an SD2 file does not say how long it is: {ANEW}")
    with open(path, "rb") as file:
        if total < 8:
            return cut(f"{total} bytes")
        start = _after_id3(file)
        head = bytes_at(file, start, 24)
        for mark, walk in _WALKS.items():
            if head.startswith(mark):
                return walk(file, start, total)
        data = bytes_at(file, 0, -1) if suffix == ".mp3" or head[:1] == b"\xff" else b""
    known = sound_frames.of_mp3(data, start, suffix == ".mp3")
    # libsndfile itself compares the size of an HTK file with its head
    return known if any(known) else Known("", ("HTK",), begin=start, end=total)


def _after_id3(file: BinaryIO) -> int:
    """Where the sound begins: after tags, which may be several."""
    place = 0
    while True:
        head = bytes_at(file, place, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            return place
        size = functools.reduce(lambda n, byte: n << 7 | byte & 127, head[6:10], 0)
        place += 10 + size + 10 * bool(head[5] & 16)  # a footer repeats the head


def _of_flac(file: BinaryIO, start: int, total: int) -> Known:
    """libsndfile finds a truncated one, but not where its head counts nothing."""
    sizes = bytes_at(file, start + 21, 5)
    if len(sizes) < 5:
        return cut(f"{total - start} bytes")
    if not (sizes[0] & 15 or any(sizes[1:])):
        return Known(
            "a flac that does not say how long it is, as from a pipe: write it anew, "
            "as `ffmpeg -i` does to a file"
        )
    return Known("", ("FLAC",), begin=start, end=total)


def _of_au(file: BinaryIO, start: int, total: int) -> Known:
    head = bytes_at(file, start, 24)
    if len(head) < 24:
        return cut(f"{total - start} bytes")
    order = ">" if head[:1] == b"." else "<"
    skip, length, coding, _, channels = struct.unpack(order + "5I", head[4:])
    begin, head = start + skip, head[:12]
    if length in (0, 2**32 - 1):  # the writer to a pipe did not know it
        length, head = max(total - begin, 0), head[:8] + b"\xff" * 4
        align = channels * _AU_WIDTHS.get(coding, 0)
        if align and length % align:
            return cut(f"{length % align} of {align} bytes of a last sample")
    return until(begin, length, total, "AU", start + 12, head)


def _of_nist(file: BinaryIO, start: int, total: int) -> Known:
    head = bytes_at(file, start, 16)[8:16]
    if not head.strip().isdigit():
        return cut("no length of its head")
    begin = int(head)
    content = bytes_at(file, start, min(begin, total))
    if len(content) < begin:
        return cut(f"{len(content)} of {begin} bytes of its head")
    fields = dict(_FIELD.findall(content))
    if re.search(rb"^sample_coding -s\d+ (u|a|mu-)law\s*$", content, re.MULTILINE):
        fields.setdefault(b"sample_n_bytes", b"1")
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    missing = [name.decode() for name in names if name not in fields]
    if missing:
        return Known(f"a NIST file without {missing[0]} in its head: {ANEW}")
    samples, channels, width = (int(fields[name]) for name in names)
    length = samples * channels * width
    return until(start + begin, length, total, "NIST", start)


def _of_avr(file: BinaryIO, start: int, total: int) -> Known:
    head = bytes_at(file, start + 12, 18)
    if len(head) < 18:
        return cut(f"{total - start} bytes")
    stereo, bits, samples = struct.unpack(">HH10xI", head)
    length = samples * (2 if stereo else 1) * ((bits + 7) // 8)
    return until(start + 128, length, total, "AVR", start)


def _of_wve(file: BinaryIO, start: int, total: int) -> Known:
    head = bytes_at(file, start + 18, 4)
    length = struct.unpack(">I", head)[0] if len(head) == 4 else 1
    return until(start + 32, length, total, "WVE", start)


def _of_voc(file: BinaryIO, start: int, total: int) -> Known:
    """Its blocks; libsndfile takes the first one of sound and all that follows."""
    head = bytes_at(file, start + 20, 2)
    place = start + (struct.unpack("<H", head)[0] if len(head) == 2 else total)
    sounds = channels = width = samples = 0
    while place < total and (kind := bytes_at(file, place, 1)[0]):
        head = bytes_at(file, place + 1, 15)
        length = int.from_bytes(head[:3], "little")
        if kind == 8:  # says more of the next block
            channels = head[6] + 1 if len(head) > 6 else 0
        if kind in (1, 2, 3, 6, 9):
            sounds += 1
        if kind == 9:
            channels, width = (
                (head[8], _VOC_WIDTHS.get(head[9])) if head[14:] else (0, 0)
            )
        if kind in (1, 9):
            size = (channels or 1) * ((width if kind == 9 else 1) or 0)
            samples = (length - (12 if kind == 9 else 2)) // size if size else 0
        place += 4 + length
        if place > total:
            return cut(f"{total - place + length} of {length} bytes of a block")
    if not sounds:
        return cut("no block of sound")
    if sounds > 1 or samples <= 0:
        return Known(f"a voc of several blocks or of another coding: {ANEW}")
    return Known("", ("VOC",), b"", start, min(place + 1, total), samples)


def _of_sds(file: BinaryIO, start: int, total: int) -> Known:
    """21 bytes, and packets of 127 with 120 of sound, 2 to 4 a sample."""
    head = bytes_at(file, start, 13)
    if len(head) < 13:
        return cut(f"{total - start} bytes")
    samples = head[10] | head[11] << 7 | head[12] << 14
    of_packet = 120 // max((head[6] + 6) // 7, 1)
    packets = -(-samples // of_packet) if of_packet else 0
    return until(start + 21, 127 * packets, total, "SDS", start)


def _without_length(name: str) -> Callable[[BinaryIO, int, int], Known]:
    known = Known(f"files of the format {name} do not say how long they are: {ANEW}")
    return lambda file, start, total: known


_WALKS: dict[bytes, Callable[[BinaryIO, int, int], Known]] = {
    b"OggS": sound_frames.of_ogg,
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), sound_chunks.of_wav),
    b"FORM": sound_chunks.of_form,
    b"caff": sound_chunks.of_caf,
    b"riff": sound_chunks.of_w64,
    b"fLaC": _of_flac,
    **dict.fromkeys((b".snd", b"dns."), _of_au),
    b"NIST_1A": _of_nist,
    b"2BIT": _of_avr,
    b"ALawSoundFile**": _of_wve,
    b"Creative Voice File\x1a": _of_voc,
    b"\xf0\x7e": _of_sds,
    **dict.fromkeys((b"\x64\xa3", b"\0\2\xa3\x64"), _without_length("IRCAM")),
    **dict.fromkeys((b" paf", b"fap "), _without_length("PAF")),
    b"PVF1": _without_length("PVF"),
}
