"""Prompts: conditions of any modality as vectors of one space, mixed into one.

Towers that were aligned before (task `bridge`) and stay as they are make a vector of
each prompt; what the denoiser sees is their mean by weights (Tang et al., NeurIPS 2023,
section 3.2). So a model that learned from some modalities can be asked by any that is
aligned with them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import towers
from cdcd_jax.networks.encoded import Conditioner, Encoded
from cdcd_jax.networks.layers import normal_init

KIND = "prompt"
WEIGHT = "/weight"  # after a prompt's name: its share of the mixture, float32 [B]
NOISE = "prompt"  # the stream of random numbers that prompts are blurred by


class Prompt(Conditioner):
    """A prompt, through the tower of its modality; it may always be left out.

    Attributes:
        encoder: kind and attributes of the tower, see `towers`.
        features: of its vector, as many as those of the other prompts.
        shape: (L,), of what the tower reads; follows from `encoder`.
    """

    tower: ClassVar[bool] = True

    encoder: Mapping[str, Any]
    features: int
    shape: tuple[int, ...] = ()

    @classmethod
    def gives_sequence(cls, spec: Mapping[str, Any]) -> bool:
        return False

    @classmethod
    def completed(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        encoder = towers.full_spec("encoder", spec["encoder"])
        encoder = {k: v for k, v in encoder.items() if k not in towers.OF_ANY}
        shape = tuple(towers.content(encoder)["shape"])
        own = tuple(spec["shape"])
        if own not in ((), shape):
            raise UsageError(
                f"Found a prompt of shape {own}; expected {shape}, as its encoder "
                "says; leave it out."
            )
        return {**spec, "encoder": encoder, "shape": shape, "optional": True}

    @classmethod
    def holds(cls, spec: Mapping[str, Any]) -> Any:
        return towers.KINDS[spec["encoder"]["kind"]].holds

    @classmethod
    def content(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        of_all = {k: spec[k] for k in ("field", "optional") if k in spec}
        return {**towers.content(spec["encoder"]), **of_all}

    @classmethod
    def check_place(
        cls, name: str, spec: Mapping[str, Any], length: int, modern: bool
    ) -> None:
        if not modern:
            raise UsageError(
                f"Found model.conditions.{name} of kind {KIND!r} for a denoiser of "
                "another form than 'modern'; expected that one, which alone takes a "
                "vector; set model.form."
            )

    @nn.compact
    def __call__(self, x: jax.Array, drop: jax.Array) -> Encoded:
        """drop: bool [B]; what is dropped has no share of the mixture."""
        del drop
        tower = towers.make_tower(self.encoder, self.features, jnp.float32, "tower")
        return Encoded(prompt=self.fixed(tower(tower.prepared(x))))


class Mixture(nn.Module):
    """Vectors of prompts, mixed by weights; a learned null where there is none.

    Attributes:
        width: of the denoiser.
        noise: deviation by number of a mixed vector in training, over sqrt(F): towers
            do not put all modalities in the very same place.
    """

    width: int
    noise: float = 0.0

    @nn.compact
    def __call__(
        self, vectors: Sequence[jax.Array], weights: Sequence[jax.Array]
    ) -> jax.Array:
        """Vectors float32 [B, F] and weights [B], 0 of what is not there: [B, width].

        Weights are of any sum; what counts is each one's share.
        """
        each, weight = jnp.stack(vectors), jnp.stack(weights)[..., None]
        total = jnp.sum(weight, axis=0)
        mixed = jnp.sum(each * weight, axis=0) / jnp.where(total > 0, total, 1.0)
        # numbers of order 1, as the time's features are
        mixed = mixed * mixed.shape[-1] ** 0.5
        if self.noise and self.has_rng(NOISE):
            noise = jax.random.normal(self.make_rng(NOISE), mixed.shape)
            mixed = mixed + self.noise * noise
        null = self.param("null_vector", normal_init, (self.width,))
        return jnp.where(total > 0, nn.Dense(self.width, name="vector")(mixed), null)


def check_prompts(conditions: Mapping[str, Mapping[str, Any]], noise: float) -> None:
    """Raises UsageError unless all prompts are vectors of one space.

    Args:
        conditions: full descriptions.
        noise: `model.prompt_noise`.
    """
    sizes = {n: s["features"] for n, s in conditions.items() if s["kind"] == KIND}
    if len(set(sizes.values())) > 1:
        raise UsageError(
            f"Found prompts of {sizes} features in model.conditions; expected as many "
            "of each, since they are mixed; set features to that of their towers."
        )
    if noise and not sizes:
        raise UsageError(
            f"Found model.prompt_noise = {noise} and no condition of kind {KIND!r}; "
            "expected one that it would blur; set it to 0."
        )
