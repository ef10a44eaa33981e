"""Counts the floating-point operations of matrix products and convolutions.

On the traced function, so that the count is exact, needs no device, and multiplies what
stands in a scan. MFU (model FLOPs utilisation) is what training needs, attention
included, recomputation excluded, over time x chips x the chip's bfloat16 peak. Training
needs 3 x the count of the forward loss, since a backward pass costs twice the forward
one. Where parts are frozen that would overstate it, and the gradient itself is counted:
a product with frozen weights is there once, and once more where a gradient passes
through it to what is trained before it; one with trained weights on inputs that nothing
trains (the first of a network) twice.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def matmul_flops(function: Callable[..., Any], *args: Any) -> float:
    """FLOPs (two a multiply-add) of one call; args may be `jax.ShapeDtypeStruct`s."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            total += _dot(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        else:
            inner = sum(map(_count, _inside(equation.params)))
            total += inner * equation.params.get("length", 1) if inner else 0.0
    return total


def _inside(params: dict[str, Any]) -> list[Any]:
    """The functions that an operation calls (a scan's body, a branch, ...)."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                found.append(item)
    return found


def _dot(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    depth = math.prod(shape[axis] for axis in contracted)
    return 2.0 * depth * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: Any) -> float:
    numbers = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    features = kernel[numbers.rhs_spec[1]]  # per group
    window = math.prod(kernel[axis] for axis in numbers.rhs_spec[2:])
    return 2.0 * features * window * math.prod(equation.outvars[0].aval.shape)
