"""Features of sounds from a user's function: what is taken, what is refused."""

import numpy as np
import pytest

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.metrics.audio_distance import embed, open_embedding

WAVES = np.random.default_rng(0).normal(size=(70, 40)).astype(np.float32)
NUMBER = 3  # that is no function


def windows(waves: np.ndarray, rate: int) -> np.ndarray:
    """Means and deviations of windows of a rate's length."""
    parts = waves.reshape(len(waves), -1, rate)
    return np.stack([parts.mean(2), parts.std(2)], -1)


def test_functions_by_name() -> None:
    assert open_embedding("numpy:linalg.norm") is np.linalg.norm
    for name, message in (
        ("numpy.fft", "Found the audio embedding 'numpy.fft'; expected package.module"),
        ("no_such_module:f", "cannot be imported .No module named"),
        ("numpy:no_such", "cannot be imported"),
        (":f", "Found the audio embedding ':f'"),
        ("..numpy:f", "cannot be imported"),
        (f"{__name__}:NUMBER", "a int; expected package.module:function"),
    ):
        with pytest.raises(UsageError, match=message):
            open_embedding(name)


def test_windows_are_rows() -> None:
    found = embed(windows, WAVES, 10)
    assert found.shape == (70 * 4, 2) and found.dtype == np.float64
    np.testing.assert_allclose(found[4], [WAVES[1, :10].mean(), WAVES[1, :10].std()])
    whole = embed(lambda waves, rate: waves[:, :rate], WAVES, 5)
    np.testing.assert_array_equal(whole, WAVES[:, :5])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda n: np.zeros(n), r"shape \[32\] of 32 sounds"),
        (lambda n: np.zeros((n + 1, 2)), r"shape \[33, 2\] of 32 sounds"),
        (lambda n: np.zeros((n, 0)), r"shape \[32, 0\]"),
        (lambda n: np.full((n, 2), np.nan), "not finite"),
        (lambda n: np.zeros((n, n)), r"widths \[6, 32\]"),
    ],
)
def test_what_it_must_return(returned, message: str) -> None:
    with pytest.raises(InputError, match=message):
        embed(lambda waves, rate: returned(len(waves)), WAVES, 10)
