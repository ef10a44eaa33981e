"""Files in parts: any one of them, or their folder, stands for the whole."""

import pathlib
from collections.abc import Callable

import layouts
import numpy as np
import pytest

from cdcd_jax.convert.__main__ import main
from cdcd_jax.convert.split_parts import whole
from cdcd_jax.errors import InputError


def split(folder: pathlib.Path, ends: str) -> None:
    folder.mkdir()
    for end in ends.split():
        (folder / f"cub_pretrained_{end}").write_text(end)


def test_parts_are_joined(tmp_path: pathlib.Path) -> None:
    split(tmp_path / "in", "ac aa ab")
    for name in ("", "cub_pretrained_aa", "cub_pretrained_ac"):
        with whole(str(tmp_path / "in" / name), str(tmp_path / "out")) as path:
            assert pathlib.Path(path).read_text() == "aaabac"
        assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "ends, absent", [("aa ac", "ab"), ("ab ac", "aa"), ("ac ad", "aa"), ("ac", "aa")]
)
@pytest.mark.parametrize("name", ["", "cub_pretrained_ac"])
def test_a_missing_part_is_named(
    tmp_path: pathlib.Path, ends: str, absent: str, name: str
) -> None:
    split(tmp_path / "in", ends)
    (tmp_path / "in" / "LICENSE.md").write_text("text")
    path = str(tmp_path / "in" / name)
    with pytest.raises(InputError, match=f"without cub_pretrained_{absent}"):
        with whole(path, str(tmp_path / "out")):
            pass


def test_parts_of_several_files(tmp_path: pathlib.Path) -> None:
    split(tmp_path / "in", "aa ab")
    (tmp_path / "in" / "coco_aa").write_text("x")
    with pytest.raises(InputError, match=r"\(coco_\*, cub_pretrained_\*\)"):
        with whole(str(tmp_path / "in"), str(tmp_path / "out")):
            pass
    with whole(str(tmp_path / "in" / "cub_pretrained_ab"), str(tmp_path)) as path:
        assert pathlib.Path(path).read_text() == "aaab"


@pytest.mark.parametrize(
    "kept, why",
    [
        (
            [10_000, 10_000, 10_000],
            "model_ad after them, or a longer model_ac",
        ),
        ([10_000], "model_ab after them, or a longer model_aa"),
        ([10_000, 9_000, 10_000], "10,000 bytes in model_ab too, instead of 9,000"),
    ],
)
@pytest.mark.parametrize("write", [layouts.write, layouts.write_torch])
def test_parts_that_end_too_early(
    tmp_path: pathlib.Path, capsys, kept: list[int], why: str, write: Callable
) -> None:
    """The last part is missing, or one is cut: only the joined file can tell."""
    state = {f"lin{i}.model.1.weight": np.zeros((99, 99), np.float32) for i in range(2)}
    data = write(tmp_path / "a", state).read_bytes()
    (tmp_path / "in").mkdir()
    for i, size in enumerate(kept):
        part = data[10_000 * i : 10_000 * (i + 1)][:size]
        (tmp_path / "in" / f"model_a{'abc'[i]}").write_bytes(part)
    argv = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert f"model_aa to model_a{'abc'[len(kept) - 1]}" in error and why in error
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".joined*"))


@pytest.mark.parametrize("name", ["last.ckpt", "model.safetensors", "pretrained_aa"])
def test_a_file_alone_stays(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with whole(str(tmp_path / name), str(tmp_path / "out")) as path:
        assert path == str(tmp_path / name)


def test_a_file_that_is_named_like_a_part_stays(tmp_path: pathlib.Path) -> None:
    path = layouts.write_torch(tmp_path / "weights_ab", {"w": np.zeros(1)})
    with whole(str(path), str(tmp_path / "out")) as found:
        assert found == str(path)
