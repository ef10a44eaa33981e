"""Draws of several modalities against loops by hand: what is given, and the way."""

import functools
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_joint as tj
from joint_hand import (
    KEY,
    LABELS,
    PAIR,
    ROWS,
    STEPS,
    TIMES,
    Hand,
    assert_tokens,
    sample,
    still,
)

from cdcd_jax.diffusion import process
from cdcd_jax.networks.joint import VALUES, JointDenoiser

# -- what is given -----------------------------------------------------------------


def test_context_by_hand() -> None:
    """The network sees the label; the picture is what it leaves of z."""
    found = sample(tj.of(*PAIR), dict(label=LABELS))
    hand = Hand(tj.of(*PAIR), dict(label=LABELS))
    z, said = hand.draw(lambda *at: still(hand.read(*at)))
    clean = hand.read(said, z, TIMES[-1])
    rest = clean - 0.7 * hand.code("label", LABELS)
    assert set(found) == {"tokens", "label"}
    np.testing.assert_array_equal(found["label"], LABELS)
    assert found["tokens"].dtype == np.int32
    assert_tokens(found["tokens"], rest)
    other = sample(tj.of(*PAIR), dict(label=(LABELS + 1) % 3))
    assert np.any(other["tokens"] != found["tokens"])


def test_a_picture_says_its_label() -> None:
    image = tj.values(ROWS)["image"]
    found = sample(tj.of(*PAIR), dict(image=image))
    hand = Hand(tj.of(*PAIR), dict(image=image))
    _, said = hand.draw(lambda *at: still(hand.read(*at)))
    np.testing.assert_array_equal(found["tokens"], image)
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


def test_nothing_given_draws_both() -> None:
    found = sample(tj.of(*PAIR), {})
    hand = Hand(tj.of(*PAIR), {})
    z, said = hand.draw(lambda *at: still(hand.read(*at)))
    label = np.argmax(said["label"], -1)
    np.testing.assert_array_equal(found["label"], label)
    rest = hand.read(said, z, TIMES[-1]) - 0.7 * hand.code("label", label)
    assert_tokens(found["tokens"], rest)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_guidance_by_hand(scale: float) -> None:
    """z goes along the gradient of log p(label | z), which the network does not see."""
    changes = dict(known="guidance", guidance_scale=scale)
    found = sample(tj.of(*PAIR), dict(label=LABELS), **changes)
    hand = Hand(tj.of(*PAIR), {})

    def likely(z: jax.Array, time: int) -> jax.Array:
        log_p = jax.nn.log_softmax(hand.said(z, time)["label"])
        return jnp.sum(log_p[jnp.arange(ROWS), LABELS])

    slope = jax.jit(jax.grad(likely), static_argnums=1)

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        a, b = hand.level(time)
        noise = (z - a * hand.read(said, z, time)) / b - scale * b * slope(z, time)
        return still((z - b * noise) / a)

    z, said = hand.draw(clean_of)
    clean = clean_of(said, z, TIMES[-1])[0]
    rest = clean - 0.7 * hand.code("label", LABELS)
    np.testing.assert_array_equal(found["label"], LABELS)
    assert_tokens(found["tokens"], rest)
    # the gradient by differences
    way = np.random.default_rng(0).normal(size=z.shape).astype(np.float32)
    ends = [float(likely(z + s * 1e-2 * way, 5)) for s in (1, -1)]
    expected = (ends[0] - ends[1]) / 2e-2
    assert float(np.sum(slope(z, 5) * way)) == pytest.approx(expected, rel=0.03)


def test_substitution_by_hand() -> None:
    """The sum of what the heads say, with the label's own code in its place."""
    found = sample(tj.of(*PAIR), dict(label=LABELS), known="substitution")
    hand = Hand(tj.of(*PAIR), {})

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        codes = dict(image=said["image"], label=hand.code("label", LABELS))
        return still(hand.sum(codes, time))

    _, said = hand.draw(clean_of)
    np.testing.assert_array_equal(found["label"], LABELS)
    assert_tokens(found["tokens"], said["image"])


@pytest.mark.parametrize("known", ["context", "guidance", "substitution"])
def test_what_is_given_comes_out_as_it_was(known: str) -> None:
    names = ("image", "label", "vector")
    given = {name: tj.values(ROWS)[name] for name in names[:2]}
    found = sample(tj.of(*names), given, known=known)
    np.testing.assert_array_equal(found["tokens"], given["image"])
    np.testing.assert_array_equal(found["label"], given["label"])
    assert found["vector"].shape == (ROWS, 6) and np.all(np.isfinite(found["vector"]))


