"""Figures of small pictures restored from what was known of them."""

from collections.abc import Mapping

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.estimates import estimate, part_of, ranks, records_of
from cdcd_jax.metrics.names import of_kinds
from cdcd_jax.metrics.pixels import Decoded, PixelJudge, pixels_of

KINDS = ("masked_<percent>",)
SAMPLES = 8  # of a record, whose mean is judged


def masked_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Pictures of which a share of the pixels was hidden: are these drawn as they were?

    Args:
        samples: sets by name, `masked_<percent>` or `masked_<percent>_<ending>`, each
            with images, `hidden` bool [N, H * W * C], condition['label'] and the true
            images of the records, `truth`.
        train, test: real images and labels.

    Returns:
        Of hidden pixels, in [-1, 1]: masked_error_<percent>, the mean squared error of
        each sample; masked_error_mean8_<percent>, that of the mean of 8 samples of a
        record, where it has so many; masked_error_neighbour_<percent>, that of the
        training picture which is nearest in the known pixels; and
        masked_error_ratio_<percent>, the second over the third. Also
        restored_accuracy_<percent>, the share of pictures that a support vector machine
        of training pictures gives the record's label; of the test split with _real.
        Of pictures of which nothing was known only copy_rate and frechet_distance (to
        the test split), also with _real. All with the set's ending; `<name>/n` counts
        samples, and `<name>/standard_error` is over records.

    Raises:
        InputError: a set does not have what it is judged by.
    """
    judge = PixelJudge(train, test)
    figures: dict[str, float] = {}
    for name, kind, end, decoded in of_kinds(samples, KINDS):
        hidden = np.asarray(_hidden(name, decoded), bool)
        if hidden.all():
            figures |= judge.distances(end, pixels_of(decoded))
            continue
        part = f"{kind.removeprefix('masked')}{end}"
        figures |= _errors(part, name, decoded, hidden, judge.real)
        if "label" in decoded["condition"]:
            found = judge.classifier.predict(pixels_of(decoded))
            right, records = found == decoded["condition"]["label"], records_of(decoded)
            figures |= estimate(f"restored_accuracy{part}", right, records=records)
    right = judge.classifier.predict(judge.held_out) == test["condition"]["label"]
    figures |= estimate("restored_accuracy_real", right)
    return figures | judge.distances("_real", judge.held_out)


def _hidden(name: str, decoded: Decoded) -> np.ndarray:
    if "hidden" not in decoded:
        raise InputError(
            f"Found the set {name} of which no pixels were hidden; expected some, as "
            f"only these are judged; set eval.sets.{name}.hidden, such as 0.25"
        )
    return decoded["hidden"]


def _errors(
    part: str, name: str, decoded: Decoded, hidden: np.ndarray, real: np.ndarray
) -> dict[str, float]:
    """Squared errors of hidden pixels, by sample, of means and of a neighbour."""
    drawn, true = pixels_of(decoded), pixels_of(part_of(name, decoded, "truth"))
    records, places = records_of(decoded), hidden.sum(1)
    squares = lambda guess, rows: np.sum(
        np.square(guess - true[rows]), axis=1, where=hidden[rows]
    )
    everyone = np.arange(len(drawn))
    figures = estimate(f"masked_error{part}", squares(drawn, everyone), places, records)
    order, rank = np.argsort(records, kind="stable"), ranks(records)
    full = records[rank == SAMPLES - 1]  # by the first sample of each
    rows = order[np.isin(records[order], full) & (rank[order] < SAMPLES)]
    means = drawn[rows].reshape(-1, SAMPLES, drawn.shape[1]).mean(1)
    first = np.sort(full)
    of_means = squares(means, first)
    figures |= estimate(f"masked_error_mean8{part}", of_means, places[first])
    figures[f"masked_error_mean8{part}/n"] = len(rows)
    once = np.flatnonzero(rank == 0)
    near = squares(_nearest(true[once], hidden[once], real), once)
    figures |= estimate(f"masked_error_neighbour{part}", near, places[once])
    of_first = near[np.isin(once, first)]
    figures |= estimate(f"masked_error_ratio{part}", of_means, of_first)
    figures[f"masked_error_ratio{part}/n"] = len(rows)
    return figures


def _nearest(true: np.ndarray, hidden: np.ndarray, real: np.ndarray) -> np.ndarray:
    """For each picture [N, D] that of [M, D] with the least squared error where known.

    A sum over known pixels of (x - y)^2, without its part that is the same for all y.
    """
    known = (~hidden).astype(np.float64)
    distance = known @ np.square(real).T - 2 * (known * true) @ real.T
    return real[np.argmin(distance, axis=1)]
