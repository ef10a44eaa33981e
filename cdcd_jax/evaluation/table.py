"""Figures of an evaluation as they are printed."""

import itertools
from collections.abc import Mapping

from cdcd_jax.reporting import terminal


def print_figures(figures: Mapping[str, float | None], title: str) -> None:
    """A line a figure, and of a sweep a table with a line a point."""
    points: dict[str, dict[str, str]] = {}
    for name, value in figures.items():
        figure, _, point = name.partition("@")
        if point and "/" not in point:
            points.setdefault(point, {})[figure] = _number(value)
    shown = {
        name: _number(value)
        + (f"  (n = {figures[name + '/n']})" if name + "/n" in figures else "")
        for name, value in figures.items()
        if not name.endswith("/n") and name != "step" and "@" not in name
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


def _number(value: float | None) -> str:
    """A figure as it is printed; one that is not defined was written as null."""
    return "-" if value is None else f"{value:.4g}"
