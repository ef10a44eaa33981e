"""Raw source `toy_dance`: synthetic dances and the music that they were danced to.

Motion and music of an example share tempo (70 to 150 beats a minute), phase, accents
and genre, no more: key, chords, drum sounds, posture and noise are drawn apart.
The tempi of the test split lie in bands that training never sees. No download.

At the default rate of 8 kHz four seconds are 32,000 samples, 2^8 * 125: hops of 64, 128
or 256 give whole numbers of tokens, and a small tokenizer trains on a CPU. The drums'
noise and all chords lie below 4 kHz.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data.sources import Example, known_split
from cdcd_jax.data.toy_motion import FRAME_RATE, WIDTH, move
from cdcd_jax.data.toy_music import GENRES, Timing, synthesize
from cdcd_jax.errors import UsageError

OPTIONS = {
    "train_examples": 2_000,
    "test_examples": 200,
    "seconds": 4.0,
    "sample_rate": 8_000,  # Hz
}
SPLITS = ("train", "test")
TEMPI = (70, 150)  # beats a minute
# Of the test split: [74, 76), [84, 86), ..., [144, 146). Training has the rest.
TEST_BAND, TEST_WIDTH, TEST_EVERY = 74, 2, 10
NO_BEAT = -1.0  # fills `beats`
_CLEAR = 0.06  # seconds at both ends of a clip without a beat


@dataclass(frozen=True)
class ToyDanceSource:
    """The source; all examples follow from `seed`."""

    seed: int
    train_examples: int
    test_examples: int
    seconds: float
    sample_rate: int

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`; `beats` (seconds) and `tempo` are for evaluation."""

        def array(*shape: int) -> dict[str, Any]:
            return {"kind": "array", "shape": list(shape), "dtype": "float32"}

        label = {"kind": "label", "shape": [], "dtype": "int32"}
        return {
            "name": "toy_dance",
            "splits": SPLITS,
            "conditions": {
                "motion": array(round(self.seconds * FRAME_RATE), WIDTH),
                "genre": {**label, "num_classes": len(GENRES), "names": list(GENRES)},
                "beats": array(self.most_beats),
                "tempo": array(1),
            },
            "media": {
                "kind": "audio",
                "shape": [round(self.seconds * self.sample_rate)],
                "sample_rate": self.sample_rate,
            },
        }

    @property
    def most_beats(self) -> int:
        """Length of the condition `beats`."""
        return int(self.seconds * TEMPI[1] / 60) + 1

    def split(self, name: str) -> "ToyDances":
        """One of 'train' and 'test'."""
        known_split(name, SPLITS, "toy_dance")
        return ToyDances(self, name)


@dataclass(frozen=True)
class ToyDances:
    """The examples of one split, made when they are asked for."""

    source: ToyDanceSource
    name: str

    def __len__(self) -> int:
        return getattr(self.source, f"{self.name}_examples")

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`; with `rng`, other music and another body for the same beats.

        Returns: `key`; `audio` float32 [S]; `condition` with `motion` float32
          [60 * seconds, 219], `genre` int32 [], `beats` float32 [most_beats] (seconds,
          ascending, then -1) and `tempo` float32 [1] (beats a minute); `groups`:
          `genre` and `track`.
        Raises: IndexError.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        source = self.source
        fixed = np.random.default_rng((source.seed, SPLITS.index(self.name), index))
        number = index % len(GENRES)
        title, genre = list(GENRES.items())[number]
        timing = _draw_timing(self.name, genre.accents, source.seconds, fixed)
        for_music, for_motion = (rng or fixed).spawn(2)
        samples = round(source.seconds * source.sample_rate)
        frames = round(source.seconds * FRAME_RATE)
        audio = synthesize(genre, timing, samples, source.sample_rate, for_music)
        motion = move(number, len(genre.accents), timing, frames, for_motion)
        inside = timing.beats[(timing.beats >= 0) & (timing.beats < source.seconds)]
        beats = np.full(source.most_beats, NO_BEAT, np.float32)
        beats[: len(inside)] = inside
        key = f"toy_dance/{self.name}/{index:06d}"
        return {
            "key": key,
            "audio": audio,
            "condition": {
                "motion": motion,
                "genre": np.int32(number),
                "beats": beats,
                "tempo": np.array([timing.tempo], np.float32),
            },
            "groups": {"genre": title, "track": key},
        }


def in_test_band(tempo: float) -> bool:
    """Whether a tempo is one of those that only the test split has."""
    return 0 <= (tempo - TEST_BAND) % TEST_EVERY < TEST_WIDTH


def _draw_timing(
    split: str, accents: tuple[float, ...], seconds: float, rng: np.random.Generator
) -> Timing:
    """Tempo, phase, first beat's place in the bar, and strengths of all beats.

    From two beats before the clip to one after it. No beat lies so close to an end of
    the clip that it could not be told from the cut.
    """
    while True:
        tempo = float(np.float32(rng.uniform(*TEMPI)))
        if in_test_band(tempo) == (split == "test"):
            break
    period = 60 / tempo
    while True:
        phase = rng.uniform(_CLEAR, period)
        if (seconds - phase) % period > _CLEAR:
            break
    numbers = np.arange(-2, int((seconds - phase) / period) + 2)
    positions = (numbers + rng.integers(len(accents))) % len(accents)
    strengths = np.take(accents, positions) * rng.uniform(0.85, 1, len(numbers))
    return Timing(phase + period * numbers, positions, strengths, tempo)


def open_source(path: str, options: Mapping[str, Any], seed: int) -> ToyDanceSource:
    """The source; `path` must be empty.

    Raises:
      UsageError: a path, or an option out of range.
    """
    if path:
        raise UsageError(
            f"Found data.path = {path!r} for the source toy_dance; expected none, as "
            "it needs no files; remove it."
        )
    seconds, rate = options["seconds"], options["sample_rate"]
    whole = all((seconds * r).is_integer() for r in map(float, (rate, FRAME_RATE)))
    good = {
        "train_examples": options["train_examples"] >= 1,
        "test_examples": options["test_examples"] >= 1,
        "seconds": 2 <= seconds <= 60 and whole,
        "sample_rate": 4_000 <= rate <= 48_000,
    }
    for name, fine in good.items():
        if not fine:
            raise UsageError(
                f"Found data.options.{name} = {options[name]}; expected 1 or more "
                "examples, 2 to 60 seconds that hold whole numbers of samples and of "
                "frames (60 a second), 4,000 to 48,000 Hz; correct it."
            )
    return ToyDanceSource(seed=seed, **options)
