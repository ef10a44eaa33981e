"""Process, walk and draw: one scan for one walk or many; mask-and-replace as one."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion import objective, schedule, transition
from cdcd_jax.diffusion.mask_replace import MaskReplace
from cdcd_jax.diffusion.process import Drawn, Walk, draw, keys_by_name
from cdcd_jax.diffusion.sampler import SamplingOptions, sample
from cdcd_jax.diffusion.samplers import SAMPLERS

B, K, L, T = 4, 5, 6, 10
KEY = jax.random.key(3)
LOGITS = jax.random.normal(jax.random.key(0), (L, K))
CODES = MaskReplace(bf.schedule_of("vq_diffusion_paper", K, T))
# another vocabulary and another T beside it
SOUND = MaskReplace(bf.schedule_of("absorbing_linear", 3, 2 * T))
SHAPES = {"image": (B, L), "sound": (B, 4)}
STEPS = 5


def walks_of(**options: Any) -> dict[str, Walk]:
    """An image and a sound, in step."""
    chosen = SamplingOptions(**{"steps": STEPS, **options})
    return {"image": CODES.walk(chosen), "sound": SOUND.walk(chosen)}


def alone(x_t: Mapping[str, jax.Array], t: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Logits of each that see nothing of the others, but their own x_t and t."""
    found = {}
    for name, x in x_t.items():
        size = {"image": K, "sound": 3}[name]
        near = jnp.roll(x, 1, axis=1)[..., None] == jnp.arange(size)
        found[name] = 2.0 * near + jnp.sin(t[name] / 3.0)[:, None, None]
    return found


@functools.partial(bf.quick_jit, static_argnames=("names", "method"))
def drawn(key: jax.Array, names: tuple[str, ...], method: str) -> Drawn:
    """Canvases of some of the walks, in the order of the names."""
    walks = {name: walks_of(method=method)[name] for name in names}
    shapes = {name: SHAPES[name] for name in names}
    return draw(walks, alone, keys_by_name(key, names), shapes, canvases=True)


@pytest.mark.parametrize("method", ["strided", "spread"])
def test_a_walk_in_company_is_that_walk_alone(method: str) -> None:
    """Where predictions do not mix; the order of the names changes nothing."""
    both = drawn(KEY, ("image", "sound"), method)
    turned = drawn(KEY, ("sound", "image"), method)
    assert both.x.keys() == turned.x.keys() == SHAPES.keys()
    for name in SHAPES:
        one = drawn(KEY, (name,), method)
        for other in (turned, one):
            np.testing.assert_array_equal(both.x[name], other.x[name])
            np.testing.assert_array_equal(both.canvases[name], other.canvases[name])
        assert both.canvases[name].shape == (STEPS, *SHAPES[name])
        np.testing.assert_array_equal(both.canvases[name][-1], both.x[name])


def test_names_have_keys_of_their_own() -> None:
    """Two equal walks draw differently; a sample of a name needs its key alone."""
    walk = CODES.walk(SamplingOptions(steps=STEPS))
    flat = lambda x_t, t: {name: jnp.zeros((B, L, K)) for name in x_t}
    names = ("a", "b")
    keys = keys_by_name(KEY, names)
    both = draw(dict.fromkeys(names, walk), flat, keys, dict.fromkeys(names, (B, L))).x
    assert np.any(np.asarray(both["a"]) != both["b"])
    told = lambda x_t, t: flat({"tokens": x_t}, t)["tokens"]
    for name in names:
        own = sample(
            told, CODES.schedule, keys[name], (B, L), SamplingOptions(steps=STEPS)
        )
        np.testing.assert_array_equal(both[name], own.tokens)
    again = keys_by_name(KEY, ("c", "b", "a"))
    for name in names:
        same = jax.random.key_data(again[name]) == jax.random.key_data(keys[name])
        assert bool(jnp.all(same))


