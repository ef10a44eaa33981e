"""The patch discriminator, its losses and the weight that balances them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.networks.discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)


@pytest.mark.parametrize("layers, patches", [(2, 6), (3, 2)])
def test_shapes(layers: int, patches: int) -> None:
    """Each layer but the last halves the grid; the last two take one off."""
    net = PatchDiscriminator(channels=8, num_layers=layers, dtype=jnp.bfloat16)
    x = jnp.zeros((2, 32, 32, 3))
    logits, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
    assert logits.shape == (2, patches, patches) and logits.dtype == jnp.float32
    assert set(variables) == {"params"}  # no running state


def test_hinge_losses() -> None:
    real, fake = jnp.asarray([2.0, 0.5]), jnp.asarray([-3.0, 1.0])
    expected = 0.5 * ((0 + 0.5) / 2 + (0 + 2) / 2)
    np.testing.assert_allclose(hinge_discriminator_loss(real, fake), expected)
    np.testing.assert_allclose(hinge_generator_loss(fake), 1.0)


def test_adaptive_weight() -> None:
    a, b = jnp.full((3, 4), 2.0), jnp.full((3, 4), 0.5)
    expected = np.sqrt(48) / (np.sqrt(3) + 1e-4)
    np.testing.assert_allclose(adaptive_weight(a, b), expected, rtol=1e-6)
    assert adaptive_weight(a, 0 * b) == 1e4
    assert adaptive_weight(0 * a, b) == 0
    assert not jax.grad(lambda a: adaptive_weight(a, b))(a).any()
