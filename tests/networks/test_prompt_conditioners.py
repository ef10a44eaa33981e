"""Prompts: vectors of frozen towers, their mixture, the null where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import conditioners, presence, towers
from cdcd_jax.networks.prompt_conditioners import Mixture, check_prompts

KEY = jax.random.key(0)
ENCODER = dict(kind="pixels", grid=(2, 2), num_codes=5, width=8)
SPEC = dict(kind="prompt", encoder=ENCODER, features=6, frozen=True)
ROWS = 4


def made(width: int = 16, **changes):
    spec = {**SPEC, **changes}
    module = conditioners.make_conditioner("image", spec, width, 9, True)
    x, drop = jnp.arange(ROWS * 4).reshape(ROWS, 4) % 5, jnp.zeros(ROWS, bool)
    return module, module.init(KEY, x, drop)["params"], x


def test_a_prompt_is_what_its_tower_says():
    module, params, x = made()
    assert set(params) == {"tower"}
    found = module.apply({"params": params}, x, jnp.zeros(ROWS, bool)).prompt
    tower = towers.make_tower(module.encoder, 6, jnp.float32)
    np.testing.assert_array_equal(
        found, tower.apply({"params": params["tower"]}, tower.prepared(x))
    )
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


def test_a_frozen_tower_has_no_gradient():
    drop = jnp.zeros(ROWS, bool)

    def learns(frozen: bool) -> bool:
        module, params, x = made(frozen=frozen)
        loss = lambda p: jnp.sum(module.apply({"params": p}, x, drop).prompt[:, 0])
        return any(np.any(slope) for slope in jax.tree.leaves(jax.grad(loss)(params)))

    assert learns(False) and not learns(True)


def test_the_mixture_is_the_mean_by_weights():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, ROWS, 6)).astype(np.float32)
    module = Mixture(16)
    one, none = jnp.ones(ROWS), jnp.zeros(ROWS)
    params = module.init(KEY, [a, b], [one, one])
    said = lambda *weights: module.apply(params, [a, b], list(weights))
    alone = lambda v: module.apply(params, [v], [one])
    np.testing.assert_allclose(said(one, none), alone(a), rtol=1e-6)
    np.testing.assert_allclose(
        said(0.3 * one, 0.9 * one), alone(a / 4 + 3 * b / 4), 1e-5
    )
    # by hand: the dense layer of a vector whose numbers are of order 1
    dense = params["params"]["vector"]
    by_hand = np.sqrt(6) * a @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(alone(a), by_hand, rtol=1e-5, atol=1e-6)


def test_the_null_stands_where_no_prompt_does():
    vector = jnp.ones((ROWS, 6))
    params = Mixture(16).init(KEY, [vector], [jnp.ones(ROWS)])
    found = Mixture(16).apply(params, [vector], [jnp.arange(ROWS) % 2.0])
    null = params["params"]["null_vector"]
    np.testing.assert_array_equal(found[::2], np.broadcast_to(null, (2, 16)))
    assert not np.any(np.all(found[1::2] == null, axis=1))


def test_noise_comes_only_with_random_numbers():
    vector, one = jnp.ones((ROWS, 6)), jnp.ones(ROWS)
    params = Mixture(16).init(KEY, [vector], [one])
    plain = Mixture(16).apply(params, [vector], [one])
    blurred = Mixture(16, noise=0.5)
    np.testing.assert_array_equal(blurred.apply(params, [vector], [one]), plain)
    found = blurred.apply(params, [vector], [one], rngs={"prompt": KEY})
    assert np.all(np.any(found != plain, axis=1))


def test_every_subset_of_prompts_is_as_likely():
    specs = {name: conditioners.full_spec(name, SPEC) for name in ("b", "a", "sound")}
    given, rows = dict(a=0, b=0), 4000
    drop = presence.drawn_drop(KEY, specs, given, 0.2, rows)
    assert np.all(drop["sound"])  # not there
    seen = {n: ~np.asarray(drop[n]) for n in ("a", "b")}
    nothing = ~(seen["a"] | seen["b"])
    np.testing.assert_allclose(nothing.mean(), 0.2, atol=0.02)
    for both in ((True, False), (False, True), (True, True)):
        share = np.mean((seen["a"] == both[0]) & (seen["b"] == both[1]))
        np.testing.assert_allclose(share, 0.8 / 3, atol=0.03)
    # the order of the config changes nothing
    turned = presence.drawn_drop(KEY, dict(reversed(specs.items())), given, 0.2, rows)
    np.testing.assert_array_equal(turned["a"], drop["a"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(encoder=5), "encoder = 5; expected settings with kind"),
        (dict(encoder={**ENCODER, "depht": 3}), r"encoder with .*'depht'"),
        (dict(shape=(5,)), r"shape \(5,\); expected \(4,\)"),
    ],
)
def test_prompts_that_cannot_be(change, says):
    with pytest.raises(UsageError, match=says):
        conditioners.full_spec("image", {**SPEC, **change})


def test_prompts_of_unlike_spaces_and_noise_on_none():
    specs = dict(a=SPEC, b={**SPEC, "features": 7})
    full = {name: conditioners.full_spec(name, spec) for name, spec in specs.items()}
    with pytest.raises(UsageError, match="'a': 6, 'b': 7} features"):
        check_prompts(full, 0.0)
    with pytest.raises(UsageError, match=r"prompt_noise = 0.1 and no condition"):
        check_prompts({}, 0.1)
    with pytest.raises(UsageError, match="expected that one, which alone"):
        conditioners.make_conditioner("image", SPEC, 16, 9, False)
