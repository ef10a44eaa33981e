"""All tests of this folder hold the package to the shapes that it annotates."""

import importlib.util

import pytest


@pytest.fixture(scope="module", autouse=True)
def shapes_are_checked():
    """Where jaxtyping and beartype are installed, as extras `test` do."""
    names = ("jaxtyping", "beartype")
    if not all(importlib.util.find_spec(name) for name in names):
        yield
        return
    import shapes

    remove = shapes.install()
    yield
    remove()
