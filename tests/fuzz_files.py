"""For `fuzz.py`: pictures, sounds, pickles, weights and checkpoints; how bytes change.

A kind has `damage(rng)`, which restores the files, damages one and says how, and
`read()`, which returns 'right' or 'read', or raises what the program's reader raises.
"""

import io
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import audio, images, pickles


def mutate(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Other bytes, and what was done to them."""
    size = len(data)
    at = rng.randrange(size) if size else 0
    near = min(rng.randrange(64), max(size - 1, 0))
    count = rng.choice((1, 2, 4, 16, 256))

    def flipped(position: int) -> bytes:
        out = bytearray(data)
        for place in range(position, min(position + rng.choice((1, 1, 4)), size)):
            out[place] ^= rng.choice((1 << rng.randrange(8), 255))
        return bytes(out)

    def junk(length: int) -> bytes:
        return rng.randbytes(length)

    choices = {
        "empty": lambda: b"",
        f"truncated to {at}": lambda: data[:at],
        f"{count} bytes short": lambda: data[: max(size - count, 0)],
        f"flipped at {at}": lambda: flipped(at),
        f"flipped again at {at}": lambda: flipped(at),
        f"flipped near the start, {near}": lambda: flipped(near),
        f"{count} zeros at {at}": lambda: data[:at] + bytes(count) + data[at + count :],
        f"large number at {near}": lambda: (
            data[:near] + rng.choice((b"\xff", b"\x7f")) * 4 + data[near + 4 :]
        ),
        f"{count} bytes put in at {at}": lambda: data[:at] + junk(count) + data[at:],
        f"{count} bytes dropped at {at}": lambda: data[:at] + data[at + count :],
        f"{count} bytes too long": lambda: data + junk(count),
        "all of it garbage": lambda: junk(size),
        "garbage after the start": lambda: data[:near] + junk(max(size - near, 0)),
    }
    name = rng.choice(list(choices))
    return choices[name](), name


def same(found: Any, expected: Any) -> bool:
    """Equal type, shape and bits."""
    found, expected = np.asarray(found), np.asarray(expected)
    equal = found.dtype == expected.dtype and found.shape == expected.shape
    return equal and found.tobytes() == expected.tobytes()


class Images:
    """Small pictures in every format; only of a PNG all bytes are guarded."""

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        del folder
        rng = np.random.default_rng(0)
        smooth = np.kron(rng.integers(0, 255, (5, 6, 3)), np.ones((5, 5, 1)))
        rgb = Image.fromarray(smooth.astype(np.uint8))
        made = dict.fromkeys(("png", "jpeg", "webp", "bmp", "tiff", "ppm"), rgb)
        made |= {"gif": rgb.convert("P"), "png palette": rgb.convert("P")}
        made |= {"jpeg cmyk": rgb.convert("CMYK"), "png alpha": rgb.convert("LA")}
        self.whole = {}
        for name, picture in made.items():
            file = io.BytesIO()
            options = {"progressive": True} if name == "jpeg cmyk" else {}
            picture.save(file, name.split()[0], **options)
            pixels = np.asarray(images.decode(file.getvalue(), name))
            self.whole[name] = file.getvalue(), pixels

    def damage(self, rng: random.Random) -> str:
        self.name = rng.choice(list(self.whole))
        self.data, what = mutate(self.whole[self.name][0], rng)
        self.cut = what.startswith("truncated") and len(self.data) < 0.9 * len(
            self.whole[self.name][0]
        )
        return f"{self.name}: {what}"

    def read(self) -> str:
        picture = images.decode(self.data, self.name)
        square = images.fit(picture, 16, np.random.default_rng(0))
        assert square.shape == (16, 16, 3) and square.dtype == np.uint8
        assert picture.mode == "RGB"
        if same(np.asarray(picture), self.whole[self.name][1]):
            return "right"
        assert not self.cut and not self.name.startswith("png"), "other pixels"
        return "read"


class Sounds:
    """Tones as WAV of whole numbers and floats, FLAC, OGG and MP3."""

    def __init__(self, folder: Path) -> None:
        import soundfile

        self.folder = folder / "sounds"
        self.folder.mkdir()
        t = np.arange(3000) / 8000
        tone = 0.5 * np.sin(2 * np.pi * 440 * t)
        stereo = np.stack([tone, -0.3 * tone], axis=1)
        self.whole = {}
        for name, (wave, subtype) in {
            "short.wav": (tone, "PCM_16"),
            "float.wav": (stereo, "FLOAT"),
            "stereo.wav": (stereo, "PCM_24"),
            "tone.flac": (tone, "PCM_16"),
            "tone.ogg": (tone, "VORBIS"),
            "tone.mp3": (tone, "MPEG_LAYER_III"),
        }.items():
            path = self.folder / name
            soundfile.write(path, wave, 8000, subtype=subtype)
            self.whole[name] = path.read_bytes(), audio.read(path)

    def damage(self, rng: random.Random) -> str:
        self.name = rng.choice(list(self.whole))
        data, what = mutate(self.whole[self.name][0], rng)
        self.path = self.folder / self.name
        self.path.write_bytes(data)
        self.cut = what.startswith("truncated")
        return f"{self.name}: {what}"

    def read(self) -> str:
        wave, rate = audio.read(self.path)
        assert wave.dtype == np.float32 and wave.ndim == 1 and len(wave)
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 1 and rate > 0
        whole, whole_rate = self.whole[self.name][1]
        fitted = audio.fit(audio.resample(wave, rate, 16000), 4000)
        assert fitted.shape == (4000,) and np.isfinite(fitted).all()
        if rate == whole_rate and same(wave, whole):
            return "right"
        assert not (self.cut and self.name.endswith(("wav", "flac"))), "truncated"
        return "read"


class Pickles:
    """A motion file as AIST++ has it."""

    def __init__(self, folder: Path) -> None:
        del folder
        rng = np.random.default_rng(0)
        motion = {
            "smpl_poses": rng.standard_normal((20, 72)),
            "smpl_trans": rng.standard_normal((20, 3)).astype(np.float32),
            "smpl_scaling": np.ones(1),
            "name": "gBR_sBM_cAll_d04_mBR0_ch01",
        }
        self.whole = [pickle.dumps(motion, protocol) for protocol in (0, 2, 4, 5)]

    def damage(self, rng: random.Random) -> str:
        number = rng.randrange(len(self.whole))
        self.data, what = mutate(self.whole[number], rng)
        return f"pickle {number}: {what}"

    def read(self) -> str:
        pickles.loads(self.data, "motion.pkl")  # the loader checks what came
        return "right" if self.data in self.whole else "read"


class Weights:
    """A `.safetensors` file of a model that is to be converted."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import save

        rng = np.random.default_rng(0)
        self.expected = {
            f"layer{i}.weight": rng.standard_normal((4, 3 + i), np.float32)
            for i in range(3)
        }
        half = {**self.expected, "half": np.ones(5, np.float16)}
        self.whole = save(half)
        self.expected["half"] = np.ones(5, np.float32)
        self.path = folder / "model.safetensors"

    def damage(self, rng: random.Random) -> str:
        data, what = mutate(self.whole, rng)
        self.changed = data != self.whole
        self.path.write_bytes(data)
        return what

    def read(self) -> str:
        from cdcd_jax.convert.files import check_tensors, read_tensors

        found = read_tensors(self.path)
        expected = {name: value.shape for name, value in self.expected.items()}
        check_tensors(found, expected, str(self.path))
        for value in found.values():
            assert value.dtype == np.float32 and np.isfinite(value).all()
        equal = all(same(found[name], value) for name, value in self.expected.items())
        return "right" if equal else "read"


class Checkpoints:
    """Two checkpoints of a run, of which a file is damaged, or another one wanted."""

    def __init__(self, folder: Path) -> None:
        from absl import logging

        from cdcd_jax.runtime.checkpoint import Checkpoints as Real

        logging.set_verbosity(logging.ERROR)
        self.real = Real
        rng = np.random.default_rng(0)
        self.states = {
            step: {
                "step": np.int32(step),
                "params": {
                    "w": rng.standard_normal((16, 8), np.float32),
                    "deep": {"b": rng.standard_normal(300, np.float32)},
                },
                "codes": rng.integers(0, 9, 50, dtype=np.int32),
            }
            for step in (1, 2)
        }
        self.whole, self.own = folder / "run" / "whole", folder / "run" / "own"
        with Real(self.whole) as checkpoints:
            for step, state in self.states.items():
                checkpoints.save(step, state)

    def damage(self, rng: random.Random) -> str:
        shutil.rmtree(self.own, ignore_errors=True)
        shutil.copytree(self.whole, self.own)
        self.target = self.states[1]
        self.step, self.part = rng.choice((None, None, 1, 2)), rng.random() < 0.3
        asked = f"step {self.step}{', a part' * self.part}"
        if rng.random() < 0.1:
            leaf = rng.choice(
                (np.int32(0), np.zeros((8, 16), np.float32), np.float16(0))
            )
            self.target = {**self.target, "codes": leaf}
            return f"codes wanted as {leaf.dtype} {leaf.shape}, {asked}"
        files = sorted(path for path in self.own.rglob("*") if path.is_file())
        path = rng.choice(files)
        name = path.relative_to(self.own)
        if rng.random() < 0.1:
            path.unlink()
            return f"{name} gone, {asked}"
        data, what = mutate(path.read_bytes(), rng)
        path.write_bytes(data)
        return f"{name}: {what}, {asked}"

    def read(self) -> str:
        import jax

        target = dict(self.target)
        if self.part:
            del target["step"]
        with self.real(self.own) as checkpoints:
            restored = checkpoints.restore(target, self.step, part=self.part)
        assert restored is not None, "no checkpoint was seen"
        step, state = restored
        assert step in self.states and self.step in (None, step), step
        expected = {name: self.states[step][name] for name in target}
        equal = jax.tree.map(same, state, expected)
        assert all(jax.tree.leaves(equal)), equal
        return "right"
