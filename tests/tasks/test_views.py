"""Views of pictures: what moves, what comes in at the edges, what stays."""

import jax
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.tasks.views import BACKGROUND, check_views, swapped, view

STILL = dict(shift=0.0, rotation=0.0, zoom=0.0, noise=0.0, erase=0.0)


def seen(x, seed=0, **changes):
    settings = {**STILL, **changes}
    found = jax.jit(lambda key, x: view(key, x, settings))(jax.random.key(seed), x)
    return np.asarray(found)


def dot(row, column, size=9, number=5, channels=1):
    """Pictures with one bright pixel."""
    x = np.full((number, size, size, channels), -1.0, np.float32)
    x[:, row, column] = 1.0
    return x


def weight_and_middle(x):
    """Of what is brighter than the background: sum, and its middle [N, 2]."""
    light = (x[..., 0] + 1) / 2
    total = light.sum((1, 2))
    rows, columns = np.indices(light.shape[1:])
    middle = [(light * axis).sum((1, 2)) / total for axis in (rows, columns)]
    return total, np.stack(middle, -1)


def test_without_any_change_a_view_is_the_picture():
    x = np.random.default_rng(0).uniform(-1, 1, (3, 5, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(seen(x), x)


def test_a_shift_moves_each_picture_by_itself_and_keeps_all_light():
    x = dot(4, 4, number=50)
    total, middle = weight_and_middle(seen(x, shift=1.5))
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    moved = middle - 4
    assert np.abs(moved).max() <= 1.5 and np.abs(moved).max() > 1.2
    assert np.all(moved.std(0) > 0.5) and np.abs(moved.mean(0)).max() < 0.5


def test_what_comes_in_at_an_edge_is_background_and_nothing_wraps_around():
    x = np.full((40, 8, 8, 1), 1.0, np.float32)
    out = seen(x, shift=2.0)
    assert out.min() == BACKGROUND and out.max() == pytest.approx(1.0)
    dark = out[..., 0] < 0.999
    assert not dark[:, 2:6, 2:6].any() and dark[:, 0, 4].any() and dark[:, 7, 4].any()
    assert not (dark[:, 0, 4] & dark[:, 7, 4]).any()


def test_a_rotation_is_about_the_middle_and_of_all_channels_alike():
    x = dot(4, 7, number=50, channels=2)
    out = seen(x, rotation=90.0)
    np.testing.assert_array_equal(out[..., 0], out[..., 1])
    _, middle = weight_and_middle(out)
    away = middle - 4
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 3.0, atol=0.35)
    angle = np.rad2deg(np.arctan2(away[:, 0], away[:, 1]))
    assert np.abs(angle).max() < 95 and angle.min() < -60 and angle.max() > 60
    still = seen(dot(4, 4), rotation=90.0)
    np.testing.assert_allclose(still[:, 4, 4], 1.0, atol=1e-6)


def test_a_zoom_is_by_so_much_and_about_the_middle():
    x = dot(4, 6, number=60)
    _, middle = weight_and_middle(seen(x, zoom=0.4))
    np.testing.assert_allclose(middle[:, 0], 4.0, atol=1e-3)
    far = (middle[:, 1] - 4) / 2
    assert 0.55 < far.min() < 0.85 and 1.15 < far.max() < 1.55


def test_noise_is_of_the_deviation_asked_for():
    x = np.zeros((20, 8, 8, 1), np.float32)
    assert seen(x, noise=0.3).std() == pytest.approx(0.3, rel=0.1)


def test_a_block_of_the_right_size_is_erased_anywhere():
    x = np.full((200, 8, 8, 1), 1.0, np.float32)
    out = seen(x, erase=0.5)[..., 0]
    rows, columns = (out < 0).any(2).sum(1), (out < 0).any(1).sum(1)
    assert set(rows) <= {4} and set(columns) <= {4}
    assert np.all((out < 0).sum((1, 2)) == 16)
    assert (out < 0).any(0).all()  # each pixel in some picture


def test_a_share_of_codes_is_any_others():
    codes = np.arange(60_000).reshape(100, 600) % 8
    found = np.asarray(swapped(jax.random.key(0), codes, 8, 0.4))
    other = found != codes
    # one in eight is drawn as it was
    assert other.mean() == pytest.approx(0.4 * 7 / 8, abs=0.01)
    counts = np.bincount(found[other], minlength=8)
    assert len(counts) == 8 and counts.min() > 0.9 * counts.max()
    again = np.asarray(swapped(jax.random.key(1), codes, 8, 0.4))
    assert (again != found).any()
    np.testing.assert_array_equal(swapped(jax.random.key(0), codes, 8, 0.0), codes)


def test_the_key_decides_and_each_key_otherwise():
    x = np.random.default_rng(0).uniform(-1, 1, (3, 6, 6, 1)).astype(np.float32)
    all_of_them = dict(shift=1.0, rotation=20.0, zoom=0.2, noise=0.1, erase=0.2)
    np.testing.assert_array_equal(seen(x, **all_of_them), seen(x, **all_of_them))
    assert np.abs(seen(x, **all_of_them) - seen(x, 1, **all_of_them)).mean() > 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [("shift", -1.0), ("rotation", 181.0), ("erase", 1.5), ("noise", float("nan"))],
)
def test_views_that_cannot_be(name, value):
    with pytest.raises(UsageError, match=rf"views\.{name} = .*; expected a number"):
        check_views({**STILL, name: value})
