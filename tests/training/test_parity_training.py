"""Parity with CDCD: gradients of its losses, and five steps of its training.

What is compared, and where it lies, `cdcd_golden` says.
"""

from typing import Any

import cdcd_golden
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cdcd_golden import Golden, T, converted, denoiser, logits_of
from cdcd_losses import MODES, Mode, loss_terms

from cdcd_jax.convert.transformer import denoiser_params
from cdcd_jax.diffusion import objective


@pytest.fixture(scope="module", params=cdcd_golden.FORMS)
def complete(request: pytest.FixtureRequest) -> Golden:
    return cdcd_golden.complete(request.param)


def without_null(tree: dict[str, Any]) -> dict[str, Any]:
    """Class tables without the null row, which the reference does not have."""
    is_table = lambda path: jax.tree_util.keystr(path).endswith(
        "['ln2']['emb']['embedding']"
    )
    cut = lambda path, a: a[:-1] if is_table(path) else a
    return jax.tree_util.tree_map_with_path(cut, tree)


@pytest.mark.slow
def test_gradients(complete: Golden) -> None:
    network = denoiser(complete.name)
    modes = [Mode.of(complete, name) for name in MODES]

    @jax.jit
    @jax.jacrev
    def gradients(params: Any) -> jax.Array:
        logits = logits_of(network, params, complete)
        return jnp.stack([loss_terms(complete, logits, mode)["loss"] for mode in modes])

    ours = gradients(
        jax.tree.map(jnp.asarray, converted(complete, "params/transformer."))
    )
    ours = [without_null(jax.tree.map(lambda g, i=i: g[i], ours)) for i in range(10)]

    # each leaf of ours belongs to one of the reference's parameters: mark them
    # the rest makes the condition that is given here
    inner = np.char.startswith(complete["param_names"], "transformer.")
    names = [n.removeprefix("transformer.") for n in complete["param_names"][inner]]
    shapes = complete.below("params/transformer.")
    marks = {n: np.full(shapes[n].shape, i) for i, n in enumerate(names)}
    marks = denoiser_params(marks, complete.form, depth=2, heads=4)
    order = [int(leaf.flat[0]) for leaf in jax.tree.leaves(marks)]
    assert sorted(order) == list(range(len(names)))
    for name, tree in zip(MODES, ours, strict=True):
        norms = [np.linalg.norm(g) for g in jax.tree.leaves(tree)]
        reference = complete[f"loss_{name}/grad_norms"][inner]
        # a key's bias has no gradient but rounding
        atol = 1e-6 * np.linalg.norm(reference)
        np.testing.assert_allclose(norms, reference[order], 1e-3, atol, err_msg=name)

    # a softmax over one key has no gradient, and none is there
    grads = {n: np.zeros(shapes[n].shape, np.float32) for n in names}
    grads |= complete.below("grads_all/transformer.")
    grads = denoiser_params(grads, complete.form, depth=2, heads=4)
    reference = without_null(grads)
    atol = 1e-6 * optax.tree.norm(reference)
    for path, expected in jax.tree_util.tree_leaves_with_path(reference):
        found = ours[-1]
        for key in path:
            found = found[key.key]
        error = np.linalg.norm(found - expected)
        name = jax.tree_util.keystr(path)
        assert error <= 1e-3 * np.linalg.norm(expected) + atol, name


@pytest.mark.slow
def test_five_steps_of_training(complete: Golden) -> None:
    if complete.name == "d2m":
        pytest.skip("there the matrix of the conditions is trained too")
    network, mode = denoiser(complete.name), Mode.of(complete, "all")
    # unlike ours, the reference's weight decay is on every parameter
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(1e-3, 0.9, 0.96, eps=1e-8, weight_decay=0.045),
    )

    params = jax.tree.map(jnp.asarray, converted(complete, "params/transformer."))
    # one vector, which compiles faster than a tree
    vector, tree_of = jax.flatten_util.ravel_pytree(params)

    def loss(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits_of(network, tree_of(vector), complete)
        terms = loss_terms(complete, logits, mode)
        return terms["loss"], terms["loss1"]

    @jax.jit
    def step(vector: jax.Array, opt_state: Any, history: Any) -> tuple:
        (value, bound), grads = jax.value_and_grad(loss, has_aux=True)(vector)
        updates, opt_state = optimizer.update(grads, opt_state, vector)
        history = objective.update_time_history(history, complete.t, bound / T)
        return vector + updates, opt_state, history, value, jnp.linalg.norm(grads)

    opt_state, history = optimizer.init(vector), objective.init_time_history(T)
    found = []
    for _ in range(5):
        vector, opt_state, history, *row = step(vector, opt_state, history)
        found.append(row)
    losses, norms = np.asarray(found).T
    close = np.testing.assert_allclose
    close(losses, complete["train/loss"], rtol=1e-5)
    close(norms, complete["train/grad_norm"], rtol=1e-4)
    close(history.second_moment, complete["train/final_Lt_history"], rtol=1e-4)
    # over all tensors; the null row is not the reference's
    trained = jax.tree.leaves(without_null(jax.device_get(tree_of(vector))))
    expected = np.linalg.norm(complete["train/final_param_norms"])
    norm = np.linalg.norm([np.linalg.norm(leaf) for leaf in trained])
    close(norm, expected, rtol=1e-5)
