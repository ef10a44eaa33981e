"""Spectral distances on signals whose spectra are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import spectral

RESOLUTION = (256, 64, 128)


def noise(seed: int, length: int = 1000) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, length))


def test_magnitudes_are_those_of_the_definition() -> None:
    n_fft, hop, window = RESOLUTION
    x = np.asarray(noise(0), np.float64)
    ours = spectral.magnitudes(jnp.asarray(x), *RESOLUTION)
    assert ours.shape == (2, 1 + 1000 // hop, n_fft // 2 + 1)
    hann = np.zeros(n_fft)
    middle = slice((n_fft - window) // 2, (n_fft + window) // 2)
    hann[middle] = np.sin(np.pi * np.arange(window) / window) ** 2
    padded = np.pad(x, ((0, 0), (n_fft // 2, n_fft // 2)), "reflect")
    for t in range(ours.shape[1]):
        frame = padded[:, t * hop : t * hop + n_fft] * hann
        np.testing.assert_allclose(
            ours[:, t], np.abs(np.fft.rfft(frame)), rtol=1e-4, atol=1e-4
        )


def test_distances_of_equal_waves_are_zero_with_zero_gradient() -> None:
    x = noise(0)
    for distance in (
        lambda y: spectral.spectral_distance(x, y, RESOLUTION),
        lambda y: spectral.multispectral_distance(x, y, (RESOLUTION, (64, 16, 64))),
        lambda y: spectral.spectral_convergence(x, y, RESOLUTION),
    ):
        value, gradient = jax.jit(jax.vjp, static_argnums=0)(distance, x)
        np.testing.assert_array_equal(value, [0, 0])
        (gradient,) = gradient(jnp.ones(2))
        np.testing.assert_array_equal(gradient, np.zeros_like(x))


def test_gradient_is_finite_at_silence() -> None:
    x = noise(0)
    distance = lambda y: spectral.multispectral_distance(x, y, (RESOLUTION,)).sum()
    assert np.isfinite(jax.grad(distance)(jnp.zeros_like(x))).all()


def test_convergence_of_silent_target_is_zero() -> None:
    x = noise(0)
    y = spectral.spectral_convergence(x.at[0].set(0), noise(1), RESOLUTION)
    assert y[0] == 0 and y[1] > 0


def test_peak_error_is_the_mean_of_the_largest() -> None:
    x, y = noise(0, 100), noise(1, 100)
    expected = np.sort(np.square(x - y))[:, -10:].mean(1)
    np.testing.assert_allclose(spectral.peak_error(x, y, 10), expected, rtol=1e-6)
    with pytest.raises(UsageError, match="100 samples"):
        spectral.peak_error(x, y, 101)


def test_short_waves_are_refused() -> None:
    with pytest.raises(UsageError, match="expected more than 128 samples"):
        spectral.magnitudes(noise(0, 128), *RESOLUTION)


def test_resolutions_keep_their_times() -> None:
    assert spectral.resolutions_at(22050, 10**6) == spectral.RESOLUTIONS
    assert spectral.resolutions_at(44100, 10**6)[0] == (4096, 480, 2400)
    for length in (2, 100, 1000, 8000):
        for resolution in spectral.resolutions_at(8000, length):
            x = jnp.ones((1, length))
            jax.eval_shape(lambda x, r=resolution: spectral.magnitudes(x, *r), x)
