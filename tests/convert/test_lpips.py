"""LPIPS: weights from one or two files, and its distance by hand."""

import pathlib

import jax
import jax.numpy as jnp
import layouts
import numpy as np
import pytest

from cdcd_jax.convert import lpips
from cdcd_jax.errors import InputError
from cdcd_jax.networks import perceptual
from cdcd_jax.networks.perceptual import STAGES, VGG16, Perceptual

LAYOUT = layouts.lpips()


def test_layout_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of torchvision and of VQGANs' checkpoints, and our parameters' shapes."""
    stage = lambda n: 1 + sum(n >= first for first in (4, 9, 16, 23))
    nested, plain = {}, layouts.empty_state(LAYOUT)
    for name, value in plain.items():
        if name.startswith("features."):
            _, n, leaf = name.split(".")
            name = f"net.slice{stage(int(n))}.{n}.{leaf}"
        nested[f"loss.perceptual_loss.{name}"] = value
    nested["loss.perceptual_loss.scaling_layer.shift"] = np.zeros((1, 3, 1, 1))
    image = jnp.zeros((1, 16, 16, 3))
    tree = jax.eval_shape(Perceptual().init, jax.random.key(0), image, image)["params"]
    expected = jax.tree.map(lambda leaf: leaf.shape, tree)
    for state in (plain | {"classifier.0.weight": np.zeros((2, 2))}, nested):
        monkeypatch.setattr(lpips, "read_tensors", lambda *_, s=state: s)
        found = lpips.convert("file", lpips.OPTIONS)
        shapes = jax.tree.map(np.shape, found.params["perceptual"])
        assert shapes == expected


def test_two_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = layouts.empty_state(LAYOUT)
    files = {
        "vgg": {k: v for k, v in state.items() if k.startswith("features")},
        "lin": {k: v for k, v in state.items() if k.startswith("lin")},
    }
    monkeypatch.setattr(lpips, "read_tensors", lambda path, _: files[path])
    assert lpips.convert("vgg", dict(linear="lin")).params.keys() == {"perceptual"}
    with pytest.raises(InputError, match=r"5 missing \(lin0"):
        lpips.convert("vgg", dict(linear=""))


def small(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Parameters with few channels, that need no gigabytes of products."""
    stages = tuple(tuple(width // 32 for width in stage) for stage in STAGES)
    monkeypatch.setattr("cdcd_jax.networks.perceptual.STAGES", stages)
    image = jnp.zeros((1, 16, 16, 3))
    tree = jax.eval_shape(Perceptual().init, jax.random.key(0), image, image)["params"]
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
    # LPIPS keeps its linear weights positive
    positive = lambda leaf: np.abs(draw(leaf)) if len(leaf.shape) == 1 else draw(leaf)
    return jax.tree.map(positive, tree)


def test_every_number_finds_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    params = small(monkeypatch)
    monkeypatch.setattr(lpips, "STAGES", perceptual.STAGES)
    weights = [name for name in LAYOUT if name.endswith("weight") and name[0] == "f"]
    state = {}
    for name, conv in zip(weights, sorted(params["vgg"]), strict=True):
        kernel = params["vgg"][conv]["kernel"]  # [h, w, in, out]
        state[name] = np.moveaxis(kernel, (3, 2), (0, 1))
        state[name.replace("weight", "bias")] = params["vgg"][conv]["bias"]
    for i in range(5):
        state[f"lin{i}.model.1.weight"] = params[f"lin_{i}"][None, :, None, None]
    monkeypatch.setattr(lpips, "read_tensors", lambda *_: state)
    found = lpips.convert("file", lpips.OPTIONS).params["perceptual"]
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_distance_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    params = small(monkeypatch)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-1, 1, (2, 2, 16, 16, 3)).astype(np.float32)
    shift, scale = np.array([-0.03, -0.088, -0.188]), np.array([0.458, 0.448, 0.45])

    @jax.jit
    def features(image: jax.Array) -> list[jax.Array]:
        return VGG16().apply({"params": params["vgg"]}, (image - shift) / scale)

    expected = np.zeros(2)
    for i, (a, b) in enumerate(zip(features(x), features(y), strict=True)):
        unit = lambda f: f / np.linalg.norm(f, axis=-1, keepdims=True)
        squares = np.square(np.nan_to_num(unit(a)) - np.nan_to_num(unit(b)))
        expected += (squares @ params[f"lin_{i}"]).mean((1, 2))
    distance = jax.jit(lambda x, y: Perceptual().apply({"params": params}, x, y))
    np.testing.assert_allclose(distance(x, y), expected, rtol=1e-4)
    np.testing.assert_allclose(distance(x, x), 0, atol=1e-12)
    grey = x[..., :1]
    np.testing.assert_allclose(
        distance(grey, y), distance(np.repeat(grey, 3, -1), y), rtol=1e-5
    )


@pytest.mark.slow
def test_gradient_of_equal_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite, although the square root of nothing is not smooth."""
    params = small(monkeypatch)
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 2, 16, 16, 3))
    distance = lambda x, y: jnp.sum(Perceptual().apply({"params": params}, x, y))
    slope = jax.jit(jax.grad(distance))
    assert np.isfinite(slope(x, x)).all() and np.abs(slope(x, y)).max() > 0
    assert np.isfinite(slope(0 * x, 0 * x)).all()
