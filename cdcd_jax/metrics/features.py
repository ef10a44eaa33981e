"""Figures in the features of networks that were trained elsewhere: FID and its kin.

What they need of the real split can be kept: `keep` is handed what makes it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from cdcd_jax.metrics.audio_distance import Embedding, embed
from cdcd_jax.metrics.clip_score import clip_score
from cdcd_jax.metrics.frechet import (
    Gaussian,
    gaussian_distance,
    gaussian_of,
    spread_rows,
)
from cdcd_jax.metrics.inception_score import SPLITS, inception_score
from cdcd_jax.metrics.manifold import NEAREST, Manifold, overlap, radii
from cdcd_jax.metrics.names import suffix
from cdcd_jax.networks.inception import Inception

# images or audio, texts, sample_rate: see `feature_figures`
Decoded = Mapping[str, Any]
Statistics = dict[str, np.ndarray]
Keep = Callable[[str, Callable[[], Statistics]], Statistics]

BATCH = 64  # pictures that Inception reads at once
# Rows of which balls of neighbours are made, as in Naeem et al.; time grows with the
# square of it.
MOST_ROWS = 10_000


class Value(NamedTuple):
    """A figure.

    Attributes:
        value: nan where it is not defined.
        n: samples that it was made of.
        n_real: real examples that it was compared with; None for no comparison.
    """

    value: float
    n: int
    n_real: int | None = None


@dataclass(frozen=True)
class Readers:
    """What reads samples; None for what was not asked for.

    Attributes:
        inception: images uint8 [N, H, W, C] -> features [N, 2048], logits [N, 1008].
        clip: such images and N texts -> cosines [N].
        audio: see `audio_distance.open_embedding`.
    """

    inception: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    clip: Callable[[np.ndarray, Sequence[str]], np.ndarray] | None = None
    audio: Embedding | None = None


class InceptionReader:
    """Features and logits of any number of pictures, in batches."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Args: params: of an `Inception` (`convert.inception`)."""
        self._params = params
        self._read = jax.jit(lambda p, x: Inception().apply({"params": p}, x))

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 [N, H, W, C] -> float32 [N, 2048] and [N, 1008]."""
        images, parts = np.asarray(images), []
        size = min(BATCH, len(images))
        for i in range(0, len(images), size):
            rows = np.minimum(np.arange(i, i + size), len(images) - 1)
            with jax.default_matmul_precision("highest"):
                found = self._read(self._params, images[rows])
            parts.append([np.asarray(part)[: len(images) - i] for part in found])
        features, logits = zip(*parts, strict=True)
        return np.concatenate(features), np.concatenate(logits)


def feature_figures(
    samples: Mapping[str, Decoded],
    real: Decoded,
    readers: Readers,
    keep: Keep = lambda _, make: make(),
) -> dict[str, float]:
    """The figures of all readers that there are.

    Args:
        samples: 'unguided' and others, each with images uint8 [N, H, W, C] for
            `inception` and `clip`, N `texts` for `clip`, audio float [N, S] and its
            sample_rate in Hz for `audio`.
        real: the split that samples are compared with, of the same keys; `texts` give
            clip_score_real.
        readers: what reads them.
        keep: of the name of a reader and what makes statistics, the statistics.

    Returns:
        For unguided samples fid, inception_score, inception_score_std, precision,
        recall, density, coverage, clip_score (of 100), clip_cosine (the raw mean),
        frechet_audio_distance; for others with their name as suffix (`fid_guided`);
        scores that need no comparison also with _real. `<name>/n` is how many samples
        each was made of, `<name>/n_real` how many real examples. nan where there are
        too few samples.
    """
    figures: dict[str, float] = {}

    def add(name: str, values: Mapping[str, Value]) -> None:
        end = suffix(name)
        for figure, (value, n, n_real) in values.items():
            figures[f"{figure}{end}"] = value
            figures[f"{figure}{end}/n"] = n
            if n_real is not None:
                figures[f"{figure}{end}/n_real"] = n_real

    if readers.inception:
        make = lambda: picture_statistics(real["images"], readers.inception)
        known = keep("inception", make)
        for name, sample in samples.items():
            add(name, picture_figures(sample["images"], known, readers.inception))
        add("real", _scores(known["score"], int(known["number"])))
    if readers.clip:
        for name, sample in itertools.chain(samples.items(), [("real", real)]):
            if "texts" not in sample:  # reconstructions have none, nor may real ones
                continue
            cosines = readers.clip(sample["images"], list(sample["texts"]))
            values = dict(clip_score=clip_score(cosines), clip_cosine=cosines.mean())
            add(name, {k: Value(float(v), len(cosines)) for k, v in values.items()})
    if readers.audio:
        make = lambda: sound_statistics(real, readers.audio)
        known = keep("audio", make)
        for name, sample in samples.items():
            add(name, sound_figures(sample, known, readers.audio))
    return figures


def picture_statistics(images: np.ndarray, read: Callable) -> Statistics:
    """What the figures need to know of real pictures uint8 [N, H, W, C].

    Returns:
        number: int [], N.
        mean, covariance: float64 [2048] and [2048, 2048], of all features.
        features: float32 [n, 2048], n = MOST_ROWS of them at most, evenly spread.
        radii: float64 [2, n], see `manifold.radii`.
        score: float64 [2], the Inception Score and its deviation.
    """
    features, logits = read(images)
    few = spread_rows(features, MOST_ROWS)
    known = len(few) > max(NEAREST)
    return dict(
        number=np.asarray(len(features)),
        **_gaussian(features),
        features=few,
        radii=radii(few, NEAREST) if known else np.full((2, len(few)), np.nan),
        score=np.asarray(_score(logits)),
    )


def picture_figures(
    images: np.ndarray, known: Statistics, read: Callable
) -> dict[str, Value]:
    """FID, Inception Score, precision, recall, density, coverage of pictures.

    Args:
        images: uint8 [N, H, W, C].
        known: `picture_statistics` of the real ones.
        read: as `Readers.inception`.
    """
    features, logits = read(images)
    few, real = spread_rows(features, MOST_ROWS), known["features"]
    manifold = Manifold(*[np.nan] * 4)
    if min(len(few), len(real)) > max(NEAREST):
        manifold = overlap(real, few, real_radii=known["radii"])
    return {
        "fid": _distance(features, known),
        **_scores(_score(logits), len(features)),
        **{
            name: Value(value, len(few), len(real))
            for name, value in manifold._asdict().items()
        },
    }


def sound_statistics(real: Decoded, embedding: Embedding) -> Statistics:
    """Number, mean [D] and covariance [D, D] of the features of real sounds."""
    features = embed(embedding, real["audio"], real["sample_rate"])
    return dict(number=np.asarray(len(real["audio"])), **_gaussian(features))


def sound_figures(
    sample: Decoded, known: Statistics, embedding: Embedding
) -> dict[str, Value]:
    """The Fréchet distance of audio float [N, S] to `sound_statistics`."""
    features = embed(embedding, sample["audio"], sample["sample_rate"])
    value = _distance(features, known)._replace(n=len(sample["audio"]))
    return {"frechet_audio_distance": value}


def _gaussian(features: np.ndarray) -> Statistics:
    if len(features) < 2:
        width = features.shape[1]
        return dict(mean=np.full(width, np.nan), covariance=np.eye(width))
    return gaussian_of(features)._asdict()


def _distance(features: np.ndarray, known: Statistics) -> Value:
    ours, real = (
        Gaussian(part["mean"], part["covariance"])
        for part in (_gaussian(features), known)
    )
    return Value(gaussian_distance(ours, real), len(features), int(known["number"]))


def _score(logits: np.ndarray) -> tuple[float, float]:
    if len(logits) < SPLITS:
        return np.nan, np.nan
    return inception_score(logits)


def _scores(score: Sequence[float], number: int) -> dict[str, Value]:
    mean, deviation = map(float, score)
    return {
        "inception_score": Value(mean, number),
        "inception_score_std": Value(deviation, number),
    }
