"""VQModel and its kin: names as taming's, folders of the hub, what is refused."""

import json
import pathlib
import re

import jax
import layouts
import numpy as np
import pytest

from cdcd_jax.convert import diffusers_vq, flax_vqgan, jukebox, llamagen, taming
from cdcd_jax.convert.__main__ import main
from cdcd_jax.errors import InputError

NEW = dict(q="to_q", k="to_k", v="to_v", proj_out="to_out.0")
OLD = dict(q="query", k="key", v="value", proj_out="proj_attn")
_NAMES = (
    (r"encoder\.down\.", "encoder.down_blocks."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.block\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


def of_diffusers(state: dict, spelling: dict, levels: int) -> dict:
    """A VQGAN's tensors by taming's name as diffusers calls them."""
    found = {}
    for name, value in state.items():
        for pattern, text in _NAMES:
            name = re.sub(pattern, text, name)
        name = re.sub(
            r"decoder\.up\.(\d+)",
            lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}",
            name,
        )
        part = re.search(r"(attentions\.\d+)\.(\w+)\.(\w+)", name)
        if part and part[2] in spelling:
            name = name.replace(f".{part[2]}.", f".{spelling[part[2]]}.")
            value = value[..., 0, 0] if part[3] == "weight" else value
        elif part:
            name = name.replace(".norm.", ".group_norm.")
        found[name] = value
    return found


@pytest.mark.parametrize("spelling", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("mult", [(1,), (1, 2), (1, 1, 2)])
def test_names(spelling: dict, mult: tuple) -> None:
    layout = layouts.vqgan(mult=mult, attention=(len(mult) - 1,))
    state = layouts.random_state(layout)
    other = of_diffusers(state, spelling, len(mult))
    assert {n for n in state if n in other} == {
        n for n in state if re.search("conv_(in|out)|quant", n)
    }
    found = diffusers_vq.vqmodel_names(other)
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_name_that_it_does_not_have_stays() -> None:
    other = {"encoder.x.weight": np.zeros(1), "loss.y": np.zeros(1)}
    assert diffusers_vq.vqmodel_names(other).keys() == other.keys()


# -- folders, and what no tensor tells -------------------------------------------------

OPTIONS = dict(resolution=16)
FILE = "diffusion_pytorch_model.safetensors"


def hub(tmp_path: pathlib.Path, state: dict, **config: object) -> pathlib.Path:
    """A folder of weights and config.json."""
    layouts.write(tmp_path / FILE, state)
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def small(**sizes: object) -> dict:
    """Tensors of a VQModel of two levels."""
    return of_diffusers(layouts.random_state(layouts.vqgan(**sizes)), NEW, 2)


def without_middle(state: dict) -> dict:
    return {n: v for n, v in state.items() if ".mid" not in n or "att" not in n}


def test_without_attention_in_the_middle(tmp_path: pathlib.Path) -> None:
    """amused's and meissonic's, and taming's own of the kind `noattn`."""
    state = layouts.random_state(layouts.vqgan(attention=()))
    state = without_middle(state)
    path = layouts.write(tmp_path / "a.safetensors", state)
    plain = taming.convert(path, OPTIONS)
    assert plain.config["model"]["mid_attention"] is False
    assert plain.config["model"]["attention_resolutions"] == ()
    other = diffusers_vq.convert(hub(tmp_path, of_diffusers(state, NEW, 2)), OPTIONS)
    assert other.config == plain.config
    jax.tree.map(np.testing.assert_array_equal, other.params, plain.params)


@pytest.mark.parametrize("spelling", [NEW, OLD], ids=["new", "old"])
def test_a_file_alone_and_its_folder_are_the_same(
    tmp_path: pathlib.Path, spelling: dict
) -> None:
    state = layouts.random_state(layouts.vqgan())
    folder = hub(tmp_path, of_diffusers(state, spelling, 2), norm_num_groups=32)
    found = diffusers_vq.convert(folder, OPTIONS)
    (folder / "config.json").unlink()
    alone = diffusers_vq.convert(folder / FILE, OPTIONS)
    assert alone.config == found.config and "groups" not in found.config["model"]
    jax.tree.map(np.testing.assert_array_equal, alone.params, found.params)


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(_class_name="AutoencoderKL"), "AutoencoderKL is continuous; not conv"),
        (dict(_class_name="AutoencoderKLWan"), "AutoencoderKL is continuous; not conv"),
        (dict(_class_name="UNet2DModel"), "_class_name = 'UNet2DModel'.* VQModel"),
        (dict(norm_type="spatial"), "norm_type = 'spatial'.* MoVQ"),
        (dict(act_fn="gelu"), "act_fn = 'gelu'.* silu or swish"),
        (dict(norm_num_groups=7), "32 channels .* multiples of 7"),
        (dict(norm_num_groups="8"), "norm_num_groups = '8'"),
    ],
)
def test_configs_that_are_refused(tmp_path, config: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        diffusers_vq.convert(hub(tmp_path, small(), **config), OPTIONS)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_config_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    (hub(tmp_path, small()) / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        diffusers_vq.convert(tmp_path, OPTIONS)


def test_a_codec_without_codes_is_named(tmp_path: pathlib.Path) -> None:
    """Of diffusers, of latent diffusion, without config.json, and by the command."""
    state = layouts.random_state(layouts.vqgan())
    state = {n: v for n, v in state.items() if not n.startswith("quantize.")}
    layouts.write(tmp_path / FILE, of_diffusers(state, NEW, 2))
    layouts.write(tmp_path / "ldm.safetensors", state)
    for convert, name in (
        (diffusers_vq.convert, FILE),
        (taming.convert, "ldm.safetensors"),
    ):
        with pytest.raises(InputError, match="AutoencoderKL is continuous; not conv"):
            convert(tmp_path / name, OPTIONS)
    flags = dict(family="diffusers_vq", input=tmp_path, output=tmp_path / "out")
    assert main([f"--{name}={value}" for name, value in flags.items()]) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("convert", [m.convert for m in (diffusers_vq, flax_vqgan)])
def test_folders_without_weights(tmp_path: pathlib.Path, convert) -> None:
    with pytest.raises(InputError, match="Found nothing in the folder"):
        convert(tmp_path, OPTIONS)
    (tmp_path / "README.md").write_text("")
    with pytest.raises(InputError, match=r"Found README\.md in the folder"):
        convert(tmp_path, OPTIONS)


@pytest.mark.parametrize("data", [b"", b"\x80", b"PK\x03\x04", b"\x81\xa1a\x01", b"{}"])
def test_damaged_msgpack(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(data)
    with pytest.raises(InputError, match="expected"):
        flax_vqgan.convert(path, OPTIONS)
    with pytest.raises(InputError, match="no readable file"):
        flax_vqgan.convert(tmp_path / "other", OPTIONS)


@pytest.mark.parametrize("module", [diffusers_vq, llamagen])
def test_a_tensor_too_many_or_too_few(tmp_path: pathlib.Path, module) -> None:
    # one level, where taming's and LlamaGen's names of attention agree
    state = layouts.random_state(layouts.vqgan(mult=(1,), attention=(0,)))
    path = tmp_path / "a.safetensors"
    if module is diffusers_vq:
        state = of_diffusers(state, NEW, 1)
    for change in (
        dict(extra=np.zeros(3, np.float32)),
        {"decoder.norm": state["quant_conv.bias"]},
    ):
        layouts.write(path, {**state, **change})
        with pytest.raises(InputError, match="1 unexpected"):
            module.convert(path, OPTIONS)
    del state["post_quant_conv.bias"]
    layouts.write(path, state)
    with pytest.raises(InputError, match=r"1 missing .post_quant_conv\.bias"):
        module.convert(path, OPTIONS)


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(res_dilation_growth_rate=2), "res_dilation_growth_rate = 2"),
        (dict(act_fn="gelu"), "act_fn = 'gelu'"),
        (dict(vqvae_config=dict(conv_res_scale=True)), "conv_res_scale = True"),
    ],
)
def test_jukebox_of_other_settings(tmp_path, config: dict, message: str) -> None:
    layouts.write(tmp_path / "model.safetensors", dict(a=np.zeros(1, np.float32)))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        jukebox.convert(tmp_path, jukebox.OPTIONS)
