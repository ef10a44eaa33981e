"""Sounds as log-mel spectra, and sounds that have given spectra.

Spectra say what is heard and leave out the phases, which few codes cannot carry. What
is played again has phases of its own, found by Griffin and Lim's iteration (1984) with
the momentum of Perraudin et al. (2013).
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

FLOOR = 1e-3  # of a full tone's magnitude; what is weaker counts as silence
ITERATIONS = 32
MOMENTUM = 0.99


def mel_bands(number: int, n_fft: int, rate: int) -> np.ndarray:
    """Triangles evenly spaced in mel = 2595 log10(1 + f / 700): [number, n_fft/2+1]."""
    edges = np.linspace(0, 2595 * np.log10(1 + rate / 1400), number + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequency = np.fft.rfftfreq(n_fft, 1 / rate)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequency - low) / (middle - low)
    falling = (high - frequency) / (high - middle)
    bands = np.maximum(0, np.minimum(rising, falling))
    # low bands may be narrower than the grid: these take the nearest frequency
    empty = np.flatnonzero(bands.sum(1) == 0)
    bands[empty, np.abs(frequency - middle[empty]).argmin(1)] = 1.0
    return bands


@dataclass(frozen=True)
class LogMel:
    """Spectra of frames of `window` samples, one every `hop` samples.

    Attributes:
        bands: of a spectrum, evenly spaced in mel up to half the rate.
        hop: samples.
        window: samples of a Hann window; at least 2 hop, so that frames overlap.
        sample_rate: Hz.
    """

    bands: int
    hop: int
    window: int
    sample_rate: int

    def spectra(self, waves: jax.Array) -> jax.Array:
        """float [B, S] -> float32 [B, S // hop, bands]: -1 for silence, 1 for a tone.

        A band is the mean magnitude in it, of a full tone's. `hop` divides S; frame t
        is centred on sample (t + 1/2) hop, and zeros lie around.
        """
        magnitudes = jnp.abs(self._transform(waves)) / (self.window / 4)
        bands = jnp.dot(magnitudes, self._filters.T, precision="highest")
        return 1.0 - 2.0 * jnp.log(bands + FLOOR) / np.log(FLOOR)

    def waves(self, spectra: jax.Array) -> jax.Array:
        """Sounds that have about these spectra: [B, T, bands] -> float32 [B, T hop].

        The same ones each time.
        """
        level = jnp.exp((1.0 - spectra) / 2.0 * np.log(FLOOR))
        bands = jnp.maximum(level - FLOOR, 0.0)
        inverse = np.linalg.pinv(self._filters).astype(np.float32)
        wanted = jnp.dot(bands, inverse.T, precision="highest")
        wanted = jnp.maximum(wanted, 0.0) * (self.window / 4)

        def step(carry: tuple[jax.Array, jax.Array], _: None) -> tuple:
            guess, before = carry
            found = self._transform(self._sound(guess))
            ahead = found - MOMENTUM / (1.0 + MOMENTUM) * before
            return (wanted * ahead / (jnp.abs(ahead) + 1e-12), found), None

        angles = jax.random.uniform(jax.random.key(0), wanted.shape, maxval=2 * np.pi)
        start = wanted * jnp.exp(1j * angles)
        steps = jax.lax.scan(step, (start, 0 * start), None, ITERATIONS)
        return self._sound(steps[0][0])

    @functools.cached_property
    def _filters(self) -> np.ndarray:
        bands = mel_bands(self.bands, self.window, self.sample_rate)
        return (bands / bands.sum(1, keepdims=True)).astype(np.float32)

    @property
    def _hann(self) -> np.ndarray:
        turn = 2 * np.pi * np.arange(self.window) / self.window
        return (0.5 - 0.5 * np.cos(turn)).astype(np.float32)

    @property
    def _before(self) -> int:
        """Samples of the first frame that lie before the sound."""
        return (self.window - self.hop) // 2

    def _transform(self, waves: jax.Array) -> jax.Array:
        """[B, S] -> complex64 [B, S // hop, window // 2 + 1]."""
        after = self.window - self.hop - self._before
        padded = jnp.pad(waves.astype(jnp.float32), ((0, 0), (self._before, after)))
        start = np.arange(waves.shape[-1] // self.hop) * self.hop
        frames = padded[:, start[:, None] + np.arange(self.window)]
        return jnp.fft.rfft(frames * self._hann)

    def _sound(self, transform: jax.Array) -> jax.Array:
        """The nearest wave [B, S] to transforms of frames, in the sum of squares."""
        frames = jnp.fft.irfft(transform, self.window) * self._hann
        weights = np.broadcast_to(self._hann**2, frames.shape[1:])[None]
        total, weight = self._overlapped(frames), self._overlapped(weights)
        inner = slice(self._before, self._before + frames.shape[1] * self.hop)
        return total[:, inner] / weight[:, inner]

    def _overlapped(self, frames: jax.Array) -> jax.Array:
        """Sum of frames [B, T, window] at their places; zeros fill up the end."""
        batch, number, size = frames.shape
        parts = -(-size // self.hop)
        frames = jnp.pad(frames, ((0, 0), (0, 0), (0, parts * self.hop - size)))
        frames = frames.reshape(batch, number, parts, self.hop)
        shifted = (
            jnp.pad(frames[:, :, i], ((0, 0), (i, parts - 1 - i), (0, 0)))
            for i in range(parts)
        )
        return sum(shifted).reshape(batch, -1)
