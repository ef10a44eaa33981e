"""Converted tokenizers against what diffusers, transformers and LlamaGen computed.

Files as the hub has them -> `python -m cdcd_jax.convert` -> the tokenizer that records
and models open. What was computed stands in tests/golden (make_vqmodels.py).
"""

import json
import pathlib

import jax
import layouts
import numpy as np
import pytest
from flax import serialization, traverse_util
from named_weights import pictures, quiet, random_state

from cdcd_jax.convert import flax_vqgan, llamagen, taming
from cdcd_jax.convert.__main__ import main
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.vqgan import ImageAutoencoder

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
IMAGES = pictures(2, 16, 16)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"vq_{name}.npz") as arrays:
        return dict(arrays)


def shapes_of(array: np.ndarray) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in json.loads(str(array)).items()}


def weights(array: np.ndarray) -> dict[str, np.ndarray]:
    return quiet(random_state(shapes_of(array)))


def converted(tmp_path: pathlib.Path, family: str, path: pathlib.Path, grid, **flags):
    """The tokenizer of a file or a folder, by the command line."""
    out = tmp_path / "out"
    values = dict(family=family, input=path, output=out, **flags)
    tokenizer = dict(kind="checkpoint", path=str(out), level=values.pop("level", 0))
    if not out.exists():
        assert main([f"--{name}={value}" for name, value in values.items()]) == 0
    return open_tokenizer(tokenizer, grid)


def check_pictures(tokenizer, codes: np.ndarray, pixels: np.ndarray) -> None:
    """All codes are equal, and pictures within 1 of 255 (0.51 of what is unrounded)."""
    np.testing.assert_array_equal(tokenizer.encode(IMAGES), codes)
    assert len(np.unique(codes)) > 5 and pixels.std() > 10
    found = tokenizer.decode(codes)["images"]
    assert np.abs(found - pixels).max() < 0.51


@pytest.mark.parametrize(
    "kind, side, into",
    [
        pytest.param("attention", 8, "vqvae", marks=pytest.mark.slow, id="pipeline"),
        pytest.param("plain", 4, "", id="amused"),
    ],
)
def test_diffusers(tmp_path, kind, side, into) -> None:
    arrays = golden("diffusers")
    folder = tmp_path / "hub" / into
    folder.mkdir(parents=True)
    file = folder / "diffusion_pytorch_model.safetensors"
    layouts.write(file, weights(arrays[f"{kind}/shapes"]))
    (folder / "config.json").write_text(str(arrays[f"{kind}/config"]))
    tokenizer = converted(
        tmp_path, "diffusers_vq", tmp_path / "hub", (side, side), resolution=16
    )
    check_pictures(tokenizer, arrays[f"{kind}/codes"], arrays[f"{kind}/pixels"])


def test_llamagen(tmp_path) -> None:
    arrays = golden("llamagen")
    path = layouts.write(tmp_path / "a.safetensors", weights(arrays["small/shapes"]))
    tokenizer = converted(tmp_path, "llamagen", path, (4, 4), resolution=16)
    check_pictures(tokenizer, arrays["small/codes"], arrays["small/pixels"])
    # neither vectors nor codes say how long they are
    quantizer = json.loads((tmp_path / "out" / "config.json").read_text())["quantizer"]
    assert quantizer["normalize"] is True


@pytest.mark.parametrize("name, hop", [("ds16", 16), ("ds8", 8)])
def test_llamagen_as_published(name: str, hop: int) -> None:
    """All names and shapes of the published sizes fit, without a byte of weights."""
    shapes = shapes_of(golden("llamagen")[f"{name}/shapes"])
    state = llamagen.taming_names(layouts.empty_state(shapes))
    book = "quantize.embedding.weight"
    net = ImageAutoencoder(**taming.read_sizes(state, book, 256, "file"))
    assert net.hops == (hop,) and net.attention_resolutions == (256 // hop,)
    assert state[book].shape == (16384, 8)
    params = taming.autoencoder_params(net, state, {book: (16384, 8)}, "file")
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    used = sum(map(np.prod, shapes.values())) - 65536  # of the buffer
    assert count + 16384 * 8 == used


def test_jukebox_of_transformers(tmp_path) -> None:
    arrays = golden("jukebox")
    folder = tmp_path / "hub"
    folder.mkdir()
    # as a whole JukeboxModel has it, beside its priors
    state = {f"vqvae.{n}": v for n, v in weights(arrays["shapes"]).items()}
    state["priors.0.x"] = np.zeros(3, np.float32)
    layouts.write(folder / "model.safetensors", state)
    (folder / "config.json").write_text(str(arrays["config"]))
    for level, hop in enumerate((4, 8)):
        flags = dict(length=512, sample_rate=8000, level=level)
        tokenizer = converted(tmp_path, "jukebox", folder, (1, 512 // hop), **flags)
        codes, wave = arrays[f"codes/{level}"], arrays[f"wave/{level}"]
        np.testing.assert_array_equal(tokenizer.encode(arrays["wave"]), codes)
        assert wave.std() > 0.05 and np.abs(wave).max() < 1
        np.testing.assert_allclose(tokenizer.decode(codes)["audio"], wave, atol=1e-5)


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_flax_is_taming(tmp_path, old: bool) -> None:
    """The same weights in Flax' msgpack give the same parameters, bit for bit."""
    state = layouts.random_state(layouts.vqgan())
    tree = {}
    for name, value in state.items():
        *path, last = name.split(".")
        number = [*(n.isdigit() for n in path[1:]), False]
        parts = [f"{n}_{path[i + 1]}" if number[i] else n for i, n in enumerate(path)]
        parts = [n for n in parts if not n[0].isdigit()]
        if value.ndim == 4:
            value, last = value.transpose(2, 3, 1, 0), last.replace("weight", "kernel")
        elif "norm" in path[-1]:
            last = last.replace("weight", "scale")
            value = value[None, None, None] if old else value
        elif path[-1] == "embedding":
            last = "embedding"
        tree[(*parts, last)] = np.ascontiguousarray(value)
    tree = traverse_util.unflatten_dict(tree)
    assert "block_0" in tree["encoder"]["down_1"] and "attn_1" in tree["encoder"]["mid"]
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"ch": 32}')
    file = tmp_path / "hub" / "flax_model.msgpack"
    file.write_bytes(serialization.to_bytes({"params": tree} if old else tree))
    path = layouts.write(tmp_path / "a.safetensors", state)
    options = dict(resolution=16)
    ours = flax_vqgan.convert(file if old else tmp_path / "hub", options)
    theirs = taming.convert(path, options)
    assert ours.config == theirs.config
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
