"""What a sound says, by a classifier of short labelled sounds such as spoken digits."""

import numpy as np

BANDS, FRAMES = 32, 24
QUIET = 1e-3  # of the loudest frame's power; what lies around is silence
FLOOR = 1e-4  # of the loudest band's; what is weaker counts as this


class SoundClassifier:
    """A support vector machine on log-mel pictures of the sounding part.

    Ours, made for comparing reconstructions with their originals; its figures compare
    with no published ones.
    """

    def __init__(self, audio: np.ndarray, labels: np.ndarray, sample_rate: int) -> None:
        """Trains on sounds float32 [N, S] with whole-numbered labels [N]."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        self._rate = sample_rate
        self._model = make_pipeline(StandardScaler(), SVC(C=10.0))
        self._model.fit(features(audio, sample_rate), labels)

    def predict(self, audio: np.ndarray) -> np.ndarray:
        """The label of each sound [N, S], int [N]."""
        return self._model.predict(features(audio, self._rate))

    def accuracy(self, audio: np.ndarray, labels: np.ndarray) -> float:
        """Share of the sounds [N, S] that are judged as their labels [N] say."""
        return float(np.mean(self.predict(audio) == labels))


def features(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-mel spectrum of the sounding part at 24 times, and its length.

    Args:
        audio: float32 [N, S].

    Returns:
        float32 [N, 32 * 24 + 1].
    """
    import librosa

    window = 2 ** int(np.log2(0.04 * sample_rate))
    hop = max(sample_rate // 100, 1)
    rows = []
    for wave in audio:
        mel = librosa.feature.melspectrogram(
            y=wave, sr=sample_rate, n_fft=window, hop_length=hop, n_mels=BANDS
        )
        power = mel.sum(0)
        sounding = np.flatnonzero(power > QUIET * power.max())
        first, last = (sounding[0], sounding[-1]) if len(sounding) else (0, 0)
        part = np.log(mel[:, first : last + 1] + FLOOR * mel.max() + 1e-10)
        part -= part.mean()
        times = np.linspace(0, part.shape[1] - 1, FRAMES)
        below = np.floor(times).astype(int)
        above = np.minimum(below + 1, part.shape[1] - 1)
        share = times - below
        picture = part[:, below] * (1 - share) + part[:, above] * share
        rows.append([*picture.ravel(), (last - first) * hop / sample_rate])
    return np.asarray(rows, np.float32)
