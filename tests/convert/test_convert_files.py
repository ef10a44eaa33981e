"""Reading files of tensors: types, refusals, and damage of any kind."""

import json
import pathlib

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert.files import check_tensors, read_tensors
from cdcd_jax.errors import InputError


def test_floats_of_any_size(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.safetensors"
    values = np.linspace(-2, 2, 6).reshape(2, 3)
    types = dict(h=np.float16, s=np.float32, d=np.float64, b=ml_dtypes.bfloat16)
    arrays = {name: values.astype(t) for name, t in types.items()}
    arrays |= {"i": np.arange(3), "u": np.arange(3, dtype=np.uint8)}
    save_file(arrays, path)
    found = read_tensors(path)
    for name in types:
        assert found[name].dtype == np.float32 and found[name].shape == (2, 3)
        np.testing.assert_array_equal(found[name], arrays[name].astype(np.float32))
    assert found["i"].dtype == np.int64 and found["u"].dtype == np.uint8
    (tmp_path / "other").write_bytes(path.read_bytes())
    assert read_tensors(tmp_path / "other").keys() == arrays.keys()


def test_no_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no readable file"):
        read_tensors(tmp_path / "absent.ckpt")
    with pytest.raises(InputError, match="no readable file"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("content", [b"", b"weights", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_foreign_file(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="neither a PyTorch nor a safetensors"):
        read_tensors(path)
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="Found a broken"):
        read_tensors(path)


def test_another_zip(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "a.npz", np.ones(3))
    with pytest.raises(InputError, match="neither a PyTorch nor a safetensors"):
        read_tensors(tmp_path / "a.npz")


def test_file_without_tensors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({}, path)
    with pytest.raises(InputError, match=r"no tensors .* inside of state_dict"):
        read_tensors(path, ("state_dict",))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path: pathlib.Path, bad: float) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": np.array([1.0, bad]), "n": np.arange(2)}, path)
    with pytest.raises(InputError, match="not finite in 'w'"):
        read_tensors(path)


def test_damaged_files_are_refused_or_read_as_they_are(tmp_path: pathlib.Path) -> None:
    """Cut anywhere, or with other bits in the header: one InputError, or whole arrays.

    The format has no checksum: a bit of the data itself shows in no way but its value.
    """
    rng = np.random.default_rng(0)
    path = tmp_path / "a.safetensors"
    arrays = {f"layer.{i}.weight": np.ones((3, i + 1), np.float32) for i in range(5)}
    save_file(arrays, path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    assert json.loads(whole[8:header])
    shapes = {name: value.shape for name, value in arrays.items()}
    refused = 0
    for i in range(400):
        data = bytearray(whole)
        if i % 2:
            data = data[: rng.integers(len(data))]
        else:
            for at in rng.integers(0, header, rng.integers(1, 4)):
                data[at] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            found = read_tensors(path)
            check_tensors(found, shapes, "the file")
        except InputError as error:
            refused += 1
            assert "; expected" in str(error) and str(error).startswith("Found")
        else:
            for name, value in found.items():
                np.testing.assert_array_equal(value, arrays[name])
    assert refused > 390


def test_check_names_the_first_of_each_kind() -> None:
    found = {f"odd{i}": np.zeros(1) for i in range(5)} | {"a": np.zeros((2, 3))}
    expected = {"a": (3, 2), "b": (1,)}
    with pytest.raises(InputError) as error:
        check_tensors(found, expected, "x.ckpt as a model")
    text = str(error.value)
    for part in (
        "x.ckpt as a model",
        "1 missing (b)",
        "5 unexpected (odd0, odd1, odd2, ...)",
        "a [2, 3] instead of [3, 2]",
        "the 2 tensors",
    ):
        assert part in text
