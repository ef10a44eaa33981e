"""A denoiser of several modalities: its heads, its codes, and what it is told."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_joint as tj

from cdcd_jax.diffusion.predictions import Predicted
from cdcd_jax.networks.joint import VALUES, make_code, outputs_of

NAMES = ("caption", "image", "label", "vector")
ROWS = 3
Z = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, 4, 4)), jnp.float32)
TIMES = jnp.array([8, 3, 1])


@functools.cache
def jitted(method: str, names: tuple[str, ...] = NAMES, **static: Any) -> Any:
    network = tj.of(*names)[0].network
    return jax.jit(functools.partial(network.apply, method=method))


def ask(method: str, *args: Any) -> Any:
    """A method of the network of all four."""
    return jitted(method)({"params": tj.of(*NAMES)[1]}, *args)


@functools.cache
def said() -> dict[str, jax.Array]:
    """Of z, where nothing is known."""
    return ask("said", Z, TIMES, ask("encode", {}, jnp.ones(ROWS, bool)))


def spec(name: str) -> Any:
    return tj.of(*NAMES)[0].modalities[name].code


def test_heads_have_their_sizes() -> None:
    found = {name: a.shape for name, a in said().items()}
    assert found == {
        VALUES: (ROWS, 4, 4),
        "image": (ROWS, 4, 4),
        "label": (ROWS, 3),
        "vector": (ROWS, 6),
        "caption": (ROWS, 4, 7),  # a token of the text for each of z
    }
    assert outputs_of({"image": spec("image")}, (4, 4)) == {VALUES: 4}
    both = outputs_of({"label": spec("label")}, (4, 4))
    assert both == {VALUES: 4, "of_label": 3}


def test_a_pooled_head_reads_the_mean() -> None:
    """Since it is linear, of its outputs for each token."""
    task, params = tj.of(*NAMES)
    encoded = ask("encode", {}, jnp.ones(ROWS, bool))
    features = ask("features", Z, TIMES, encoded)
    for name in ("label", "vector"):
        head = params["network"][f"of_{name}"]
        (kernel, bias) = (head[k] for k in ("kernel", "bias"))
        expected = features.mean(1) @ kernel + bias
        np.testing.assert_allclose(said()[name], expected, rtol=1e-4, atol=1e-4)
    assert task.network.space == (4, 4)


def test_what_heads_say_is_encoded_again() -> None:
    params, predicted = tj.of(*NAMES)[1], jitted("predicted")
    found = predicted({"params": params}, said())
    assert isinstance(found, Predicted) and found.values is not None
    np.testing.assert_array_equal(found.values, said()[VALUES])
    rows = params["code_label"]["table"]
    label = jax.nn.softmax(said()["label"]) @ rows
    np.testing.assert_allclose(found.codes["label"].reshape(ROWS, -1), label, rtol=1e-5)
    np.testing.assert_array_equal(found.codes["image"], said()["image"])
    turned = said()["vector"] @ params["code_vector"]["turn"]
    np.testing.assert_allclose(
        found.codes["vector"].reshape(ROWS, -1), turned, rtol=1e-4, atol=1e-5
    )


def test_a_picture_alone_is_what_the_values_say() -> None:
    params = {"params": tj.of("image")[1]}
    assert not any("of_image" in name for name in params["params"]["network"])
    found = jitted("predicted", ("image",))(params, {VALUES: Z})
    assert found.codes is None
    np.testing.assert_array_equal(found.values, Z)


def test_losses_and_nats_are_those_of_the_codes() -> None:
    x = {name: jnp.asarray(a) for name, a in tj.values(ROWS).items()}
    losses, (task, params) = ask("losses", said(), x), tj.of(*NAMES)
    assert set(losses) == set(NAMES)
    for name in NAMES:
        code = make_code(spec(name), (4, 4))
        read = said()[name], x[name]
        of_it = lambda method, c=code, n=name, read=read: c.apply(
            {"params": params.get(f"code_{n}", {})}, *read, method=method
        )
        np.testing.assert_allclose(losses[name], of_it("loss"), rtol=1e-5)
        nats = task.network.apply({"params": params}, name, *read, method="nats")
        np.testing.assert_allclose(nats, of_it("nats"), rtol=1e-5)


def test_logits_become_logarithms_of_probabilities() -> None:
    found = ask("normalised", said())
    for name in (VALUES, "image", "vector"):
        np.testing.assert_array_equal(found[name], said()[name])
    np.testing.assert_allclose(np.exp(found["label"]).sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        np.exp(found["caption"]).reshape(ROWS, 4, 7).sum(-1), 1, rtol=1e-5
    )


def test_what_is_known_changes_what_is_said() -> None:
    drop = {"label": jnp.array([False, True, False])}
    encoded = ask("encode", dict(label=jnp.array([0, 1, 2])), drop)
    apart = np.abs(ask("said", Z, TIMES, encoded)["image"] - said()["image"])
    assert (apart.max((1, 2)) > 1e-3).tolist() == [True, False, True]


@pytest.fixture(scope="module")
def with_absence() -> Any:
    config = tj.settings(tj.chosen("image", "label"), model=dict(modality_dropout=0.5))
    return tj.made(config)


def test_which_modalities_are_absent_is_told(with_absence: Any) -> None:
    task, params = with_absence
    apply = functools.partial(task.network.apply, {"params": params})
    encoded = apply({}, jnp.ones(ROWS, bool), method="encode")
    gone = dict(
        label=jnp.array([False, True, False]), image=jnp.array([False, False, True])
    )
    found = apply(encoded, gone, method="told_absent").vector - encoded.vector
    # in the order of the names
    expected = np.stack([np.zeros(16), params["absence"][1], params["absence"][0]])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "absence" not in tj.of("image", "label")[1]
