"""Curves: axes around all values, round ticks, places to scale, visible lines."""

import re

import numpy as np
import pytest

from cdcd_jax.reporting import curves


def test_places_are_to_scale() -> None:
    points = [curves.Point(x, y, 0.5, "") for x, y in ((4, 1.0), (8, 2.0), (16, 5.0))]
    drawn = curves.chart({0: points[::-1]}, "x", "y")
    x, y = ([float(v) for v in re.findall(f'c{k}="(.*?)"', drawn)] for k in "xy")
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.11)  # even in log2
    assert y[1] - y[2] == pytest.approx(3 * (y[0] - y[1]), abs=0.3)  # upwards
    bars = re.findall(r'<line x1="(.*?)" y1=".*?" x2="(.*?)"', drawn)
    assert [float(a) for a, _ in bars] == [float(b) for _, b in bars] == x


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([3.1, 12.9], ["2", "4", "6", "8", "10", "12", "14"]),
        ([0.932, 0.988], ["0.92", "0.94", "0.96", "0.98", "1.00"]),
        ([0.1, 0.3], ["0.10", "0.15", "0.20", "0.25", "0.30"]),
        ([-5, 5], ["-6", "-4", "-2", "0", "2", "4", "6"]),
        ([2.0, 2.0], ["1.8", "1.9", "2.0", "2.1", "2.2"]),
        ([1e6, 1.2e6], ["1000000", "1050000", "1100000", "1150000", "1200000"]),
    ],
)
def test_ticks_are_round(values: list[float], expected: list[str]) -> None:
    assert curves.in_digits(curves.ticks(values)) == expected


def test_ticks_surround_all_values() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        values = random.normal(size=3) * 10.0 ** random.integers(-12, 12)
        values = list(values + random.integers(2) * 10.0 ** random.integers(-3, 6))
        found = curves.ticks(values)
        slack = 1e-8 * (found[-1] - found[0])
        assert found[0] <= min(values) + slack and found[-1] >= max(values) - slack
        assert 2 <= len(found) <= 8
        assert len(set(curves.in_digits(found))) == len(found)


def test_octaves() -> None:
    assert curves.octaves([4, 60]) == [4, 8, 16, 32, 64]
    assert curves.octaves([1]) == [1, 2] and curves.octaves([16]) == [8, 16, 32]
    assert curves.octaves([1, 1000]) == [1, 4, 16, 64, 256, 1024]


def contrast(a: str, b: str) -> float:
    """Of two colours #rrggbb: 1 for the same to 21 for black on white."""
    lights = []
    for colour in (a, b):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts > 0.04, ((parts + 0.055) / 1.055) ** 2.4, parts / 12.92)
        lights.append(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return max(lights) / min(lights)


def test_lines_stand_out_in_light_and_dark() -> None:
    for colour in curves._COLOURS:
        assert min(contrast(colour, "#ffffff"), contrast(colour, "#181818")) >= 3
    pens = [curves._colour(i) + curves._path(i, "") for i in range(28)]
    assert len(set(pens)) == 28
