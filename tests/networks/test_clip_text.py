"""CLIP's text tower against Hugging Face's (tests/golden/make_clip_text.py)."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert import clip
from cdcd_jax.networks.clip_text import ClipText

EXTRACT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "clip_text.npz"
CLOSE = dict(rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(EXTRACT) as arrays:
        return dict(arrays)


def tower(golden: dict[str, np.ndarray], **changes) -> tuple[ClipText, dict]:
    state = {
        name.removeprefix("params/"): value.astype(np.float32)
        for name, value in golden.items()
        if name.startswith("params/")
    }
    style = clip.Style(state)
    state = style.strip(state)
    sizes = clip.find_sizes(state, style) | dict(heads=3) | changes
    if not sizes["projection"]:
        state.pop(style.projection)
    return ClipText(**sizes), clip.text_params(state, style, sizes["layers"])


def test_equals_hugging_face(golden: dict[str, np.ndarray]) -> None:
    network, params = tower(golden)
    sequence, pooled = jax.jit(network.apply)({"params": params}, golden["tokens"])
    assert sequence.dtype == pooled.dtype == jnp.float32
    np.testing.assert_allclose(sequence, golden["sequence"], **CLOSE)
    np.testing.assert_allclose(pooled, golden["projected"], **CLOSE)


def test_without_projection(golden: dict[str, np.ndarray]) -> None:
    network, params = tower(golden, projection=0)
    _, pooled = network.apply({"params": params}, golden["tokens"])
    np.testing.assert_allclose(pooled, golden["pooled"], **CLOSE)


def test_normalized_sequence(golden: dict[str, np.ndarray]) -> None:
    network, params = tower(golden, normalize=True)
    sequence, pooled = network.apply({"params": params}, golden["tokens"])
    norms = np.linalg.norm(golden["sequence"], axis=-1, keepdims=True)
    np.testing.assert_allclose(sequence, golden["sequence"] / norms, **CLOSE)
    np.testing.assert_allclose(pooled, golden["projected"], **CLOSE)


def test_tokens_see_only_what_comes_before(golden: dict[str, np.ndarray]) -> None:
    network, params = tower(golden)
    tokens = golden["tokens"][3:]
    changed = tokens.copy()
    changed[:, 40] = 5
    a, _ = network.apply({"params": params}, tokens)
    b, _ = network.apply({"params": params}, changed)
    np.testing.assert_array_equal(a[:, :40], b[:, :40])
    assert (np.abs(a[:, 40:] - b[:, 40:]).max(-1) > 0).all()


def test_shapes_of_vit_b_32() -> None:
    tokens = jnp.zeros((2, 77), jnp.int32)
    shapes = jax.eval_shape(ClipText().init_with_output, jax.random.key(0), tokens)
    (sequence, pooled), variables = shapes
    assert sequence.shape == (2, 77, 512) and pooled.shape == (2, 512)
    # 63.43 million, as the checkpoint has
    assert sum(a.size for a in jax.tree.leaves(variables)) == 63_428_096
