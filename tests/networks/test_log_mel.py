"""Log-mel spectra against their definition, and sounds that are found for spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.networks.log_mel import FLOOR, LogMel, mel_bands

RATE = 8000


def chirps() -> np.ndarray:
    """Two sounds [2, 2560] of a rising and a falling tone with an overtone."""
    time = np.arange(2560) / RATE
    frequency = np.stack([300 + 800 * time, 900 - 900 * time])
    phase = 2 * np.pi * frequency * time
    return (0.5 * np.sin(phase) + 0.2 * np.sin(3 * phase)).astype(np.float32)


@pytest.mark.parametrize(("hop", "window"), [(80, 256), (64, 128), (50, 121)])
def test_spectra_are_those_of_the_definition(hop: int, window: int) -> None:
    x = chirps()[:, : 32 * hop]
    found = LogMel(20, hop, window, RATE).spectra(jnp.asarray(x))
    assert found.shape == (2, x.shape[1] // hop, 20) and found.dtype == jnp.float32
    bands = mel_bands(20, window, RATE)
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    padded = np.pad(x.astype(float), ((0, 0), (window, window)))
    for t in range(found.shape[1]):
        start = window + t * hop - (window - hop) // 2
        frame = padded[:, start : start + window] * hann
        magnitude = np.abs(np.fft.rfft(frame)) / (window / 4)
        mean = magnitude @ bands.T / bands.sum(1)
        wanted = 1 - 2 * np.log(mean + FLOOR) / np.log(FLOOR)
        np.testing.assert_allclose(found[:, t], wanted, atol=1e-4)


def test_silence_is_minus_one_and_stays_silent() -> None:
    spectrum = LogMel(32, 80, 256, RATE)
    silent = spectrum.spectra(jnp.zeros((1, 800)))
    np.testing.assert_allclose(silent, -1.0, atol=1e-6)
    np.testing.assert_allclose(spectrum.waves(silent), 0.0, atol=1e-6)


@pytest.mark.parametrize(("hop", "window"), [(80, 256), (64, 256)])
def test_sounds_that_are_found_have_the_spectra(hop: int, window: int) -> None:
    spectrum = LogMel(32, hop, window, RATE)
    wanted = spectrum.spectra(jnp.asarray(chirps()))
    sounds = jax.jit(spectrum.waves)(wanted)
    assert sounds.shape == (2, 2560) and sounds.dtype == jnp.float32
    loud = np.asarray(wanted) > -0.5
    error = np.abs(spectrum.spectra(sounds) - wanted)[loud].mean()
    other = np.abs(spectrum.spectra(sounds[::-1]) - wanted)[loud].mean()
    assert error < 0.1 < 0.5 < other, (error, other)
    np.testing.assert_array_equal(sounds, jax.jit(spectrum.waves)(wanted))
