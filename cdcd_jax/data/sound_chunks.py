"""Where the sound lies in files of chunks: wav and its kin, aiff, svx, caf, w64.

Heads in the wild are loose. Writers to a pipe do not know the length, the size of the
whole is often wrong where that of the sound is right, and some leave out the byte that
fills up a chunk of odd length. libsndfile does not follow all of them, so that of a wav
it is given a new head, of the same format and the right length.
"""

import struct
from typing import BinaryIO, NamedTuple

_MOST = 10_000  # chunks of a file
_LONGEST = 4096  # bytes of a chunk that says what the sound is
_PLAIN = (b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"fl32", b"FL32")
_PLAIN += (b"fl64", b"FL64", b"ulaw", b"ULAW", b"alaw", b"ALAW")  # a number a sample
_WAV_PLAIN = (1, 3, 6, 7, 0xFFFE)  # likewise; 0xFFFE names it further on
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # ends a chunk's name


class Known(NamedTuple):
    """What is known of a file by its head and its frames.

    libsndfile is to read `head` and then the bytes from `begin` to `end`.
    """

    fault: str = ""  # why it cannot be read
    formats: tuple[str, ...] = ()  # of libsndfile, for which this holds
    head: bytes = b""
    begin: int = 0
    end: int = 0
    samples: int = 0  # as they were counted here; 0 where they were not


class _Chunk(NamedTuple):
    name: bytes
    begin: int
    length: int


def cut(what: str) -> Known:
    """Of a file that is less than it says."""
    return Known(f"truncated: {what}")


def until(
    begin: int, length: int, total: int, format: str, start: int = 0, head: bytes = b""
) -> Known:
    """Of a file with sound of `length` bytes at `begin`, which it has or has not."""
    left = max(total - begin, 0)
    if left < length:
        return cut(f"{left} of {length} bytes of sound")
    return Known("", (format,), head, start, begin + length)


def piped(length: int) -> bool:
    """Whether a length means that the writer to a pipe did not know it.

    0xFFFFFFFF of ffmpeg, 0x7FFFF000 of SoX, 0x80000000 of arecord, and in an aiff of
    SoX that of 0x7F000000 samples.
    """
    below = 2**26
    return 2**31 - below <= length <= 2**31 + 2**16 or 2**32 - below <= length


def bytes_at(file: BinaryIO, place: int, count: int) -> bytes:
    """At most `count` bytes."""
    file.seek(place)
    return file.read(count)


def of_wav(file: BinaryIO, start: int, total: int) -> Known:
    """A wav, RIFX, RF64 or BW64: its 'fmt ' and the extent of its 'data'."""
    mark = bytes_at(file, start, 4)
    order = ">" if mark == b"RIFX" else "<"
    chunks = _walk(file, start + 12, total, order, b"data")
    if not chunks:
        return cut("it ends before its sound begins")
    form = _content(file, chunks, b"fmt ")
    if len(form) < 16:
        return Known("not a whole sound file (no chunk 'fmt ' before its sound)")
    _, begin, length = chunks[-1]
    if mark in (b"RF64", b"BW64") and length == 2**32 - 1:
        sizes = _content(file, chunks, b"ds64")
        length = struct.unpack("<Q", sizes[8:16])[0] if len(sizes) >= 16 else 0
        unknown = length >= 2**63
    else:
        unknown = piped(length) and begin + length > total
    # of 0 the writer never came back, or there are only notes behind no sound
    if unknown or (not length and not _notes(file, begin, total, order)):
        length = total - begin
        coding, align = struct.unpack(order + "H10xH", form[:14])
        rest = length % align if align and coding in _WAV_PLAIN else 0
        if rest and not (rest == 1 and align % 2):  # 1 may fill up
            return cut(f"{rest} of {align} bytes of a last sample")
    # some writers count a head, too, in a file that is as long as it says
    whole = struct.unpack(order + "I", bytes_at(file, start + 4, 4))[0]
    counted = begin + length - total in (8, begin - start - 8, begin - start)
    if counted and whole + 8 <= total - start:
        length = total - begin
        align = struct.unpack(order + "12xH", form[:14])[0]
        length -= length % align if align else 0
    after = begin + length + length % 2
    if bytes_at(file, after, 4) in (b"data", b"RIFF"):
        return Known("several sounds one behind the other: write them as one file each")
    head = _wav_head(order, form, _content(file, chunks, b"fact"), length)
    known = until(begin, length, total, "WAV", begin, head)
    return known if known.fault else known._replace(formats=("WAV", "WAVEX", "RF64"))


