"""FID, IS and the balls of neighbours against packages (golden/make_features.py)."""

import pathlib

import named_weights
import numpy as np
import pytest

from cdcd_jax.metrics.frechet import frechet_distance, gaussian_distance, gaussian_of
from cdcd_jax.metrics.inception_score import inception_score
from cdcd_jax.metrics.manifold import overlap, radii

EXTRACT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "features.npz"
REAL = named_weights.clouds(300, 64, 0.0, 1)
FAKE = named_weights.clouds(260, 64, 0.4, 2)


@pytest.fixture(scope="module")
def golden() -> dict[str, float]:
    with np.load(EXTRACT) as arrays:
        names = [n for n in arrays.files if n.startswith("figures/")]
        return {name[8:]: float(arrays[name]) for name in names}


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-6)


def test_frechet_distance_equals_torch_fidelity(golden: dict[str, float]) -> None:
    expected = close(golden["frechet_inception_distance"])
    assert frechet_distance(FAKE, REAL) == expected
    assert gaussian_distance(gaussian_of(REAL), gaussian_of(FAKE)) == expected
    with pytest.raises(ValueError, match="at least 2 rows"):
        gaussian_of(REAL[:1])
    with pytest.raises(ValueError, match="same width"):
        frechet_distance(REAL, FAKE[:, :5])


def test_frechet_distance_of_fewer_rows_than_features() -> None:
    """Singular covariances; the distance is that of the rows' plane."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 5)), 1 + rng.normal(size=(9, 5))
    turn, _ = np.linalg.qr(rng.normal(size=(80, 80)))
    wide = lambda rows: np.pad(rows, ((0, 0), (0, 75))) @ turn
    assert frechet_distance(wide(a), wide(b)) == close(frechet_distance(a, b))


def test_inception_score_equals_torch_fidelity(golden: dict[str, float]) -> None:
    logits = named_weights.clouds(263, 20, 0.0, 3)
    mean, deviation = inception_score(logits)
    assert mean == close(golden["inception_score_mean"])
    assert deviation == close(golden["inception_score_std"])
    one, none = inception_score(logits, splits=1, seed=None)
    assert one == close(golden["inception_score_of_one"]) and none == 0


def test_inception_score_of_extremes() -> None:
    certain = np.eye(4)[np.arange(40) % 4] * 2000
    assert inception_score(certain, splits=1)[0] == close(4)
    assert inception_score(np.zeros((20, 4)))[0] == close(1)
    with pytest.raises(ValueError, match="3 rows of logits for 10 splits"):
        inception_score(certain[:3])


@pytest.mark.parametrize("block", [7, 1000])
def test_precision_and_recall_equal_torch_fidelity(
    golden: dict[str, float], block: int
) -> None:
    found = overlap(REAL, FAKE, block=block)
    assert found[:2] == (close(golden["precision"]), close(golden["recall"]))


@pytest.mark.parametrize("block", [7, 1000])
def test_all_four_equal_prdc(golden: dict[str, float], block: int) -> None:
    found = overlap(REAL, FAKE, (5, 5), block=block)
    for name, value in found._asdict().items():
        assert value == close(golden[f"{name}_5"]), name
    # known ones are not made again
    known = radii(REAL, (5, 5))
    assert overlap(REAL, FAKE, (5, 5), known) == found
    assert overlap(REAL, FAKE, (5, 5), 0 * known).coverage == 0


def test_balls_by_hand() -> None:
    real = np.array([[0.0], [1], [2], [10]])
    np.testing.assert_allclose(radii(real, (1, 2)), [[1, 1, 1, 8], [2, 1, 2, 9]])
    fake = np.array([[3.0], [-4], [0.5]])  # their balls: 2.5, 4.5, 2.5
    # 3 lies on the border of 2's ball and in that of 10, -4 in none, 0.5 in two
    assert overlap(real, fake, (1, 1)) == (2 / 3, 3 / 4, 3 / 3, 3 / 4)
    with pytest.raises(ValueError, match="more than 5 rows"):
        overlap(real, fake)
    with pytest.raises(ValueError, match="same width"):
        overlap(real, np.zeros((9, 2)))
