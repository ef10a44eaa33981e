"""Short melodies that name a digit: four plucked notes each, synthesized with numpy.

The digit is told by the order of the pitches alone. Instrument, tempo, tuning, onset,
loudness and noise are drawn apart from it.
"""

from dataclasses import dataclass

import numpy as np

from cdcd_jax.data.sources import Example
from cdcd_jax.data.toy_music import tone

SPLITS = ("train", "test")
SAMPLE_RATE = 8_000  # Hz
SAMPLES = 6_144  # 0.768 s: whole numbers of tokens at hops of 64 to 256 and of 192
# Of a digit, the places of its notes in CHORD. Words of the code (a, b, a + b, a + 2 b)
# over the field of four elements: any two differ in three of the four notes or more,
# and some have the same notes in another order.
MELODIES = (
    *((0, 1, 1, 2), (0, 2, 2, 3), (0, 3, 3, 1), (1, 2, 3, 2), (1, 3, 2, 0)),
    *((2, 1, 3, 0), (2, 2, 0, 1), (2, 3, 1, 3), (3, 1, 2, 1), (3, 2, 1, 0)),
)
CHORD = (0, 4, 7, 12)  # semitones over the root
ROOT = 330.0  # Hz
TUNING = 0.2  # semitones that the root may be higher or lower
SECONDS = (0.15, 0.18)  # of a note
ONSET = 0.04  # seconds, at most, before the first one
PEAK = (0.4, 0.9)  # of the loudest sample
NOISE = 0.003  # deviation of the noise, of a note's amplitude
# harmonic -> amplitude; all of them lie below 4 kHz
INSTRUMENTS = (
    {1: 1.0, 2: 0.15},
    {1: 1.0, 2: 0.1, 3: 0.6},
    {1: 1.0, 2: 0.6, 3: 0.4, 4: 0.25},
)


def synthesize(digit: int, rng: np.random.Generator) -> np.ndarray:
    """The melody of a digit as `rng` plays it, float32 [SAMPLES] in [-1, 1]."""
    partials = INSTRUMENTS[rng.integers(len(INSTRUMENTS))]
    root = ROOT * 2 ** (rng.uniform(-TUNING, TUNING) / 12)
    seconds, onset = rng.uniform(*SECONDS), rng.uniform(0, ONSET)
    wave = NOISE * rng.standard_normal(SAMPLES, np.float32)
    for i, step in enumerate(MELODIES[digit]):
        pitch = root * 2 ** (CHORD[step] / 12)
        sound = tone(partials, pitch, seconds, 0.12, 0.006, SAMPLE_RATE)
        start = round((onset + i * seconds) * SAMPLE_RATE)
        wave[start : start + len(sound)] += sound
    return wave * np.float32(rng.uniform(*PEAK) / np.abs(wave).max())


@dataclass(frozen=True)
class Tones:
    """`number` melodies of a split, made when they are asked for; digits take turns."""

    seed: int
    name: str
    number: int

    def __len__(self) -> int:
        return self.number

    def rng(self, index: int) -> np.random.Generator:
        """What draws example `index`; no two of both splits have the same."""
        return np.random.default_rng((self.seed, SPLITS.index(self.name), index))

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`audio` float32 [SAMPLES] and its label; with `rng`, played anew.

        Raises: IndexError.
        """
        if not 0 <= index < self.number:
            raise IndexError(f"example {index} of {self.number}")
        label = index % len(MELODIES)
        return {
            "key": f"tones/{self.name}/{index:06d}",
            "audio": synthesize(label, rng or self.rng(index)),
            "condition": {"label": np.int32(label)},
            "groups": {"label": str(label)},
        }
