"""The patch discriminator of image autoencoders, its losses and its adaptive weight.

As in VQGAN (Esser et al. 2021; PatchGAN of Isola et al. 2017), with group norms in
place of batch norms: no running state, and the same on any number of devices.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cdcd_jax.networks.vqgan import group_norm


class PatchDiscriminator(nn.Module):
    """Logits of patches, high where an image looks real.

    Attributes:
        channels: of the first convolution; they double up to eight times as many.
        num_layers: convolutions of stride 2, each of which halves the grid.
        dtype: of the convolutions.
    """

    channels: int = 64
    num_layers: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] in [-1, 1] -> float32 [B, h, w], a logit a patch."""

        def conv(x: jax.Array, features: int, stride: int, name: str) -> jax.Array:
            init = nn.initializers.normal(0.02)
            kwargs = dict(padding=1, dtype=self.dtype, kernel_init=init, name=name)
            return nn.Conv(features, (4, 4), stride, **kwargs)(x)

        x = nn.leaky_relu(conv(x.astype(self.dtype), self.channels, 2, "conv_0"), 0.2)
        for i in range(1, self.num_layers + 1):
            features = self.channels * min(2**i, 8)
            stride = 2 if i < self.num_layers else 1
            x = conv(x, features, stride, f"conv_{i}")
            x = nn.leaky_relu(group_norm(x, self.dtype, f"norm_{i}"), 0.2)
        return conv(x, 1, 1, "conv_out").astype(jnp.float32)[..., 0]


def hinge_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Mean hinge of the logits of real and of reconstructed images, []."""
    return 0.5 * (jnp.mean(nn.relu(1.0 - real)) + jnp.mean(nn.relu(1.0 + fake)))


def hinge_generator_loss(fake: jax.Array) -> jax.Array:
    """What an autoencoder minimises to look real, []."""
    return -jnp.mean(fake)


def adaptive_weight(
    reconstruction: jax.Array, adversarial: jax.Array, at_most: float = 1e4
) -> jax.Array:
    """Weight that makes the two losses pull equally at the last convolution.

    Args:
        reconstruction, adversarial: gradients of the losses by its kernel, one shape.
        at_most: bound of the weight.

    Returns:
        ||reconstruction|| / (||adversarial|| + 1e-4), [] without a gradient.
    """
    norm = lambda g: jnp.sqrt(jnp.sum(jnp.square(g.astype(jnp.float32))))
    weight = norm(reconstruction) / (norm(adversarial) + 1e-4)
    return jax.lax.stop_gradient(jnp.clip(weight, 0.0, at_most))
