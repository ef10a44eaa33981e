"""Estimates with errors over records, against what they say in plain loops."""

import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.estimates import estimate, part_of, ranks, records_of

RNG = np.random.default_rng(0)


def test_records_are_told_by_their_conditions_and_pictures():
    labels, tokens = np.array([3, 3, 1, 3, 1]), np.array([[1], [1], [2], [2], [2]])
    decoded = {"condition": {"label": labels, "image": tokens}}
    truth = {"images": np.zeros((5, 1), np.uint8)}
    np.testing.assert_array_equal(
        records_of({**decoded, "truth": truth}), [0, 0, 2, 3, 2]
    )
    truth = {"images": np.array([[0], [1], [2], [2], [2]], np.uint8)}
    np.testing.assert_array_equal(
        records_of({**decoded, "truth": truth}), [0, 1, 2, 3, 2]
    )
    # rows of classes that were made up are of no record
    np.testing.assert_array_equal(records_of(decoded), np.arange(5))
    np.testing.assert_array_equal(ranks(np.array([0, 0, 2, 0, 2])), [0, 1, 0, 2, 1])


def test_a_mean_of_one_sample_a_record_is_the_plain_one():
    values = RNG.normal(size=40)
    found = estimate("x", values)
    assert found["x"] == pytest.approx(values.mean()) and found["x/n"] == 40
    plain = values.std(ddof=1) / np.sqrt(40)
    assert found["x/standard_error"] == pytest.approx(plain)


def test_samples_of_a_record_count_once_for_the_error():
    """Copies of a sample add nothing that is known of the mean."""
    values, records = RNG.normal(size=30), np.arange(30)
    once = estimate("x", values, records=records)
    often = estimate("x", np.repeat(values, 7), records=np.repeat(records, 7))
    assert often["x/n"] == 210 and once["x/n"] == 30
    for name in ("x", "x/standard_error"):
        assert often[name] == pytest.approx(once[name])


def test_a_ratio_of_sums_and_its_spread():
    """The error is how far the ratio lies from the true one over many draws."""
    ratios, errors = [], []
    for _ in range(2000):
        below = RNG.integers(0, 10, 50).astype(float)
        above = below * (3 + 0.5 * RNG.normal(size=50))
        found = estimate("x", above, below)
        ratios.append(found["x"])
        errors.append(found["x/standard_error"])
        assert found["x"] == pytest.approx(above.sum() / below.sum())
        assert found["x/n"] == (below > 0).sum()
    assert np.mean(ratios) == pytest.approx(3, abs=0.01)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.1)


def test_nothing_and_one_record_are_not_defined():
    empty = estimate("x", np.zeros(0))
    assert np.isnan(empty["x"]) and empty["x/n"] == 0
    one = estimate("x", np.ones(3), records=np.zeros(3))
    assert one["x"] == 1 and np.isnan(one["x/standard_error"])


def test_what_a_set_lacks_is_named():
    assert part_of("joint", {"label": 3}, "label") == 3
    with pytest.raises(InputError, match=r"samples joint without 'vector'; expected"):
        part_of("joint", {"label": 3}, "vector")
