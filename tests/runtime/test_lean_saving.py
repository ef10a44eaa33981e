"""Saving NumPy arrays that are views of a mapped file: values and memory."""

import mmap
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.runtime import lean_saving
from cdcd_jax.runtime.checkpoint import Checkpoints


def mapped(path: pathlib.Path, values: np.ndarray) -> np.ndarray:
    path.write_bytes(values.tobytes())
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.frombuffer(memoryview(data), values.dtype)
    return array.reshape(values.shape)


def resident(path: pathlib.Path) -> int:
    """KiB of a file that this process holds in memory."""
    maps = pathlib.Path("/proc/self/smaps").read_text().split(str(path))
    return int(maps[1].split("Rss:")[1].split()[0]) if len(maps) > 1 else 0


def test_views_are_saved_and_read_as_any_array(tmp_path, monkeypatch) -> None:
    """In any order of axes, beside JAX' arrays, more than fits into one turn."""
    monkeypatch.setattr(lean_saving, "_AT_A_TIME", 3000)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 10, 20)).astype(np.float32)
    view = mapped(tmp_path / "a", values)
    state = {"turned": [v.T for v in view], "whole": view, "step": jnp.int32(3)}
    state["parts"] = view[1:, ::2, 1:]
    state["empty"] = np.zeros((0, 3), np.float32)
    with Checkpoints(tmp_path / "c", asynchronous=False) as writer:
        assert writer.save(0, state)
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    with Checkpoints(tmp_path / "c") as reader:
        _, found = reader.restore(target)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
    jax.tree.map(np.testing.assert_array_equal, found, state)


def test_pages_of_the_file_are_given_back(tmp_path: pathlib.Path) -> None:
    values = np.arange(2**20, dtype=np.float32)
    path = tmp_path / "a"
    view = mapped(path, values).reshape(1024, 1024).T
    assert view.sum() > 0 and resident(path) == 4096
    lean_saving.let_go(view)
    assert resident(path) == 0
    np.testing.assert_array_equal(view.T.reshape(-1), values)
    lean_saving.let_go(values)  # its own memory: nothing happens
    assert values[-1] == 2**20 - 1