def test_the_order_in_the_config_changes_no_draw() -> None:
    names = ("image", "label", "vector")
    other = tj.made(tj.settings(tj.chosen(*reversed(names))))
    one = sample(tj.of(*names), dict(label=LABELS))
    two = sample(other, dict(label=LABELS))
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


# -- one modality ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_one_modality_is_the_plain_walk(method: str) -> None:
    """What `process.draw` draws, of which the sample is the clean code at the end."""
    task, params = tj.of("image")
    options = tj.options(task, steps=STEPS, method=method)
    found = sample((task, params), {}, method=method)["tokens"]
    apply = functools.partial(task.network.apply, {"params": params})
    encoded = apply({}, jnp.ones(ROWS, bool), method="encode")

    @jax.jit
    def plain(key: jax.Array) -> jax.Array:
        predict = lambda z, t: {
            "z": apply(z["z"], t["z"], encoded, method="said")[VALUES]
        }
        walks = {"z": task.gaussian.walk(options)}
        return process.draw(walks, predict, {"z": key}, {"z": (ROWS, 4, 4)}).x["z"]

    assert_tokens(found, plain(jax.random.fold_in(KEY, 0)))


def test_a_label_alone() -> None:
    """Its head says what z is of."""
    found = sample(tj.of("label"), {})
    hand = Hand(tj.of("label"), {})
    _, said = hand.draw(lambda *at: still(hand.read(*at)))
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


# -- how it goes -------------------------------------------------------------------


@pytest.fixture
def optimized() -> Iterator[None]:
    """Programs without what nobody reads; conftest.py has it otherwise."""
    name = "jax_disable_most_optimizations"
    jax.config.update(name, False)
    yield
    jax.config.update(name, os.environ.get(name.upper()) == "1")


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_is_one_network_evaluation(steps: int, monkeypatch: Any) -> None:
    calls = []

    def counted(z: np.ndarray) -> np.ndarray:
        calls.append(len(z))
        return z

    whole = JointDenoiser.said

    def said(self: Any, z_t: jax.Array, t: jax.Array, encoded: Any) -> Any:
        # of no effect, so that what nobody reads is not run
        z_t = jax.pure_callback(
            counted, jax.ShapeDtypeStruct(z_t.shape, z_t.dtype), z_t
        )
        return whole(self, z_t, t, encoded)

    monkeypatch.setattr(JointDenoiser, "said", said)
    model = tj.made(tj.settings(tj.chosen(*PAIR)))
    image = tj.values(ROWS)["image"]
    found = sample(model, dict(image=image), method="ddim", steps=steps)
    assert calls == [ROWS] * steps
    assert set(found) == {"tokens", "label"}


def test_one_step_reads_the_heads_at_the_last_time() -> None:
    image = tj.values(ROWS)["image"]
    found = sample(tj.of(*PAIR), dict(image=image), method="ddim", steps=1)
    hand = Hand(tj.of(*PAIR), dict(image=image))
    said = hand.said(hand.start, tj.T)
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


@pytest.mark.parametrize(
    ("prediction", "weights"),
    [
        ("x_0", {}),
        ("v", dict(image=dict(weight=(1.0, 0.4)), label=dict(weight=(0.7, 0.1)))),
        ("noise", dict(label=dict(weight=(0.2, 0.9)))),
    ],
)
def test_predictions_and_ramps_by_hand(prediction: str, weights: Any) -> None:
    """Where weights change, the code moves by what the heads say."""
    config = tj.settings(
        tj.chosen(*PAIR, **weights), diffusion=dict(prediction=prediction)
    )
    model = tj.made(config)
    found, hand = sample(model, dict(label=LABELS)), Hand(model, dict(label=LABELS))
    given = hand.code("label", LABELS)

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        codes = dict(image=said["image"], label=given)
        moved = lambda before: hand.sum(codes, before) - hand.sum(codes, time)
        return hand.read(said, z, time), moved

    z, said = hand.draw(clean_of)
    last = TIMES[-1]
    rest = hand.read(said, z, last) - hand.weights["label"][last] * given
    assert_tokens(found["tokens"], rest / hand.weights["image"][last])


def test_a_picture_that_is_no_part_of_z_is_read_by_its_head() -> None:
    """At the end of a ramp to 0, where one step starts."""
    config = tj.settings(tj.chosen(*PAIR, image=dict(weight=(1.0, 0.0))))
    model = tj.made(config)
    found = sample(model, dict(label=LABELS), steps=1)
    hand = Hand(model, dict(label=LABELS))
    assert_tokens(found["tokens"], hand.said(hand.start, tj.T)["image"])
