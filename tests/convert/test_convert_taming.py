"""VQGANs of taming-transformers and VQ-Diffusion: layouts, sizes, values, refusals."""

import pathlib
import re

import jax
import jax.numpy as jnp
import layouts
import numpy as np
import pytest

from cdcd_jax.convert import ithq, taming
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.vqgan import ImageAutoencoder

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTES = ROOT.parent / "shared" / "notes" / "checkpoint_keys.txt"
F16 = dict(channels=128, mult=(1, 1, 2, 2, 4), blocks=2, latent=256, dim=256)
# name -> layout, tensors and parameters as the module definitions have them
PUBLISHED = {
    "taming VQGAN f16 imagenet 16384": (
        layouts.vqgan(**F16, attention=(4,), codes=16384),
        343,
        76_073_859,
    ),
    "taming VQGAN f16 ffhq 1024": (
        layouts.vqgan(**F16, attention=(4,), codes=1024),
        343,
        72_141_699,
    ),
    "taming GumbelVQ f8 openimages 8192": (
        layouts.vqgan(
            **{**F16, "mult": (1, 1, 2, 4)}, attention=(3,), codes=8192, kind="gumbel"
        ),
        301,
        68_995_971,
    ),
}
OPTIONS = dict(resolution=16)


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    return layouts.random_state(layouts.vqgan())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts(name: str) -> None:
    """All names and shapes fit, without a byte of weights."""
    layout, tensors, parameters = PUBLISHED[name]
    assert len(layout) == tensors
    assert sum(map(np.prod, layout.values())) == parameters
    if NOTES.exists():  # the list from the module definitions
        part = NOTES.read_text().split(f"## {name}")[1].split("\n## ")[0]
        rows = re.findall(r"^(\S+) \(([\d, ]*)\)$", part, re.MULTILINE)
        listed = {n: tuple(int(d) for d in re.findall(r"\d+", s)) for n, s in rows}
        assert listed == layout
    state = layouts.empty_state(layout)
    gumbel = "gumbel" in name.lower()
    book = "quantize.embed.weight" if gumbel else "quantize.embedding.weight"
    sizes = taming.read_sizes(state, book, 256, "file")
    codes = layout[book][0]
    net = ImageAutoencoder(**sizes, gumbel_codes=codes if gumbel else 0)
    params = taming.autoencoder_params(net, state, {book: layout[book]}, "file")
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count + np.prod(layout[book]) == parameters
    assert net.hops == ((8,) if gumbel else (16,))
    assert net.attention_resolutions == ((32,) if gumbel else (16,))


def test_sizes_and_config(tmp_path: pathlib.Path, state: dict) -> None:
    state["loss.discriminator.main.0.weight"] = np.zeros((2, 2), np.float32)
    found = taming.convert(layouts.write(tmp_path / "a.safetensors", state), OPTIONS)
    assert found.config["task"] == "tokenizer"
    assert found.config["model"] == dict(
        kind="vqgan",
        resolution=16,
        image_channels=3,
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(8,),
        latent_channels=32,
    )
    quantizer = dict(kind="nearest", num_codes=24, dim=16, update="gradient", remap=0)
    assert quantizer.items() <= found.config["quantizer"].items()
    np.testing.assert_array_equal(
        found.params["codebooks"]["0"], state["quantize.embedding.weight"]
    )
    kernel = found.params["autoencoder"]["encoder"]["down_0_downsample"]["kernel"]
    np.testing.assert_array_equal(
        kernel[2, 1], state["encoder.down.0.downsample.conv.weight"][:, :, 2, 1].T
    )


def test_inside_of_a_transformer(tmp_path: pathlib.Path, state: dict) -> None:
    plain = taming.convert(layouts.write(tmp_path / "a.safetensors", state), OPTIONS)
    whole = {f"first_stage_model.{name}": value for name, value in state.items()}
    whole["first_stage_model.loss.x"] = whole["transformer.head.weight"] = np.ones(2)
    nested = taming.convert(layouts.write(tmp_path / "b.safetensors", whole), OPTIONS)
    assert nested.config == plain.config
    jax.tree.map(np.testing.assert_array_equal, nested.params, plain.params)


