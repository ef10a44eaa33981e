"""Inception v3 against pytorch-fid's (tests/golden/make_features.py)."""

import json
import pathlib

import jax
import named_weights
import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert import inception
from cdcd_jax.convert.__main__ import main
from cdcd_jax.errors import InputError
from cdcd_jax.networks.inception import SIDE, Inception, parameter_shapes, resize
from cdcd_jax.runtime.checkpoint import load_parts

EXTRACT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "features.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(EXTRACT) as arrays:
        return {n[10:]: arrays[n] for n in arrays.files if n.startswith("inception/")}


@pytest.fixture(scope="module")
def layout(golden: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return json.loads(str(golden["shapes"]))


def converted(monkeypatch: pytest.MonkeyPatch, state: dict) -> dict:
    monkeypatch.setattr(inception, "read_tensors", lambda *_, **__: state)
    return inception.convert("file", {}).params


@pytest.mark.slow
def test_equals_pytorch(
    golden: dict, layout: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = converted(monkeypatch, named_weights.random_state(layout))
    apply = jax.jit(lambda p, x: Inception().apply({"params": p}, x))
    pictures = named_weights.pictures(2, 48, 40)
    found = apply(params, pictures)
    for name, ours in zip(("features", "logits"), found, strict=True):
        scale = np.abs(golden[name]).max()
        np.testing.assert_allclose(
            ours / scale, golden[name] / scale, atol=1e-4, err_msg=name
        )
        between = np.abs(golden[name][0] - golden[name][1]).max()
        assert between > 0.01 * scale  # the pictures are told apart


@pytest.mark.parametrize(("name", "size"), [("up", (40, 52)), ("down", (400, 310))])
def test_resizes_as_pytorch(golden: dict, name: str, size: tuple[int, int]) -> None:
    image = named_weights.pictures(1, *size).astype(np.float32) / 255
    found = resize(image, SIDE)[:, ::13, ::11]
    np.testing.assert_allclose(found, golden[name], atol=2e-5)


def test_one_channel_is_grey() -> None:
    shape = jax.ShapeDtypeStruct((2, 8, 8, 1), np.uint8)
    init = Inception().init_with_output
    (features, logits), _ = jax.eval_shape(init, jax.random.key(0), shape)
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)


def test_layout_of_the_file(layout: dict) -> None:
    expected = inception.shapes(parameter_shapes())
    assert {n: tuple(s) for n, s in layout.items()} == expected
    assert len(layout) == 472


def test_a_norm_becomes_part_of_its_convolution(
    layout: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "Mixed_5b.branch1x1"
    state = named_weights.random_state(layout)
    part = converted(monkeypatch, state)["Mixed_5b"]["branch1x1"]
    x = np.random.default_rng(0).normal(size=192).astype(np.float32)
    y = state[f"{name}.conv.weight"][:, :, 0, 0] @ x
    weight, bias, mean, variance = (
        state[f"{name}.bn.{each}"]
        for each in ("weight", "bias", "running_mean", "running_var")
    )
    expected = (y - mean) / np.sqrt(variance + 1e-3) * weight + bias
    found = x @ part["kernel"][0, 0] + part["bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_damaged_files(layout: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {n: np.broadcast_to(np.float32(0), s) for n, s in layout.items()}
    name = "Mixed_6c.branch7x7_2.bn.running_var"
    for changes, message in (
        ({name: None}, f"1 missing .{name}"),
        ({"AuxLogits.fc.weight": np.zeros(3)}, "1 unexpected .AuxLogits"),
        ({"fc.weight": np.zeros((1000, 2048), np.float32)}, r"instead of \[1008, 2048"),
        ({name: np.full(160, -1, np.float32)}, f"negative.*{name}"),
    ):
        state = {n: v for n, v in {**empty, **changes}.items() if v is not None}
        with pytest.raises(InputError, match=message):
            converted(monkeypatch, state)


@pytest.mark.slow
def test_through_a_work_directory(tmp_path: pathlib.Path, layout: dict) -> None:
    state = named_weights.random_state(layout)
    name = "Conv2d_1a_3x3.bn.num_batches_tracked"
    save_file({**state, name: np.array(3)}, tmp_path / "a.safetensors")
    flags = [f"--input={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'out'}"]
    assert main(["--family=inception", *flags]) == 0
    assert json.loads((tmp_path / "out/config.json").read_text()) == dict(
        task="inception"
    )
    params = load_parts(tmp_path / "out", parameter_shapes(), {})[1]
    np.testing.assert_array_equal(params["fc"]["kernel"].T, state["fc.weight"])
