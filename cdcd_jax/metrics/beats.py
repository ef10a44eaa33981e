"""Beats of music: when onsets sound, how well they fit, and two published protocols.

The published ones mark the seconds of a clip in which something sets in. They share
names ("coverage", "hit") and little else, so each has its own here. One second holds
several beats: music of another dance, and even noise, scores high; always look at the
score of shuffled pairs beside it. `beat_f1` and `tempo_of` are ours and finer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PUBLISHED_RATE = 22_050  # Hz; of both published protocols
# How librosa's onset_detect picks peaks in each: with an average over 2 and 6 frames
# of 23 ms. What they leave out is librosa's default.
PEAKS = {
    "cdcd": dict(wait=1, delta=0.2, pre_avg=1, post_avg=1, post_max=1),
    "loris": dict(wait=1, delta=0.2, pre_avg=3, post_avg=3, pre_max=3, post_max=3),
}
TEMPI = (50.0, 200.0)  # beats a minute, among which a tempo is looked for
_HOP, _WINDOW, _BANDS = 0.004, 0.064, 40  # seconds (at most), and mel bands
_RANGE = 40.0  # dB below the loudest that counts: what a codec leaves lies lower
_REACH = 8.0  # seconds between two onsets that may propose a tempo


def onset_times(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """When something sets in, by peaks of the rise of a mel spectrum; ours.

    The spectrum is taken every 4 ms or less, over 64 ms; a rise is over half of that
    window. All of it more than 40 dB below the loudest counts as silence.

    Args:
        audio: float [S].
        sample_rate: in Hz.

    Returns:
        float64 [n], in seconds, ascending.
    """
    import librosa

    audio = np.asarray(audio, np.float32)
    hop = max(int(_HOP * sample_rate), 1)
    window = 2 ** round(np.log2(_WINDOW * sample_rate))
    power = librosa.feature.melspectrogram(
        y=audio, sr=sample_rate, n_fft=window, hop_length=hop, n_mels=_BANDS
    )
    if not power.max() > 0:
        return np.zeros(0)
    strength = librosa.onset.onset_strength(
        S=librosa.power_to_db(power, ref=np.max, top_db=_RANGE),
        sr=sample_rate,
        hop_length=hop,
        n_fft=window,
        lag=max(window // hop // 2, 1),
    )
    return librosa.onset.onset_detect(
        onset_envelope=strength,
        sr=sample_rate,
        hop_length=hop,
        units="time",
        delta=0.1,
    ).astype(np.float64)


def beat_f1(found: np.ndarray, beats: np.ndarray, tolerance: float = 0.07) -> float:
    """F1 of onsets as beats: 2 pairs / (onsets + beats), no onset or beat in two pairs.

    The number of pairs is the largest possible: where the earliest onset and the
    earliest beat left lie within the tolerance, a best matching holds that pair (each
    of the two reaches no later partner that the other's partner could not take); where
    not, the earlier one reaches nothing that is left.

    Args:
        found: onsets [n] in seconds, in any order.
        beats: true ones [m].
        tolerance: seconds; the limit itself counts.

    Returns:
        In [0, 1]; 1 where there is neither an onset nor a beat.
    """
    found, beats = np.sort(found), np.sort(beats)
    if not len(found) + len(beats):
        return 1.0
    i = j = pairs = 0
    while i < len(found) and j < len(beats):
        if abs(found[i] - beats[j]) <= tolerance:
            i, j, pairs = i + 1, j + 1, pairs + 1
        elif found[i] < beats[j]:
            i += 1
        else:
            j += 1
    return 2 * pairs / (len(found) + len(beats))


def tempo_of(
    times: np.ndarray, tempi: tuple[float, float] = TEMPI, tolerance: float = 0.05
) -> float:
    """The tempo of onsets by regression on the numbers of their beats; ours.

    Every interval between two onsets up to 8 s apart, divided by 1, 2, 3, ...,
    proposes a grid of beats. The one whose F1 with the onsets is best, and among
    equals the one that they lie nearest to, numbers the onsets within `tolerance` of
    it; a line through these gives the period. So an onset too many or too few does not
    bend it.

    Args:
        times: onsets [n] in seconds.
        tempi: lowest and highest, in beats a minute. Music fits half and double its
            tempo as well; F1 prefers the grid that the onsets fill.
        tolerance: seconds.

    Returns:
        Beats a minute; nan for fewer than two onsets, or where no interval fits.
    """
    times = np.unique(np.asarray(times, np.float64))
    shortest, longest = 60 / tempi[1], 60 / tempi[0]
    best: tuple[float, float] = (0.0, 0.0)
    period = np.nan
    for i, start in enumerate(times):
        gaps = times[i + 1 :] - start
        gaps = gaps[gaps <= max(_REACH, longest)]
        counts = np.arange(1, int(max(_REACH, longest) / shortest) + 1)
        proposed = (gaps[:, None] / counts).ravel()
        fits = (proposed >= shortest - 1e-9) & (proposed <= longest + 1e-9)
        proposed = proposed[fits]
        if not len(proposed):
            continue
        score, error = _fit_of_grids(times, start, proposed, tolerance)
        first = np.lexsort((error, -score))[0]
        if (score[first], -error[first]) > best or np.isnan(period):
            best = (score[first], -error[first])
            period = _regressed(times, start, proposed[first], tolerance)
    return float(60 / period)


def _fit_of_grids(
    times: np.ndarray, start: float, periods: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """F1 [C] of onsets and grids through `start`, and mean distance [C] in seconds.

    A grid reaches from the first to the last onset; of several onsets near one of its
    beats, one counts.
    """
    beats = (times[None] - start) / periods[:, None]  # [C, n]
    numbers = np.rint(beats)
    distance = np.abs(beats - numbers) * periods[:, None]
    near = distance <= tolerance
    slots = numbers[:, -1] - numbers[:, 0] + 1
    far = 1 + np.max(numbers)  # where the others go
    hit = np.sort(np.where(near, numbers, far), axis=1)
    hits = np.sum((np.diff(hit, axis=1, prepend=-np.inf) > 0) & (hit < far), axis=1)
    error = np.sum(distance * near, axis=1) / np.maximum(np.sum(near, axis=1), 1)
    return np.round(2 * hits / (slots + len(times)), 9), error


def _regressed(
    times: np.ndarray, start: float, period: float, tolerance: float
) -> float:
    """Seconds a beat: the slope of the onsets near a grid over their beats."""
    for _ in range(2):  # the second time around the line of the first
        numbers = np.rint((times - start) / period)
        near = np.abs(times - start - numbers * period) <= tolerance
        if np.ptp(numbers[near]) == 0:
            break
        period, start = np.polyfit(numbers[near], times[near], 1)
    return period


@dataclass(frozen=True)
class Scores:
    """Means over clips of a published protocol, as shares.

    Attributes:
        coverage, hit: as the protocol defines them.
        coverage_std, hit_std: over clips, with n - 1; nan for fewer than two.
        f1: harmonic mean of the two means (LORIS); nan where it is not defined.
        clips: how many clips were scored.
    """

    coverage: float
    hit: float
    coverage_std: float
    hit_std: float
    f1: float
    clips: int


def second_bins(
    audio: np.ndarray, sample_rate: int, protocols: Sequence[str] = tuple(PEAKS)
) -> dict[str, np.ndarray]:
    """In which seconds of a clip something sets in, by each published protocol.

    At another rate than 22,050 Hz it is resampled, as librosa's `load` does in the
    published scripts. An onset at the very end belongs to the last second (there it
    is an index error).

    Args:
        audio: float [S].
        sample_rate: in Hz.
        protocols: of 'cdcd' and 'loris'.

    Returns:
        protocol -> bool [seconds, rounded up].
    """
    import librosa

    audio = np.asarray(audio, np.float32)
    if sample_rate != PUBLISHED_RATE:
        audio = librosa.resample(
            audio, orig_sr=sample_rate, target_sr=PUBLISHED_RATE, res_type="soxr_hq"
        )
    strength = librosa.onset.onset_strength(y=audio, sr=PUBLISHED_RATE)
    bins = {}
    for name in protocols:
        times = librosa.onset.onset_detect(
            onset_envelope=strength, sr=PUBLISHED_RATE, units="time", **PEAKS[name]
        )
        bins[name] = np.zeros(int(np.ceil(len(audio) / PUBLISHED_RATE)), bool)
        bins[name][np.minimum(times.astype(int), len(bins[name]) - 1)] = True
    return bins


def cdcd_scores(generated: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> Scores:
    """Beats coverage and hit of D2M-GAN and CDCD (L-YeZhu/Beats_Scores).

    Of each clip coverage = marked seconds generated / true (above 1 if the music is
    busier) and hit = seconds marked in both / true; then the mean over clips. A clip
    whose true music has no onset is left out and not counted in `clips`; the script
    divides by zero there.

    Args:
        generated, true: `second_bins(...)["cdcd"]` of each clip, pairs of one length.

    Raises:
        ValueError: unlike numbers or lengths of clips.
    """
    coverage, hit = [], []
    for ours, theirs in zip(generated, true, strict=True):
        if len(ours) != len(theirs):
            raise ValueError(f"clips of {len(ours)} and {len(theirs)} seconds")
        if theirs.any():
            coverage.append(ours.sum() / theirs.sum())
            hit.append((ours & theirs).sum() / theirs.sum())
    return _means(coverage, hit, harmonic=False)


def loris_scores(generated: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> Scores:
    """Beats coverage and hit of LORIS (OpenGVLab/LORIS, beats_scores.py).

    Of each clip coverage = seconds marked in both / generated (a precision) and hit =
    both / true (a recall), 0 where nothing is marked below the line; then mean and
    standard deviation (CSD, HSD) over clips, and F1 of the two means. True music is cut
    to the generated length.

    Args:
        generated, true: `second_bins(...)["loris"]` of each clip.

    Raises:
        ValueError: unlike numbers of clips, or a true clip shorter than the generated.
    """
    coverage, hit = [], []
    for ours, theirs in zip(generated, true, strict=True):
        if len(theirs) < len(ours):
            raise ValueError(f"{len(theirs)} true seconds for {len(ours)} generated")
        both = (ours & theirs[: len(ours)]).sum()
        coverage.append(both / max(ours.sum(), 1))
        hit.append(both / max(theirs[: len(ours)].sum(), 1))
    return _means(coverage, hit, harmonic=True)


def _means(coverage: list[float], hit: list[float], harmonic: bool) -> Scores:
    clips = len(hit)
    means = [float(np.mean(v)) if clips else np.nan for v in (coverage, hit)]
    stds = [float(np.std(v, ddof=1)) if clips > 1 else np.nan for v in (coverage, hit)]
    f1 = np.nan
    if harmonic and sum(means) > 0:
        f1 = 2 * means[0] * means[1] / sum(means)
    return Scores(*means, *stds, f1, clips)
