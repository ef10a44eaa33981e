"""CDCD's dance encoder against what its code computed, AIST++ and TikTok."""

import json
import os
import pathlib

import jax
import numpy as np
import pytest

from cdcd_jax.convert.cdcd import motion_params
from cdcd_jax.networks.reference_motion import ReferenceEncoder, ReferenceMotion

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    path = COMPLETE / "parity_d2m.npz"
    if not path.exists():
        pytest.skip("no parity_d2m.npz: name its folder, CDCD_JAX_GOLDEN")
    with np.load(path) as arrays:
        return {k: arrays[k] for k in arrays.files if k.startswith("motion_")}


def encoded(state: dict[str, np.ndarray], motion: np.ndarray) -> np.ndarray:
    params = motion_params(state, "state")
    widths = tuple(params[f"conv_{i}"]["bias"].size for i in range(3))
    network = ReferenceEncoder(widths)
    return jax.jit(network.apply)({"params": params}, motion)


@pytest.mark.parametrize(
    "name, shape", [("small", (2, 360, 219)), ("tiktok_small", (2, 60, 25, 3))]
)
def test_small(golden: dict, name: str, shape: tuple[int, ...]) -> None:
    prefix = f"motion_{name}/params/"
    n = len(prefix)
    state = {k[n:]: v for k, v in golden.items() if k.startswith(prefix)}
    motion = np.random.RandomState(5).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
        motion.sum(dtype=np.float64), golden[f"motion_{name}/in_sum"], rtol=1e-6
    )
    ours = encoded(state, motion.reshape(2, shape[1], -1))
    reference = golden[f"motion_{name}/out"]
    assert np.abs(reference).max() > 0.1
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_full_size(golden: dict) -> None:
    """Weights of the published widths, from the file's recipe."""
    state = {}
    names = golden["motion_full/names"].tolist()
    shapes = json.loads(str(golden["motion_full/shapes_json"]))
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        n = np.random.RandomState(7000 + i).standard_normal(shape)
        if name.endswith("weight_g"):
            value = 1 + 0.2 * n
        elif name.endswith("bias"):
            value = 0.1 * n
        else:
            value = n / np.sqrt(np.prod(shape[1:]))
        state[name] = value.astype(np.float32)
    sums = [state[name].sum(dtype=np.float64) for name in names]
    np.testing.assert_allclose(sums, golden["motion_full/sums"], atol=1e-3)
    motion = np.random.RandomState(6999).standard_normal((2, 360, 219))
    ours = encoded(state, motion.astype(np.float32))
    reference = golden["motion_full/out_f64"]
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-4)


def test_one_token() -> None:
    network = ReferenceMotion(widths=(8, 12, 16), size=20)
    motion = jax.ShapeDtypeStruct((2, 60, 75), np.float32)
    out, params = jax.eval_shape(network.init_with_output, jax.random.key(0), motion)
    assert out.shape == (2, 1, 20)
    assert set(params["params"]) == {"encoder", "lin1"}
