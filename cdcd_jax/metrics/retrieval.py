"""Vectors by cosines: is the nearest one its own, do the nearest share a label?"""

import numpy as np

NEIGHBOURS = 5  # whose labels vote


def own_found(
    vectors: np.ndarray, own: np.ndarray, among: np.ndarray, block: int = 1024
) -> np.ndarray:
    """The chance that the nearest row of `among` is one's own, float [N].

    The nearest is that of the greatest cosine. Of equal rows each is found by chance.

    Args:
        vectors: float [N, D].
        own: rows of `among`, [N, D].
        among: [M, D].
        block: rows compared at once.
    """
    distinct, number = np.unique(among, axis=0, return_counts=True)
    vectors, units = unit(vectors), unit(distinct)
    nearest = [
        np.argmax(vectors[i : i + block] @ units.T, axis=1)
        for i in range(0, len(vectors), block)
    ]
    nearest = np.concatenate(nearest)
    return np.all(distinct[nearest] == own, axis=1) / number[nearest]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64; those of zeros stay so."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest_is_own(asked: np.ndarray, known: np.ndarray) -> float:
    """Share of rows of `asked` [N, D] nearest to the same row of `known` [N, D]."""
    return float(np.mean(own_found(asked, known, known)))


def nearest_label_accuracy(
    training: np.ndarray,
    training_labels: np.ndarray,
    held_out: np.ndarray,
    labels: np.ndarray,
) -> float:
    """Share of held-out vectors whose label most of the `NEIGHBOURS` nearest have.

    Args:
        training, held_out: float [M, D], [N, D].
        training_labels, labels: int [M], [N].
    """
    from sklearn.neighbors import KNeighborsClassifier

    number = min(NEIGHBOURS, len(training))
    judge = KNeighborsClassifier(number, metric="cosine")
    judge.fit(training, np.ravel(training_labels))
    return float(judge.score(held_out, np.ravel(labels)))
