"""The denoiser: names of parameters, doors, the environment, grids of three axes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.denoiser import ConditionalDenoiser, Denoiser
from cdcd_jax.networks.encoded import Encoded, Environment

SMALL = dict(
    form="modern",
    num_codes=5,
    grid=(2, 3),
    width=8,
    depth=1,
    heads=2,
    mlp="fc",
    mlp_ratio=2,
    activation="gelu2",
    timesteps=4,
    num_classes=3,
)
ROWS, E = 3, 4
CONDITIONS = dict(
    label=dict(kind="label", num_classes=3), text=dict(kind="array", shape=(2, 6))
)
GIVEN = dict(label=jnp.zeros(1, int), text=jnp.zeros((1, 2, 6)))

# What checkpoints hold: names and shapes of every form with a label and a sequence.


def attention(width: int, norms: bool = False) -> str:
    """The parameters of an attention to features of that width."""
    part = f"bias:2x4 kernel:{width}x2x4"
    scale = " key_scale:4" if norms else ""
    text = f"key({part}){scale} proj(bias:8 kernel:8x8) query(bias:2x4 kernel:8x2x4)"
    return f"{text}{' query_scale:4' if norms else ''} value({part})"


MLP = "mlp(hidden(bias:16 kernel:8x16) out(bias:8 kernel:16x8))"
CONV = "mlp(hidden(bias:16 kernel:3x3x8x16) out(bias:8 kernel:3x3x16x8))"
NORM = "(emb(embedding:4x8) linear(bias:16 kernel:8x16))"
REST = (
    "columns:3x8 logits(bias:5 kernel:8x5) norm(bias:8 scale:8) rows:2x8 "
    "tokens(embedding:6x8)) text(null:2x6)"
)
TREES = {
    "modern": "label(table(embedding:4x8)) network(blocks_0("
    f"attn1({attention(8, True)}) attn2({attention(6, True)}) {MLP} "
    "modulation(bias:72 kernel:8x72)) logits(bias:5 kernel:8x5) "
    "modulation(bias:16 kernel:8x16) positions:6x8 time_1(bias:8 kernel:8x8) "
    "time_2(bias:8 kernel:8x8) tokens(embedding:6x8)) text(null:2x6)",
    "self": f"network(blocks_0(attn1({attention(8)}) ln1{NORM} ln2(bias:8 scale:8) "
    f"{CONV}) {REST}",
    "selfcondition": f"network(blocks_0(attn1({attention(8)}) ln1{NORM} ln2{NORM} "
    f"{MLP}) {REST}",
    "selfcross": f"network(blocks_0(attn1({attention(8)}) attn2({attention(6)}) "
    f"ln1{NORM} ln1_1{NORM} ln2(bias:8 scale:8) {MLP}) {REST}",
}


def told(tree: Any) -> str:
    """Names and shapes of a tree of parameters."""
    part = lambda v: (
        f"({told(v)})" if isinstance(v, dict) else ":" + "x".join(map(str, v.shape))
    )
    return " ".join(f"{name}{part(value)}" for name, value in sorted(tree.items()))


@pytest.mark.parametrize("form", TREES)
def test_names_and_shapes_stay_those_of_old_checkpoints(form: str) -> None:
    settings = {**SMALL, "form": form, "mlp": "conv" if form == "self" else "fc"}
    network = ConditionalDenoiser(settings, CONDITIONS)
    codes, t = jnp.zeros((1, 6), int), jnp.ones(1, int)
    args = jax.random.key(0), codes, t, GIVEN, jnp.zeros(1, bool)
    assert told(jax.eval_shape(network.init, *args)["params"]) == TREES[form]


def noisy(params: Any) -> Any:
    """Away from zero, so that every part has a say."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    moved = [p + 0.3 * rng.normal(size=p.shape).astype(np.float32) for p in leaves]
    return jax.tree.unflatten(tree, moved)


def made(**changes: Any) -> tuple[Denoiser, tuple, Any]:
    """A denoiser with a sequence to attend to, its arguments, its first parameters."""
    network = Denoiser(**{**SMALL, **changes})
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.integers(0, 6, (ROWS, 6)))
    if network.inputs == "values":
        x = jnp.asarray(rng.normal(size=(ROWS, 6, 7)), jnp.float32)
    text = Encoded(jnp.asarray(rng.normal(size=(ROWS, 2, 6)), jnp.float32))
    args = x, jnp.array([1, 2, 4]), text
    return network, args, network.init(jax.random.key(0), *args)["params"]


def test_values_come_in_and_heads_go_out_by_name() -> None:
    outputs = dict(values=7, classes=3)
    network, args, params = made(inputs="values", outputs=outputs)
    assert params["patches"]["kernel"].shape == (7, 8) and "tokens" not in params
    assert "logits" not in params
    params = noisy(params)
    found = network.apply({"params": params}, *args)
    shapes = {name: (a.shape, a.dtype) for name, a in found.items()}
    assert shapes == {
        name: ((ROWS, 6, size), jnp.float32) for name, size in outputs.items()
    }
    # all read the same features
    features = network.apply({"params": params}, *args, method="features")
    for name, head in found.items():
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        np.testing.assert_allclose(features @ kernel + bias, head, atol=1e-5)


