"""Holds functions to the shapes that their annotations say, while tests run.

The package names `jaxtyping` for type checkers only and never imports it. Here the
annotations are resolved, and every public function and method of `cdcd_jax.diffusion`
is replaced, wherever a module has it by name, by one that checks what goes in and what
comes out. Letters of one call stand for one length each.
"""

import functools
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jax
import jaxtyping
import numpy as np
from beartype import BeartypeConf
from beartype.door import is_bearable

import cdcd_jax.diffusion

# an int is as good as a float
CONF = BeartypeConf(is_pep484_tower=True)
KINDS = ("Bool", "Float", "Int", "Shaped", "PRNGKeyArray")
# functions of arrays take those of numpy too
NAMES = {name: getattr(jaxtyping, name) for name in KINDS}
NAMES["Array"] = jax.Array | np.ndarray


def modules() -> list[ModuleType]:
    """All of the folder."""
    package = cdcd_jax.diffusion
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [importlib.import_module(info.name) for info in found]


def public(module: ModuleType) -> Iterator[tuple[Any, str, Callable]]:
    """(module or class, name, function) of what is defined there for others."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isfunction(value):
            yield module, name, value
        elif inspect.isclass(value) and not getattr(value, "_is_protocol", False):
            for attribute, member in vars(value).items():
                if inspect.isfunction(member) and not attribute.startswith("_"):
                    yield value, attribute, member


def hints_of(function: Callable) -> dict[str, Any]:
    """Its annotations, resolved where it was defined."""
    inner = inspect.unwrap(function)
    return typing.get_type_hints(inner, {**inner.__globals__, **NAMES})


def checked(function: Callable) -> Callable:
    """The same function, which raises TypeError at another shape or dtype."""
    hints, signature = hints_of(function), inspect.signature(function)

    def hold(name: str, value: Any) -> None:
        if name in hints and not is_bearable(value, hints[name], conf=CONF):
            shape = jax.tree.map(lambda a: getattr(a, "shape", a), value)
            raise TypeError(
                f"{function.__module__}.{function.__qualname__}: {name} is "
                f"{getattr(value, 'dtype', type(value))} {shape}, expected "
                f"{inspect.unwrap(function).__annotations__[name]}"
            )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        with jaxtyping.jaxtyped("context"):
            for name, value in given.items():
                hold(name, value)
            found = function(*args, **kwargs)
            hold("return", found)
        return found

    return call


def install() -> Callable[[], None]:
    """Puts checked functions in place; returns what takes them out again."""
    changed = []
    own = [m for n, m in sys.modules.items() if n.split(".")[0] == "cdcd_jax"]
    tests = [m for n, m in sys.modules.items() if n.startswith(("test_", "brute_"))]
    replaced = {}
    for module in modules():
        for owner, name, function in public(module):
            if inspect.isclass(owner):
                changed.append((owner, name, function))
                setattr(owner, name, checked(function))
            else:
                replaced[function] = checked(function)
    for module in (*own, *tests):
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in replaced:
                changed.append((module, name, value))
                setattr(module, name, replaced[value])

    def remove() -> None:
        for owner, name, function in changed:
            setattr(owner, name, function)

    return remove
