"""The shapes that `diffusion/` annotates: complete, and checked in these tests."""

import inspect
import re

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("jaxtyping")
pytest.importorskip("beartype")

import shapes

from cdcd_jax.diffusion import guidance, transition
from cdcd_jax.diffusion.mask_replace import MaskReplace
from cdcd_jax.diffusion.transition import log_posterior

K, T = 3, 4
FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for module in shapes.modules()
    for _, _, function in shapes.public(module)
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_array_has_a_shape(name: str) -> None:
    """No public function says of an array that it is one, and no more."""
    written = inspect.unwrap(FUNCTIONS[name]).__annotations__
    callables = ("Callable", "dict", "Mapping")  # whose arrays are said in a comment
    bare = [
        argument
        for argument, said in written.items()
        if re.search(r"jax\.Array|np\.ndarray(?!,)", str(said))
        and not str(said).startswith(callables)
    ]
    assert not bare
    assert shapes.hints_of(FUNCTIONS[name]).keys() == written.keys()


def test_a_wrong_shape_or_dtype_raises() -> None:
    """In a module's own name, in a name that a test imported, and in a method."""
    schedule = bf.schedule_of("vq_diffusion_paper", K, T)
    tr = transition.one_step_table(schedule).at(jnp.array([0, 1]))
    logits, x_t = jnp.zeros((2, 5, K)), jnp.zeros((2, 5), jnp.int32)
    for function in (log_posterior, transition.log_posterior):
        assert function(logits, x_t, tr).shape == (2, 5, K + 1)
        with pytest.raises(TypeError, match=r"log_posterior: x_t is int32 \(2, 4\)"):
            function(logits, x_t[:, :4], tr)
        with pytest.raises(TypeError, match="x_t is float32"):
            function(logits, x_t.astype(jnp.float32), tr)
    with pytest.raises(TypeError, match="null_logits"):
        guidance.guide(logits, logits[..., 1:], 2.0)
    process = MaskReplace(schedule)
    t = jnp.array([1, 2])
    assert process.terms(logits, x_t, x_t, t).bound.shape == (2,)
    with pytest.raises(TypeError, match=r"MaskReplace.terms: t is int32 \(3,\)"):
        process.terms(logits, x_t, x_t, jnp.array([1, 2, 3]))


def test_shapes_are_checked_under_transformations() -> None:
    """While a program is traced, and of numpy's arrays as of jax'."""
    logits = np.zeros((2, 5, K), np.float64)
    run = jax.jit(lambda a, b: guidance.guide(a, b, 1.5))
    assert run(logits, logits).shape == logits.shape
    each = jax.vmap(lambda a: guidance.truncate(a, 0.9, 2))
    assert each(jnp.asarray(logits)).shape == logits.shape
    assert guidance.guide(logits, logits, 1).shape == logits.shape
    with pytest.raises(TypeError, match="null_logits"):
        jax.jit(lambda a, b: guidance.guide(a, b, 1.5))(logits, logits[:, :4])


def test_what_comes_out_is_checked_too() -> None:
    def halved(x):
        return x[:, ::2]

    same = 'Float[Array, "B L"]'
    halved.__annotations__ = {"x": same, "return": same}
    with pytest.raises(TypeError, match=r"halved: return is float32 \(2, 2\)"):
        shapes.checked(halved)(jnp.zeros((2, 4)))
