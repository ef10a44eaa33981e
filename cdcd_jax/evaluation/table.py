"""Figures of an evaluation as they are printed."""

import itertools
import math
from collections.abc import Mapping

from cdcd_jax.reporting import terminal

_ERROR = "/standard_error"


def print_figures(figures: Mapping[str, float | None], title: str) -> None:
    """A line a figure, and of a sweep a table with a line a point."""
    points: dict[str, dict[str, str]] = {}
    for name, value in figures.items():
        figure, _, point = name.partition("@")
        if point and "/" not in point:
            points.setdefault(point, {})[figure] = _number(value)
    shown = {
        name: _number(value) + _about(name, figures)
        for name, value in figures.items()
        if not name.endswith(("/n", _ERROR)) and name != "step" and "@" not in name
    }
    print(f"evaluation of {title}\n{terminal.format_table(shown)}")
    if points:
        columns = list(dict.fromkeys(itertools.chain(*points.values())))
        rows = [["point", *columns]]
        rows += [[p, *(v.get(c, "") for c in columns)] for p, v in points.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = zip(row[1:], widths[1:], strict=True)
            print(row[0].ljust(widths[0]), *(c.rjust(w) for c, w in cells), sep="  ")


def _about(name: str, figures: Mapping[str, float | None]) -> str:
    """Its standard error and how many were judged, where they are known."""
    error, number = figures.get(name + _ERROR), figures.get(f"{name}/n")
    told = "" if error is None or math.isnan(error) else f" ± {error:.2g}"
    return told + ("" if number is None else f"  (n = {number})")


def _number(value: float | None) -> str:
    """A figure as it is printed; one that is not defined is nan, or null in a file."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"
