"""Conditions that are codes: files and arrays through the tokenizer, and refusals."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from PIL import Image

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import code_files
from cdcd_jax.generation.code_files import read_codes

PICTURE = dict(shape=(4,), levels=5, grid=(2, 2), tokenizer={"kind": "palette"})
PICTURE["tokenizer"] |= {"levels": 5}
SOUND = dict(shape=(2,), levels=5, grid=(1, 2), tokenizer={"kind": "checkpoint"})


class Sounds:
    """Two codes of eight samples at 8 kHz: which halves are loud."""

    outputs: ClassVar = {"audio": (8,)}
    sample_rate = 8000

    def encode(self, audio: np.ndarray) -> np.ndarray:
        return (np.abs(audio.reshape(-1, 2, 4)).max(2) > 0.1).astype(np.int32)


@pytest.fixture
def sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_files, "open_tokenizer", lambda *_: Sounds())


def test_pictures_and_codes(tmp_path: Path) -> None:
    pixels = np.array([[0, 255], [128, 64]], np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file)
    codes = [[0, 4, 2, 1]]
    assert read_codes("image", str(file), PICTURE).tolist() == codes
    assert read_codes("image", f"{file},{file}", PICTURE).tolist() == 2 * codes
    assert read_codes("image", pixels[..., None], PICTURE).tolist() == codes
    assert read_codes("image", np.array(codes[0]), PICTURE).tolist() == codes
    kept = tmp_path / "samples.npz"
    np.savez(kept, **{"tokens/image": np.array(codes, np.int32)})
    assert read_codes("image", str(kept), PICTURE).tolist() == codes


def test_sounds_are_filled_up_with_silence(tmp_path: Path, sounds: None) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, np.full(4, 0.5), 8000)
    assert read_codes("sound", str(file), SOUND).tolist() == [[1, 0]]
    assert read_codes("sound", np.full((2, 8), 0.5), SOUND).tolist() == [[1, 1]] * 2


def test_a_sound_of_another_rate(tmp_path: Path, sounds: None) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, np.full(4, 0.5), 16000)
    with pytest.raises(InputError, match="with 16000 samples a second; expected 8000"):
        read_codes("sound", str(file), SOUND)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.full(9, 0.5), "at most"),
        (np.full(8, 1.5), "float from -1 to 1"),
        (np.array([0, 5]), "from 0 to 5 in an array; expected codes"),
        (np.zeros(3, np.int32), "expected codes"),
    ],
)
def test_arrays_that_cannot_be(value: Any, says: str, sounds: None) -> None:
    with pytest.raises(InputError, match=says):
        read_codes("sound", value, SOUND)


def test_other_files_and_no_tokenizer(sounds: None) -> None:
    with pytest.raises(UsageError, match="expected a sound"):
        read_codes("sound", "a.png", SOUND)
    without = {k: v for k, v in SOUND.items() if k != "tokenizer"}
    with pytest.raises(UsageError, match="knows no tokenizer of it"):
        read_codes("sound", "a.wav", without)
