"""Jukebox's autoencoder and losses against what its PyTorch code computed.

`golden/parity_jukebox.npz` holds what the full-size model gives, whose weights come
from a recipe in the file. The complete file, looked for in $CDCD_JAX_GOLDEN or in
`shared/golden` beside the repository, also has a small model with its weights, its
training losses and gradients.
"""

import json
import os
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert import jukebox
from cdcd_jax.networks import spectral
from cdcd_jax.networks.quantizer import (
    commitment_loss,
    nearest_codes,
    straight_through,
)
from cdcd_jax.networks.vqvae1d import WaveAutoencoder

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXTRACTS = ROOT / "tests" / "golden"
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)
FILE = "parity_jukebox.npz"


class Model:
    """A network, its parameters, codebooks and the arrays that it must give."""

    def __init__(self, state: dict[str, np.ndarray], expected: dict[str, np.ndarray]):
        self.expected = expected
        self.sizes = jukebox.find_sizes({n: a.shape for n, a in state.items()})
        assert {n: a.shape for n, a in state.items()} == jukebox.shapes(self.sizes)
        self.network = WaveAutoencoder(**self.sizes.model, code_dim=self.sizes.code_dim)
        self.params = jukebox.autoencoder_params(state, self.sizes)
        self.codebooks = [state[n] for n in jukebox.codebook_names(self.sizes)]

    def encode(self, x: np.ndarray) -> tuple[jax.Array, ...]:
        apply = lambda p, x: self.network.apply({"params": p}, x, method="encode")
        return jax.jit(apply)(self.params, x)

    def decode(self, z_q: np.ndarray, level: int) -> jax.Array:
        apply = lambda p, z: self.network.apply(
            {"params": p}, z, level, method="decode"
        )
        return jax.jit(apply)(self.params, z_q)


@pytest.fixture(scope="module")
def extract() -> dict[str, np.ndarray]:
    with np.load(EXTRACTS / FILE) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    if not (COMPLETE / FILE).exists():
        pytest.skip("the complete golden files are not here")
    with np.load(COMPLETE / FILE) as arrays:
        return dict(arrays)


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)
    }


@pytest.fixture(scope="module")
def small(golden: dict[str, np.ndarray]) -> Model:
    expected = below(golden, "out/") | {"x": golden["in/x"]}
    return Model(below(golden, "params/"), expected)


def full_size(golden: dict[str, np.ndarray]) -> Model:
    """The published sizes with weights by the recipe of the file."""
    state = {}
    shapes = json.loads(str(golden["full/shapes_json"]))
    for i, (name, shape) in enumerate(zip(golden["full/names"], shapes, strict=True)):
        noise = np.random.RandomState(9000 + i).standard_normal(shape)
        if name.endswith(".k"):
            level = int(re.findall(r"\d+", name)[0])
            scale = np.float32(0.3 * golden["full/code_scale"][level])
            mean = golden[f"full/code_mean{level}"]
            value = noise.astype(np.float32) * scale + mean
        elif name.endswith("bias"):
            value = 0.05 * noise
        else:
            value = 0.6 * noise / np.sqrt(np.prod(shape[1:]))
        state[str(name)] = value.astype(np.float32)
        total = state[str(name)].astype(np.float64).sum()
        np.testing.assert_allclose(total, golden["full/sums"][i], rtol=1e-6, atol=1e-6)
    time = np.arange(4096)
    noise = np.random.RandomState(8999).standard_normal(4096)
    wave = 0.5 * np.sin(2 * np.pi * 330 * time / 22050) + 0.05 * noise
    x = wave.astype(np.float32)[None, :, None]
    return Model(state, below(golden, "full/") | {"x": x})


def assert_parity(model: Model) -> None:
    """Features, codes and waveforms of every level."""
    x = model.expected["x"][..., 0]
    features = model.encode(x)
    assert len(features) == len(model.network.hops)
    for level, (z, codebook) in enumerate(zip(features, model.codebooks, strict=True)):
        reference = np.swapaxes(model.expected[f"enc_level{level}"], 1, 2)
        assert z.shape == reference.shape == (len(x), *z.shape[1:])
        assert z.shape[1] * model.network.hops[level] == x.shape[1]
        np.testing.assert_allclose(z, reference, atol=1e-5)
        codes = model.expected[f"codes_level{level}"]
        np.testing.assert_array_equal(nearest_codes(z, codebook), codes)
        wave = model.decode(codebook[codes], level)
        reference = model.expected[f"dec_level{level}"][..., 0]
        np.testing.assert_allclose(wave, reference, atol=1e-5)


