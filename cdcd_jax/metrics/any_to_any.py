"""Figures of any modality drawn from any others: does it show what was meant?

A classifier of real examples judges pictures, videos and sounds, and captions are read.
What is judged is the class `label`, and `side` where records and outputs have one.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from cdcd_jax.data.digit_media import read_caption
from cdcd_jax.errors import InputError
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.diversity import entropy_bits
from cdcd_jax.metrics.estimates import estimate, part_of
from cdcd_jax.metrics.names import suffix
from cdcd_jax.metrics.pixels import Decoded, PixelJudge, pixels_of
from cdcd_jax.metrics.sounds import SoundClassifier

UNREAD = -1  # no class
LABEL, SIDE = "label", "side"

# name of a class -> int [N]
Classes = Mapping[str, np.ndarray]


def any_to_any(
    samples: Mapping[str, Decoded],
    train: Decoded,
    test: Decoded,
    others: Mapping[str, Mapping[str, Decoded]] = {},
) -> dict[str, float]:
    """Each output by a judge of its own; all share the classes of `label`.

    Pictures uint8 [N, H, W, C] and videos uint8 [N, F, H, W, C] are judged by support
    vector machines on pixels of the training split, sounds float32 [N, S] by
    `SoundClassifier`, and texts by `read_caption`: one that is no caption of a digit is
    wrong. Sounds have no side.

    Args:
        samples: sets by name, each with what was drawn, the row's condition['label']
            and perhaps condition['side'], and with `swapped`, conditions of the row
            that some were taken from. Reconstructions, called `reconstructed` or so
            with an ending, are judged like samples.
        train, test: real examples of data.path.
        others: {'train', 'test'} of other records.

    Returns:
        `route_<given>_<m>` of each output m: the share that shows the label, and the
        side where the row has one and m can; then each alone is
        `route_label_<given>_<m>` and `route_side_<given>_<m>`. Of a set with swapped
        conditions, of the rows in which they are of other classes: that share,
        `swapped_<given>_<m>`, that of the other classes, and `either_<given>_<m>`. What
        is given is joined by _, and a set that is not called <given>_to_<m> ends its
        figures with `_<set>`. Of what is reconstructed, `<m>_accuracy` (of each
        class `<m>_accuracy_label` or so) with the set's `suffix`. Of pictures and
        videos `<m>_copy_rate`, `<m>_spread_within_class` and `<m>_frechet_distance`,
        see `labelled_pixels`, with the set's `suffix`. `<m>_accuracy_real` and so on
        are of the test splits. Of outputs drawn together, see `_coherence`.
        `<name>/n` counts, beside `<name>/standard_error`.

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
            real, meant = side["test"][name], _asked("test", side["test"]["condition"])
            right = _right(judge.classes(real), meant)
            figures |= _shares(f"{name}_{{}}_real", "accuracy", right)
            figures |= judge.beside("_real", real, meant[LABEL])
    for called, decoded in samples.items():
        end, meant = suffix(called), _asked(called, decoded["condition"])
        shown: dict[str, Classes] = {}
        for name, drawn in _media(decoded).items():
            if drawn.dtype.kind == "U":
                judges[name] = _TEXTS
            if name not in judges:
                raise InputError(
                    f"Found {name!r} among the samples {called}, of which there are no "
                    "real examples; expected pictures, videos, sounds or captions of "
                    "digits, which records of data.path or eval.others hold; name such "
                    "in eval.others, or set eval.figures=''."
                )
            seen = shown[name] = judges[name].classes(drawn)
            form = _form(called, decoded, name)
            if "swapped" in decoded:
                other = _asked(called, decoded["swapped"])
                differ = ~_all(_right(meant, other))
                shares = {"route": _all(_right(seen, meant))}
                shares["swapped"] = _all(_right(seen, other))
                shares["either"] = shares["route"] | shares["swapped"]
                for figure, share in shares.items():
                    figures |= estimate(form.format(figure), share * differ, differ)
                continue
            asked = meant
            if decoded.get("given", True):
                figure = "route" if "given" in decoded else "accuracy"
                figures |= _shares(form, figure, _right(seen, meant))
            else:  # no class was asked for
                asked = seen
            figures |= judges[name].beside(end, drawn, asked[LABEL])
        if len(shown) > 1:
            figures |= _coherence(called, shown)
    return figures


def _asked(called: str, condition: Mapping[str, np.ndarray]) -> Classes:
    """What a row means: its label, and its side if it has one."""
    label = np.asarray(part_of(called, condition, LABEL))
    return {LABEL: label} | {k: v for k, v in condition.items() if k == SIDE}


def _right(seen: Classes, meant: Classes) -> dict[str, np.ndarray]:
    """Of each class that both have whether it is the same, bool [N]."""
    return {name: seen[name] == meant[name] for name in meant if name in seen}


