"""Figures of music drawn for a dance: beats, tempo and genre, beside baselines."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.metrics import beats
from cdcd_jax.metrics.names import suffix

Decoded = Mapping[str, Any]
TEMPO_TOLERANCE = 0.04  # of the true tempo
_FRAME, _BANDS, _SPLIT = 0.016, 40, 5  # seconds, mel bands, bands of modulation
_RATES = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)  # Hz; edges of modulation


class GenreClassifier:
    """A support vector machine on statistics of log-mel spectra; ours.

    No code of the published genre accuracies was released, so none compare with these.
    It is trained on real music in the form that samples have: decoded tokens, where
    samples are.
    """

    def __init__(self, audio: np.ndarray, genres: np.ndarray, sample_rate: int) -> None:
        """Trains on clips float [N, S] with whole-numbered genres [N], two at least."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        self._rate = sample_rate
        self._model = make_pipeline(StandardScaler(), SVC(C=10.0))
        self._model.fit(genre_features(audio, sample_rate), genres)

    def predict(self, audio: np.ndarray) -> np.ndarray:
        """The genre of each clip [N, S], int [N]."""
        return self._model.predict(genre_features(audio, self._rate))


def genre_features(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Timbre and rhythm of clips, whatever their loudness.

    Mean and deviation over time of 40 log-mel bands (16 ms a frame), and how strongly
    8 groups of bands swing at 0.5 to 16 Hz (8 ranges of modulation).

    Args:
        audio: float [N, S].

    Returns:
        float32 [N, 40 + 40 + 8 * 8].
    """
    import librosa

    hop = max(round(_FRAME * sample_rate), 1)
    window = 2 ** round(np.log2(4 * hop))
    rows = []
    for wave in np.asarray(audio, np.float32):
        power = librosa.feature.melspectrogram(
            y=wave, sr=sample_rate, n_fft=window, hop_length=hop, n_mels=_BANDS
        )
        mel = librosa.power_to_db(power, ref=max(power.max(), 1e-10), top_db=60) / 20
        groups = mel.reshape(_BANDS // _SPLIT, _SPLIT, -1).mean(1)
        swing = groups - groups.mean(1, keepdims=True)
        spectrum = np.abs(np.fft.rfft(swing * np.hanning(swing.shape[1])))
        rate = np.fft.rfftfreq(swing.shape[1], hop / sample_rate)
        inside = [
            (low <= rate) & (rate < high) for low, high in itertools.pairwise(_RATES)
        ]
        ranges = [spectrum[:, i].sum(1) / swing.shape[1] for i in inside]
        modulation = np.log(np.stack(ranges, 1) + 1e-3)
        rows.append([*mel.mean(1), *mel.std(1), *modulation.ravel()])
    return np.asarray(rows, np.float32)


@dataclass(frozen=True)
class Heard:
    """What the detectors hear in each of N clips.

    Attributes:
        onsets: `beats.onset_times` of each.
        tempo: `beats.tempo_of` them, [N]; nan where there is none.
        seconds: protocol -> `beats.second_bins` of each.
    """

    onsets: list[np.ndarray]
    tempo: np.ndarray
    seconds: dict[str, list[np.ndarray]]

    def rows(self, chosen: np.ndarray) -> "Heard":
        """Clips `chosen` [M], in that order."""
        pick = lambda values: [values[i] for i in chosen]
        seconds = {name: pick(value) for name, value in self.seconds.items()}
        return Heard(pick(self.onsets), self.tempo[chosen], seconds)


def listen(decoded: Decoded) -> Heard:
    """The beats of `audio` [N, S] at `sample_rate`."""
    audio, rate = np.asarray(decoded["audio"]), int(decoded["sample_rate"])
    onsets = [beats.onset_times(wave, rate) for wave in audio]
    bins = [beats.second_bins(wave, rate) for wave in audio]
    seconds = {name: [each[name] for each in bins] for name in beats.PEAKS}
    return Heard(onsets, np.array([beats.tempo_of(each) for each in onsets]), seconds)


def _asked(heard: Heard, truth: Decoded) -> Heard:
    """What a dance asks for: the beats and the tempo of its true music.

    `condition['beats']` (seconds, filled up with negative numbers) and
    `condition['tempo']` where there are such, else what is heard in the music.
    """
    condition, onsets, tempo = truth["condition"], heard.onsets, heard.tempo
    if "beats" in condition:
        onsets = [row[row >= 0] for row in np.asarray(condition["beats"], np.float64)]
    if "tempo" in condition:
        tempo = np.asarray(condition["tempo"], np.float64).reshape(len(onsets))
    return Heard(onsets, tempo, heard.seconds)


def partners(genres: np.ndarray, same: Sequence[bytes]) -> np.ndarray:
    """For each clip another one, whose truth it is scored against when pairs are mixed.

    The next one of its genre, cyclically, whose truth is not the same (samples may be
    drawn for one record twice); where there is none, the next of any genre.

    Args:
        genres: int [N]; all the same where there are none.
        same: [N], equal for clips with one truth.

    Returns:
        int [N].

    Raises:
        InputError: all clips share one truth.
    """
    number = len(genres)
    chosen = np.zeros(number, int)
    for i in range(number):
        others = [j % number for j in range(i + 1, i + number)]
        others = [j for j in others if same[j] != same[i]]
        if not others:
            raise InputError(
                f"Found {number} clips drawn for one and the same dance; expected two "
                "dances at least, as pairs are shuffled; raise eval.num_samples."
            )
        chosen[i] = next((j for j in others if genres[j] == genres[i]), others[0])
    return chosen


def danced_music(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Music drawn for dances: on the beat, in tempo, in the genre?

    Args:
        samples: sets by name, each with audio float32 [N, S], sample_rate,
            condition and `truth`: the decoded held-out records that the rows were drawn
            for, in the same order. Conditions that are judged where there are such:
            genre [N], beats [N, n], tempo [N, 1].
        train, test: decoded records; `train` trains the judge of genres.

    Returns:
        beat_f1_70ms, beat_{hit,coverage}_{cdcd,loris}, tempo_accuracy and
        genre_accuracy of unguided samples; <name>_shuffled is the beats' score against
        another dance's truth (`partners`), and of genres the mean over all pairs of
        different rows. All again for other sets with their suffix, and with _real of
        held-out records against themselves (test['truth'], where there is such).
        `<name>/n` is the number of clips judged.

    Raises:
        InputError: samples without their truth, or all of one dance.
    """
    judge = None
    if "genre" in train["condition"]:
        judge = GenreClassifier(
            train["audio"], np.asarray(train["condition"]["genre"]), _rate(train)
        )
    known: list[tuple[Decoded, Heard]] = []

    def heard(truth: Decoded) -> Heard:
        """What all sets share is listened to once."""
        for decoded, found in known:
            if decoded["audio"] is truth["audio"]:
                return found
        known.append((truth, listen(truth)))
        return known[-1][1]

    figures: dict[str, float] = {}
    for name, decoded in itertools.chain(samples.items(), [("real", test)]):
        end, is_real = suffix(name), name == "real"
        truth = test.get("truth", test) if is_real else _truth(decoded, name)
        own = heard(decoded) if is_real else listen(decoded)
        values = _beat_figures(own, _asked(heard(truth), truth), truth)
        if judge:
            found = judge.predict(decoded["audio"])
            values |= _genre_figures(found, np.asarray(truth["condition"]["genre"]))
        for figure, (value, number) in values.items():
            figures[f"{figure}{end}"] = value
            figures[f"{figure}{end}/n"] = number
    return figures


def _rate(decoded: Decoded) -> int:
    return int(decoded["sample_rate"])


def _truth(decoded: Decoded, name: str) -> Decoded:
    if "truth" not in decoded:
        raise InputError(
            f"Found {name} samples without the records that they were drawn for; "
            "expected these, as beats are compared with true music; draw the samples "
            "under conditions of records."
        )
    return decoded["truth"]


def _beat_figures(
    found: Heard, true: Heard, truth: Decoded
) -> dict[str, tuple[float, int]]:
    """name -> (value, number of clips), each beside its value for shuffled pairs."""
    genres = np.asarray(truth["condition"].get("genre", np.zeros(len(found.onsets))))
    other = true.rows(partners(genres, [wave.tobytes() for wave in truth["audio"]]))
    scores = _beat_scores(found, true)
    mixed = _beat_scores(found, other)
    values = {}
    for name in scores:
        values |= {name: scores[name], f"{name}_shuffled": mixed[name]}
    known = np.isfinite(true.tempo)  # a generated clip without a tempo is wrong
    error = np.abs(found.tempo[known] / true.tempo[known] - 1)
    right = float(np.mean(error <= TEMPO_TOLERANCE)) if known.any() else np.nan
    return {**values, "tempo_accuracy": (right, int(known.sum()))}


def _beat_scores(found: Heard, true: Heard) -> dict[str, tuple[float, int]]:
    pairs = list(zip(found.onsets, true.onsets, strict=True))
    f1 = float(np.mean([beats.beat_f1(*pair) for pair in pairs]))
    values = {"beat_f1_70ms": (f1, len(pairs))}
    for name, score in (("cdcd", beats.cdcd_scores), ("loris", beats.loris_scores)):
        scores = score(found.seconds[name], true.seconds[name])
        values[f"beat_hit_{name}"] = scores.hit, scores.clips
        values[f"beat_coverage_{name}"] = scores.coverage, scores.clips
    return values


def _genre_figures(found: np.ndarray, true: np.ndarray) -> dict[str, tuple[float, int]]:
    number, right = len(found), np.sum(found == true)
    pairs = np.sum(found[:, None] == true[None]) - right
    return {
        "genre_accuracy": (float(right / number), number),
        "genre_accuracy_shuffled": (float(pairs / (number * (number - 1))), number),
    }
