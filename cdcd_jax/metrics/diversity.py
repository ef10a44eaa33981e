"""Do samples copy the training data, and do they vary as real data do?"""

import numpy as np


def copy_rate(
    samples: np.ndarray, training: np.ndarray, threshold: float, block: int = 256
) -> float:
    """Share of samples within `threshold` (mean absolute difference) of a training row.

    Args:
        samples: float [N, D].
        training: float [M, D].
        threshold: in the units of the features.
        block: samples compared at once.
    """
    copies = 0
    for i in range(0, len(samples), block):
        part = samples[i : i + block, None, :]
        distance = np.mean(np.abs(part - training[None]), axis=-1)
        copies += int(np.sum(np.min(distance, axis=1) <= threshold))
    return copies / len(samples)


def relative_spread(samples: np.ndarray, real: np.ndarray) -> float:
    """Mean over features of the standard deviation over samples, relative to real data.

    1 means as varied as real data; a model that draws one sample gives 0.

    Args:
        samples, real: float [N, D], [M, D].
    """
    return float(np.mean(np.std(samples, axis=0)) / np.mean(np.std(real, axis=0)))


def relative_spread_within_class(
    samples: np.ndarray,
    sample_labels: np.ndarray,
    real: np.ndarray,
    real_labels: np.ndarray,
) -> float:
    """The same within each class, averaged over classes: 0 for one sample a class.

    Args:
        samples, real: float [N, D], [M, D].
        sample_labels, real_labels: int [N], [M]; each class of `samples` must occur in
            `real`.
    """

    def spread(rows: np.ndarray, labels: np.ndarray, label: int) -> float:
        return float(np.mean(np.std(rows[labels == label], axis=0)))

    classes = np.unique(sample_labels)
    ours = np.mean([spread(samples, sample_labels, c) for c in classes])
    return float(ours / np.mean([spread(real, real_labels, c) for c in classes]))


def token_usage(tokens: np.ndarray, num_codes: int) -> dict[str, float]:
    """How much of a codebook is used, whatever the positions.

    Args:
        tokens: int [N, L].
        num_codes: K.

    Returns:
        token_usage, the share of codes that occur, and token_perplexity, exp of the
        entropy of their frequencies (K when all are as frequent).
    """
    counts = np.bincount(np.ravel(tokens), minlength=num_codes)
    p = counts[counts > 0] / counts.sum()
    return {
        "token_usage": float(np.mean(counts > 0)),
        "token_perplexity": float(np.exp(-np.sum(p * np.log(p)))),
    }


def entropy_bits(classes: np.ndarray) -> float:
    """Of the frequencies of classes [N]; 0 where all are one."""
    p = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(-np.sum(p * np.log2(p)))