@pytest.mark.parametrize("method", ["strided", "ancestral", "skip", "confidence"])
def test_all_see_the_same_share_of_their_time(method: str) -> None:
    """At every evaluation, as the network is told; here one T is twice the other."""
    sampler = dict(method=method)
    if method in ("ancestral", "skip"):  # whose times are those of one T
        sampler["steps"] = T if method == "ancestral" else 4
        chosen = SamplingOptions(**sampler)
        twin = dataclasses.replace(CODES, auxiliary_weight=1.0)
        walks = {"image": CODES.walk(chosen), "sound": twin.walk(chosen)}
        shapes = dict.fromkeys(walks, (B, L))
        sizes = dict.fromkeys(walks, K)
    else:
        walks, shapes = walks_of(**sampler), SHAPES
        sizes = {"image": K, "sound": 3}
    seen = []

    def predict(x_t: dict, t: dict) -> dict[str, jax.Array]:
        share = {name: t[name] / walk.timesteps for name, walk in walks.items()}
        jax.debug.callback(lambda s: seen.append(jax.tree.map(np.asarray, s)), share)
        return {n: jnp.zeros((*shapes[n], size)) for n, size in sizes.items()}

    jax.block_until_ready(draw(walks, predict, keys_by_name(KEY, walks), shapes).x)
    jax.effects_barrier()
    assert len(seen) == len(walks["image"].times)
    for share in seen:
        np.testing.assert_allclose(share["image"], share["sound"], rtol=1e-6)
        assert len(np.unique(share["image"])) == 1
    told = walks["image"].times / walks["image"].timesteps
    np.testing.assert_allclose([s["image"][0] for s in seen], told, rtol=1e-6)


def test_what_is_known_stands_by_name() -> None:
    """All of the sound is given: the image is drawn beside it, on every canvas."""
    given = jnp.asarray(np.random.default_rng(0).integers(0, 3, SHAPES["sound"]))
    where = jnp.ones(SHAPES["sound"], bool)
    names = tuple(SHAPES)

    @bf.quick_jit
    def run(key: jax.Array) -> Drawn:
        keys = keys_by_name(key, names)
        known = {"sound": (given, where)}
        return draw(walks_of(), alone, keys, SHAPES, known=known, canvases=True)

    found = run(KEY)
    for canvas in found.canvases["sound"]:
        np.testing.assert_array_equal(canvas, given)
    free = drawn(KEY, names, "strided")
    np.testing.assert_array_equal(found.x["image"], free.x["image"])
    assert np.any(np.asarray(free.x["sound"]) != given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(walks=dict(sound=dict(steps=4))), "the walk of image has 5 steps and"),
        (dict(walks=dict(sound=dict(grid="cosine"))), "expected the same share"),
        (dict(walks=dict(sound=dict(method="first_hitting"))), "walk of sound finds"),
        (dict(keys=("image",)), "keys has image, expected image, sound"),
        (dict(shapes=("image", "sound", "text")), "shapes has image, sound, text"),
        (dict(known=("text",)), "known has text, expected of image, sound"),
    ],
)
def test_walks_that_are_not_in_step_are_refused(changes: dict, message: str) -> None:
    process = {"image": CODES, "sound": SOUND}
    walks = walks_of()
    for name, options in changes.get("walks", {}).items():
        chosen = SamplingOptions(**{"steps": STEPS, **options})
        walks[name] = process[name].walk(chosen)
    keys = keys_by_name(KEY, changes.get("keys", walks))
    shapes = dict.fromkeys(changes.get("shapes", walks), (B, L))
    given = jnp.zeros((B, L), jnp.int32), jnp.ones((B, L), bool)
    known = dict.fromkeys(changes.get("known", ()), given)
    with pytest.raises(ValueError, match=message):
        draw(walks, alone, keys, shapes, known=known)


def test_starts_at_different_times_are_not_in_step() -> None:
    chosen = SamplingOptions(steps=3)
    start = (jnp.zeros((B, L), jnp.int32), T // 2)
    walks = {"a": CODES.walk(chosen), "b": CODES.walk(chosen, start)}
    with pytest.raises(ValueError, match="evaluation 1 the walk of a is at time 10"):
        draw(walks, alone, keys_by_name(KEY, walks), dict.fromkeys(walks, (B, L)))


def test_first_hitting_walks_alone() -> None:
    """Its times come from the canvas, one for each row."""
    names = ("sound",)
    found = drawn(KEY, names, "first_hitting")
    assert int(found.x["sound"].max()) < 3


@pytest.mark.parametrize("name", ["vq_diffusion_paper", "absorbing_cosine", "uniform"])
def test_terms_are_those_of_the_loss(name: str) -> None:
    """T x sum of the step's KL; in training weighted, with the auxiliary term."""
    levels = bf.schedule_of(name, K, T)
    settings = dict(mask_weight=(1.0, 0.5), auxiliary_weight=0.3)
    process = MaskReplace(levels, auxiliary_ramp="falling", **settings)
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(0, 2, (T, L, K)), jnp.float32)
    x_0 = jnp.asarray(rng.integers(0, K, (T, L)), jnp.int32)
    t = jnp.arange(1, T + 1)
    x_t = process.noised(KEY, x_0, t)
    same = transition.sample_x_t(KEY, x_0, t, levels)
    np.testing.assert_array_equal(x_t, same)
    found = process.terms(logits, x_0, x_t, t)
    tr = transition.one_step_table(levels).at(t - 1)
    score = objective.scores(logits, x_t, x_0[..., None], tr)
    kl = objective.posterior_kl(x_0[..., None], x_t, score, tr, K)[..., 0]
    np.testing.assert_allclose(found.bound, T * kl.sum(1), rtol=1e-6)
    weight = np.where(x_t == K, 1.0, 0.5)
    weight[0] = 1.0  # the decoder's term
    auxiliary = 0.3 * (2.0 - np.arange(T) / T) * -(weight * score.log_p[..., 0]).sum(1)
    expected = T * ((weight * kl).sum(1) + auxiliary)
    np.testing.assert_allclose(found.training, expected, rtol=1e-5)
    plain = MaskReplace(levels).terms(logits, x_0, x_t, t)
    np.testing.assert_array_equal(plain.bound, found.bound)
    np.testing.assert_allclose(plain.training, plain.bound, rtol=1e-6)
    prior = process.prior_term(x_0)
    np.testing.assert_allclose(prior, [L * schedule.prior_term(levels)] * T, rtol=1e-6)


