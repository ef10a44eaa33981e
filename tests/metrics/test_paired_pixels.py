"""Pairs of pictures: figures of samples whose right ones are known."""

import made_pairs
import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.figures import FIGURES

TRAIN, TEST = made_pairs.splits()
paired_pixels = FIGURES["paired_pixels"]


def test_the_true_pictures_and_those_of_others():
    known = made_pairs.repeated(TEST, 2)
    true, wrong = known["truth"], np.roll(known["truth"]["target"], 20, axis=0)
    figures = paired_pixels(
        {
            "forward": {"target": true["target"], **known},
            "forward_guidance": {"target": wrong, **known},
            "backward": {"images": true["images"], **known},
        },
        TRAIN,
        TEST,
    )
    for back in ("", "_backward"):
        assert figures[f"transition_error{back}"] == 0
        assert figures[f"transition_error{back}/standard_error"] == 0
        assert figures[f"transition_error{back}/n"] == 600
        assert figures[f"spread_of_samples{back}"] == 0
        real = figures[f"class_kept{back}_real"]
        assert real > 0.95 and figures[f"class_kept{back}"] == pytest.approx(real)
        assert figures[f"class_kept{back}_real/n"] == 300
        # the inverted digit is a linear map of the digit
        assert figures[f"transition_error{back}_least_squares"] < 1e-3
        assert 0.2 < figures[f"transition_error{back}_constant"] < 0.4
    assert figures["transition_error_guidance"] > 0.3
    assert figures["class_kept_guidance"] < 0.3


def test_what_was_given_is_not_judged():
    """A model gives back what it was given, beside what it drew."""
    known = made_pairs.repeated(TEST, 1)
    wrong = lambda name: np.roll(TEST[name], 20, axis=0)
    forth = {"images": TEST["images"], "target": wrong("target"), "given": ("image",)}
    back = {"images": wrong("images"), "target": TEST["target"], "given": ("target",)}
    sets = {"forward": {**forth, **known}, "backward": {**back, **known}}
    figures = paired_pixels(sets, TRAIN, TEST)
    assert figures["transition_error"] > 0.3 < figures["transition_error_backward"]


def test_errors_and_spread_of_samples_that_differ():
    """A level up in one sample, a level down in the other, of every pixel."""
    part = {**TEST, "target": np.full((300, 8, 8, 1), 128, np.uint8)}
    known, step = made_pairs.repeated(part, 2), 10 / 127.5
    signs = np.where(np.arange(600) % 2, 10, -10)[:, None, None, None]
    drawn = (known["truth"]["target"] + signs).astype(np.uint8)
    figures = paired_pixels({"forward": {"target": drawn, **known}}, TRAIN, part)
    assert figures["transition_error"] == pytest.approx(step**2)
    spread = np.std([-step, step], ddof=1)
    assert figures["spread_of_samples"] == pytest.approx(spread)
    assert figures["spread_of_samples/n"] == 600
    alone = made_pairs.repeated(part, 1)
    figures = paired_pixels({"forward": {"target": drawn[::2], **alone}}, TRAIN, part)
    assert np.isnan(figures["spread_of_samples"])  # of one sample each


def test_pairs_drawn_together():
    other = np.roll(TEST["target"], 1, axis=0)
    figures = paired_pixels(
        {
            "pair": {"images": TEST["images"], "target": TEST["target"]},
            "pair_mixed": {"images": TEST["images"], "target": other},
        },
        TRAIN,
        TEST,
    )
    assert figures["pair_error"] < 1e-3 and figures["pair_agreement"] > 0.95
    assert figures["pair_error_shuffled"] > 0.3
    assert figures["pair_error_mixed"] == pytest.approx(figures["pair_error_shuffled"])
    assert figures["pair_error_shuffled_mixed"] < 1e-3  # turned back
    assert figures["pair_agreement_mixed"] < 0.3
    assert figures["pair_error/n"] == 300


def test_the_least_squares_map_is_what_sklearn_fits():
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(0)
    noisy = lambda part: {
        **part,
        "target": rng.integers(0, 256, part["target"].shape, np.uint8),
    }
    train, test = noisy(TRAIN), noisy(TEST)
    known = made_pairs.repeated(test, 1)
    figures = paired_pixels(
        {"forward": {"target": test["target"], **known}}, train, test
    )
    flat = lambda x: x.reshape(len(x), -1) / 127.5 - 1
    model = LinearRegression().fit(flat(train["images"]), flat(train["target"]))
    error = np.square(model.predict(flat(test["images"])) - flat(test["target"])).mean(
        1
    )
    name = "transition_error_least_squares"
    assert figures[name] == pytest.approx(error.mean())
    assert figures[f"{name}/standard_error"] == pytest.approx(
        error.std(ddof=1) / np.sqrt(300)
    )


def test_without_labels_no_class_is_kept():
    bare = lambda part: {**part, "condition": {"image": part["condition"]["image"]}}
    train, test = bare(TRAIN), bare(TEST)
    known = made_pairs.repeated(test, 1)
    figures = paired_pixels(
        {"forward": {"target": test["target"], **known}}, train, test
    )
    assert figures["transition_error"] == 0
    assert not [name for name in figures if name.startswith("class_kept")]


def test_what_cannot_be_judged():
    both = {"images": TEST["images"], "target": TEST["target"]}
    known = made_pairs.repeated(TEST, 1)
    with pytest.raises(InputError, match=r"forward with .* name the other in eval"):
        paired_pixels({"forward": {**both, **known}}, TRAIN, TEST)
    alone = {k: v for k, v in TRAIN.items() if k != "target"}
    with pytest.raises(InputError, match="expected images and a second"):
        paired_pixels({}, alone, TEST)
    with pytest.raises(InputError, match="forward without 'truth'"):
        drawn = {"target": TEST["target"], "condition": known["condition"]}
        paired_pixels({"forward": drawn}, TRAIN, TEST)
