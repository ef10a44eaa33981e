"""What a file is, found out by its names; what it is instead, where it is refused."""

import json
import pathlib

import layouts
import numpy as np
import pytest
from safetensors.numpy import save_file
from test_diffusers_vqdiffusion import make_folder

from cdcd_jax.convert.families import recognise
from cdcd_jax.convert.files import read_tensors
from cdcd_jax.errors import InputError


def saved(path: pathlib.Path, names: list[str]) -> str:
    save_file({name: np.zeros(1, np.float32) for name in names}, path)
    return str(path)


@pytest.mark.parametrize(
    "family, names",
    [
        ("taming", list(layouts.vqgan())),
        ("taming", ["first_stage_model." + name for name in layouts.vqgan()]),
        ("taming", list(layouts.vqgan(kind="gumbel"))),
        ("ithq", list(layouts.vqgan(kind="ema"))),
        ("clip", list(layouts.clip_text())),
        ("clip_score", [*layouts.clip_text(), "visual.proj"]),
        ("lpips", list(layouts.lpips())),
        ("inception", ["Mixed_5b.branch1x1.conv.weight"]),
        ("jukebox", ["bottleneck.level_blocks.0.k"]),
        ("llamagen", ["quantize.embedding.weight", "encoder.conv_blocks.0.x"]),
        ("diffusers_vq", ["quantize.embedding.weight", "encoder.down_blocks.0.x"]),
        ("vqdiffusion", ["model.transformer.transformer.content_emb.emb.weight"]),
        ("cdcd", ["model.transformer.transformer.x", "model.vqvae.y"]),
    ],
)
def test_families(tmp_path: pathlib.Path, family: str, names: list[str]) -> None:
    path = saved(tmp_path / "a.safetensors", names)
    assert recognise(path) == (family, path)
    assert recognise(str(tmp_path)) == (family, path)


def test_a_folder_of_a_pipeline(tmp_path: pathlib.Path) -> None:
    make_folder(tmp_path)
    assert recognise(str(tmp_path / "vqvae"))[0] == "diffusers_vq"
    (tmp_path / "model_index.json").write_text('{"_class_name": "VQDiffusionPipeline"}')
    assert recognise(str(tmp_path)) == ("diffusers_vqdiffusion", str(tmp_path))


@pytest.mark.parametrize(
    "names, what",
    [
        (["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"], "a LoRA"),
        (["lora_unet_down_blocks_0.alpha"], "a LoRA"),
        (["model.diffusion_model.x", "a.token_embedding.weight"], "Stable Diffusion"),
        (["down_blocks.0.attentions.0.transformer_blocks.0.norm1.bias"], "U-Net"),
        (["encoder.conv_in.weight", "quant_conv.weight"], "AutoencoderKL"),
        (["model.layers.0.self_attn.q_proj.weight"], "a language model"),
        (["param_groups.0", "state.0"], "the state of an optimizer"),
        (["some.thing", "other.thing"], "no family .* other.thing, some.thing"),
    ],
)
def test_foreign_names(tmp_path: pathlib.Path, names: list[str], what: str) -> None:
    with pytest.raises(InputError, match=what):
        recognise(saved(tmp_path / "a.safetensors", names))


@pytest.mark.parametrize(
    "content, what",
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a page of html"),
        (b"", "an empty file"),
        (b"\x1f\x8b123456789", "gzip"),
        (b'{"weight_map": {}}', "JSON"),
        (b"\x10\0\0\0\0\0\0\0{cut", "cut short: it has 12 bytes"),
        (b"weights", "neither a PyTorch nor a safetensors"),
    ],
)
def test_foreign_content(tmp_path: pathlib.Path, content: bytes, what: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what):
        recognise(str(path))


def test_folders_that_say_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="Found 0 files of weights"):
        recognise(str(tmp_path))
    with pytest.raises(InputError, match="no readable file"):
        recognise(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(InputError, match="Found a UNet2DModel"):
        recognise(str(tmp_path))


def test_shards_are_read_as_one(tmp_path: pathlib.Path) -> None:
    state = layouts.random_state(layouts.vqgan())
    names = list(state)
    halves = {"m-1-of-2.safetensors": names[::2], "m-2-of-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    where = {name: file for file, part in halves.items() for name in part}
    index.write_text(json.dumps({"weight_map": where}))
    assert recognise(str(tmp_path)) == ("taming", str(index))
    found = read_tensors(index)
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)
    (tmp_path / "m-2-of-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"without m-2-of-2\.safetensors"):
        recognise(str(tmp_path))
    index.write_text("{}")
    with pytest.raises(InputError, match="no readable index"):
        read_tensors(index)
