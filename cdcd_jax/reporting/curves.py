"""Curves as inline SVG: values against a count, on a logarithmic axis of base 2.

Text and lines take the colours of the page around them; a page includes `STYLE`.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 460, 300  # of the viewBox
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 24, 12, 44  # margins around the plot
_MOST_OCTAVES = 8  # between ticks of the x axis; beyond these, ticks are left out
_MOST_DIGITS = 10  # and points of a tick of the y axis without an exponent
_LONGEST = 34  # characters of a label that fit beside the y axis
# Each stands out by 3:1 or more from white and from a dark page alike.
_COLOURS = ("#2b7fd4", "#d2601a", "#1c8f63", "#b455a6", "#8a7a14", "#d64a55", "#787878")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")  # of every further round of colours

STYLE = """
svg { display: block; width: 100%; height: auto }
svg text { font-size: 12px; fill: currentColor }
svg .axis { stroke: currentColor; stroke-opacity: .2 }
svg polyline { fill: none; stroke-width: 2 }
svg circle { stroke: none }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3em 2em }
.legend svg { display: inline; width: 32px; vertical-align: middle }
"""


class Point(NamedTuple):
    """One value.

    Attributes:
        x: a count, 1 or more.
        y: finite.
        error: of y, to both sides; 0 for none.
        told: what its tooltip says.
    """

    x: float
    y: float
    error: float
    told: str


def chart(lines: Mapping[int, Sequence[Point]], x_label: str, y_label: str) -> str:
    """Lines with their points, axes and tooltips, as an <svg>.

    Args:
        lines: number of the line, which chooses its colour and dashes -> its points,
            in any order; at least one point in all.
    """
    points = [point for line in lines.values() for point in line]
    columns = octaves(point.x for point in points)
    rows = ticks(y for p in points for y in (p.y - p.error, p.y + p.error))
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    wide, high = math.log2(columns[-1] / columns[0]), rows[-1] - rows[0]
    x_of = lambda x: _LEFT + (right - _LEFT) * math.log2(x / columns[0]) / wide
    y_of = lambda y: bottom - (bottom - _TOP) * (y - rows[0]) / high
    parts = []
    for value in columns:
        x = x_of(value)
        parts += [_line(x, _TOP, x, bottom, "axis"), _text(x, bottom + 16, str(value))]
    for value, text in zip(rows, in_digits(rows), strict=True):
        y = y_of(value)
        parts += [
            _line(_LEFT, y, right, y, "axis"),
            _text(_LEFT - 6, y + 4, text, "end"),
        ]
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 8, x_label))
    parts.append(_beside((_TOP + bottom) / 2, y_label))
    for number, line in lines.items():
        placed = [(x_of(p.x), y_of(p.y), p) for p in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
        parts += [_colour(number), _path(number, path) if len(placed) > 1 else ""]
        for x, y, p in placed:
            if p.error:
                parts.append(_line(x, y_of(p.y - p.error), x, y_of(p.y + p.error)))
            told = f"<title>{html.escape(p.told)}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5">{told}</circle>')
        parts.append("</g>")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(y_label)}">{"".join(parts)}</svg>'
    )


def legend(labels: Sequence[str]) -> str:
    """What each line stands for, by its number, as a <ul>."""
    items = [
        f'<li><svg viewBox="0 0 32 12" aria-hidden="true">{_colour(number)}'
        f'{_path(number, "0,6 32,6")}<circle cx="16" cy="6" r="4"/></g></svg> '
        f"{html.escape(label)}</li>"
        for number, label in enumerate(labels)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def octaves(counts: Iterable[float]) -> list[int]:
    """Powers of 2 evenly spaced in their exponents, around all counts; two or more."""
    logs = [math.log2(count) for count in counts]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    if low == high:
        low, high = max(low - 1, 0), high + 1
    stride = -(-(high - low) // _MOST_OCTAVES)
    return [2**n for n in range(low, high + stride, stride)]


def ticks(values: Iterable[float]) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of 10, around all values: 2 to 8."""
    values = list(values)
    low, high = min(values), max(values)
    largest = max(abs(low), abs(high))
    # values that 4 digits do not tell apart are drawn as the same
    if high - low <= 1e-4 * largest or largest < 1e-200:
        pad = 0.1 * largest
        low, high = (low - pad, high + pad) if pad >= 1e-200 else (0.0, 1.0)
    rough = (high - low) / 5
    power = math.floor(math.log10(rough))
    base = next(b for b in (1, 2, 5, 10) if b * 10.0**power >= rough * (1 - 1e-9))
    # a division by a whole number gives 0.3 where a product gives 0.30000000000000004
    step = base * 10.0**power if power >= 0 else base / 10.0**-power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [
        n * step if power >= 0 else n * base / 10.0**-power
        for n in range(first, last + 1)
    ]


def in_digits(rows: Sequence[float]) -> list[str]:
    """Ticks as text, all with as many decimals as tell them apart."""
    largest, step = max(map(abs, rows)), rows[1] - rows[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-6))
    if len(f"{largest:.{decimals}f}") <= _MOST_DIGITS:
        return [f"{value:.{decimals}f}" for value in rows]
    exponent = lambda x: math.floor(math.log10(x) + 1e-6)
    digits = exponent(largest) - exponent(step) + 1
    return [f"{value:.{digits}g}" for value in rows]


def _colour(number: int) -> str:
    """Opens a group of the colour of a line."""
    colour = _COLOURS[number % len(_COLOURS)]
    return f'<g fill="{colour}" stroke="{colour}">'


def _path(number: int, points: str) -> str:
    dash = _DASHES[number // len(_COLOURS) % len(_DASHES)]
    return f'<polyline stroke-dasharray="{dash}" points="{points}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, name: str = "") -> str:
    name = f' class="{name}"' if name else ""
    return f'<line{name} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    text = html.escape(text)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _beside(y: float, text: str) -> str:
    """The label of the y axis, from the bottom up."""
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return (
        f'<text transform="translate(14 {y:.1f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(text)}</text>"
    )
