"""Distances of waveforms in the time and frequency domains, as Jukebox trains with.

All take a target and a prediction, float [B, S], and return float32 [B]; none is
divided by a bandwidth (openai/jukebox, vqvae/vqvae.py and utils/audio_utils.py).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.errors import UsageError

# (n_fft, hop, window) of the multispectral loss and of a single spectrogram.
RESOLUTIONS = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))
RESOLUTION = (2048, 256, 1536)


def resolutions_at(sample_rate: int, length: int) -> tuple[tuple[int, int, int], ...]:
    """`RESOLUTIONS`, meant for 22,050 Hz, with the same times at another rate.

    Transforms become the next power of 2; those longer than waveforms of `length`
    samples allow are halved until they fit.
    """
    found = []
    for _, hop, window in RESOLUTIONS:
        hop, window = (round(n * sample_rate / 22050) for n in (hop, window))
        n_fft = 1 << (window * 3 // 2 - 1).bit_length()
        while n_fft // 2 >= length:
            n_fft, hop, window = n_fft // 2, hop // 2, window // 2
        found.append((n_fft, max(hop, 1), max(window, 2)))
    return tuple(dict.fromkeys(found))


def norm(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Euclidean norm whose gradient at 0 is 0, not NaN."""
    squares = jnp.sum(jnp.square(x), axes)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


def magnitudes(x: jax.Array, n_fft: int, hop: int, window: int) -> jax.Array:
    """Spectrogram of waveforms: float [B, S] -> float32 [B, 1 + S // hop, n_fft/2 + 1].

    A periodic Hann window of `window` samples, centred on the sample t hop of frame t;
    the ends are mirrored (torch.stft with center=True).

    Raises:
        UsageError: the waveform is too short for its ends to be mirrored.
    """
    length = x.shape[-1]
    if length <= n_fft // 2:
        raise UsageError(
            f"Found waveforms of {length} samples and a spectral loss with transforms "
            f"of {n_fft}; expected more than {n_fft // 2} samples; use longer examples "
            "or set losses.spectral = 0."
        )
    x = jnp.pad(x.astype(jnp.float32), ((0, 0), (n_fft // 2, n_fft // 2)), "reflect")
    # Magnitudes do not depend on where the window lies in the transform, so that only
    # its samples are taken and zeros follow.
    start = np.arange(1 + length // hop) * hop + (n_fft - window) // 2
    frames = x[:, start[:, None] + np.arange(window)]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    transform = jnp.fft.rfft(frames * hann.astype(np.float32), n_fft)
    return norm(jnp.stack([transform.real, transform.imag]), (0,))


def spectral_distance(
    target: jax.Array,
    prediction: jax.Array,
    resolution: tuple[int, int, int] = RESOLUTION,
) -> jax.Array:
    """Euclidean distance of two spectrograms: [B, S] x [B, S] -> [B]."""
    difference = magnitudes(target, *resolution) - magnitudes(prediction, *resolution)
    return norm(difference, (1, 2))


def multispectral_distance(
    target: jax.Array,
    prediction: jax.Array,
    resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS,
) -> jax.Array:
    """Mean of `spectral_distance` over resolutions: [B, S] x [B, S] -> [B]."""
    each = [spectral_distance(target, prediction, r) for r in resolutions]
    return sum(each) / len(each)


def log_spectral_distance(
    target: jax.Array,
    prediction: jax.Array,
    resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS,
) -> jax.Array:
    """Mean difference of log magnitudes, nats: [B, S] x [B, S] -> [B].

    What is 60 dB below a full tone counts as silence, so that noise in pauses shows
    (Yamamoto et al. 2020, with a floor).
    """
    total = 0.0
    for resolution in resolutions:
        floor = 1e-3 * resolution[2] / 4
        logs = [
            jnp.log(magnitudes(x, *resolution) + floor) for x in (target, prediction)
        ]
        total += jnp.mean(jnp.abs(logs[0] - logs[1]), axis=(1, 2))
    return total / len(resolutions)


def spectral_convergence(
    target: jax.Array,
    prediction: jax.Array,
    resolution: tuple[int, int, int] = RESOLUTION,
    epsilon: float = 2e-3,
) -> jax.Array:
    """`spectral_distance` over the target's norm; 0 for a silent target.

    [B, S] x [B, S] -> [B].
    """
    size = norm(magnitudes(target, *resolution), (1, 2))
    distance = spectral_distance(target, prediction, resolution)
    return jnp.where(size > epsilon, distance / jnp.maximum(size, epsilon), 0.0)


def peak_error(target: jax.Array, prediction: jax.Array, number: int) -> jax.Array:
    """Mean of the `number` largest squared errors: [B, S] x [B, S] -> [B].

    Raises:
        UsageError: the waveforms have fewer samples.
    """
    if number > target.shape[-1]:
        raise UsageError(
            f"Found waveforms of {target.shape[-1]} samples; expected at least the "
            f"{number} samples of largest error; use longer examples or fewer."
        )
    errors = jnp.square(target - prediction).astype(jnp.float32)
    return jnp.mean(jax.lax.top_k(errors, number)[0], axis=-1)