def test_the_terms_are_the_kl_of_explicit_matrices() -> None:
    """Mean over x_t and t of the bound, beside sums over (K + 1)^2 matrices."""
    levels = bf.schedule_of("vq_diffusion_paper", 3, 4)
    process, x_0 = MaskReplace(levels), 1
    rng = np.random.default_rng(1)
    for t in range(1, 5):
        for x_t in bf.reachable(levels, t):
            logits = rng.normal(0, 2, 3)
            q = bf.posterior(levels, t, t - 1, x_t)
            exact = bf.kl(q[x_0], bf.softmax(logits) @ q)
            found = process.terms(
                jnp.asarray(logits, jnp.float32)[None, None],
                jnp.full((1, 1), x_0),
                jnp.full((1, 1), x_t),
                jnp.array([t]),
            )
            np.testing.assert_allclose(found.bound, [4 * exact], atol=2e-5)


def test_options_are_checked_by_the_process() -> None:
    assert CODES.methods == tuple(SAMPLERS) and CODES.timesteps == T
    CODES.check(SamplingOptions(steps=3, grid="optimised"))  # its times come later
    with pytest.raises(ValueError, match=r"choose 1\.\.10"):
        CODES.check(SamplingOptions(steps=11))
    masks = SamplingOptions(method="spread", steps=3)
    with pytest.raises(ValueError, match="has none: choose one of ancestral"):
        MaskReplace(bf.schedule_of("uniform", K, T)).check(masks)


class Halving:
    """A process of numbers: x is halved at each step, whatever is predicted."""

    timesteps, methods = 8, ("halve",)

    def walk(self, steps: int) -> "Halving":
        """Its own walk."""
        self.times = np.arange(8, 0, -8 // steps)
        self.inputs = {"t": jnp.asarray(self.times)}
        return self

    def begin(self, keys: Any, shape: tuple[int, ...], known: Any) -> dict:
        """A state that remembers the last prediction, as multistep solvers do."""
        return {"x": jnp.full(shape, 16.0), "last": jnp.zeros(shape)}

    def seen(self, state: dict) -> jax.Array:
        """x_t."""
        return state["x"]

    def time(self, state: dict, inputs: dict) -> jax.Array:
        """[B]."""
        return jnp.broadcast_to(inputs["t"], state["x"].shape[0])

    def advance(self, key: Any, state: dict, prediction: Any, inputs: Any) -> dict:
        """Half of x and of what was predicted at the step before."""
        return {"x": state["x"] / 2 + state["last"], "last": prediction}


def test_another_process_walks_beside_it() -> None:
    """Numbers beside tokens: the state is the walk's own, and predictions may mix."""
    chosen = SamplingOptions(steps=4)
    levels = bf.schedule_of("absorbing_linear", K, 8)
    walks = {"number": Halving().walk(4), "code": MaskReplace(levels).walk(chosen)}

    def predict(x_t: dict, t: dict) -> dict[str, jax.Array]:
        np.testing.assert_array_equal(t["number"].shape, t["code"].shape)
        hidden = jnp.sum(x_t["code"] == K, axis=1).astype(jnp.float32)
        return {"number": 0 * hidden + 1.0, "code": jnp.zeros((B, L, K))}

    shapes = {"number": (B,), "code": (B, L)}
    found = draw(walks, predict, keys_by_name(KEY, walks), shapes, canvases=True)
    np.testing.assert_array_equal(
        found.canvases["number"], np.repeat([[8.0], [5.0], [3.5], [2.75]], B, axis=1)
    )
    assert int(found.x["code"].max()) < K
