"""The image autoencoder: shapes, blocks, and parity with taming-transformers.

Parity needs the complete file with the network's weights, looked for in
$CDCD_JAX_GOLDEN or in `shared/golden` beside the repository.
"""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert import taming
from cdcd_jax.networks import quantizer as vq
from cdcd_jax.networks.vqgan import (
    ImageAutoencoder,
    depth_to_space,
    group_count,
    space_to_depth,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)
NET = ImageAutoencoder(
    resolution=16,
    image_channels=3,
    channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(8,),
    latent_channels=32,
    code_dim=32,
)
BOOK = "quantize.embedding.weight"


def images(array: np.ndarray) -> np.ndarray:
    """[B, C, H, W] -> [B, H, W, C]."""
    return np.moveaxis(array, 1, -1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    path = COMPLETE / "parity_vqgan.npz"
    if not path.exists():
        pytest.skip("no parity_vqgan.npz: name its folder, CDCD_JAX_GOLDEN")
    with np.load(path) as arrays:
        return dict(arrays)


def apply(net: ImageAutoencoder, params: dict, x: np.ndarray, method: str):
    """`method` of the network, compiled whole."""
    run = lambda params, x: net.apply({"params": params}, x, method=method)
    return jax.jit(run)(params, x)


def state_of(golden: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    n = len(prefix)
    return {k[n:]: v for k, v in golden.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def params(golden: dict[str, np.ndarray]) -> dict:
    state = state_of(golden, "params/")
    return taming.autoencoder_params(NET, state, {BOOK: (64, 32)}, "golden")


def test_encoder_and_codes(golden: dict, params: dict) -> None:
    x = images(golden["in/x"])
    (z,) = apply(NET, params, x, "encode")
    reference = images(golden["out/quant_conv_f64"])
    np.testing.assert_allclose(z, reference, rtol=0, atol=1e-5)
    codes = vq.nearest_codes(z, golden[f"params/{BOOK}"])
    np.testing.assert_array_equal(np.ravel(codes), golden["out/indices"])


def test_decoder(golden: dict, params: dict) -> None:
    book, codes = golden[f"params/{BOOK}"], golden["out/indices"].reshape(2, 8, 8)
    np.testing.assert_array_equal(book[codes], images(golden["out/codebook_entry"]))
    y = apply(NET, params, book[codes], "decode")
    reference = images(golden["out/dec_f64"])
    np.testing.assert_allclose(y, reference, rtol=0, atol=2e-5)
    # the codec: 255 levels, and the table of codes between
    codes = golden["codec/full_code_back"].reshape(2, 8, 8)
    y = apply(NET, params, book[codes], "decode")
    y = (np.clip(y, -1, 1) + 1) * 127.5
    np.testing.assert_allclose(y, images(golden["codec/decoded255"]), atol=1e-2)


def test_codec_codes(golden: dict, params: dict) -> None:
    x = images(golden["codec/img255"]) / 127.5 - 1
    (z,) = apply(NET, params, x, "encode")
    codes = vq.nearest_codes(z, golden[f"params/{BOOK}"])
    np.testing.assert_array_equal(codes.reshape(2, 64), golden["codec/full_code"])


def test_gumbel_logits_and_image(golden: dict) -> None:
    state = state_of(golden, "params/")
    del state[BOOK]
    state |= state_of(golden, "gumbel_params/")
    net = NET.clone(gumbel_codes=64)
    others = {"quantize.embed.weight": (64, 32)}
    params = taming.autoencoder_params(net, state, others, "golden")
    (z,) = apply(net, params, images(golden["in/x"]), "encode")
    logits = images(golden["gumbel/logits"])
    np.testing.assert_allclose(z, logits, rtol=0, atol=2e-5)
    z_q = images(golden["gumbel/quant"])
    y = apply(net, params, z_q, "decode")
    np.testing.assert_allclose(y, images(golden["gumbel/dec"]), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_gradients(golden: dict, params: dict) -> None:
    x, state = images(golden["in/x"]), state_of(golden, "params/")

    @jax.jit
    @jax.value_and_grad
    def loss(trained: dict) -> jax.Array:
        book = trained["book"]
        run = lambda a, method: NET.apply({"params": trained["net"]}, a, method=method)
        (z,) = run(x, "encode")
        z_q = book[vq.nearest_codes(z, book)]
        # the reference's weights, its legacy form
        terms = vq.commitment_loss(z, z_q) + 0.25 * vq.codebook_loss(z, z_q)
        y = run(vq.straight_through(z, z_q), "decode")
        return jnp.mean(jnp.abs(y - x)) + terms

    value, ours = loss({"net": params, "book": jnp.asarray(state[BOOK])})
    np.testing.assert_allclose(value, golden["grad/loss"], rtol=1e-5)
    ours, net = {BOOK: ours["book"]}, ours["net"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(net):
        name = taming.torch_name(tuple(key.key for key in path))
        ours[name] = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf
    names = [name for name in golden if name.startswith("grad/") and "." in name]
    assert len(names) == 5
    for name in names:
        error = np.linalg.norm(ours[name[5:]] - golden[name])
        assert error <= 1e-4 * np.linalg.norm(golden[name]), name


def test_extract_is_part_of_the_complete_file(golden: dict) -> None:
    with np.load(ROOT / "tests" / "golden" / "parity_vqgan.npz") as extract:
        for key in extract.files:
            np.testing.assert_array_equal(extract[key], golden[key], err_msg=key)


# -- without the reference -------------------------------------------------------------


def test_groups_divide_any_channels() -> None:
    assert [group_count(c) for c in (32, 64, 48, 24, 37, 1)] == [32, 32, 24, 24, 1, 1]


@pytest.mark.parametrize("patch, levels, hop", [(1, 3, 4), (2, 2, 4), (4, 1, 4)])
def test_hops_and_shapes(patch: int, levels: int, hop: int) -> None:
    net = ImageAutoencoder(
        resolution=16,
        image_channels=1,
        channels=6,
        channel_mult=(1, 2, 2)[:levels],
        num_res_blocks=1,
        attention_resolutions=(4,),
        latent_channels=5,
        code_dim=7,
        patch=patch,
    )
    assert net.hops == (hop,)
    x = jnp.zeros((2, 16, 16, 1))
    params = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    assert params["conv_out"]["kernel"].shape == (3, 3, 6, patch**2)
    assert any("attn" in name for name in params["encoder"])
    run = lambda method: (
        lambda params, a: net.apply({"params": params}, a, method=method)
    )
    (z,) = jax.eval_shape(run("encode"), params, x)
    assert (z.shape, z.dtype) == ((2, 4, 4, 7), jnp.float32)
    y = jax.eval_shape(run("decode"), params, z)
    assert (y.shape, y.dtype) == (x.shape, jnp.float32)


def test_decode_is_out_of_the_features() -> None:
    net = NET.clone(patch=2, channels=8, latent_channels=8, dtype=jnp.bfloat16)
    x = jnp.zeros((1, 16, 16, 3))
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)
    params = jax.tree.map(lambda s: jnp.full(s.shape, 0.1, s.dtype), shapes)

    @jax.jit
    def both_ways(params: dict, z: jax.Array) -> tuple[jax.Array, ...]:
        apply = lambda a, method: net.apply(params, a, method=method)
        features = apply(z, "decoder_features")
        return features, apply(features, "out"), apply(z, "decode")

    z = jax.random.normal(jax.random.key(0), (1, 4, 4, 32))
    features, out, whole = both_ways(params, z)
    assert features.dtype == jnp.bfloat16 and whole.dtype == jnp.float32
    np.testing.assert_array_equal(out, whole)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_patches_come_back() -> None:
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    patches = space_to_depth(x, 2)
    assert patches.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(patches[0, 1, 2], x[0, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(depth_to_space(patches, 2), x)
