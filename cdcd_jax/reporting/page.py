"""One HTML page that needs no other file: figures, curves, pictures and sounds."""

import base64
import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.reporting import curves, files, pictures
from cdcd_jax.reporting.sound import wav_bytes

MOST_BYTES = 3 << 20  # of all pictures, and of all sounds, as they lie in the page
# ending of a figure -> the samples that it judges; others are no set of samples
SETS = {"": "unguided", "_guided": "guided"}
_OTHER = {"_reconstructed": "reconstructed", "_real": "real"}
_ALONG = ("steps", "times")  # options that the number of evaluations stands for
_ABOUT = ("evaluations", "rows")  # of a point
_ERROR = "/standard_error"
_DASH = "–"

_STYLE = """
:root { color-scheme: light dark; --line: #ddd; --shade: #f4f4f4 }
@media (prefers-color-scheme: dark) { :root { --line: #444; --shade: #262626 } }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em }
body { color: #222; background: #fff }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } }
pre { background: var(--shade); padding: 1em; overflow-x: auto }
.row { display: flex; flex-wrap: wrap; gap: 1em }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2em .8em; border-bottom: 1px solid var(--line); text-align: right }
th:first-child { text-align: left; overflow-wrap: break-word }
td, thead th { white-space: nowrap }
tbody th { font-weight: normal }
small { opacity: .7 }
figure { margin: 0; padding: .6em; border: 1px solid var(--line); max-width: 22em }
figure.large { max-width: 100% }
figure.chart { flex: 1 1 22em; max-width: 32em }
figure.chart figcaption { font-size: 15px; font-weight: 600 }
img { image-rendering: pixelated; min-width: 8em; max-width: 100%; display: block }
audio { width: 100%; min-width: 18em }
figcaption { font-size: 12px; overflow-wrap: anywhere }
dt { font-weight: 600; float: left; clear: left; margin-right: .5em }
dd { margin: 0 }
details { margin-top: 2em }
"""


class Figure(NamedTuple):
    """A figure of an evaluation; what is not known is None.

    Attributes:
        value: in the figure's own unit.
        number: of examples behind it.
        error: standard error of the value.
    """

    value: float | None
    number: float | None
    error: float | None

    def __str__(self) -> str:
        text = number_text(self.value)
        text += f" ± {self.error:.2g}" if _is_finite(self.error) else ""
        return text + (f" (n = {number_text(self.number)})" if self.number else "")


def by_name(figures: Mapping[str, float | None]) -> dict[str, Figure]:
    """The figures of a flat evaluation, as `write_page` takes it."""
    return {
        name: Figure(value, figures.get(f"{name}/n"), figures.get(f"{name}{_ERROR}"))
        for name, value in figures.items()
        if not name.endswith(("/n", "/n_real", _ERROR))
    }


def write_page(
    path: str | os.PathLike,
    title: str,
    figures: Mapping[str, float | None],
    config: Mapping[str, Any],
    sheets: Mapping[str, np.ndarray],
    sounds: Mapping[str, tuple[np.ndarray, int]],
    points: Sequence[Mapping[str, Any]],
    sets: Mapping[str, str] = SETS,
) -> None:
    """Writes an evaluation as one file; it is there whole or not at all.

    Pictures and sounds beyond `MOST_BYTES` of each are left out and named.

    Args:
        path: local or gs://.
        title: of the page.
        figures: a flat evaluation: `<name>`, `<name>/n` and `<name>/standard_error`,
            where a name may end in _guided, _reconstructed or _real, or in
            `@<point>`, a point of a sampler grid.
        config: of the run.
        sheets: caption -> uint8 [H, W, C] with C = 1, 3 or 4.
        sounds: caption -> (float [S] in [-1, 1], samples a second).
        points: each {"name": as after the @, "options": {option: value},
            "evaluations": of the network a sample, "rows": of each, for a sample}.
        sets: of samples, by the ending of their figures, in the order of columns.

    Raises:
        InputError: a picture or a sound of another shape or type.
    """
    known = by_name(figures)
    alone = {name: figure for name, figure in known.items() if "@" not in name}
    grid: dict[str, dict[str, Figure]] = {point["name"]: {} for point in points}
    for name, figure in known.items():
        name, is_point, point = name.partition("@")
        if is_point:
            grid.setdefault(point, {})[name] = figure
    parts = {
        "Figures": figure_table(alone, sets),
        "Figures against network evaluations": grid_curves(grid, points),
        "Sampler grid": grid_table(grid, points),
        "Pictures": _fitting({n: picture(x, n) for n, x in sheets.items()}, "large"),
        "Sounds": _fitting({n: sound(*x) for n, x in sounds.items()}, "sound"),
    }
    body = [f"<h2>{name}</h2>{part}" for name, part in parts.items() if part]
    text = safe(files.json_text(config))
    body.append(f"<details><summary>Config</summary><pre>{text}</pre></details>")
    files.write_text(path, document(title, "".join(body)))


def document(title: str, body: str) -> str:
    """A whole page of HTML around its body, the title as its heading.

    Half characters, as of broken file names, become question marks.
    """
    title = safe(title)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}{curves.STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}</body></html>\n"
    )
    return text.encode(errors="replace").decode()


def picture(image: np.ndarray, name: str) -> str:
    """An <img> that holds its picture, uint8 [H, W, C] with C = 1, 3 or 4."""
    source = _data_uri("image/png", pictures.png_bytes(image))
    return f'<img alt="{safe(name)}" src="{source}">'


