"""Files in parts: any one of them, or their folder, stands for the whole."""

import pathlib

import pytest

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


@pytest.mark.parametrize("ends, absent", [("aa ac", "ab"), ("ab ac", "aa")])
def test_a_missing_part_is_named(
    tmp_path: pathlib.Path, ends: str, absent: str
) -> None:
    split(tmp_path / "in", ends)
    path = str(tmp_path / "in" / "cub_pretrained_ac")
    with pytest.raises(InputError, match=f"without cub_pretrained_{absent}"):
        with whole(path, str(tmp_path / "out")):
            pass


@pytest.mark.parametrize("name", ["last.ckpt", "model.safetensors", "pretrained_aa"])
def test_a_file_alone_stays(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with whole(str(tmp_path / name), str(tmp_path / "out")) as path:
        assert path == str(tmp_path / name)
