"""The Inception Score: are pictures of one class each, and of all (Salimans et al.)?"""

import numpy as np

SPLITS = 10
SEED = 2020  # of the order that splits are cut from; torch-fidelity's


def inception_score(
    logits: np.ndarray, splits: int = SPLITS, seed: int | None = SEED
) -> tuple[float, float]:
    """exp(E_x KL(p(y | x) || p(y))) of each split, p(y) the mean of the split.

    Equal to torch-fidelity's `isc_features_to_metric`. A split of few pictures cannot
    score more than it has pictures, so that splits of one size alone compare.

    Args:
        logits: float [N, classes], N >= splits.
        splits: into how many parts the rows are cut.
        seed: of the order of the rows; None leaves it as it is.

    Returns:
        Mean and deviation (with the number of splits) over splits.

    Raises:
        ValueError: fewer rows than splits.
    """
    number = len(logits)
    if not 1 <= splits <= number:
        raise ValueError(f"{number} rows of logits for {splits} splits")
    if seed is not None:
        logits = logits[np.random.RandomState(seed).permutation(number)]
    logits = logits.astype(np.float64)
    logits = logits - logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    scores = []
    for i in range(splits):
        part = log_p[i * number // splits : (i + 1) * number // splits]
        p = np.exp(part)
        # a class that no picture has adds nothing
        log_mean = np.log(np.maximum(p.mean(0), np.finfo(np.float64).tiny))
        scores.append(np.exp((p * (part - log_mean)).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
