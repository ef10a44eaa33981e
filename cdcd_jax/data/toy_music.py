"""Music of `toy_dance`: drums, bass and chords of six genres, synthesized with numpy.

Each genre has a metre, a pattern of drums and accents over the bar, and instruments of
its own. Every beat carries a sharp broadband hit and nothing else does: what sounds
between beats swells softly, so that onsets are beats.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

TABLE = 1024  # samples of one period of an instrument; a power of two


@dataclass(frozen=True)
class Timing:
    """When things happen; also of beats shortly before and after the clip.

    Attributes:
      beats: float64 [n], in seconds from the start of the clip, ascending.
      positions: int [n], of each beat in its bar, from 0.
      strengths: float64 [n], about 0.5 to 1: the accents that sound and dance share.
      tempo: beats a minute.
    """

    beats: np.ndarray
    positions: np.ndarray
    strengths: np.ndarray
    tempo: float


@dataclass(frozen=True)
class Genre:
    """What makes a genre.

    Attributes:
      accents: strength of each beat of the bar; their number is the metre.
      drums: for each beat of the bar, the names of its drums.
      partials: harmonic -> amplitude of the chords' instrument.
      chord: semitones over the root.
      octave: of the root of the chords, 4 for 262 Hz.
      decay: of a chord in seconds.
      swell: loudness of the soft chord between two beats.
      drive: of the distortion of the chords; 0 for none.
      bass: harmonic -> amplitude of the bass.
      bass_beats: positions in the bar where the bass plays.
    """

    accents: tuple[float, ...]
    drums: tuple[tuple[str, ...], ...]
    partials: dict[int, float]
    chord: tuple[int, ...]
    octave: int
    decay: float
    swell: float
    drive: float
    bass: dict[int, float]
    bass_beats: tuple[int, ...]


def _saw(count: int) -> dict[int, float]:
    return {k: 1 / k for k in range(1, count + 1)}


GENRES = {
    "house": Genre(
        accents=(1.0, 0.85, 0.9, 0.85),
        drums=(("kick", "hat"), ("kick", "clap"), ("kick", "hat"), ("kick", "clap")),
        partials=_saw(12),
        chord=(0, 3, 7, 10),
        octave=4,
        decay=0.12,
        swell=0.6,
        drive=0,
        bass=_saw(4),
        bass_beats=(0, 1, 2, 3),
    ),
    "rock": Genre(
        accents=(0.9, 1.0, 0.7, 1.0),
        drums=(("kick", "hat"), ("snare",), ("kick", "hat"), ("snare",)),
        partials=_saw(8),
        chord=(0, 7, 12),
        octave=2,
        decay=1.5,
        swell=0.0,
        drive=6,
        bass={1: 1.0, 2: 0.5, 3: 0.3},
        bass_beats=(0, 2),
    ),
    "waltz": Genre(
        accents=(1.0, 0.6, 0.6),
        drums=(("tom", "brush"), ("brush",), ("brush",)),
        partials={1: 1.0, 2: 0.2, 3: 0.25, 5: 0.06},
        chord=(0, 4, 7),
        octave=4,
        decay=0.4,
        swell=0.0,
        drive=0,
        bass={1: 1.0, 2: 0.3},
        bass_beats=(0,),
    ),
    "reggae": Genre(
        accents=(0.75, 0.8, 1.0, 0.8),
        drums=(("rim",), ("rim",), ("kick", "rim", "snare"), ("rim",)),
        partials={1: 1.0, 2: 0.8, 4: 0.6, 8: 0.2},
        chord=(0, 3, 7),
        octave=3,
        decay=0.2,
        swell=1.0,
        drive=0,
        bass={1: 1.0},
        bass_beats=(0, 2, 3),
    ),
    "latin": Genre(
        accents=(0.8, 0.9, 0.7, 1.0),
        drums=(("conga", "bell"), ("tom", "bell"), ("conga", "bell"), ("tom", "conga")),
        partials={1: 1.0, 4: 0.5, 10: 0.15},
        chord=(0, 4, 9),
        octave=4,
        decay=0.1,
        swell=0.3,
        drive=0,
        bass={1: 1.0, 2: 0.6},
        bass_beats=(0, 3),
    ),
    "electro": Genre(
        accents=(1.0, 0.8, 0.8, 1.0),
        drums=(("boom", "hat"), ("hat", "hat"), ("clap",), ("boom", "clap")),
        partials={1: 1.0, 3: 0.4, 7: 0.5, 9: 0.3},
        chord=(0, 3, 8),
        octave=5,
        decay=0.6,
        swell=0.0,
        drive=0,
        bass={1: 1.0, 3: 0.35, 5: 0.2},
        bass_beats=(0,),
    ),
}


def synthesize(
    genre: Genre,
    timing: Timing,
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The music, float32 [samples] in [-1, 1]; the loudest sample is 0.6 to 0.95.

    `rng` draws key, chords, the sound of each drum, and the noise floor.
    """
    mix = _Mix(samples, sample_rate)
    drums = _drum_kit(sample_rate, rng)
    root, degrees = int(rng.integers(12)), (0, 3, 5, 7, 8, 10)
    progression = rng.choice(degrees, 4)
    bars = np.cumsum(timing.positions == 0)
    period = 60 / timing.tempo
    for beat, position, strength, bar in zip(
        timing.beats, timing.positions, timing.strengths, bars, strict=True
    ):
        for name in genre.drums[position]:
            mix.add(drums[name], beat, strength)
        note = root + int(progression[bar % 4])
        if position in genre.bass_beats:
            pitch = _frequency(note, 1 if note > 7 else 2)
            sound = tone(genre.bass, pitch, 0.9 * period, 0.3, 0.004, sample_rate)
            mix.add(sound, beat, 0.25 * strength)
        chord = _chord(genre, note, period, sample_rate)
        mix.add(_shape(chord, 0.004, genre.decay, sample_rate), beat, 0.12 * strength)
        if genre.swell:
            half = chord[: len(chord) // 2]
            soft = half * np.hanning(len(half)).astype(np.float32)
            mix.add(soft, beat + period / 2, 0.1 * genre.swell)
    wave = mix.wave
    wave += 0.003 * rng.standard_normal(samples, np.float32)
    return wave * np.float32(rng.uniform(0.6, 0.95) / np.abs(wave).max())


class _Mix:
    """A clip that sounds are added to; parts outside of it are cut off."""

    def __init__(self, samples: int, sample_rate: int) -> None:
        self.wave = np.zeros(samples, np.float32)
        self._rate = sample_rate

    def add(self, sound: np.ndarray, seconds: float, gain: float) -> None:
        start = round(seconds * self._rate)
        first, last = max(start, 0), min(start + len(sound), len(self.wave))
        if first < last:
            self.wave[first:last] += (
                np.float32(gain) * sound[first - start : last - start]
            )


def _frequency(note: int, octave: int) -> float:
    """In Hz; note 0 of octave 4 is the middle C, 261.6 Hz."""
    return 261.63 * 2 ** (note / 12 + octave - 4)


def _shape(
    wave: np.ndarray, attack: float, decay: float, sample_rate: int
) -> np.ndarray:
    """A plucked sound: linear attack, exponential decay, and no click at its end."""
    t = np.arange(len(wave), dtype=np.float32) / sample_rate
    end = np.minimum((t[-1] - t) / 0.01, 1)
    return wave * np.minimum(t / attack, 1) * np.exp(-t / decay) * end


def _wave(
    partials: dict[int, float], pitch: float, seconds: float, sample_rate: int
) -> np.ndarray:
    """A steady tone of the harmonics that lie below the Nyquist frequency."""
    heard = {k: a for k, a in partials.items() if k * pitch < 0.48 * sample_rate}
    table = _table(tuple(heard.items()))
    steps = np.arange(round(seconds * sample_rate)) * (pitch * TABLE / sample_rate)
    return table[steps.astype(np.int32) & (TABLE - 1)]


@functools.cache
def _table(partials: tuple[tuple[int, float], ...]) -> np.ndarray:
    """One period of a tone, float32 [TABLE], with a mean square of 1/2."""
    phase = np.arange(TABLE) * (2 * np.pi / TABLE)
    waves = [amplitude * np.sin(k * phase) for k, amplitude in partials]
    norm = np.sqrt(sum(amplitude**2 for _, amplitude in partials))
    return (np.sum(waves, axis=0) / norm).astype(np.float32)


def tone(
    partials: dict[int, float],
    pitch: float,
    seconds: float,
    decay: float,
    attack: float,
    sample_rate: int,
) -> np.ndarray:
    """A plucked note, float32 [seconds * sample_rate]; see `_wave` and `_shape`."""
    wave = _wave(partials, pitch, seconds, sample_rate)
    return _shape(wave, attack, decay, sample_rate)


def _chord(genre: Genre, note: int, seconds: float, sample_rate: int) -> np.ndarray:
    pitches = [_frequency(note + step, genre.octave) for step in genre.chord]
    waves = [_wave(genre.partials, pitch, seconds, sample_rate) for pitch in pitches]
    mixed = np.sum(waves, axis=0) / len(waves)
    return np.tanh(genre.drive * mixed) if genre.drive else mixed


def _drum_kit(sample_rate: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every drum as float32 [n]; pitch and decay differ a little from clip to clip."""

    def time(seconds: float) -> np.ndarray:
        return np.arange(round(seconds * sample_rate), dtype=np.float32) / sample_rate

    def noise(decay: float, seconds: float) -> np.ndarray:
        t = time(seconds)
        white = rng.standard_normal(len(t) + 1, np.float32)
        return 0.5 * np.diff(white) * np.exp(-t / decay)  # the low end taken out

    def skin(low: float, sweep: float, decay: float, seconds: float) -> np.ndarray:
        """A tone that falls to `low` Hz, from `sweep` times as high."""
        t, low = time(seconds), low * rng.uniform(0.9, 1.1)
        fall = 0.02 * (sweep - 1) * (1 - np.exp(-t / 0.02))
        return np.sin(2 * np.pi * low * (t + fall)) * np.exp(-t / decay)

    def both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.zeros(max(len(a), len(b)), np.float32)
        out[: len(a)] += a
        out[: len(b)] += b
        return out

    makers: dict[str, Callable[[], Sequence[np.ndarray]]] = {
        "kick": lambda: (skin(55, 5, 0.09, 0.3), 0.35 * noise(0.006, 0.03)),
        "boom": lambda: (skin(45, 4, 0.2, 0.5), 0.35 * noise(0.006, 0.03)),
        "snare": lambda: (0.4 * skin(190, 1.3, 0.05, 0.2), 0.7 * noise(0.05, 0.25)),
        "clap": lambda: (0.1 * skin(900, 1, 0.02, 0.1), 0.8 * noise(0.03, 0.15)),
        "hat": lambda: (0.1 * skin(3200, 1, 0.01, 0.05), 0.4 * noise(0.015, 0.08)),
        "brush": lambda: (0.2 * skin(250, 1, 0.04, 0.1), 0.4 * noise(0.035, 0.2)),
        "rim": lambda: (0.7 * skin(1700, 1, 0.02, 0.1), 0.7 * noise(0.02, 0.1)),
        "tom": lambda: (0.8 * skin(110, 1.6, 0.1, 0.4), 0.25 * noise(0.01, 0.05)),
        "conga": lambda: (0.7 * skin(320, 1.2, 0.06, 0.25), 0.3 * noise(0.008, 0.05)),
        "bell": lambda: (
            0.3 * skin(845, 1, 0.06, 0.25),
            0.3 * skin(1490, 1, 0.05, 0.2),
        ),
    }
    return {name: both(*make()) for name, make in makers.items()}
