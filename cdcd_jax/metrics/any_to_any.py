"""Figures of any modality drawn from any others: does it show what was meant?

A classifier of real examples judges pictures and sounds, and captions are read.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from cdcd_jax.data.digit_media import read_caption
from cdcd_jax.errors import InputError
from cdcd_jax.metrics.estimates import estimate, part_of
from cdcd_jax.metrics.names import suffix
from cdcd_jax.metrics.pixels import Decoded, PixelJudge, pixels_of
from cdcd_jax.metrics.sounds import SoundClassifier

UNREAD = -1  # no class


def any_to_any(
    samples: Mapping[str, Decoded],
    train: Decoded,
    test: Decoded,
    others: Mapping[str, Mapping[str, Decoded]] = {},
) -> dict[str, float]:
    """Each output by a judge of its own; all share the classes of `label`.

    Pictures uint8 [N, H, W, C] are judged by a support vector machine on pixels of the
    training split, sounds float32 [N, S] by `SoundClassifier`, and texts by
    `read_caption`: one that is no caption of a digit is wrong.

    Args:
        samples: sets by name, each with what was drawn, the row's condition['label'],
            and with `swapped`, conditions of the row that some were taken from.
            Reconstructions, called `reconstructed` or so with an ending, are judged
            like samples.
        train, test: real examples of data.path.
        others: {'train', 'test'} of other records.

    Returns:
        `route_<given>_<m>` of each output m: the share that shows the label. Of a set
        with swapped conditions, of the rows in which they are of another label: that
        share, `swapped_<given>_<m>`, that of the other label, and `either_<given>_<m>`.
        What is given is joined by _, and a set that is not called <given>_to_<outputs>
        ends its figures with `_<set>`. Of what is drawn without conditions, or
        reconstructed, `<m>_accuracy` with the set's `suffix`. Of pictures
        `<m>_copy_rate`, `<m>_spread_within_class` and `<m>_frechet_distance`, see
        `labelled_pixels`, with the set's `suffix`. `<m>_accuracy_real` and so on are of
        the test splits. `<name>/n` counts, beside `<name>/standard_error`.

    Raises:
        InputError: no judge of an output.
    """
    judges: dict[str, _Judge] = {}
    figures: dict[str, float] = {}
    for side in ({"train": train, "test": test}, *others.values()):
        for name in _media(side["train"]):
            if name in judges:
                continue
            judge = judges[name] = _judge(name, side)
            real, labels = side["test"][name], side["test"]["condition"]["label"]
            right = judge.classes(real) == labels
            figures |= estimate(f"{name}_accuracy_real", right)
            figures |= judge.beside("_real", real, labels)
    for called, decoded in samples.items():
        end = suffix(called)
        labels = np.asarray(part_of(called, decoded["condition"], "label"))
        for name, drawn in _media(decoded).items():
            if drawn.dtype.kind == "U":
                judges[name] = _TEXTS
            if name not in judges:
                raise InputError(
                    f"Found {name!r} among the samples {called}, of which there are no "
                    "real examples; expected pictures, sounds or captions of digits, "
                    "which records of data.path or eval.others hold; name such in "
                    "eval.others, or set eval.figures=''."
                )
            seen = judges[name].classes(drawn)
            form = _form(called, decoded, name)
            if "swapped" in decoded:
                other = part_of(called, decoded["swapped"], "label")
                differ = labels != other
                shares = {"route": seen == labels, "swapped": seen == other}
                shares["either"] = sum(shares.values())
                for figure, share in shares.items():
                    figures |= estimate(form.format(figure), share * differ, differ)
                continue
            figures |= estimate(form.format("route"), seen == labels)
            figures |= judges[name].beside(end, drawn, labels)
    return figures


class _Judge(NamedTuple):
    """Who judges a modality.

    Attributes:
        classes: of what is drawn [N, ...], int [N].
        beside: what else there is to say: ending of the set, what is drawn, labels [N]
            -> figures.
    """

    classes: Callable[[np.ndarray], np.ndarray]
    beside: Callable[[str, np.ndarray, np.ndarray], dict[str, float]]


def _form(called: str, decoded: Decoded, name: str) -> str:
    """How figures of an output of a set are called."""
    if not decoded.get("given"):
        return f"{name}_accuracy{suffix(called)}"
    given = "_".join(decoded["given"])
    whole = f"{given}_to_{'_'.join(_media(decoded))}"
    return f"{{}}_{given}_{name}" + ("" if called == whole else suffix(called))


def _judge(name: str, side: Mapping[str, Decoded]) -> _Judge:
    """That learns from the training split of these records."""
    real, condition = side["train"][name], side["train"]["condition"]
    if real.dtype.kind == "U":
        return _TEXTS
    if real.dtype.kind == "f":
        rate = side["train"]["sample_rate"]
        judge = SoundClassifier(real, np.asarray(condition["label"]), rate)
        return _Judge(judge.predict, lambda *args: {})
    pictures = [{**part, "images": part[name]} for part in side.values()]
    by_pixel = PixelJudge(*pictures)

    def beside(end: str, drawn: np.ndarray, labels: np.ndarray) -> dict:
        pixels = pixels_of({"images": drawn})
        found = by_pixel.distances(end, pixels)
        found |= by_pixel.within_class(end, pixels, labels)
        return {f"{name}_{key}": value for key, value in found.items()}

    return _Judge(
        lambda x: by_pixel.classifier.predict(pixels_of({"images": x})), beside
    )


def _media(decoded: Decoded) -> dict[str, np.ndarray]:
    """Pictures, sounds and texts, by modality."""
    shapes = {"u": 4, "f": 2, "U": 1}
    arrays = {k: v for k, v in decoded.items() if isinstance(v, np.ndarray)}
    return {k: v for k, v in arrays.items() if shapes.get(v.dtype.kind) == v.ndim}


def _read(captions: np.ndarray) -> np.ndarray:
    """The digit of each caption, int [N]; -1 of what is none."""

    def digit(text: str) -> int:
        try:
            return read_caption(text)
        except InputError:
            return UNREAD

    return np.array([digit(str(text)) for text in captions])


_TEXTS = _Judge(_read, lambda *args: {})  # which learns nothing
