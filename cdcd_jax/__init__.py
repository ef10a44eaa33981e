"""Conditional discrete diffusion with a contrastive objective, in JAX."""

__version__ = "0.1.0"
