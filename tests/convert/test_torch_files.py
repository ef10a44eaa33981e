"""Files of PyTorch without PyTorch: what it wrote, damage, shards, conversions."""

import json
import pathlib
import pickle
import zipfile

import layouts
import numpy as np
import pytest

from cdcd_jax.convert.__main__ import main
from cdcd_jax.convert.families import recognise
from cdcd_jax.convert.files import read_tensors
from cdcd_jax.convert.torch_files import CutShort
from cdcd_jax.errors import InputError

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "torch_files.npz"


def recorded(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, dict]:
    """A file that PyTorch wrote, and its tensors."""
    golden = np.load(GOLDEN)
    path = folder / "a.pth"
    path.write_bytes(golden[f"file/{name}"].tobytes())
    start = f"{name}/"
    return path, {k[len(start) :]: golden[k] for k in golden if k.startswith(start)}


@pytest.mark.parametrize("name", ["zip", "old", "script"])
def test_every_tensor_that_pytorch_wrote(tmp_path: pathlib.Path, name: str) -> None:
    """Types, views, parameters, and what stands beside them, which is left out."""
    path, expected = recorded(tmp_path, name)
    found = read_tensors(path, ("state_dict",))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("name", ["zip", "old", "script"])
def test_damaged_files_are_refused_or_read_as_they_are(
    tmp_path: pathlib.Path, name: str
) -> None:
    """Cut anywhere: cut short. Other bits: one InputError, or whole arrays.

    The old form has no checksum: a bit of the data itself shows in no way.
    """
    rng = np.random.default_rng(0)
    path, expected = recorded(tmp_path, name)
    data = path.read_bytes()
    for size in rng.integers(4, len(data), 60):
        path.write_bytes(data[:size])
        with pytest.raises(CutShort, match=r"is cut short.*Download it again"):
            read_tensors(path, ("state_dict",))
    for _ in range(200):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            found = read_tensors(path, ("state_dict",))
        except InputError as error:
            assert "; expected" in str(error) and str(error).startswith("Found")
            continue
        for key in () if name == "old" else found.keys() & expected.keys():
            np.testing.assert_array_equal(found[key], expected[key])


def test_no_code_in_a_file_runs(tmp_path: pathlib.Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple:
            return pathlib.Path.touch, (tmp_path / "harm",)

    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"w": Harm()}, protocol=2))
    with pytest.raises(InputError, match="no tensors"):
        read_tensors(tmp_path / "a.pth")
    assert not (tmp_path / "harm").exists()


def test_another_or_a_compressed_zip(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("other", "x")
    with pytest.raises(InputError, match="neither a PyTorch nor"):
        read_tensors(tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
    with pytest.raises(InputError, match=r"data\.pkl is compressed"):
        read_tensors(tmp_path / "a.pth")


def make_shards(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """A folder of a sharded model, as transformers wrote them before safetensors."""
    state = layouts.random_state(layouts.vqgan(kind="ema"))
    names = list(state)
    halves = dict(one=names[::2], two=names[1::2])
    for i, part in enumerate(halves.values(), 1):
        file = folder / f"pytorch_model-0000{i}-of-00002.bin"
        layouts.write_torch(file, {name: state[name] for name in part})
    where = {
        name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin"
        for i, name in enumerate(names)
    }
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    return state


def test_sharded_bin_files_are_read_as_one(tmp_path: pathlib.Path) -> None:
    state = make_shards(tmp_path)
    family, path = recognise(str(tmp_path))
    assert (family, pathlib.Path(path).name) == ("ithq", "pytorch_model.bin.index.json")
    found = read_tensors(path)
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_a_bad_shard_is_named(tmp_path: pathlib.Path, capsys, damage: str) -> None:
    make_shards(tmp_path)
    shard = tmp_path / "pytorch_model-00002-of-00002.bin"
    data = shard.read_bytes()
    shard.unlink() if damage == "absent" else shard.write_bytes(data[:-100])
    assert main([f"--input={tmp_path}", f"--output={tmp_path / 'out'}"]) == 1
    error = capsys.readouterr().err
    assert shard.name in error and "ownload" in error and "BadZip" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_of_shards_becomes_a_work_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    make_shards(tmp_path / "in")
    argv = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert main([*argv, "--resolution=16"]) == 0
    assert (tmp_path / "out" / "checkpoints" / "0").is_dir()
