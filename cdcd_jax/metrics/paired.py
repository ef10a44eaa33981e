"""Figures of pairs of small pictures, drawn one from the other or both together."""

from collections.abc import Callable, Mapping

import numpy as np

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.estimates import estimate, part_of, records_of
from cdcd_jax.metrics.names import of_kinds
from cdcd_jax.metrics.pixels import Decoded, pixels_of

KINDS = ("forward", "backward", "pair")


def paired_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Pairs of pictures: is the drawn one the record's, or at least of its class?

    Args:
        samples: sets by name. `forward` and `backward` have a picture that was drawn
            from the other one of a record, `given`, which they may have too, and
            `truth` with both; `pair` has two that were drawn together. More of a kind
            are called `<kind>_<ending>`.
        train, test: records with two pictures uint8 [N, H, W, C], `images` and another,
            and perhaps condition['label'].

    Returns:
        Of `forward`, in pixels in [-1, 1]: transition_error, the mean squared
        difference of each sample from its record's picture; spread_of_samples, the
        deviation of a pixel over samples of one record; class_kept, the share that a
        support vector machine of such training pictures gives the record's label. Of
        `backward` the same with _backward. For comparison, on the test split:
        transition_error_least_squares (a linear map of the known picture, fitted to the
        training split), transition_error_constant (its mean) and class_kept_real. Of
        `pair`: pair_error, the mean squared difference of one picture from the linear
        map of the other, pair_error_shuffled from that of another sample's, and
        pair_agreement, the share that show one class. All with the set's ending;
        `<name>/n` counts samples, and `<name>/standard_error` is over records.

    Raises:
        InputError: records or a set without the pictures that are judged.
    """
    second = _second(train)
    classes = train["condition"].get("label")
    readers = {}
    if classes is not None:
        for key in ("images", second):
            readers[key] = PixelClassifier(pixels_of(train, key), np.asarray(classes))
    figures: dict[str, float] = {}
    ways: dict[str, str] = {}  # '' or _backward -> the picture that is drawn
    for name, kind, end, decoded in of_kinds(samples, KINDS):
        if kind == "pair":
            figures |= _pair(name, end, decoded, train, second, readers)
            continue
        key = _drawn(name, decoded, second)
        back = "_backward" if kind == "backward" else ""
        figures |= _one(name, back + end, decoded, key, readers)
        ways[back] = key
    for back, key in ways.items():
        other = second if key == "images" else "images"
        figures |= _compared(back, train, test, other, key, readers)
    return figures


def _second(train: Decoded) -> str:
    """The name of the picture beside `images`."""
    pictures = [
        name
        for name, value in train.items()
        if getattr(value, "dtype", None) == np.uint8 and np.ndim(value) == 4
    ]
    if "images" not in pictures or len(pictures) != 2:
        raise InputError(
            f"Found records with the pictures {pictures}; expected images and a second "
            "one, which the model draws too; judge others with eval.figures=''"
        )
    return next(name for name in pictures if name != "images")


def _drawn(name: str, decoded: Decoded, second: str) -> str:
    """The picture that a set drew, not the one that it was given."""
    found = [key for key in ("images", second) if key in decoded]
    if len(found) == 2 and decoded.get("given"):
        found = ["images" if second in decoded["given"] else second]
    if len(found) != 1:
        raise InputError(
            f"Found the set {name} with the pictures {found}; expected the one that is "
            f"drawn from the other; name the other in eval.sets.{name}.given"
        )
    return found[0]


def _one(
    name: str,
    end: str,
    decoded: Decoded,
    key: str,
    readers: Mapping[str, PixelClassifier],
) -> dict[str, float]:
    """Figures of pictures that were drawn from the others of their records."""
    pixels, records = pixels_of(decoded, key), records_of(decoded)
    true = pixels_of({key: part_of(name, part_of(name, decoded, "truth"), key)}, key)
    error = np.mean(np.square(pixels - true), axis=1)
    figures = estimate(f"transition_error{end}", error, records=records)
    figures |= _spread(f"spread_of_samples{end}", pixels, records)
    if readers and "label" in decoded["condition"]:
        right = readers[key].predict(pixels) == decoded["condition"]["label"]
        figures |= estimate(f"class_kept{end}", right, records=records)
    return figures


def _spread(name: str, pixels: np.ndarray, records: np.ndarray) -> dict[str, float]:
    """The mean over records of the deviation of a pixel over their samples."""
    above, below = np.zeros(len(pixels)), np.zeros(len(pixels))
    for record in np.unique(records):
        rows = records == record
        if (number := rows.sum()) > 1:
            above[rows] = np.std(pixels[rows], axis=0, ddof=1).mean() / number
            below[rows] = 1 / number
    return estimate(name, above, below, records)


def _compared(
    back: str,
    train: Decoded,
    test: Decoded,
    known: str,
    key: str,
    readers: Mapping[str, PixelClassifier],
) -> dict[str, float]:
    """What simple maps and real pictures of the test split get."""
    true = pixels_of(test, key)
    guesses = {
        "least_squares": _fitted(train, known, key)(pixels_of(test, known)),
        "constant": pixels_of(train, key).mean(0),
    }
    figures: dict[str, float] = {}
    for name, guess in guesses.items():
        error = np.mean(np.square(guess - true), axis=1)
        figures |= estimate(f"transition_error{back}_{name}", error)
    if readers and "label" in test["condition"]:
        right = readers[key].predict(true) == test["condition"]["label"]
        figures |= estimate(f"class_kept{back}_real", right)
    return figures


def _fitted(train: Decoded, known: str, key: str) -> Callable[[np.ndarray], np.ndarray]:
    """The linear map from one picture to the other with the least squared error."""
    extended = lambda x: np.concatenate([x, np.ones((len(x), 1))], axis=1)
    inputs, outputs = extended(pixels_of(train, known)), pixels_of(train, key)
    weights = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
    return lambda pixels: extended(pixels) @ weights


def _pair(
    name: str,
    end: str,
    decoded: Decoded,
    train: Decoded,
    second: str,
    readers: Mapping[str, PixelClassifier],
) -> dict[str, float]:
    """Figures of two pictures that were drawn together."""
    keys = ("images", second)
    one, two = (pixels_of({key: part_of(name, decoded, key)}, key) for key in keys)
    mapped = _fitted(train, "images", second)(one)
    errors = {"": mapped, "_shuffled": np.roll(mapped, 1, axis=0)}
    figures: dict[str, float] = {}
    for which, guess in errors.items():
        error = np.mean(np.square(guess - two), axis=1)
        figures |= estimate(f"pair_error{which}{end}", error)
    if readers:
        agree = readers["images"].predict(one) == readers[second].predict(two)
        figures |= estimate(f"pair_agreement{end}", agree)
    return figures
