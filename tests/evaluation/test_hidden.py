"""Which pixels are hidden: by record, by share, whole pixels; and who hides what."""

import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation.hidden import Hidden, hidden_of

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 17, (50, 64), dtype=np.int32)


def hidden(share, channels=1, seed=0):
    return Hidden(share, ("masked",), channels, seed)


def test_samples_of_a_record_have_the_same_pixels_hidden():
    rows = np.repeat(np.arange(50), 8)
    found = hidden(0.25).of({"masked": TOKENS[rows]})
    np.testing.assert_array_equal(found, hidden(0.25).of({"masked": TOKENS})[rows])
    assert len({row.tobytes() for row in found}) == 50
    # 3,200 pixels, each by itself: 0.25 by 0.008
    once = found[::8]
    assert abs(once.mean() - 0.25) < 0.03
    assert np.std(once.mean(1)) == pytest.approx(np.sqrt(0.25 * 0.75 / 64), rel=0.3)
    assert np.ptp(once.mean(0)) > 0.1  # in other places from record to record


def test_a_larger_share_hides_more_and_all_of_the_smaller():
    shares = (0.0, 0.1, 0.5, 1.0)
    none, some, half, all_of_them = (
        hidden(share).of({"masked": TOKENS}) for share in shares
    )
    assert not none.any() and all_of_them.all()
    assert not (some & ~half).any() and some.sum() < half.sum()
    other = hidden(0.5, seed=1).of({"masked": TOKENS})
    assert 0.4 < (other != half).mean() < 0.6


def test_a_pixel_is_hidden_with_all_its_channels():
    found = hidden(0.5, channels=4).of({"masked": TOKENS}).reshape(50, 16, 4)
    assert (found.min(-1) == found.max(-1)).all() and 0 < found.mean() < 1


def test_what_is_hidden_is_unknown_in_that_condition_alone():
    rows = {"masked": TOKENS, "image": TOKENS.copy(), "label": np.arange(50)}
    seen = hidden(0.5).over(rows)
    where = hidden(0.5).of(rows)
    np.testing.assert_array_equal(seen["masked"] == -1, where)
    np.testing.assert_array_equal(seen["masked"][~where], TOKENS[~where])
    assert seen["masked"].dtype == np.int32
    np.testing.assert_array_equal(seen["image"], rows["image"])
    assert seen["label"] is rows["label"] and (rows["masked"] >= 0).all()


CONDITIONS = dict(
    image=dict(kind="image", grid=(8, 8), optional=True),
    masked=dict(kind="image", grid=(4, 4, 3), masked=True, optional=True),
)


def test_what_a_set_hides():
    found = hidden_of("a", dict(hidden=1, given=("masked",)), CONDITIONS, 3)
    assert found == Hidden(1.0, ("masked",), 3, 3)
    assert hidden_of("a", dict(hidden=0.1), CONDITIONS, 3).names == ("masked",)
    assert hidden_of("a", dict(given=("masked",)), CONDITIONS, 3) is None


@pytest.mark.parametrize(
    ("wish", "conditions", "says"),
    [
        (dict(hidden=25), CONDITIONS, "hidden = 25; expected a share"),
        (dict(hidden=-0.1), CONDITIONS, "hidden = -0.1; expected a share"),
        (dict(hidden="half"), CONDITIONS, "hidden = 'half'; expected a share"),
        (dict(hidden=True), CONDITIONS, "hidden = True; expected a share"),
        (dict(hidden=float("nan")), CONDITIONS, "hidden = nan; expected a share"),
        (
            dict(hidden=0.5, given=("image",)),
            CONDITIONS,
            r"gets image; expected a masked picture \(masked\) in eval.sets.a.given",
        ),
        (dict(hidden=0.5, given=()), CONDITIONS, "that gets nothing; expected"),
        (dict(hidden=0.5), dict(label={}), "which this model does not take"),
    ],
)
def test_what_cannot_be_hidden(wish, conditions, says):
    with pytest.raises(UsageError, match=says):
        hidden_of("a", wish, conditions, 0)