def _all(right: Mapping[str, np.ndarray]) -> np.ndarray:
    """bool [N], whether each class is right."""
    return np.all(list(right.values()), axis=0)


def _shares(
    form: str, figure: str, right: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Where all classes are right; of several also where each is."""
    figures = estimate(form.format(figure), _all(right))
    for name, of_class in right.items() if len(right) > 1 else ():
        figures |= estimate(form.format(f"{figure}_{name}"), of_class)
    return figures


def _coherence(called: str, shown: Mapping[str, Classes]) -> dict[str, float]:
    """Do outputs that were drawn together show the same?

    Args:
        called: the set.
        shown: classes by modality.

    Returns:
        `coherence_<one>_<other>` of the label, of three outputs or more the mean of
        all pairs and the share in which all agree, and the bits of the least varied
        output's labels; of those that show a side, `coherence_side_<one>_<other>` and
        so on.
    """
    whole, end, figures = "_".join(shown), suffix(called), {}
    own = lambda name: "" if called == whole == name else end
    for of in (LABEL, SIDE):
        seen = {name: classes[of] for name, classes in shown.items() if of in classes}
        if len(seen) < 2:
            continue
        head = "coherence" if of == LABEL else f"coherence_{of}"
        pairs = {
            f"{one}_{other}": (seen[one] == seen[other]) & (seen[one] != UNREAD)
            for one, other in itertools.combinations(seen, 2)
        }
        for name, same in pairs.items():
            figures |= estimate(f"{head}_{name}{own(name)}", same)
        if len(seen) > 2:
            together = np.stack(list(pairs.values()))
            figures |= estimate(f"{head}_mean{own(whole)}", together.mean(axis=0))
            figures |= estimate(f"{head}_all{own(whole)}", together.all(axis=0))
        kind = "class" if of == LABEL else of
        bits = min(map(entropy_bits, seen.values()))
        figures[f"{kind}_entropy_bits{end}"] = bits
    return figures


class _Judge(NamedTuple):
    """Who judges a modality.

    Attributes:
        classes: of what is drawn [N, ...].
        beside: what else there is to say: ending of the set, what is drawn, labels [N]
            -> figures.
    """

    classes: Callable[[np.ndarray], Classes]
    beside: Callable[[str, np.ndarray, np.ndarray], dict[str, float]]


def _form(called: str, decoded: Decoded, name: str) -> str:
    """How figures of an output of a set are called."""
    if not decoded.get("given"):
        return f"{name}_{{}}{suffix(called)}"
    given = "_".join(decoded["given"])
    alone = called == f"{given}_to_{name}"
    return f"{{}}_{given}_{name}" + ("" if alone else suffix(called))


def _judge(name: str, side: Mapping[str, Decoded]) -> _Judge:
    """That learns from the training split of these records."""
    real, condition = side["train"][name], side["train"]["condition"]
    if real.dtype.kind == "U":
        return _TEXTS
    if real.dtype.kind == "f":
        rate = side["train"]["sample_rate"]
        judge = SoundClassifier(real, np.asarray(condition[LABEL]), rate)
        return _Judge(lambda x: {LABEL: judge.predict(x)}, lambda *args: {})
    learned, held_out = (
        {**side[split], "images": side[split][name]} for split in ("train", "test")
    )
    by_pixel = PixelJudge(learned, held_out)
    readers = {LABEL: by_pixel.classifier}
    if SIDE in condition:
        readers[SIDE] = PixelClassifier(by_pixel.real, np.asarray(condition[SIDE]))

    def classes(drawn: np.ndarray) -> Classes:
        pixels = pixels_of({"images": drawn})
        return {name: reader.predict(pixels) for name, reader in readers.items()}

    def beside(end: str, drawn: np.ndarray, labels: np.ndarray) -> dict:
        pixels = pixels_of({"images": drawn})
        found = by_pixel.distances(end, pixels)
        found |= by_pixel.within_class(end, pixels, labels)
        return {f"{name}_{key}": value for key, value in found.items()}

    return _Judge(classes, beside)


def _media(decoded: Decoded) -> dict[str, np.ndarray]:
    """Pictures, videos, sounds and texts, by modality."""
    axes = {"u": (4, 5), "f": (2,), "U": (1,)}
    arrays = {k: v for k, v in decoded.items() if isinstance(v, np.ndarray)}
    return {k: v for k, v in arrays.items() if v.ndim in axes.get(v.dtype.kind, ())}


def _read(captions: np.ndarray) -> Classes:
    """What captions say; -1 of what they do not."""

    def read(text: str) -> Mapping[str, int]:
        try:
            return read_caption(text)
        except InputError:
            return {}

    said = [read(str(text)) for text in captions]
    return {k: np.array([one.get(k, UNREAD) for one in said]) for k in (LABEL, SIDE)}


_TEXTS = _Judge(_read, lambda *args: {})  # which learns nothing
