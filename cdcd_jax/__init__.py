"""Conditional discrete diffusion with a contrastive objective, in JAX.

    import cdcd_jax

    model = cdcd_jax.open("runs/digits")
    out = model.sample(label=[3, 8], number=4, steps=10, guidance_scale=1.5, seed=0)

Public names are loaded when they are first asked for: this import costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "Samples", "config", "open", "train"]

if TYPE_CHECKING:
    from cdcd_jax import config
    from cdcd_jax.api import Model, Samples, open, train

# name -> the module that has it
_PUBLIC = dict.fromkeys(("Model", "Samples", "open", "train"), "cdcd_jax.api")


def __getattr__(name: str) -> Any:
    import importlib

    if name == "config":
        return importlib.import_module("cdcd_jax.config")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'cdcd_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
