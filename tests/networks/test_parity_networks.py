"""Parity with CDCD: its networks with its weights, their conditions, whole sampling.

What is compared, and where it lies, `cdcd_golden` says.
"""

import hashlib
from typing import Any

import cdcd_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cdcd_golden import (
    Golden,
    K,
    T,
    converted,
    denoiser,
    draw,
    logits_of,
    positions_first,
)

from cdcd_jax.convert import cdcd
from cdcd_jax.convert.transformer import denoiser_params
from cdcd_jax.diffusion import transition
from cdcd_jax.networks import conditioners


@pytest.fixture(scope="module", params=cdcd_golden.FORMS)
def complete(request: pytest.FixtureRequest) -> Golden:
    return cdcd_golden.complete(request.param)


@pytest.mark.parametrize(
    "name, variant, form, changes",
    [
        ("class", "gelu_fc", "selfcondition", dict(mlp="fc", activation="gelu")),
        ("class", "uncond_self", "self", {}),
        (
            "text",
            "fc_gelu",
            "selfcross",
            dict(mlp="fc", activation="gelu", mlp_ratio=4),
        ),
    ],
)
def test_one_layer_network(
    name: str, variant: str, form: str, changes: dict[str, Any]
) -> None:
    golden = cdcd_golden.extract(name)
    network = denoiser(name, form=form, width=32, depth=1, **changes)
    state = golden.below(f"variant_{variant}/params/")
    params = denoiser_params(state, form, depth=1, heads=4)
    ours = logits_of(network, params, golden)
    reference = positions_first(golden[f"variant_{variant}/logits"])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5)


def test_two_layer_network(complete: Golden) -> None:
    params = converted(complete, "params/transformer.")
    ours = logits_of(denoiser(complete.name), params, complete)
    reference = positions_first(complete["out/logits_f64"])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5)


def test_ancestral_sampling(complete: Golden) -> None:
    """All 20 steps from all masks, each from the reference's canvas before it."""
    params = converted(complete, "params/transformer.")
    after, noise = complete["sample_full/tokens"], complete["sample_full/uniform"]
    start = np.full_like(after[:1], K)
    canvases = np.concatenate([start, after[:-1]])  # [20, B, L]
    times = np.arange(T, 0, -1)
    network = denoiser(complete.name)

    @jax.jit
    def log_posterior(x_t: jax.Array, t: jax.Array) -> jax.Array:
        t = jnp.full(len(x_t), t)
        logits = network.apply({"params": params}, x_t, t, complete.encoded)
        return transition.log_posterior(logits, x_t, complete.steps.at(t - 1))

    for x_t, t, uniform, x_s in zip(canvases, times, noise, after, strict=True):
        drawn = draw(log_posterior(jnp.asarray(x_t, jnp.int32), t), uniform)
        np.testing.assert_array_equal(drawn, x_s, err_msg=f"t = {t}")


def test_the_token_of_dance_video_and_genre() -> None:
    """Three parts of the reference's matrix, added, make its one token."""
    golden = cdcd_golden.complete("d2m")
    random = np.random.RandomState(12345)
    weight = (random.standard_normal((1024, 3328)) * 0.02).astype(np.float32)
    digest = hashlib.sha256(weight.tobytes()).hexdigest()
    assert str(golden["lin1_weight_recipe"]).endswith(digest)
    state = golden.below("params/condition_emb.")
    state = {f"transformer.condition_emb.{k}": v for k, v in state.items()}
    state["transformer.lin1.weight"] = weight
    state["transformer.lin1.bias"] = golden["params/lin1.bias"]
    # the file has the dance's features in place of an encoder's weights
    for name, shape in dict(cdcd.motion_layout(4, 6, [4, 4, 1024])).items():
        state[f"condition_codec_motion.{name}"] = np.ones(shape, np.float32)
    params, specs = cdcd.dance_parts(state, "golden")
    drop = jnp.zeros(5, bool)
    genre = np.argmax(golden["in/condition_genre"], axis=1)
    token = golden["in/condition_motion"] @ params["motion"]["tower"]["lin1"]["kernel"]
    token = token + params["motion"]["tower"]["lin1"]["bias"]
    for name, value in (("video", golden["in/condition_video"]), ("genre", genre)):
        part = conditioners.make_conditioner(name, specs[name], 64, 20, False)
        token = token + part.apply({"params": params[name]}, value, drop).sequence
    np.testing.assert_allclose(token, golden["out/cond_emb"], rtol=0, atol=2e-5)


def test_extract_is_part_of_the_complete_file(complete: Golden) -> None:
    if complete.name == "d2m":
        pytest.skip("no part of it is here")
    for key, value in cdcd_golden.extract(complete.name).arrays.items():
        np.testing.assert_array_equal(value, complete[key], err_msg=key)
