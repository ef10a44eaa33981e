"""Restored pictures: figures of samples whose right ones are known."""

import made_pairs
import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.figures import FIGURES

TRAIN, TEST = made_pairs.splits()
RNG = np.random.default_rng(0)
masked_pixels = FIGURES["masked_pixels"]


def masked(times, share=0.25, number=300):
    """What is known of samples, the same pixels hidden in all of a record."""
    part = {k: v[:number] for k, v in TEST.items() if k != "condition"}
    condition = {k: v[:number] for k, v in TEST["condition"].items()}
    known = made_pairs.repeated({**part, "condition": condition}, times)
    hidden = np.repeat(RNG.random((number, 64)) < share, times, axis=0)
    return {**known, "hidden": hidden}


def test_the_true_pictures():
    known = masked(8)
    drawn = {"images": known["truth"]["images"], **known}
    figures = masked_pixels({"masked_25": drawn}, TRAIN, TEST)
    for name in ("error", "error_mean8", "error_ratio"):
        assert figures[f"masked_{name}_25"] == pytest.approx(0, abs=1e-12)
        assert figures[f"masked_{name}_25/n"] == 2400
        error = figures[f"masked_{name}_25/standard_error"]
        assert error == pytest.approx(0, abs=1e-12)
    real = figures["restored_accuracy_real"]
    assert real > 0.95 and figures["restored_accuracy_25"] == pytest.approx(real)
    assert figures["masked_error_neighbour_25/n"] == 300


def test_errors_are_of_hidden_pixels_and_cancel_in_the_mean():
    """A step up in one sample, down in the next; known pixels are wrong throughout."""
    known, step = masked(8), 10 / 127.5
    true = known["truth"]["images"] = np.full((2400, 8, 8, 1), 128, np.uint8)
    signs = np.where(np.arange(2400) % 2, 10, -10)[:, None]
    hidden = known["hidden"]
    drawn = np.where(hidden, 128 + signs, 0).reshape(true.shape).astype(np.uint8)
    figures = masked_pixels({"masked_25": {"images": drawn, **known}}, TRAIN, TEST)
    assert figures["masked_error_25"] == pytest.approx(step**2)
    assert figures["masked_error_mean8_25"] == pytest.approx(0, abs=1e-12)
    assert figures["masked_error_ratio_25"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("times", "number"), [(9, 2400), (7, 0)])
def test_the_mean_is_of_the_first_8_samples(times, number):
    known = masked(times)
    true, rank = known["truth"]["images"], np.arange(300 * times) % times
    wrong = np.where(rank[:, None, None, None] < 8, true, 255 - true)
    drawn = {"images": wrong, **known}
    figures = masked_pixels({"masked_25": drawn}, TRAIN, TEST)
    assert figures["masked_error_mean8_25/n"] == number
    if number:
        assert figures["masked_error_mean8_25"] == pytest.approx(0, abs=1e-12)
        assert figures["masked_error_25"] > 0.1
        return
    assert np.isnan(figures["masked_error_mean8_25"])  # of records with fewer
    assert np.isnan(figures["masked_error_ratio_25"])
    assert figures["masked_error_neighbour_25"] > 0


def test_the_neighbour_in_plain_loops():
    known = masked(8, 0.5, number=20)
    flat = lambda images: images.reshape(len(images), -1) / 127.5 - 1
    true, real, hidden = flat(known["truth"]["images"]), flat(TRAIN["images"]), []
    above = below = means = 0.0
    drawn = RNG.integers(0, 256, known["truth"]["images"].shape, np.uint8)
    for i in range(0, 160, 8):
        hidden = known["hidden"][i]
        far = [np.sum((row - true[i])[~hidden] ** 2) for row in real]
        near = real[int(np.argmin(far))]
        above += np.sum((near - true[i])[hidden] ** 2)
        means += np.sum((flat(drawn[i : i + 8]).mean(0) - true[i])[hidden] ** 2)
        below += hidden.sum()
    figures = masked_pixels(
        {"masked_50_quick": {"images": drawn, **known}}, TRAIN, TEST
    )
    found = {k: figures[f"masked_error_{k}_50_quick"] for k in ("neighbour", "mean8")}
    assert found["neighbour"] == pytest.approx(above / below)
    assert found["mean8"] == pytest.approx(means / below)
    assert figures["masked_error_ratio_50_quick"] == pytest.approx(means / above)


def test_of_whole_masks_only_the_distribution_is_judged():
    known = masked(1, 2.0)
    sets = {
        "masked_100": {"images": TEST["images"], **known},
        "masked_100_copied": {"images": TRAIN["images"][:300], **known},
    }
    figures = masked_pixels(sets, TRAIN, TEST)
    assert figures["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert figures["copy_rate_copied"] == 1 > figures["copy_rate"]
    assert figures["frechet_distance_real/n"] == 900
    assert not [name for name in figures if name.startswith("masked_error")]


def test_a_set_that_hides_nothing_is_refused():
    known = {k: v for k, v in masked(1).items() if k != "hidden"}
    with pytest.raises(InputError, match=r"set eval.sets.masked_25.hidden"):
        masked_pixels({"masked_25": {"images": TEST["images"], **known}}, TRAIN, TEST)
