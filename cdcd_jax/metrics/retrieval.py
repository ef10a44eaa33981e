"""Vectors of length 1: is the nearest one its own, and do the nearest share a label?"""

import numpy as np

NEIGHBOURS = 5  # whose labels vote


def nearest_is_own(asked: np.ndarray, known: np.ndarray, block: int = 1024) -> float:
    """Share of rows of `asked` [N, D] nearest to the same row of `known` [N, D].

    A row with two that are as near is counted where its own comes first.

    Args:
        block: rows compared at once.
    """
    found = [
        np.argmax(asked[i : i + block] @ known.T, axis=1)
        for i in range(0, len(asked), block)
    ]
    return float(np.mean(np.concatenate(found) == np.arange(len(known))))


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
