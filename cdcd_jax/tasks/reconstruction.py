"""Losses of reconstructions: differences, pyramid, spectra, and those of networks.

What has no network is a term of pictures and sounds alike; the perceptual and the
adversarial one are of pictures alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.networks import discriminator as patches
from cdcd_jax.networks import spectral
from cdcd_jax.networks.perceptual import Perceptual

SCALES = 3


def reconstruction_terms(
    losses: Mapping[str, Any], x: jax.Array, y: jax.Array, sample_rate: int | None
) -> dict[str, jax.Array]:
    """The unweighted terms that are asked for; l1 and l2 always, as figures.

    Args:
        losses: the section of the config, name -> weight.
        x, y: pictures [B, H, W, C] or sounds [B, S] and their reconstructions, in
            [-1, 1].
        sample_rate: Hz, of sound; None of pictures.

    Returns:
        name -> scalar.
    """
    terms = {"l1": jnp.mean(jnp.abs(x - y)), "l2": jnp.mean(jnp.square(x - y))}
    if losses["pyramid"]:
        terms["pyramid"] = pyramid_loss(x, y)
    if sample_rate is None:
        return terms
    sizes = spectral.resolutions_at(sample_rate, x.shape[-1])
    if losses["spectral"]:
        distance = jnp.mean(spectral.multispectral_distance(x, y, sizes))
        terms["spectral"] = distance / np.sqrt(x.shape[-1])
    if losses["log_spectral"]:
        distance = spectral.log_spectral_distance(x, y, sizes)
        terms["log_spectral"] = jnp.mean(distance)
    return terms


def pyramid_loss(x: jax.Array, y: jax.Array) -> jax.Array:
    """L1 of pixels and of their differences to neighbours, at three halved sizes.

    Keeps edges sharper than squares alone, and needs no weights from elsewhere.

    Args:
        x, y: [B, H, W, C].

    Returns:
        [], the mean over sizes.
    """
    total, error = 0.0, x - y
    for scale in range(SCALES):
        if scale:
            error = nn.avg_pool(error, (2, 2), (2, 2))
        total += jnp.mean(jnp.abs(error))
        for axis in (1, 2):
            if error.shape[axis] > 1:
                total += jnp.mean(jnp.abs(jnp.diff(error, axis=axis)))
    return total / SCALES


class ImageLosses:
    """The terms that have networks of their own."""

    def __init__(self, losses: Mapping[str, Any], model: Mapping[str, Any]):
        self.losses = losses
        layers = 3 if model["resolution"] >= 64 else 2
        self.discriminator = patches.PatchDiscriminator(num_layers=layers)
        self.perceptual = Perceptual()

    def init(self, key: jax.Array, media: jax.Array) -> dict[str, Any]:
        """Parameters of the networks that the losses ask for."""
        params = {}
        if self.losses["adversarial"]:
            params["discriminator"] = self.discriminator.init(key, media)["params"]
        if self.losses["perceptual"]:
            params["perceptual"] = self.perceptual.init(key, media, media)["params"]
        return params

    def terms(
        self,
        params: Mapping[str, Any],
        x: jax.Array,
        y: jax.Array,
        out: Callable[[jax.Array], jax.Array],
        reconstruction: Callable[[jax.Array], jax.Array],
        step: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The weighted sum of the terms, and each of them as a figure.

        Args:
            params: of the task.
            x, y: pictures and their reconstructions, [B, H, W, C] in [-1, 1].
            out: kernel of the last convolution -> reconstructions.
            reconstruction: prediction -> the other terms' weighted sum.
            step: of the training, from 0.
        """
        total, figures = 0.0, {}
        similar = reconstruction
        if self.losses["perceptual"]:
            frozen = {"params": jax.lax.stop_gradient(params["perceptual"])}
            distance = lambda y: (
                self.losses["perceptual"]
                * jnp.mean(self.perceptual.apply(frozen, x, y))
            )
            similar = lambda y: reconstruction(y) + distance(y)
            figures["perceptual"] = distance(y)
            total += figures["perceptual"]
        if self.losses["adversarial"]:
            judge = lambda p, y: self.discriminator.apply({"params": p}, y)
            held = jax.lax.stop_gradient(params["discriminator"])
            kernel = params["autoencoder"]["conv_out"]["kernel"]
            fool = lambda y: patches.hinge_generator_loss(judge(held, y))
            weight = patches.adaptive_weight(
                jax.grad(lambda k: similar(out(k)))(kernel),
                jax.grad(lambda k: fool(out(k)))(kernel),
            )
            on = (step >= self.losses["adversarial_start"]).astype(jnp.float32)
            weight *= self.losses["adversarial"] * on
            fixed = jax.lax.stop_gradient(y)
            adversary = params["discriminator"]
            caught = patches.hinge_discriminator_loss(
                judge(adversary, x), judge(adversary, fixed)
            )
            figures |= {
                "adversarial": fool(y),
                "adversarial_weight": weight,
                "discriminator": caught,
            }
            total += weight * figures["adversarial"] + on * caught
        return total, figures
