"""Patches: cutting and joining; their autoencoder: shapes, each by itself, training."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.config import experiment
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.patches import PatchAutoencoder, from_patches, to_patches
from cdcd_jax.networks.quantizer import nearest_codes
from cdcd_jax.tasks import make_task
from cdcd_jax.training import program
from cdcd_jax.training.step import init_state, make_train_step


def test_cutting_and_joining() -> None:
    """A patch lies in its row of patches, and holds its rows of pixels in order."""
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    cut = np.asarray(to_patches(jnp.asarray(x), 2))
    assert cut.shape == (2, 6, 12)
    for row, column in np.ndindex(2, 3):
        part = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(cut[:, 3 * row + column], part.reshape(2, 12))
    np.testing.assert_array_equal(from_patches(cut, 2, (4, 6)), x)
    np.testing.assert_array_equal(to_patches(x, 1), x.reshape(2, 24, 3))


def test_equal_patches_have_equal_codes_wherever_they_lie() -> None:
    network = PatchAutoencoder(12, 3, patch=4, width=16, code_dim=5)
    assert network.hops == (4,)
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 4, 4, 3)).astype(np.float32)
    which = rng.integers(0, 3, (2, 3, 3))
    x = np.zeros((2, 12, 12, 3), np.float32)
    for b, row, column in np.ndindex(which.shape):
        place = b, slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4)
        x[place] = kinds[which[b, row, column]]
    params = jax.jit(network.init)(jax.random.key(0), x)
    encode, decode = (
        jax.jit(functools.partial(network.apply, method=name))
        for name in ("encode", "decode")
    )
    z = np.asarray(encode(params, x)[0])
    assert z.shape == (2, 3, 3, 5) and z.dtype == np.float32
    for kind in range(3):
        found = z[which == kind]
        np.testing.assert_allclose(found, found[:1].repeat(len(found), 0), atol=1e-6)
    assert np.abs(z[which == 0][0] - z[which == 1][0]).max() > 1e-2
    codebook = np.stack([z[which == kind][0] for kind in range(3)])
    np.testing.assert_array_equal(nearest_codes(z, codebook), which)
    y = decode(params, codebook[which])
    assert y.shape == x.shape and y.dtype == np.float32
    # a code is drawn where it lies, and nowhere else
    other = codebook[which]
    other[1, 2, 0] += 1.0
    moved = np.asarray(decode(params, other) != y)
    assert moved[1, 8:12, 0:4].all() and moved.sum() == 4 * 4 * 3
    np.testing.assert_allclose(decode(params, z), y, atol=1e-5)


def settings(resolution: int = 8) -> dict[str, Any]:
    sizes = dict(resolution=resolution, patch=2)
    return experiment(
        task="tokenizer",
        data=dict(raw="digits", batch_size=32),
        model=dict(kind="patches", image_channels=1, width=16, **sizes),
        quantizer=dict(num_codes=16, dim=4),
        optim=dict(num_steps=30, learning_rate=1e-2, warmup_steps=1),
    )


@pytest.mark.slow
def test_training_through_a_task() -> None:
    config = settings()
    task, optimizer = program.build(config)
    assert task.describe()["media"]["shape"] == [8, 8, 1] and task.grid() == (4, 4)
    split = open_source("digits").split("train")
    images = np.stack([split.example(i)["image"] for i in range(32)])
    state, losses = init_state(task, optimizer, 0), []
    step = jax.jit(make_train_step(task, optimizer, config))
    for _ in range(30):
        state, metrics = step(state, {"image": images})
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0]
    codes = np.asarray(task.encode_media(state.params, state.extra, images))
    assert codes.shape == (32, 16) and len(np.unique(codes)) > 3
    black = images.reshape(32, 4, 2, 4, 2).max((2, 4)).reshape(32, 16) == 0
    assert black.sum() > 50 and len(np.unique(codes[black])) == 1
    decoded = task.decode_codes(state.params, state.extra, codes)
    assert decoded.shape == images.shape


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"model\.resolution = 9"):
        make_task(settings(resolution=9))
    for losses in (dict(adversarial=0.1), dict(perceptual=0.1), dict(spectral=1.0)):
        config = settings()
        config["losses"] |= losses
        with pytest.raises(UsageError, match="does not fit"):
            make_task(config)
