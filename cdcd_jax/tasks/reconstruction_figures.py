"""How like the originals the reconstructions of a tokenizer are, level by level."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def figures_of(
    task: Any, params: dict, extra: dict, batches: Mapping[str, Any]
) -> dict[str, float]:
    """The figures of a tokenizer; what they are, see `TokenizerTask.evaluate`.

    Args:
        task: a `TokenizerTask`.
        params, extra: its weights.
        batches: of 'test', and of 'train' for a classifier of sounds.
    """
    kind, figures, judge = task.media["kind"], {}, None
    joined = lambda name: np.concatenate([b[kind] for b in batches[name]])
    labels = lambda name: np.concatenate(
        [b["condition"]["label"] for b in batches[name]]
    )
    if task.settings["eval"]["figures"]:
        from cdcd_jax.metrics.sounds import SoundClassifier

        examples = joined("train"), labels("train")
        judge = SoundClassifier(*examples, task.media["sample_rate"])
        truth = labels("test")
        figures["class_accuracy_real"] = judge.accuracy(joined("test"), truth)
        figures["class_accuracy_real/n"] = len(truth)
    for level in range(len(task.hops)):
        end = f"_{level}" if level else ""
        found, rebuilt = _of_level(task, params, extra, batches["test"], level)
        if judge:
            found["class_accuracy"] = judge.accuracy(rebuilt, truth)
        for name, value in found.items():
            figures |= {name + end: value, f"{name}{end}/n": len(rebuilt)}
    return figures


def _of_level(
    task: Any, params: dict, extra: dict, batches: Iterable[Mapping], level: int
) -> tuple[dict[str, float], np.ndarray]:
    """The figures of one level's codes, and the reconstructions of all examples."""
    scores, counts, rebuilt = [], np.zeros(task.num_codes), []
    kind = task.media["kind"]
    for batch in batches:
        codes = task.encode_batch(params, extra, batch[kind], level)
        y = task.decode_batch(params, extra, codes, level)
        x = np.asarray(batch[kind], np.float32)
        y = np.asarray(y, np.float32)
        rebuilt.append(y)
        axes = tuple(range(1, x.ndim))
        error = np.maximum(np.mean(np.square(x - y), axes), 1e-12)
        peak = 255.0**2 if task.is_image else np.mean(np.square(x), axes)
        scores.append(10 * np.log10(np.maximum(peak, 1e-12) / error))
        counts += np.bincount(np.asarray(codes).ravel(), minlength=len(counts))
    share = counts[counts > 0] / counts.sum()
    figures = {
        "psnr" if task.is_image else "snr": float(np.mean(np.concatenate(scores))),
        "codes_used": len(share) / task.num_codes,
        "perplexity": float(np.exp(-np.sum(share * np.log(share)))),
    }
    return figures, np.concatenate(rebuilt)
