"""Files that appear whole, and strict JSON."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_is_strict(tmp_path: Path) -> None:
    obj = {"a": np.float32(1.5), "b": [float("nan"), np.inf], "c": np.arange(2), 3: "β"}
    files.write_json(tmp_path / "new" / "x.json", obj)
    text = (tmp_path / "new" / "x.json").read_text(encoding="utf-8")
    expected = {"a": 1.5, "b": [None, None], "c": [0, 1], "3": "β"}
    assert json.loads(text) == expected


def test_npz_keeps_the_name_and_refuses_objects(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    captions = np.array(["two at left", "β"])
    files.write_npz(path, tokens=np.eye(3), **{"condition/caption": captions})
    with np.load(path) as file:
        np.testing.assert_array_equal(file["tokens"], np.eye(3))
        np.testing.assert_array_equal(file["condition/caption"], captions)
    with pytest.raises(InputError, match="array 'bad' of Python objects"):
        files.write_npz(path, bad=np.array([None]))
    assert names(tmp_path) == ["samples.bin"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    files.write_npz(path, a=np.zeros(2))
    before = path.read_bytes()

    def fail(file: io.BufferedWriter, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_npz(path, a=np.ones(2))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["x.npz"]


def test_importing_needs_numpy_only() -> None:
    code = (
        "import sys, cdcd_jax.reporting.files, cdcd_jax.reporting.metrics_log\n"
        "heavy = {'jax', 'PIL', 'tensorboardX', 'flax'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=dict(os.environ), check=True
    )