def _wav_head(order: str, form: bytes, fact: bytes, length: int) -> bytes:
    """All of a wav that is before its sound of so many bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        fill = bytes(len(content) % 2)
        return name + struct.pack(order + "I", len(content)) + content + fill

    body = chunk(b"fmt ", form) + (chunk(b"fact", fact) if len(fact) == 4 else b"")
    if length >= 2**32 - 2**16:
        sizes = struct.pack("<QQQI", length + 60 + len(body), length, 0, 0)
        mark, body = b"RF64", chunk(b"ds64", sizes) + body
        whole = length = 2**32 - 1
    else:
        mark = b"RIFX" if order == ">" else b"RIFF"
        whole = 4 + len(body) + 8 + length
    mark += struct.pack(order + "I", whole)
    return mark + b"WAVE" + body + b"data" + struct.pack(order + "I", length)


def of_form(file: BinaryIO, start: int, total: int) -> Known:
    """An aiff or an svx: the extent of its 'SSND' or 'BODY'."""
    kind = bytes_at(file, start + 8, 4)
    if kind in (b"8SVX", b"16SV"):
        chunks = _walk(file, start + 12, total, ">", b"BODY")
        if not chunks:
            return cut("it ends before its sound begins")
        return until(*chunks[-1][1:], total, "SVX", start)
    chunks = _walk(file, start + 12, total, ">", b"SSND")
    if not chunks:
        return cut("it ends before its sound begins")
    _, begin, length = chunks[-1]
    common = _content(file, chunks, b"COMM")
    if len(common) < 18:  # it may follow the sound
        end = total if piped(length) else begin + length
        known = until(begin, end - begin, total, "AIFF", start)
        return known if known.fault else known._replace(end=total)
    if length < 8:  # a head of its own, which is counted
        return Known("an aiff that does not say how long it is: write it anew")
    channels, samples, bits = struct.unpack(">hIh", common[:8])
    skipped = bytes_at(file, begin, 4)
    if len(skipped) == 4 and samples and (kind == b"AIFF" or common[18:22] in _PLAIN):
        needed = samples * channels * ((bits + 7) // 8)
        needed += 8 + struct.unpack(">I", skipped)[0]
        if piped(length) or samples == 0x7F000000:
            needed = total - begin
        elif needed > length:
            return cut(f"{length} of {needed} bytes of sound")
        length = needed  # without the byte that fills up, which some writers count
    elif piped(length):
        length = total - begin
    return until(begin, length, total, "AIFF", start)


def of_caf(file: BinaryIO, start: int, total: int) -> Known:
    """A caf: its chunks; of packets of any length the table may follow the sound."""
    place, packed, names = start + 8, False, set()
    while not {b"data", b"pakt" if packed else b"data"} <= names:
        head, name = bytes_at(file, place, 12), bytes_at(file, place, 4)
        if len(head) < 12:
            return cut(f"{len(head)} of 12 bytes of a chunk's head")
        length = struct.unpack(">q", head[4:])[0]
        if name == b"data" and length == -1:
            length = total - place - 12
        if length < 0:
            return Known(f"not a whole sound file (a chunk of {length} bytes)")
        begin, place = place + 12, place + 12 + length
        if place > total:
            return cut(f"{total - begin} of {length} bytes of the chunk {name!r}")
        if name == b"desc":
            packed = bytes_at(file, begin + 8, 4) == b"alac"
        names.add(name)
    return Known("", ("CAF",), begin=start, end=place)


def of_w64(file: BinaryIO, start: int, total: int) -> Known:
    """A w64: the extent of its 'data'. Sizes are with 24 bytes of head, in eights."""
    place = start + 40
    while place + 24 <= total:
        head = bytes_at(file, place, 24)
        length = struct.unpack("<Q", head[16:])[0]
        if head[:16] == b"data" + _W64:
            if length >= 2**63:  # the writer to a pipe did not know it
                return until(place + 24, total - place - 24, total, "W64", start)
            return until(place + 24, max(length - 24, 0), total, "W64", start)
        if length < 24:
            return Known(f"not a whole sound file (a chunk of {length} bytes)")
        place += (length + 7) // 8 * 8
    return cut("it ends before its sound begins")


def _content(file: BinaryIO, chunks: list[_Chunk], name: bytes) -> bytes:
    """Of the first chunk of the name; b'' where there is none."""
    found = next((chunk for chunk in chunks[:-1] if chunk.name == name), None)
    return bytes_at(file, found.begin, min(found.length, _LONGEST)) if found else b""


def _walk(
    file: BinaryIO, place: int, total: int, order: str, last: bytes | None
) -> list[_Chunk]:
    """All chunks up to the one named `last`, or with None to the file's end.

    [] if there is no way to it. Behind a chunk of odd length a byte fills up, or not:
    one that is not zero is first taken for the next chunk's first.
    """
    ways, seen = [(place, 0)], set()
    chunks: list[_Chunk] = []
    while ways and len(seen) < _MOST:
        place, depth = ways.pop()
        del chunks[depth:]
        if last is None and place >= total and chunks:
            return chunks
        if place in seen or place + 8 > total:
            continue
        seen.add(place)
        head = bytes_at(file, place, 8)
        name, length = head[:4], struct.unpack(order + "I", head[4:])[0]
        chunks.append(_Chunk(name, place + 8, length))
        if name == last:
            return chunks
        after = place + 8 + length
        follow = [after]
        if length % 2:
            filled = bytes_at(file, after, 1) in (b"\0", b"")
            follow = [after, after + 1] if filled else [after + 1, after]
        ways += [(way, depth + 1) for way in follow]
    return []


def _notes(file: BinaryIO, begin: int, total: int, order: str) -> bool:
    """Whether there is nothing behind, or only chunks with names of letters."""
    chunks = _walk(file, begin, total, order, None)
    whole = chunks and chunks[-1].begin + chunks[-1].length <= total
    return begin >= total or (whole and all(_printable(c.name) for c in chunks))


def _printable(name: bytes) -> bool:
    return name.isascii() and name.decode().isprintable()