def test_gumbel(tmp_path: pathlib.Path) -> None:
    state = layouts.random_state(layouts.vqgan(kind="gumbel"))
    found = taming.convert(layouts.write(tmp_path / "a.safetensors", state), OPTIONS)
    assert found.config["quantizer"]["kind"] == "gumbel"
    proj = found.params["autoencoder"]["proj"]["kernel"]
    assert proj.shape == (1, 1, 16, 24)
    np.testing.assert_array_equal(
        found.params["codebooks"]["0"], state["quantize.embed.weight"]
    )


def test_ithq(tmp_path: pathlib.Path) -> None:
    layout = layouts.vqgan(mult=(1, 2, 4), attention=(2,), kind="ema")
    state = layouts.random_state(layout)
    found = ithq.convert(layouts.write(tmp_path / "a.safetensors", state), OPTIONS)
    assert found.config["quantizer"]["update"] == "ema"
    assert found.config["model"]["attention_resolutions"] == (4,)
    book = found.extra["codebooks"]["0"]
    np.testing.assert_array_equal(book.codebook, state["quantize.embedding"])
    np.testing.assert_array_equal(book.sums, state["quantize.embedding_avg"])
    np.testing.assert_array_equal(book.counts, state["quantize.cluster_size"])
    with pytest.raises(InputError, match=r"no 'quantize\.embedding\.weight'"):
        taming.convert(tmp_path / "a.safetensors", OPTIONS)


def renamed(state: dict, old: str, new: str) -> None:
    state[new] = state.pop(old)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("decoder.norm_out.bias"), "1 missing .decoder.norm_out.bias"),
        (lambda s: s.pop("encoder.conv_in.weight"), "no 'encoder.conv_in.weight'"),
        (lambda s: s.pop("quant_conv.weight"), "no 'quant_conv.weight'"),
        (lambda s: s.pop("encoder.down.1.attn.0.norm.weight"), "unexpected"),
        (lambda s: s.update(extra=np.zeros(3)), "1 unexpected .extra"),
        (
            lambda s: renamed(s, "encoder.mid.attn_1.q.bias", "encoder.mid.attn_2.q"),
            "missing .* unexpected",
        ),
        (
            lambda s: s.update({"quant_conv.bias": np.zeros(7, np.float32)}),
            r"of another shape .quant_conv.bias \[7\] instead of \[16\]",
        ),
        (
            lambda s: s.update({"quant_conv.bias": np.zeros(16, np.int32)}),
            r"1 not of floats .quant_conv.bias",
        ),
        (
            lambda s: s.update({"encoder.conv_in.weight": np.zeros((32, 3))}),
            "the shape .* of 'encoder.conv_in.weight'",
        ),
        (
            lambda s: s.update({"encoder.conv_in.weight": np.zeros((33, 3, 3, 3))}),
            "33 channels",
        ),
        (
            # a level far away must not make a network of as many
            lambda s: s.update({"encoder.down.9999999.block.0.conv1.weight": s["x"]}),
            "unexpected",
        ),
        (lambda s: [s.pop(n) for n in list(s) if n != "x"], "no 'encoder.conv_in"),
        (lambda s: s.update(x=np.full(2, np.nan, np.float32)), "not finite in 'x'"),
    ],
)
def test_refusals(tmp_path: pathlib.Path, state: dict, spoil, message: str) -> None:
    state["x"] = np.zeros((32, 32, 3, 3), np.float32)
    spoil(state)
    if "finite" not in message and len(state) > 1:
        del state["x"]
    path = layouts.write(tmp_path / "a.safetensors", state)
    with pytest.raises(InputError, match=message) as error:
        taming.convert(path, OPTIONS)
    assert "; expected" in str(error.value)


def test_resolution_that_cannot_be_halved(tmp_path: pathlib.Path, state: dict) -> None:
    path = layouts.write(tmp_path / "a.safetensors", state)
    with pytest.raises(UsageError, match="--resolution=17"):
        taming.convert(path, dict(resolution=17))


def test_names_cover_all_parameters() -> None:
    """`torch_name` gives each parameter its own name, patches and proj included."""
    net = ImageAutoencoder(32, 3, 32, (1, 2, 4), 2, (8, 16), 32, 16, 2, 5)
    x = jnp.zeros((1, 32, 32, 3))
    tree = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    paths = [
        tuple(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
    names = {taming.torch_name(path) for path in paths}
    assert len(names) == len(paths)
    assert {"decoder.conv_out.bias", "quantize.proj.weight"} <= names