def test_further_heads_leave_the_logits_alone() -> None:
    plain, args, params = made()
    network, _, more = made(outputs=dict(logits=5, other=2))
    assert set(more) - set(params) == {"other"}
    np.testing.assert_array_equal(more["logits"]["kernel"], params["logits"]["kernel"])
    both = noisy(more)
    found = network.apply({"params": both}, *args)["logits"]
    alone = {name: both[name] for name in params}
    expected = plain.apply({"params": alone}, *args)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def environment(seed: int = 2, rows: int = ROWS) -> Environment:
    rng = np.random.default_rng(seed)
    return Environment(jnp.asarray(rng.normal(size=(rows, 5, E)), jnp.float32))


@pytest.mark.parametrize("stack", [dict(), dict(scan_layers=True, depth=2)])
def test_an_environment_adds_nothing_at_first(stack: dict[str, Any]) -> None:
    plain, args, params = made(**stack)
    network, _, more = made(environment=E, **stack)
    block = "blocks" if stack else "blocks_0"
    branch = more["network"] if "network" in more else more
    assert set(branch[block]) - set(params[block]) == {"attn3"}
    new, vector = more[block].pop("attn3"), more.pop("environment")
    assert not np.any(vector["kernel"])
    jax.tree.map(np.testing.assert_array_equal, more, params)
    assert not np.any(new["proj"]["kernel"]) and np.any(new["value"]["kernel"])
    more[block]["attn3"], more["environment"] = new, vector
    with_it = network.apply({"params": more}, *args, environment())
    without = network.apply({"params": more}, *args)
    before = plain.apply({"params": params}, *args)
    np.testing.assert_array_equal(without, before)
    np.testing.assert_array_equal(with_it, before)


def test_only_what_lets_an_environment_in_learns_at_first() -> None:
    network, args, params = made(environment=E)
    plain, _, old = made()
    params = dict(noisy(params))
    own = dict(params["blocks_0"]["attn3"])
    nothing = lambda part: jax.tree.map(jnp.zeros_like, part)
    own["proj"] = nothing(own["proj"])
    params["blocks_0"] = {**params["blocks_0"], "attn3": own}
    params["environment"] = nothing(params["environment"])
    loss = lambda network, *more: (
        lambda p: jnp.sum(network.apply({"params": p}, *args, *more) ** 2)
    )
    found = jax.grad(loss(network, environment()))(params)
    branch = found["blocks_0"].pop("attn3")
    for name, part in branch.items():
        moves = any(np.any(leaf) for leaf in jax.tree.leaves(part))
        assert moves == (name == "proj")
    assert np.any(found.pop("environment")["kernel"])
    # and all else learns as it would without
    rest = {name: params[name] for name in old}
    rest["blocks_0"] = {k: params["blocks_0"][k] for k in old["blocks_0"]}
    expected = jax.grad(loss(plain))(rest)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, found, expected)


def test_an_environment_is_seen_where_it_is_present_and_never_kept() -> None:
    network, args, params = made(environment=E)
    params = {"params": noisy(params)}
    here = jnp.array([True, False, True])
    without = network.apply(params, *args)
    seen = network.apply(params, *args, environment())
    some = network.apply(params, *args, environment()._replace(present=here))
    assert np.abs(seen - without).max() > 1e-2
    np.testing.assert_allclose(some[1], without[1], atol=1e-6)
    np.testing.assert_allclose(some[::2], seen[::2], atol=1e-6)
    # with keys and values of the sequence kept, another environment is still seen
    _, cache = network.apply(params, *args, environment(), mutable=["cache"])
    assert set(cache["cache"]["blocks_0"]) == {"attn2"}
    other = network.apply({**params, **cache}, *args, environment(3))
    expected = network.apply(params, *args, environment(3))
    np.testing.assert_allclose(other, expected, atol=1e-6)
    assert np.abs(other - seen).max() > 1e-2


def test_the_reference_has_no_environment() -> None:
    with pytest.raises(UsageError, match=r"Found an environment.*expected.*take"):
        made(form="self", environment=E)


@pytest.mark.parametrize("grid", [(2, 3), (1, 2, 3), (3, 1, 2)])
def test_convolutions_go_over_two_or_three_axes(grid: tuple[int, ...]) -> None:
    network, args, params = made(grid=grid, mlp="conv")
    kernel = params["blocks_0"]["mlp"]["hidden"]["kernel"]
    assert kernel.shape == (3,) * len(grid) + (8, 16)
    assert network.apply({"params": params}, *args).shape == (ROWS, 6, 5)
