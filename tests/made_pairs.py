"""Real digits as splits of records, with samples that are known to be right or not."""

import numpy as np


def splits():
    """Train and test: images uint8 [N, 8, 8, 1], inverted ones, labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[..., None]
    target = 255 - np.swapaxes(images, 1, 2)
    tokens = np.round(data.images).astype(np.int32).reshape(-1, 64)
    parts = []
    for rows in (slice(0, 900), slice(900, 1200)):
        condition = {"label": data.target[rows], "image": tokens[rows]}
        part = {"images": images[rows], "target": target[rows], "tokens": tokens[rows]}
        parts.append({**part, "condition": condition})
    return parts


def repeated(part, times):
    """Each record so often, one behind the other, as what is known of samples."""
    again = lambda x: np.repeat(x, times, axis=0)
    condition = {name: again(value) for name, value in part["condition"].items()}
    rest = {k: again(v) for k, v in part.items() if k != "condition"}
    return {"condition": condition, "truth": {**rest, "condition": condition}}
