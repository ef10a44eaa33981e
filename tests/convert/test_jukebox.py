"""Jukebox's VQ-VAE: layout, sizes, values that arrive, refusals."""

import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert import jukebox
from cdcd_jax.errors import InputError
from cdcd_jax.networks.vqvae1d import WaveAutoencoder

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "parity_jukebox.npz"
OPTIONS = dict(length=64, sample_rate=8000)
SMALL = jukebox.Sizes(
    downs=(2, 1), strides=(2, 3), widths=(8, 4), depths=(2, 1), code_dim=3, num_codes=5
)


def random_state(sizes: jukebox.Sizes = SMALL) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = jukebox.shapes(sizes)
    return {n: random.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def written(folder: pathlib.Path, state: dict[str, np.ndarray]) -> str:
    path = folder / "vqvae.safetensors"
    save_file(state, path)
    return str(path)


def test_published_layout() -> None:
    """The names and shapes of the 669 arrays of the reference's module."""
    with np.load(GOLDEN) as arrays:
        names, shapes = (
            arrays["full/names"],
            json.loads(str(arrays["full/shapes_json"])),
        )
    expected = {str(n): tuple(s) for n, s in zip(names, shapes, strict=True)}
    sizes = jukebox.find_sizes(expected)
    assert sizes == jukebox.Sizes(
        downs=(3, 2, 2),
        strides=(2, 2, 2),
        widths=(64, 32, 32),
        depths=(8, 4, 4),
        code_dim=64,
        num_codes=2048,
    )
    assert jukebox.shapes(sizes) == expected and len(expected) == 669


@pytest.mark.parametrize("prefix", ["", "module."])
def test_conversion(tmp_path: pathlib.Path, prefix: str) -> None:
    state = random_state()
    named = {prefix + name: value for name, value in state.items()}
    converted = jukebox.convert(written(tmp_path, named), OPTIONS)
    model = dict(
        downs=(2, 1),
        strides=(2, 3),
        width=4,
        depth=1,
        multipliers=(2, 1),
        dilation_growth=3,
    )
    assert converted.config == dict(
        task="tokenizer",
        model=dict(kind="vqvae1d", **model, **OPTIONS),
        quantizer=dict(kind="nearest", update="ema", num_codes=5, dim=3),
    )
    network = WaveAutoencoder(**model, code_dim=3)
    x = np.zeros((1, 24), np.float32)
    expected = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    found = converted.params["autoencoder"]
    shapes = lambda tree: jax.tree.map(lambda a: a.shape, tree)
    assert shapes(found) == shapes(expected)
    # every number arrives once
    books = [book.codebook for book in converted.extra["codebooks"].values()]
    leaves = [*jax.tree.leaves(found), *books]
    every = np.sort(np.concatenate([np.ravel(a) for a in leaves]))
    np.testing.assert_array_equal(
        every, np.sort(np.concatenate([a.ravel() for a in state.values()]))
    )
    assert list(converted.extra["codebooks"]) == ["0", "1"]
    np.testing.assert_array_equal(books[1], state["bottleneck.level_blocks.1.k"])


def test_options_fill_whole_codes() -> None:
    assert jukebox.OPTIONS["length"] % 128 == 0


FIRST = "encoders.0.level_blocks.0.model.0.0.weight"
TOP = "encoders.1.level_blocks.1.model.0.0.weight"
INNER = "decoders.1.level_blocks.0.model.1.0.model.0.model.1.weight"
LEVEL = "encoders.1.level_blocks.0.model.0.0.weight"
BOOK = "bottleneck.level_blocks.0.k"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (FIRST, None, "nothing under"),
        (TOP, None, "nothing under"),
        (INNER, None, "1 missing .*decoders.1"),
        (BOOK, None, "nothing under"),
        ("bottleneck.level_blocks.1.k", None, "1 missing .*level_blocks.1.k"),
        ("prior.x.weight", np.zeros(3, np.float32), "1 unexpected .*prior"),
        (INNER, np.zeros((4, 4, 5), np.float32), r"4, 4, 5\] instead of \[4, 4, 3"),
        (INNER, np.zeros((4, 4, 3), np.int32), "1 not of floats"),
        (INNER, np.full((4, 4, 3), np.nan, np.float32), "not finite"),
        (FIRST, np.zeros(8, np.float32), "3 axes"),
        (FIRST, np.zeros((0, 1, 4), np.float32), r"shape \[0, 1, 4\]"),
        (LEVEL, np.zeros((6, 1, 4), np.float32), "whole multiples"),
        (BOOK, np.zeros((5, 0), np.float32), r"shape \[5, 0\]"),
        ("encoders.7.x", np.zeros(1, np.float32), "nothing under"),
    ],
)
def test_foreign_and_partial_files(
    tmp_path: pathlib.Path, name: str, value: np.ndarray | None, message: str
) -> None:
    state = random_state() | {name: value}
    if value is None:
        del state[name]
    with pytest.raises(InputError, match=message) as error:
        jukebox.convert(written(tmp_path, state), OPTIONS)
    assert "expected" in str(error.value)


def test_another_projects_file(tmp_path: pathlib.Path) -> None:
    state = {"layer.weight": np.zeros((2, 2), np.float32)}
    with pytest.raises(InputError, match=r"Found layer.weight .*Jukebox's VQ-VAE"):
        jukebox.convert(written(tmp_path, state), OPTIONS)