def sound(audio: np.ndarray, rate: int) -> str:
    """An <audio> that holds its sound, float [S] in [-1, 1] at `rate` Hz."""
    source = _data_uri("audio/wav", wav_bytes(audio, rate))
    return f'<audio controls src="{source}"></audio>'


def safe(text: object) -> str:
    """Text that HTML shows as it is, also inside of an attribute."""
    return html.escape(str(text))


def number_text(value: float | None) -> str:
    """Whole numbers in full, others in 4 digits; a dash for None, NaN and infinity."""
    if not _is_finite(value):
        return _DASH
    whole = float(value).is_integer() and abs(value) < 1e15
    return str(int(value)) if whole else f"{float(value):.4g}"


def figure_table(figures: Mapping[str, Figure], sets: Mapping[str, str] = SETS) -> str:
    """A row a figure, a column a kind of examples; kinds without figures are left out.

    A cell is empty where nothing was measured. Figures that have no kind of examples in
    common are in tables of their own, one below the other.
    """
    columns = {"": "value", **sets, **_OTHER}
    rows: dict[str, dict[str, Figure]] = {}
    for name, figure in figures.items():
        fits = [e for e in columns if e and name.endswith(e)]
        ending = max(fits, key=len, default="")
        rows.setdefault(name.removesuffix(ending), {})[ending] = figure
    return "".join(_kinds_table(part, columns, sets) for part in _apart(rows))


def _apart(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Mapping]]:
    """Rows in groups, of which no two have a column in common, in their order."""
    groups: list[dict[str, Mapping]] = []
    for name, row in rows.items():
        near = [g for g in groups if any(set(row) & set(of) for of in g.values())]
        first = near[0] if near else {}
        for group in near[1:]:
            first |= group
            groups.remove(group)
        first[name] = row
        groups += [] if near else [first]
    return groups


def _kinds_table(
    rows: Mapping[str, Mapping[str, Figure]],
    columns: Mapping[str, str],
    sets: Mapping[str, str],
) -> str:
    kinds = [kind for kind in columns if any(kind in row for row in rows.values())]
    # a tokenizer's figures know no guidance
    alone = not any(kind in sets for kind in kinds if kind)
    heads = ["value" if not k and alone else columns[k] for k in kinds]
    cells = {name: [_cell(row.get(k)) for k in kinds] for name, row in rows.items()}
    return _table(["figure", *heads], cells)


def grid_table(
    grid: Mapping[str, Mapping[str, Figure]], points: Sequence[Mapping[str, Any]]
) -> str:
    """A row a point, a column a figure; see `write_page`."""
    names = list(dict.fromkeys(name for row in grid.values() for name in row))
    about = {point["name"]: point for point in points}
    cells = {
        point: [
            *(number_text(about.get(point, {}).get(key)) for key in _ABOUT),
            *(_cell(row.get(name)) for name in names),
        ]
        for point, row in grid.items()
    }
    return _table(["point", *_ABOUT, *names], cells)


def grid_curves(
    grid: Mapping[str, Mapping[str, Figure]], points: Sequence[Mapping[str, Any]]
) -> str:
    """A chart a figure, a line for each combination of the options that vary."""
    options = [point["options"] for point in points]
    keys = [k for k in dict.fromkeys(k for o in options for k in o) if k not in _ALONG]
    varied = [k for k in keys if len({str(o.get(k)) for o in options}) > 1]
    labels = [_told({k: o[k] for k in varied if k in o}) for o in options]
    order = list(dict.fromkeys(labels))
    lines: dict[str, dict[int, list[curves.Point]]] = {}
    for point, label in zip(points, labels, strict=True):
        count = point["evaluations"]
        for name, figure in grid[point["name"]].items():
            if _is_finite(figure.value) and count >= 1:
                error = figure.error if _is_finite(figure.error) else 0.0
                told = f"{point['name']}\n{count} evaluations: {figure}"
                dot = curves.Point(count, float(figure.value), float(error), told)
                line = lines.setdefault(name, {}).setdefault(order.index(label), [])
                line.append(dot)
    charts = [
        f'<figure class="chart"><figcaption>{safe(name)}</figcaption>'
        f"{curves.chart(of, 'network evaluations', name)}</figure>"
        for name, of in lines.items()
    ]
    if not charts:
        return ""
    legend = curves.legend(order) if len(order) > 1 else ""
    return f'{legend}<div class="row">{"".join(charts)}</div>'


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    value, has_number, number = str(figure).partition("(")
    return f"{value}<small>({number}</small>" if has_number else value


def _table(heads: Iterable[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Heads and names of rows are escaped here, cells are HTML; no rows, no table."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{safe(name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows.items()
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _fitting(media: Mapping[str, str], kind: str) -> str:
    """Pictures or sounds with their captions, as many as fit, and names of the rest."""
    shown, left, size = [], [], 0
    for name, text in media.items():
        if size + len(text) > MOST_BYTES:
            left.append(name)
            continue
        size += len(text)
        caption = f"<figcaption>{safe(name)}</figcaption>"
        shown.append(f'<figure class="{kind}">{text}{caption}</figure>')
    note = f"<p>Left out, as the page would be too large: {safe(', '.join(left))}</p>"
    row = f'<div class="row">{"".join(shown)}</div>' if shown else ""
    return row + (note if left else "")


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
