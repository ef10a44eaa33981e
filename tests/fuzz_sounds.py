"""For `fuzz.py`: heads of sound files, whole, loose, wrong and of cut files.

Each file is made here byte by byte, or by libsndfile and then changed, so that what
must come of it is known without the reader: all its samples, or a refusal. Where a bit
is flipped, either may come, but nothing else.
"""

import io
import random
import struct
from pathlib import Path

import numpy as np

from cdcd_jax.data import audio
from cdcd_jax.data.sources import Unreadable

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000)  # lengths that pipes leave
# suffix -> coding, of those whose heads say how long they are, and of the others
COUNTED = {"nist": "PCM_16", "avr": "PCM_16", "wve": "ALAW", "voc": "PCM_16"}
COUNTED |= {"svx": "PCM_16", "caf": "PCM_16", "w64": "PCM_16", "sds": "PCM_16"}
COUNTED |= {"htk": "PCM_16", "rf64": "PCM_24"}
UNCOUNTED = {"ircam": "PCM_16", "paf": "PCM_16", "pvf": "PCM_16", "mat5": "PCM_16"}
CODED = {"flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III"}
FORMATS = {"opus": "OGG"}
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 1234\r\n\r\n"
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)


class Headers:
    """One file a case; `wanted` is its samples [S], and None where it is refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "headers"
        self.folder.mkdir()
        self.coded: dict[str, bytes] = {}

    def damage(self, rng: random.Random) -> str:
        kinds = ("wav", "aiff", "au", *CODED, *CODED, "counted", "uncounted")
        kind = rng.choice(("wav",) * 4 + kinds)
        self.rate, self.free, self.exact = rng.choice((8000, 11025, 44100)), False, True
        if kind in CODED:
            what = self._coded(kind, rng)
        elif kind.endswith("counted"):
            kind, what = self._counted(kind, rng)
        else:
            what = getattr(self, f"_{kind}")(rng)
        if rng.random() < 0.1:
            what += self._flip(rng)
        self.path = self.folder / f"x.{kind}"
        self.path.write_bytes(self.data)
        return f"{kind}: {what}"

    def read(self) -> str:
        try:
            wave, rate = audio.read(self.path)
        except Unreadable as error:
            assert error.name == str(self.path) and len(str(error)) > len(error.name)
            if self.wanted is not None and not self.free:
                raise AssertionError(f"refused, and it is whole: {error}") from None
            raise
        assert wave.dtype == np.float32 and wave.ndim == 1 and len(wave) and rate > 0
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 1
        if self.free:
            return "read"
        assert self.wanted is not None, f"read {len(wave)} samples, to be refused"
        assert (len(wave), rate) == (len(self.wanted), self.rate)
        if self.exact:
            np.testing.assert_allclose(wave, self.wanted, atol=1e-6)
        return "right"

    def _flip(self, rng: random.Random) -> str:
        """A bit of the first bytes."""
        at = rng.randrange(min(len(self.data), 120))
        changed = bytearray(self.data)
        changed[at] ^= 1 << rng.randrange(8)
        self.data, self.free = bytes(changed), True
        return f", a bit at {at}"

    def _samples(self, rng: random.Random, order: str) -> bytes:
        """Sound of 16 or 24 bits, of 1 to 3 channels; its mean is wanted."""
        self.channels, self.width = rng.randrange(1, 4), rng.choice((2, 3))
        shape = rng.randrange(1, 900), self.channels
        top = 2 ** (8 * self.width - 1)
        levels = np.random.default_rng(rng.getrandbits(32)).integers(-top, top, shape)
        self.wanted = (levels / top).mean(1)
        raw = levels.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : self.width]
        return (raw if order == "<" else raw[:, ::-1]).tobytes()

    def _cut(
        self, raw: bytes, rng: random.Random, known: bool, fills: bool
    ) -> tuple[bytes, str]:
        """All of the sound, or what is left of it.

        Args:
            raw: the sound.
            rng: of all that is drawn.
            known: whether the head says how long it is.
            fills: whether a byte may fill up an odd length.
        """
        if rng.random() < 0.6:
            return raw, "whole"
        left = len(raw) - rng.choice((1, 2, rng.randrange(1, len(raw) + 1)))
        left = max(left, 0)
        size = self.channels * self.width
        rest = 0 if fills and left % size == 1 and size % 2 else left % size
        if known or left < size or rest:
            self.wanted = None
        else:
            self.wanted = self.wanted[: left // size]
        return raw[:left], f"{left} of {len(raw)}"

    def _wav(self, rng: random.Random) -> str:
        mark = rng.choice((b"RIFF", b"RIFF", b"RIFX", b"RF64", b"BW64"))
        order = ">" if mark == b"RIFX" else "<"
        raw = self._samples(rng, order)
        size = self.channels * self.width
        long = mark in (b"RF64", b"BW64")
        loose = rng.choice((*UNKNOWN, None, None, None, None))
        known = loose is None
        form = [1, self.channels, self.rate, self.rate * size, size, 8 * self.width]
        wrong = rng.choice(("", "", "", "", "no channel", "no rate", "coding"))
        at = {"no channel": 1, "no rate": 2, "coding": 0}.get(wrong)
        if at is not None:
            form[at] = 0xABC if wrong == "coding" else 0
        whole = len(raw)
        content, what = self._cut(raw, rng, known, fills=True)
        if wrong:
            self.wanted = None
        pack = lambda *parts: struct.pack(order + parts[0], *parts[1:])
        before, odd = b"", rng.choice(("", "", "filled", "not filled"))
        if odd:
            text = bytes(rng.choices(b"abc ", k=2 * rng.randrange(9) + 1))
            name = rng.choice((b"JUNK", b"LIST", b"bext", b"abcd"))
            before = name + pack("I", len(text)) + text + bytes(odd == "filled")
        body = pack("HHIIHH", *form)
        body = b"fmt " + pack("I", len(body)) + body
        body = body + before if rng.random() < 0.5 else before + body
        length = whole if known else loose
        if long:
            said = rng.choice((whole, 10 * whole + 99, 2**63, 0))
            of_sound = whole if known else rng.choice((0, 2**64 - 1))
            sizes = pack("QQQI", said, of_sound, rng.choice((0, whole // size)), 0)
            body, length = b"ds64" + pack("I", len(sizes)) + sizes + body, 0xFFFFFFFF
        after = rng.choice((b"", bytes(whole % 2)))
        after += rng.choice((b"", b"LIST\4\0\0\0INFO", b"junk" * 9))
        if not known or len(content) < whole:
            after = b""
        riff = rng.choice((len(body) + whole + 12, 0, 0xFFFFFFFF, whole * 9))
        self.data = mark + pack("I", riff) + b"WAVE" + body + b"data"
        self.data += pack("I", length) + content + after
        return f"{mark!r} {what}, {length:x} {odd} {wrong}"

    def _aiff(self, rng: random.Random) -> str:
        raw = self._samples(rng, ">")
        whole, samples = len(raw), len(self.wanted)
        content, what = self._cut(raw, rng, known=True, fills=False)
        power = self.rate.bit_length() - 1
        rate = struct.pack(">HQ", 16383 + power, self.rate << 63 - power)
        more = rng.choice((0, 0, 0, 1, 1000))  # samples that are not there
        if more:
            self.wanted = None
        count, bits = samples + more, 8 * self.width
        common = struct.pack(">4sIHIH", b"COMM", 18, self.channels, count, bits) + rate
        sound = struct.pack(">4sIII", b"SSND", 8 + whole, 0, 0) + content
        if len(content) == whole:
            sound += bytes(whole % 2) * rng.randrange(2)
        body = b"AIFF" + common + sound
        size = rng.choice((len(body), 0, len(body) + 5000))
        self.data = b"FORM" + struct.pack(">I", size) + body
        return f"{what}, {more} more"

    def _au(self, rng: random.Random) -> str:
        order = rng.choice("<>")
        raw = self._samples(rng, order)
        loose = rng.choice((0, 0xFFFFFFFF, None, None))
        whole = len(raw)
        content, what = self._cut(raw, rng, loose is None, fills=False)
        length = whole if loose is None else loose
        skip = rng.choice((24, 28, 64))
        parts = skip, length, self.width + 1, self.rate, self.channels
        head = struct.pack(order + "5I", *parts)
        mark = b".snd" if order == ">" else b"dns."
        self.data = (mark + head).ljust(skip, b"\0") + content
        return f"{what}, {length:x}"

    def _made(self, kind: str, coding: str) -> bytes:
        """What libsndfile writes of 2,001 samples at 8 kHz; `wanted` are these."""
        import soundfile

        self.rate = 8000
        self.wanted = 0.5 * np.sin(np.arange(2001) / 7)
        if kind not in self.coded:
            file = io.BytesIO()
            form = FORMATS.get(kind, kind.upper())
            soundfile.write(file, self.wanted, 8000, coding, format=form)
            self.coded[kind] = file.getvalue()
        return self.coded[kind]

    def _coded(self, kind: str, rng: random.Random) -> str:
        data, self.exact = self._made(kind, CODED[kind]), False
        cut = rng.random() < 0.5
        if cut:
            self.wanted = None
            data = data[: -rng.choice((1, 2, 50, rng.randrange(1, len(data))))]
        junk = {
            "": b"",
            "ID3": ID3,
            "HTTP": HTTP,
            "zeros": bytes(rng.randrange(1, 999)),
        }
        junk |= {"bytes": rng.randbytes(rng.choice((1, 300, 5000)))}
        before = rng.choice(list(junk))
        if kind != "mp3" and before not in ("", "ID3"):
            self.wanted = None  # no format but mp3 begins somewhere
        after = rng.choice((b"", b"TAG" + bytes(125), bytes(300)))
        self.data = junk[before] + data + (b"" if cut else after)
        return f"{'cut' if cut else 'whole'}, {len(self.data)} bytes, before {before}"

    def _counted(self, kind: str, rng: random.Random) -> tuple[str, str]:
        table = COUNTED if kind == "counted" else UNCOUNTED
        kind = rng.choice(list(table))
        self.data, self.exact = self._made(kind, table[kind]), False
        if table is UNCOUNTED:
            self.wanted = None
        if rng.random() < 0.6:
            self.wanted = None
            left = len(self.data) // rng.choice((1, 2, 3)) - rng.choice((2, 4, 20))
            self.data = self.data[:left]
        return kind, f"{len(self.data)} bytes"
