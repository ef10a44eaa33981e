"""The loss of several modalities against brute force, its gradients, and the bound."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_joint as tj

from cdcd_jax.diffusion.gaussian_terms import decoder_nats
from cdcd_jax.diffusion.objective import stratified_times
from cdcd_jax.networks.joint import VALUES
from cdcd_jax.tasks.joint_values import drawn_known, values_of

ROWS = 8
KEY = jax.random.key(3)
STYLE = dict(style=dict(kind="label", num_classes=2))


def loss_of(task: Any) -> Any:
    """(params, key) -> the loss of a batch, and its parts."""
    batch = tj.batch(ROWS)
    return lambda params, key: task.loss(params, {}, batch, key, 0)[:2]


# -- the loss ----------------------------------------------------------------------


@functools.cache
def whole() -> tuple[Any, Any]:
    """Everything at once: dropout of both kinds, a condition, a mask, what is known."""
    names = ("image", "label", "holes")
    model = dict(modality_dropout=0.3, condition_dropout=0.4, known=0.6)
    noise = dict(prediction="noise")
    config = tj.settings(tj.chosen(*names), model=model, diffusion=noise)
    config["model"]["conditions"] = STYLE
    return tj.made(config)


def test_against_brute_force() -> None:
    task, params = whole()
    loss, metrics = jax.jit(loss_of(task))(params, KEY)
    keys, batch = jax.random.split(KEY, 6), tj.batch(ROWS)
    apply = functools.partial(task.network.apply, {"params": params})
    x = values_of(task.modalities, batch, keys[0])
    t = stratified_times(keys[1], ROWS, tj.T)
    known = drawn_known(keys[2], task.modalities, 0.6, ROWS)
    assert any(np.any(a) for a in known.values())
    codes, gone = task.objective.codes(params, x, keys[3])
    forgets = jax.random.bernoulli(keys[4], 0.4, (ROWS,))
    drop = {"style": forgets, **{name: ~known[name] for name in known}}
    given = {**x, "style": batch["condition"]["style"]}
    encoded = apply(given, drop, method="encode")
    encoded = apply(encoded, gone, method="told_absent")
    clean = sum(
        task.modalities[name].weight
        * apply(name, x[name], method="code")
        * ~gone[name][:, None, None]
        for name in codes
    )
    alpha_bar = task.gaussian.levels.alpha_bar[np.asarray(t)][:, None, None]
    noise = jax.random.normal(keys[5], (ROWS, 4, 4))
    z_t = jnp.sqrt(alpha_bar) * clean + jnp.sqrt(1 - alpha_bar) * noise
    said = jax.jit(functools.partial(apply, method="said"))(z_t, t, encoded)
    expected = {VALUES: np.mean(np.square(said[VALUES] - noise))}
    for name in codes:
        of_each = apply(name, said[name], x[name], method="nats")
        if name != "label":  # a squared error
            apart = np.square(said[name] - apply(name, x[name], method="code"))
            of_each = apart.mean((1, 2))
        of_each = np.where(known[name], 0.0, of_each)  # what is given is not learned
        expected[f"of_{name}"] = np.mean(of_each)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    weights = {name: one.loss_weight for name, one in task.modalities.items()}
    total = expected[VALUES] + sum(w * expected[f"of_{n}"] for n, w in weights.items())
    np.testing.assert_allclose(loss, total, rtol=1e-4)
    energy = jnp.mean(jnp.square(clean))
    last = task.gaussian.levels.alpha_bar[-1]
    prior = 0.5 * (last * energy - last - np.log1p(-last))
    np.testing.assert_allclose(metrics["prior_kl"], prior, rtol=1e-3)


def test_no_key_is_used_twice() -> None:
    task, params = whole()
    jax.config.update("jax_debug_key_reuse", True)
    try:
        loss = jax.jit(loss_of(task))(params, KEY)[0]
    finally:
        jax.config.update("jax_debug_key_reuse", False)
    assert np.isfinite(loss)


def test_the_order_in_the_config_changes_nothing() -> None:
    """Neither parameters nor loss, with everything that is drawn."""
    task, params = whole()
    config = dict(task.settings)
    config["model"] = {
        **config["model"],
        "modalities": dict(reversed(config["model"]["modalities"].items())),
    }
    other, same = tj.made(config)
    assert list(config["model"]["modalities"]) != list(task.modalities)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, same))
    one, two = (jax.jit(loss_of(model))(params, KEY) for model in (task, other))
    assert float(one[0]) == float(two[0])
    assert {k: float(v) for k, v in one[1].items()} == {
        k: float(v) for k, v in two[1].items()
    }


# -- what is left out of z ---------------------------------------------------------


def test_what_is_left_out_of_z() -> None:
    task, params = tj.made(
        tj.settings(
            tj.chosen("image", "label", "vector"), model=dict(modality_dropout=0.5)
        )
    )
    rows = 3000
    x = values_of(task.modalities, tj.batch(rows), KEY)
    codes, gone = jax.jit(task.objective.codes)(params, x, KEY)
    out = np.stack([gone[name] for name in codes])
    assert not out.all(0).any()
    # of each a half, of the two thirds in which it is not the one that must stay
    np.testing.assert_allclose(out.mean(1), 1 / 3, atol=0.04)
    whole, none = task.objective.codes(params, x, KEY, dropout=0.0)
    assert none == {}
    for name, code in codes.items():
        kept = ~gone[name][:, None, None]
        np.testing.assert_array_equal(code, np.where(kept, whole[name], 0.0))


# -- gradients ---------------------------------------------------------------------


def with_gradient(mode: str, **changes: Any) -> tuple[Any, Any]:
    own = dict(label=dict(gradient=mode, **changes), image=dict(changes))
    return tj.made(tj.settings(tj.chosen("image", "label", **own)))


def slope(task: Any, params: Any, part: str = "loss") -> np.ndarray:
    """The gradient of the label's table: of the loss, or of the heads' parts of it."""

    def of(table: jax.Array) -> jax.Array:
        changed = {**params, "code_label": {"table": table}}
        loss, metrics = loss_of(task)(changed, KEY)
        heads = metrics["of_image"] + 0.3 * metrics["of_label"]
        return {"loss": loss, "heads": heads}[part]

    return np.asarray(jax.jit(jax.grad(of))(params["code_label"]["table"]))


def test_a_code_that_is_learned_has_the_gradient_of_the_loss() -> None:
    task, params = with_gradient("learn")
    table, loss = params["code_label"]["table"], jax.jit(loss_of(task))
    found = slope(task, params)
    way = np.random.default_rng(1).normal(size=table.shape).astype(np.float32)
    far = 1e-2
    ends = [
        float(loss({**params, "code_label": {"table": table + s * far * way}}, KEY)[0])
        for s in (1, -1)
    ]
    expected = (ends[0] - ends[1]) / (2 * far)
    assert np.sum(found * way) == pytest.approx(expected, rel=0.02, abs=2e-3)
    assert "train" in jax.tree.leaves(task.labels(params)["code_label"])


def test_a_code_of_stop_learns_from_heads_alone() -> None:
    learned, params = with_gradient("learn")
    stopped, _ = with_gradient("stop")
    heads = slope(learned, params, "heads")
    assert np.abs(heads).max() > 1e-4
    found = slope(stopped, params)
    np.testing.assert_allclose(found, heads, atol=1e-6)
    assert np.abs(slope(learned, params) - heads).max() > 1e-4
    # the loss itself is the same number
    one, two = (jax.jit(loss_of(task))(params, KEY)[0] for task in (learned, stopped))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    silent, _ = with_gradient("stop", loss_weight=0.0)
    assert not np.any(slope(silent, params))


def test_stop_holds_where_weights_change_and_the_bound_is_trained() -> None:
    """There heads encode again what they say, which is no road to the table either."""
    config = tj.settings(
        tj.chosen(
            "image",
            "label",
            label=dict(gradient="stop", weight=(0.7, 0.1), loss_weight=0.0),
            image=dict(loss_weight=0.0),
        ),
        diffusion=dict(loss="bound"),
    )
    task, params = tj.made(config)
    assert not np.any(slope(task, params))


def test_a_fixed_code_is_frozen() -> None:
    task, params = tj.of("image", "label", "vector")
    labels = task.labels(params)
    for name in ("code_label", "code_vector"):
        assert set(jax.tree.leaves(labels[name])) == {"frozen"}
    assert set(jax.tree.leaves(labels["network"])) == {"train"}
    assert set(jax.tree.leaves(labels["label"])) == {"train"}  # what is known
    stop = with_gradient("stop")[0]
    assert jax.tree.leaves(stop.labels(params)["code_label"]) == ["train"]


def test_a_head_learns_nothing_of_what_is_given() -> None:
    """Where the label is known in every example, its head has no gradient at all."""
    own = dict(image=dict(given=False))
    config = tj.settings(tj.chosen("image", "label", **own), model=dict(known=1.0))
    task, params = tj.made(config)
    of = jax.jit(jax.grad(loss_of(task), has_aux=True))
    slopes, metrics = of(params, KEY)
    assert float(metrics["of_label"]) == 0 < float(metrics["of_image"])
    network = slopes["network"]
    assert all(not np.any(a) for a in jax.tree.leaves(network["of_label"]))
    for name in ("of_image", VALUES):
        assert any(np.any(a) for a in jax.tree.leaves(network[name]))
    assert any(np.any(a) for a in jax.tree.leaves(slopes["label"]))


# -- the bound ---------------------------------------------------------------------


NAMES = ("image", "label", "vector")
RAMP = dict(label=dict(weight=(0.7, 0.2)))


class At:
    """Everything there is at one time, by the formulas: z_t, and what is said of it."""

    def __init__(self, task: Any, params: Any, time: int) -> None:
        self.levels, self.time = task.gaussian.levels, time
        self.weights = task.gaussian.aggregation.weights
        self.apply = functools.partial(task.network.apply, {"params": params})
        self.x = {name: tj.values(ROWS)[name] for name in NAMES}
        ask = lambda n: self.apply(n, self.x[n], method="code")
        self.codes = {name: ask(name) for name in NAMES}
        self.alpha_bar = self.levels.alpha_bar[time]
        noise = jax.random.normal(jax.random.split(KEY)[1], (ROWS, 4, 4))
        signal, spread = np.sqrt(self.alpha_bar), np.sqrt(1 - self.alpha_bar)
        self.z_t = signal * self.clean(self.codes, time) + spread * noise
        encoded = self.apply({}, jnp.ones(ROWS, bool), method="encode")
        given = self.z_t, jnp.full(ROWS, time), encoded
        self.said = self.apply(*given, method="said")
        self.again = self.apply(self.said, method="predicted").codes
        self.guess = (self.z_t - spread * self.said[VALUES]) / signal

    def clean(self, codes: Any, time: int) -> Any:
        return sum(self.weights[name][time] * codes[name] for name in NAMES)

    def mean(self, clean: Any, before: Any) -> Any:
        """Of the posterior, of the clean codes of t and t - 1."""
        t, alpha_bar = self.time, self.levels.alpha_bar
        kept = np.sqrt(1 - self.levels.beta(t, t - 1))
        back = kept * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
        rest = self.z_t - np.sqrt(alpha_bar[t]) * clean
        return np.sqrt(alpha_bar[t - 1]) * before + back * rest


@functools.cache
def bounded(ramp: bool) -> Any:
    """A task, parameters, and (t) -> the parts of its bound."""
    own = tj.chosen(*NAMES, **(RAMP if ramp else {}))
    task, params = tj.made(tj.settings(own, diffusion=dict(prediction="noise")))
    bound = jax.jit(task.objective.bound)
    return task, params, lambda t: bound(params, tj.batch(ROWS), t, KEY)


@pytest.mark.parametrize("ramp", [False, True])
@pytest.mark.parametrize("time", [2, tj.T])
def test_a_step_of_the_bound(time: int, ramp: bool) -> None:
    """T times the KL of two normals of one variance."""
    task, params, bound = bounded(ramp)
    at = At(task, params, time)
    moved = at.clean(at.again, time - 1) - at.clean(at.again, time)
    said = at.mean(at.guess, at.guess + (moved if ramp else 0.0))
    true = at.mean(*(at.clean(at.codes, s) for s in (time, time - 1)))
    variance = at.levels.posterior_variance(time, time - 1)
    nats = np.square(said - true).sum((1, 2)) / (2 * variance)
    found = bound(jnp.full(ROWS, time))
    np.testing.assert_allclose(found["denoising"], tj.T * nats, rtol=5e-3)


@pytest.mark.parametrize("ramp", [False, True])
def test_the_ends_of_the_bound(ramp: bool) -> None:
    """The decoders of z_1, and the prior's KL."""
    task, params, bound = bounded(ramp)
    at, found = At(task, params, 1), bound(jnp.ones(ROWS, int))
    assert not np.any(found["denoising"])
    nats = lambda name: at.apply(name, at.said[name], at.x[name], method="nats")
    others = nats("label") + nats("vector")
    np.testing.assert_allclose(found["others"], others, rtol=1e-4)
    # of the image, given the others: what they leave of the code that was said
    weight = at.weights["image"][1]
    rest = sum(at.weights[name][1] * at.codes[name] for name in ("label", "vector"))
    sigma = task.gaussian.last_sigma / weight
    read = at.codes["image"], (at.guess - rest) / weight, sigma, tj.LEVELS
    expected = decoder_nats(*read).sum((1, 2))
    np.testing.assert_allclose(found["reconstruction"], expected, rtol=5e-3)
    energy = np.square(at.clean(at.codes, tj.T)).sum((1, 2))
    last = at.levels.alpha_bar[-1]
    prior = 0.5 * (last * energy - 16 * (last + np.log1p(-last)))
    np.testing.assert_allclose(found["prior"], prior, rtol=1e-3)
