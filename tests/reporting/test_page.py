"""The page of an evaluation: whole, self-contained, and true to what it was given."""

import base64
import io
import json
import math
import pathlib
import re
import wave
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import curves, files, page

VOID = {"meta", "img", "link", "br", "input", "hr"}  # have no end
HOSTILE = "</script><script>alert('x')</script> & \"quoted\" \udce9"
METHODS = ("strided", "confidence")


class Tree(HTMLParser):
    """Checks the nesting of tags, and keeps them with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open  # HTML itself knows no empty tags
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if "tr" in self.open:
            self.rows[-1][-1] += data

    def of(self, tag: str) -> list[dict[str, Any]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    def data(self, tag: str) -> list[bytes]:
        parts = [attrs["src"].partition(";base64,") for attrs in self.of(tag)]
        return [base64.b64decode(part, validate=True) for _, _, part in parts]


def point(steps: int, **options: Any) -> dict[str, Any]:
    options = {**options, "steps": steps}
    name = ",".join(f"{key}={value}" for key, value in options.items())
    return {"name": name, "options": options, "evaluations": steps, "rows": 500}


def grid(points: list[dict[str, Any]]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for i, at in enumerate(points):
        distance = 3 + 20 / at["evaluations"] + 0.3 * (i % 3)
        figures[f"frechet_distance@{at['name']}"] = distance
        figures[f"frechet_distance@{at['name']}/n"] = 500
        accuracy = f"class_accuracy@{at['name']}"
        figures[accuracy] = 1 - 1 / (2 + at["evaluations"]) - 0.02 * (i % 3)
        figures[f"{accuracy}/standard_error"] = 0.01
    return figures


POINTS = [
    point(steps, method=method, guidance_scale=scale)
    for method in METHODS
    for scale in (1.0, 2.0)
    for steps in (4, 8, 16, 64)
]
FIGURES = {
    "step": 3000,
    "bits_per_token": 2.16552,
    "bits_per_token/n": 2000,
    "bits_per_token/standard_error": 0.019,
    "class_accuracy": 0.932,
    "class_accuracy/n": np.int64(1234567),
    "class_accuracy_guided": np.float32(0.988),
    "class_accuracy_reconstructed": None,
    "class_accuracy_real": math.nan,
    **grid(POINTS),
}


def pictures(number: int, side: int = 40) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shape = lambda i: (side, side + i, (1, 3, 4)[i % 3])
    return {
        f"sheet {i}": random.integers(0, 256, shape(i), np.uint8) for i in range(number)
    }


def tones(number: int, samples: int = 800) -> dict[str, tuple[np.ndarray, int]]:
    time = np.arange(samples, dtype=np.float32) / 8000
    return {
        f"tone {i}": (0.5 * np.sin(900 * (i + 1) * time), 8000) for i in range(number)
    }


def written(folder: pathlib.Path, **changes: Any) -> Tree:
    """The page of these arguments, checked for what holds of every page."""
    path, empty = folder / "page.html", dict(sheets={}, sounds={}, points=[])
    given = dict(title="A run", figures={}, config={}) | empty | changes
    page.write_page(path, **given)
    assert [file.name for file in folder.iterdir()] == ["page.html"]
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    tree = Tree(text)
    for _, attrs in tree.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert (attrs.get(name) or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attrs)
    assert not tree.of("script") and not tree.of("link")
    style = "".join(tree.said("style"))
    assert "url(" not in style and "@import" not in style
    return tree


def charts(tree: Tree) -> int:
    return len([svg for svg in tree.of("svg") if "role" in svg])


def rows(tree: Tree) -> dict[str, list[str]]:
    """First cell of each row of the tables -> the texts of the others."""
    assert all(map(len, tree.rows))
    return {first: others for first, *others in tree.rows}


def test_all_figures_and_points_are_there(tmp_path: pathlib.Path) -> None:
    config = {"data": {"path": "a/<b>"}, "seed": np.int32(3)}
    tree = written(tmp_path, figures=FIGURES, config=config, points=POINTS)
    table = rows(tree)
    assert table["step"] == ["3000", "", "", ""]
    assert table["bits_per_token"] == ["2.166 ± 0.019 (n = 2000)", "", "", ""]
    assert table["class_accuracy"] == ["0.932 (n = 1234567)", "0.988", "–", "–"]
    assert table["figure"] == ["unguided", "guided", "reconstructed", "real"]
    names = ["frechet_distance", "class_accuracy"]
    assert table["point"] == ["evaluations", "rows", *names]
    for at in POINTS:
        figure = FIGURES[f"frechet_distance@{at['name']}"]
        expected = [str(at["evaluations"]), "500", f"{figure:.4g} (n = 500)"]
        assert table[at["name"]][:3] == expected
    assert json.loads(tree.said("pre")[0]) == {**config, "seed": 3}
    assert tree.said("h1") == ["A run"] == tree.said("title")[:1]


def test_figures_without_a_common_column_have_tables_of_their_own(
    tmp_path: pathlib.Path,
) -> None:
    sets = {"_quick": "quick", "_joint": "joint", "_joint_quick": "joint_quick"}
    figures = {"agreement": 0.9, "token_usage_joint": 1.0, "agreement_quick": 0.8}
    figures |= {"token_usage_joint_quick": 0.5, "agreement_real": 1.0}
    tree = written(tmp_path, figures=figures, sets=sets)
    assert tree.rows == [
        ["figure", "value", "quick", "real"],
        ["agreement", "0.9", "0.8", "1"],
        ["figure", "joint", "joint_quick"],
        ["token_usage", "1", "0.5"],
    ]
    # a row that has columns of both joins them
    figures |= {"token_usage": 0.25}
    (tmp_path / "page.html").unlink()
    tree = written(tmp_path, figures=figures, sets=sets)
    assert tree.rows[0] == ["figure", "value", "quick", "joint", "joint_quick", "real"]
    assert tree.rows[2] == ["token_usage", "0.25", "", "1", "0.5", ""]


def test_curves_have_all_points_and_lines(tmp_path: pathlib.Path) -> None:
    tree = written(tmp_path, figures=FIGURES, points=POINTS)
    assert charts(tree) == 2 and tree.said("figcaption") == [
        "frechet_distance",
        "class_accuracy",
    ]
    told = tree.said("title")[1:]
    assert len(told) == 2 * len(POINTS)
    for at in POINTS:
        of = [text for text in told if text.startswith(at["name"] + "\n")]
        assert len(of) == 2 and f"{at['evaluations']} evaluations" in of[0]
    assert "± 0.01" in told[-1] and "(n = 500)" in told[0]
    labels = [text.strip() for text in tree.said("li") if text.strip()]
    assert labels == [
        f"method = {m}, guidance_scale = {s}" for m in METHODS for s in (1.0, 2.0)
    ]
    assert len(tree.of("polyline")) == 4 + 2 * 4
    assert {"4", "8", "16", "32", "64"} <= set(tree.said("text"))
    assert tree.said("text").count("network evaluations") == 2


def places(tree: Tree) -> Iterator[tuple[float, float]]:
    """Corners of everything in the charts; a character is taken as 7 units wide."""
    texts = iter(text for tag, text in tree.texts if tag == "text")
    for tag, attrs in tree.tags:
        if tag == "line":
            yield float(attrs["x1"]), float(attrs["y1"])
            yield float(attrs["x2"]), float(attrs["y2"])
        elif tag == "polyline" and attrs["points"] != "0,6 32,6":
            for pair in attrs["points"].split():
                x, y = map(float, pair.split(","))
                yield x, y
        elif tag == "circle" and (attrs["cx"], attrs["cy"]) != ("16", "6"):
            for sign in (-4, 4):
                yield float(attrs["cx"]) + sign, float(attrs["cy"]) + sign
        elif tag == "text":
            wide = 7 * len(next(texts))
            if turned := attrs.get("transform"):
                x, y = map(float, re.findall(r"[\d.]+", turned)[:2])
                yield from ((x - 12, y - wide / 2), (x, y + wide / 2))
                continue
            x, y = float(attrs["x"]), float(attrs["y"])
            left = {"end": wide, "middle": wide / 2}[attrs["text-anchor"]]
            yield from ((x - left, y - 12), (x - left + wide, y))


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0],
        [-1234567.0, -1234568.0],
        [-1.5e-7, -1.50015e-7],
        [1.5e12, 1.5002e12],
        [1e300, -1e300],
        [5e-324, 0.0],
        [3e-9, 7e-9, 4e-9],
        [0.98375, 0.98376, 0.98377],
        [1000.0 * i**3 - 7 for i in range(17)],
    ],
)
def test_everything_lies_inside_of_the_charts(
    tmp_path: pathlib.Path, values: list[float]
) -> None:
    points = [point(2**i) for i in range(len(values))]
    name = "a_figure_of_a_long_name" * 3
    figures = {f"{name}@{p['name']}": v for p, v in zip(points, values, strict=True)}
    tree = written(tmp_path, figures=figures, points=points)
    assert charts(tree) == 1
    for x, y in places(tree):
        assert 0 <= x <= curves.WIDTH and 0 <= y <= curves.HEIGHT
    circles = [float(circle["cx"]) for circle in tree.of("circle")]
    assert len(circles) == len(values) and circles == sorted(circles)


def test_pictures_and_sounds_are_read_back(tmp_path: pathlib.Path) -> None:
    sheets, sounds = pictures(3), tones(2)
    tree = written(tmp_path, sheets=sheets, sounds=sounds)
    for data, sheet in zip(tree.data("img"), sheets.values(), strict=True):
        image = np.asarray(Image.open(io.BytesIO(data))).reshape(sheet.shape)
        np.testing.assert_array_equal(image, sheet)
    for data, (audio, rate) in zip(tree.data("audio"), sounds.values(), strict=True):
        with wave.open(io.BytesIO(data)) as file:
            assert file.getparams()[:4] == (1, 2, rate, len(audio))
            heard = np.frombuffer(file.readframes(len(audio)), "<i2") / 32767
        np.testing.assert_allclose(heard, audio, atol=1 / 32000)
    assert tree.said("figcaption") == [*sheets, *sounds]
    assert all("controls" in attrs for attrs in tree.of("audio"))


def test_a_page_stays_small(tmp_path: pathlib.Path) -> None:
    sheets, sounds = pictures(20, 100), tones(30, 16000)  # 2 s
    tree = written(tmp_path, sheets=sheets, sounds=sounds)
    assert len(tree.of("img")) == 20 and len(tree.of("audio")) == 30
    large = {
        "huge": np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    }
    tree = written(tmp_path, sheets={**large, **sheets}, sounds=tones(30, 160000))
    assert (tmp_path / "page.html").stat().st_size < 2 * page.MOST_BYTES + 20000
    assert len(tree.of("img")) == 20 and 0 < len(tree.of("audio")) < 30
    left = [text for text in tree.said("p") if text.startswith("Left out")]
    assert left[0].endswith(": huge") and left[1].endswith("tone 29")


def test_hostile_names_are_only_text(tmp_path: pathlib.Path) -> None:
    points = [point(4, **{HOSTILE: HOSTILE}), point(8, **{HOSTILE: "tame"})]
    figures = {HOSTILE: 1.5, **{f"{HOSTILE}@{p['name']}": 2.5 for p in points}}
    tree = written(
        tmp_path,
        title=HOSTILE,
        figures=figures,
        config={HOSTILE: [HOSTILE]},
        sheets={HOSTILE: np.zeros((2, 2, 1), np.uint8)},
        sounds={HOSTILE: (np.zeros(8, np.float32), 8000)},
        points=points,
    )
    shown = HOSTILE.replace("\udce9", "?")
    assert tree.said("h1") == [shown] and tree.of("img")[0]["alt"] == shown
    assert tree.said("figcaption") == [shown] * 3
    assert rows(tree)[shown] == ["1.5"]
    assert any(text.strip() == f"{shown} = tame" for text in tree.said("li"))


def test_nothing_but_a_title(tmp_path: pathlib.Path) -> None:
    tree = written(tmp_path)
    assert not tree.said("h2") and not tree.of("table") and not tree.of("svg")
    assert tree.said("pre") == ["{}"]


def test_a_tokenizer_knows_no_guidance(tmp_path: pathlib.Path) -> None:
    figures = {"class_accuracy": 0.5, "class_accuracy_real": 1.0}
    tree = written(tmp_path, figures=figures)
    assert rows(tree)["class_accuracy"] == ["0.5", "1"]
    assert rows(tree)["figure"] == ["value", "real"]


def test_one_point(tmp_path: pathlib.Path) -> None:
    points = [point(25, method="strided")]
    tree = written(tmp_path, figures=grid(points), points=points)
    assert charts(tree) == 2 and not tree.of("polyline") and not tree.of("ul")
    assert {"16", "32"} <= set(tree.said("text"))


def test_what_is_not_a_number_has_no_place(tmp_path: pathlib.Path) -> None:
    points = [point(steps) for steps in (4, 8, 16, 32)] + [point(0)]
    values = [1.0, None, math.nan, -math.inf, 2.0]
    figures = {f"a@{p['name']}": v for p, v in zip(points, values, strict=True)}
    figures |= {"b@steps=4": None, "a@steps=4/standard_error": math.nan, "c": math.inf}
    figures |= {"a@steps=99": 3.0}  # of which nothing else is known
    tree = written(tmp_path, figures=figures, points=points)
    assert charts(tree) == 1 and len(tree.of("circle")) == 1
    table = rows(tree)
    assert table["c"] == ["–"] and table["steps=4"] == ["4", "500", "1", "–"]
    for steps in (8, 16, 32):
        assert table[f"steps={steps}"] == [str(steps), "500", "–", ""]
    assert table["steps=99"] == ["–", "–", "3", ""]


def test_it_is_there_whole_or_not_at_all(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, title="the first")
    before = (tmp_path / "page.html").read_bytes()
    with pytest.raises(InputError, match="float64"):
        written(tmp_path, sheets={"a": np.zeros((2, 2, 3))})
    with pytest.raises(InputError, match="not finite"):
        written(tmp_path, sounds={"a": (np.full(4, np.nan), 8000)})

    def stop(source: str, target: str) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "replace", stop)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path, title="the second")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_bytes() == before


def test_a_page_in_a_bucket() -> None:
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    for name in ("gs", "gcs"):
        fsspec.register_implementation(name, MemoryFileSystem, clobber=True)
    MemoryFileSystem.store.clear()
    page.write_page("gs://bucket/run/page.html", "Far away", {}, {}, {}, {}, [])
    text = files.as_path("gs://bucket/run/page.html").read_text()
    assert Tree(text).said("h1") == ["Far away"]
    MemoryFileSystem.store.clear()