@pytest.mark.slow
def test_small_model(small: Model) -> None:
    assert small.network.hops == (8, 32)
    assert_parity(small)


def test_full_size_model(extract: dict[str, np.ndarray]) -> None:
    model = full_size(extract)
    assert model.sizes.model == dict(
        downs=(3, 2, 2),
        strides=(2, 2, 2),
        width=32,
        depth=4,
        multipliers=(2, 1, 1),
        dilation_growth=3,
    )
    assert model.network.hops == (8, 32, 128)
    assert_parity(model)


def training_loss(
    model: Model, params: Any, x: jax.Array, hps: dict[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Jukebox's loss in train mode and its parts, over all levels."""
    resolutions = tuple(
        zip(
            hps["multispec_loss_n_fft"],
            hps["multispec_loss_hop_length"],
            hps["multispec_loss_window_size"],
            strict=True,
        )
    )
    bandwidth, parts, commit = hps["bandwidth"], {}, 0.0
    apply = lambda *a, method: model.network.apply(
        {"params": params}, *a, method=method
    )
    for level, z in enumerate(apply(x, method="encode")):
        codebook = jnp.asarray(model.codebooks[level])
        z_q = codebook[nearest_codes(z, codebook)]
        commit += commitment_loss(z, z_q)
        out = apply(straight_through(z, z_q), level, method="decode")
        squared = jnp.mean(jnp.square(out - x)) / bandwidth["l2"]
        peak = jnp.mean(spectral.peak_error(x, out, hps["linf_k"])) / bandwidth["l2"]
        spec = jnp.mean(spectral.spectral_distance(x, out)) / bandwidth["spec"]
        multi = jnp.mean(spectral.multispectral_distance(x, out, resolutions))
        suffix = f"_l{level + 1}"
        parts |= {
            f"recons_loss{suffix}": hps["lmix_l2"] * squared + hps["lmix_linf"] * peak,
            f"spectral_loss{suffix}": spec,
            f"multispectral_loss{suffix}": multi / bandwidth["spec"],
        }
        if level == 0:
            parts |= {
                "spectral_convergence": jnp.mean(spectral.spectral_convergence(x, out)),
                "l2_loss": squared,
                "l1_loss": jnp.mean(jnp.abs(out - x)) / bandwidth["l1"],
                "linf_loss": peak,
                "out": out,
            }
    for name in ("recons_loss", "spectral_loss", "multispectral_loss"):
        parts[name] = parts[f"{name}_l1"] + parts[f"{name}_l2"]
    parts["commit_loss"] = commit
    loss = parts["recons_loss"] + parts["multispectral_loss"] + 0.02 * commit
    return loss, parts


@pytest.mark.slow
def test_training_loss_and_gradients(golden: dict, small: Model) -> None:
    hps = json.loads(str(golden["train/hps_json"]))
    x = jnp.asarray(golden["in/x"][..., 0])
    call = jax.value_and_grad(
        lambda params: training_loss(small, params, x, hps), has_aux=True
    )
    (loss, parts), gradients = jax.jit(call)(small.params)
    np.testing.assert_allclose(loss, golden["train/loss"], rtol=1e-5)
    out = parts.pop("out")
    np.testing.assert_allclose(out, golden["train/out"][..., 0], atol=1e-5)
    for name, value in parts.items():
        expected = golden[f"train/metric_{name}"]
        np.testing.assert_allclose(value, expected, rtol=1e-5, err_msg=name)
    norms = dict(
        zip(golden["train/grad_names"], golden["train/grad_norms"], strict=True)
    )
    arrays = jukebox.layout(small.sizes)
    assert len(arrays) == len(norms)
    for array in arrays:
        ours = gradients
        for part in array.path:
            ours = ours[part]
        size = np.linalg.norm(np.asarray(ours, np.float64))
        np.testing.assert_allclose(
            size, norms[array.name], rtol=1e-3, err_msg=array.name
        )


def test_extract_is_part_of_the_complete_file(extract: dict, golden: dict) -> None:
    for name, value in extract.items():
        np.testing.assert_array_equal(value, golden[name], err_msg=name)


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_any_stride_and_length(stride: int) -> None:
    network = WaveAutoencoder(
        downs=(1, 1),
        strides=(stride, 2),
        width=4,
        depth=1,
        multipliers=(1, 2),
        code_dim=3,
        hidden_ratio=0.5,
    )
    assert network.hops == (stride, 2 * stride)
    x = jnp.zeros((2, 4 * stride + 1))
    make = lambda: network.init_with_output(jax.random.key(0), x)
    shapes, variables = jax.eval_shape(make)
    assert [a.shape for a in shapes] == [(2, 4 * stride)] * 2
    hidden = variables["params"]["encoder_1_0"]["stack_0"]["hidden_0"]["kernel"]
    assert hidden.shape == (3, 8, 4)


def test_codes_see_what_they_stand_for() -> None:
    """Without dilation, a change reaches the codes around it and no others."""
    network = WaveAutoencoder(
        (1,), (4,), width=4, depth=1, multipliers=(1,), code_dim=3
    )
    x = jnp.zeros((1, 80))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    encode = jax.jit(lambda x: network.apply(variables, x, 0, method="encode_level"))
    changed = np.flatnonzero(np.any(encode(x) != encode(x.at[0, 41].set(1.0)), (0, 2)))
    assert changed.min() >= 7 and changed.max() <= 12 and 10 in changed
    decode = jax.jit(lambda z: network.apply(variables, z, 0, method="decode"))
    z = jnp.zeros((1, 20, 3))
    changed = np.flatnonzero(np.any(decode(z) != decode(z.at[0, 10].set(1.0)), 0))
    assert changed.min() >= 29 and changed.max() <= 54 and 41 in changed


@pytest.mark.parametrize("patch", [1, 3, 8])
def test_patches_of_samples(patch: int) -> None:
    network = WaveAutoencoder(
        (1, 1), (2, 2), width=4, depth=1, multipliers=(1, 1), code_dim=3, patch=patch
    )
    assert network.hops == (2 * patch, 4 * patch)
    x = jnp.zeros((2, 16 * patch))
    make = lambda: network.init_with_output(jax.random.key(0), x)
    waves, variables = jax.eval_shape(make)
    encode = lambda v: network.apply(v, x, method="encode")
    features = jax.eval_shape(encode, variables)
    assert [z.shape for z in features] == [(2, 8, 3), (2, 4, 3)]
    assert [y.shape for y in waves] == [x.shape] * 2
    params = variables["params"]
    first, last = params["encoder_0_0"]["down_0"], params["wave_0"]
    assert first["kernel"].shape == (4, patch, 4)
    assert last["kernel"].shape == (3, 3, patch)
    # nothing else depends on it
    plain = WaveAutoencoder(
        (1, 1), (2, 2), width=4, depth=1, multipliers=(1, 1), code_dim=3
    )
    other = jax.eval_shape(plain.init, jax.random.key(0), jnp.zeros((2, 16)))["params"]
    sizes = lambda tree: {
        jax.tree_util.keystr(path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    one, two = sizes(params), sizes(other)
    differ = {name for name in one if one[name] != two[name]}
    ends = {"['wave_0']", "['wave_1']", "['encoder_0_0']['down_0']"}
    ends |= {"['encoder_1_0']['down_0']"}
    assert one.keys() == two.keys()
    assert {name.rpartition("[")[0] for name in differ} == (
        ends if patch > 1 else set()
    )


@pytest.mark.slow
def test_a_patch_of_samples_is_one_step_in_time() -> None:
    """A change reaches the codes around its step of 4, and a code the samples there."""
    sizes = dict(width=4, depth=1, multipliers=(1,), code_dim=3)
    network = WaveAutoencoder((1,), (2,), patch=4, **sizes)
    x = jnp.zeros((1, 160))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    encode = jax.jit(lambda x: network.apply(variables, x, 0, method="encode_level"))
    changed = np.flatnonzero(np.any(encode(x) != encode(x.at[0, 82].set(1.0)), (0, 2)))
    assert changed.min() >= 7 and changed.max() <= 13 and 10 in changed
    decode = jax.jit(lambda z: network.apply(variables, z, 0, method="decode"))
    z = jnp.zeros((1, 20, 3))
    assert decode(z).shape == (1, 160)
    changed = np.flatnonzero(np.any(decode(z) != decode(z.at[0, 10].set(1.0)), 0))
    assert changed.min() >= 48 and changed.max() <= 119 and 82 in changed
