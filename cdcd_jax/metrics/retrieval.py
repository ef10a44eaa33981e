"""Vectors by cosines: is the nearest one its own, do the nearest share a label?

Those that are compared may come from one encoder, from two sides of one run, or from
two runs whose sides never stood together.
"""

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
    nearest = _nearest(vectors, distinct, block)
    return np.all(distinct[nearest] == own, axis=1) / number[nearest]


def label_found(
    vectors: np.ndarray,
    labels: np.ndarray,
    among: np.ndarray,
    among_labels: np.ndarray,
    block: int = 1024,
) -> np.ndarray:
    """The chance that the nearest row of `among` has the label of one's own, float [N].

    Of equal rows each is found by chance.

    Args:
        vectors, among: float [N, D], [M, D].
        labels, among_labels: int [N], [M].
        block: rows compared at once.
    """
    distinct, row = np.unique(among, axis=0, return_inverse=True)
    classes, column = np.unique(among_labels, return_inverse=True)
    number = np.zeros((len(distinct), len(classes)))
    np.add.at(number, (np.ravel(row), np.ravel(column)), 1)
    share = number / number.sum(axis=1, keepdims=True)
    right = np.ravel(labels)[:, None] == classes
    return np.sum(share[_nearest(vectors, distinct, block)] * right, axis=1)


def class_retrieval(
    one: np.ndarray,
    one_labels: np.ndarray,
    other: np.ndarray,
    other_labels: np.ndarray,
) -> tuple[float, float]:
    """Shares whose nearest on the other side has their label: of `one`, of `other`.

    The sides need no pairs and no equal numbers.

    Args:
        one, other: float [N, D], [M, D].
        one_labels, other_labels: int [N], [M], of the same classes.
    """
    there = label_found(one, one_labels, other, other_labels)
    back = label_found(other, other_labels, one, one_labels)
    return float(np.mean(there)), float(np.mean(back))


def _nearest(vectors: np.ndarray, among: np.ndarray, block: int) -> np.ndarray:
    """Which row of `among` has the greatest cosine, int [N]."""
    vectors, among = unit(vectors), unit(among)
    found = [
        np.argmax(vectors[i : i + block] @ among.T, axis=1)
        for i in range(0, len(vectors), block)
    ]
    return np.concatenate(found)


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
