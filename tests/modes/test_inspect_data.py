"""Tests of the mode that shows a dataset: what it prints, and the page it writes."""

import base64
import dataclasses
import io
import re
import wave
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.config.records import default_config
from cdcd_jax.data import bpe
from cdcd_jax.data.card import Card, read_card, write_card
from cdcd_jax.data.shards import Layout, join, shard_path, write_shard
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.modes import inspect_data as module
from cdcd_jax.modes.inspect_data import inspect
from cdcd_jax.stages.pretokenize import pretokenize

CONDITIONS = {
    "label": {
        "kind": "label",
        "shape": [],
        "dtype": "int32",
        "num_classes": 3,
        "names": ["ant", "<b>", "cat"],
    },
    "places": {"kind": "label", "shape": [2], "dtype": "int32", "num_classes": 9},
    "text": {"kind": "tokens", "shape": [12], "dtype": "int32", "vocabulary": "clip"},
    "motion": {"kind": "array", "shape": [5, 7], "dtype": "float32"},
}


class Painter:
    """Decodes each token to a grey square."""

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        grey = (tokens * 40).astype(np.uint8).reshape(-1, 2, 3, 1)
        return {"images": grey.repeat(4, 1).repeat(4, 2)}


class Singer:
    """Decodes to a tone."""

    sample_rate = 8000

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        t = np.arange(4000, dtype=np.float32) / 8000
        pitch = 200 + 100 * tokens[:, :1].astype(np.float32)
        return {"audio": 0.5 * np.sin(2 * np.pi * pitch * t)}


class Mute:
    """Decodes nothing."""

    def decode(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        return {}


def example(index: int) -> dict:
    return {
        "key": f"made/<{index}>",
        "tokens": np.full(6, index % 4),
        "condition": {
            "label": np.int32(index % 3),
            "places": np.array([index % 9, 4], np.int32),
            "text": bpe.encode([f"a cat & number {index}"], 12)[0],
            "motion": np.full((5, 7), index, np.float32),
        },
        "group": str(index % 3),
    }


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 records of train in 2 shards and 5 of test, K = 6, of which 4 are used."""
    directory = tmp_path_factory.mktemp("records")
    layout, splits = Layout(6, (2, 3), CONDITIONS), {}
    for name, sizes in {"train": (12, 8), "test": (5,)}.items():
        notes, first = [], 0
        for number, size in enumerate(sizes):
            path = shard_path(directory, name, number, len(sizes))
            rows = map(example, range(first, first + size))
            notes.append(write_shard(path, rows, layout))
            first += size
        splits[name] = join(directory, name, notes, 2 * (name == "train"), "label", 5)
    splits["test"] = dataclasses.replace(
        splits["test"], unreadable={"bad.jpg": "empty"}
    )
    tokenizer = {"kind": "painter", "fingerprint": "0123456789abcdef"}
    card = Card(directory, "made", 6, (2, 3), CONDITIONS, tokenizer, splits, {})
    write_card(card)
    return directory


def data_uris(page: str, kind: str) -> list[bytes]:
    found = re.findall(rf'src="data:{kind};base64,([^"]+)"', page)
    return [base64.b64decode(text, validate=True) for text in found]


def test_what_is_printed(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page = inspect(records, tmp_path / "out", number=3)
    lines = capsys.readouterr().out.splitlines()
    told = dict(re.split(r"  +", line, maxsplit=1) for line in lines[:-1])
    assert told["dataset"] == "made" and told["directory"] == str(records)
    assert told["tokens"] == "6 (2 x 3) of 6 codes"
    assert "painter" in told["tokenizer"] and "0123456789abcdef" in told["tokenizer"]
    assert re.match(r"20 records, 2 shards, [\d.]+ KiB$", told["split train"])
    assert re.match(r"5 records, 1 shard, [\d.]+ KiB$", told["split test"])
    assert told["codes of train"] == (
        "4 used (67%), perplexity 4.0, counted in 20 records"
    )
    assert told["codes of all train"] == "4 used, perplexity 4.0"
    assert told["negatives of train"] == "2 a record, of another label, seed 5"
    assert "negatives of test" not in told
    assert told["left out of test"] == "bad.jpg"
    assert told["condition motion"] == "array; float32 [5, 7]"
    assert told["condition label"] == "label; int32 []; 3 classes; ant, <b>, cat"
    assert str(page) in lines[-1]


def test_page_of_pictures(records: Path, tmp_path: Path) -> None:
    path = inspect(records, tmp_path / "new" / "out", Painter(), number=4)
    page = path.read_text()
    pictures = data_uris(page, "image/png")
    assert len(pictures) == 8  # 4 of each split, evenly spread
    for index, data in zip((0, 5, 10, 15, 0, 1, 2, 3), pictures, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(data)))
        assert picture.shape == (8, 12) and (picture == 40 * (index % 4)).all()
    for text in ("made/<5>", "cat (2)", "<b> (1)", "a cat & number 5"):
        assert text in unescape(page)
    assert "<b>" not in page and "made/<" not in page  # nothing breaks the page
    assert "float32 5 x 7, 5 to 5, mean 5" in page
    assert page.count("<dt>negatives</dt>") == 4
    assert page.count("<figure>") == page.count("</figure>") == 8
    assert not re.search(r'(src|href)="(?!data:)', page)  # needs no other file
    sheet = np.asarray(Image.open(path.with_name("contact_sheet.png")))
    assert sheet.ndim == 2 and set(np.unique(sheet)) == {0, 40, 80, 120, 255}


def test_page_without_decoded_samples(records: Path, tmp_path: Path) -> None:
    for name, tokenizer in {"none": None, "mute": Mute()}.items():
        path = inspect(records, tmp_path / name, tokenizer, number=4)
        pictures = data_uris(path.read_text(), "image/png")
        colours = [np.asarray(Image.open(io.BytesIO(data))) for data in pictures]
        assert {picture.shape for picture in colours} == {(2, 3, 3)}
        assert (colours[0] == colours[4]).all()  # the same code in both splits
        assert (colours[0] != colours[1]).any()


def test_page_of_sounds(records: Path, tmp_path: Path) -> None:
    pytest.importorskip("cdcd_jax.reporting.sound")
    path = inspect(records, tmp_path / "out", Singer(), number=2)
    page = path.read_text()
    sounds, pictures = data_uris(page, "audio/wav"), data_uris(page, "image/png")
    assert len(sounds) == len(pictures) == page.count("<audio controls") == 4
    with wave.open(io.BytesIO(sounds[1])) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 4000)
        values = np.frombuffer(file.readframes(4000), "<i2") / 32767
    np.testing.assert_allclose(
        values, Singer().decode(np.full((1, 6), 2))["audio"][0], atol=1e-4
    )
    assert np.asarray(Image.open(io.BytesIO(pictures[0]))).ndim == 3


def test_records_of_captions_from_the_raw_source(tmp_path: Path) -> None:
    config = default_config() | {"grid": (16, 16), "text": {"length": 20}}
    options = {"train_examples": 9, "test_examples": 3}
    config["data"] = {"raw": "captioned_digits", "options": options}
    config["negatives"] = {"number": 2, "rule": "caption"}
    card = read_card(pretokenize(config, tmp_path / "records"))
    tokenizer = open_tokenizer(card.tokenizer, card.grid)
    page = inspect(card.directory, tmp_path / "page", tokenizer, 3).read_text()
    split = open_source("captioned_digits", options=options).split("train")
    pictures = data_uris(page, "image/png")
    for index, data in zip((0, 3, 6), pictures, strict=False):
        example, image = split.example(index), Image.open(io.BytesIO(data))
        np.testing.assert_array_equal(np.asarray(image), example["image"][..., 0])
        assert example["condition"]["text"] in page


def test_texts_of_a_trained_vocabulary(tmp_path: Path) -> None:
    config = default_config() | {"grid": (16, 16)}
    options = {"train_examples": 9, "test_examples": 3}
    config["data"] = {"raw": "captioned_digits", "options": options}
    config["text"] = {"vocabulary": "trained", "size": 64, "length": 20}
    card = read_card(pretokenize(config, tmp_path / "records"))
    number = card.conditions["text"]["num_tokens"]
    assert f"trained vocabulary of {number} tokens" in module.describe(card)
    page = inspect(card.directory, tmp_path / "page", None, 3).read_text()
    split = open_source("captioned_digits", options=options).split("train")
    for index in (0, 3, 6):
        assert split.example(index)["condition"]["text"] in page
    (card.directory / card.conditions["text"]["file"]).unlink()
    with pytest.raises(InputError, match="Found no vocabulary"):
        inspect(card.directory, tmp_path / "other")


@pytest.mark.parametrize(
    ("grid", "shape"), [((2, 5), (2, 5)), ((10,), (3, 4)), ((1, 10), (3, 4))]
)
def test_token_pictures(grid: tuple[int, ...], shape: tuple[int, int]) -> None:
    tokens = np.arange(20).reshape(2, 10) % 7
    pictures = module.token_pictures(tokens, grid)
    assert pictures.shape == (2, *shape, 3) and pictures.dtype == np.uint8
    cells = pictures.reshape(2, -1, 3)
    assert (cells[:, 10:] == 255).all() and (cells[:, :10] < 224).all()
    assert (cells[0, 0] == cells[0, 7]).all() and (cells[0, 0] != cells[0, 1]).any()


def test_values_in_words() -> None:
    describe = module.describe_value
    assert describe(np.float32([1.5, -1]), {}) == "1.5, -1"
    assert describe(np.int32(3), {"kind": "label"}) == "3"
    assert describe(np.int32([0, 1]), {"names": ["a", "b"]}) == "a (0), b (1)"


@pytest.mark.parametrize(
    ("count", "number", "expected"), [(10, 3, [0, 3, 6]), (2, 5, [0, 1])]
)
def test_spread(count: int, number: int, expected: list[int]) -> None:
    assert module.spread(count, number) == expected


def test_what_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number = 0"):
        inspect(records, tmp_path, number=0)
    with pytest.raises(InputError, match=r"Found no dataset\.json"):
        inspect(tmp_path, tmp_path / "out")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in records.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    shard = damaged / read_card(damaged).splits["train"].shards[0].file
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match="sha256"):
        inspect(damaged, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["codec", "renamed"])
def test_a_tokenizer_that_was_moved_with_its_records_is_found(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Beside them, whatever it is called now; another one's fingerprint differs."""
    settings = dict(kind="checkpoint", path="runs/gone/codec", fingerprint="right")
    card = dataclasses.replace(read_card(records), directory=tmp_path / "records")
    monkeypatch.setattr(
        module,
        "read_card",
        lambda path: dataclasses.replace(card, tokenizer=settings),
    )
    for folder in ("another", name):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
    tried = []

    def opened(wanted: dict, grid: tuple) -> str:
        assert wanted["fingerprint"] == "right" and grid == (2, 3)
        tried.append(Path(wanted["path"]).name)
        if wanted["path"] != str(tmp_path.resolve() / name):
            raise InputError(f"none in {wanted['path']}")
        return "the tokenizer"

    monkeypatch.setattr(module, "open_tokenizer", opened)
    assert module.tokenizer_of(tmp_path / "records") == "the tokenizer"
    assert tried[0] == "codec"  # where it was
    assert tried[1:] == (["codec"] if name == "codec" else ["another", "renamed"])


def test_a_tokenizer_that_is_nowhere_is_told(
    records: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(kind="checkpoint", path="runs/gone/codec", fingerprint="right")
    card = dataclasses.replace(read_card(records), tokenizer=settings)
    monkeypatch.setattr(module, "read_card", lambda path: card)
    assert module.tokenizer_of(records) is None
    assert "runs/gone/codec" in capsys.readouterr().err  # the place that the card says


def test_pictures_among_the_conditions(tmp_path: Path) -> None:
    config = default_config()
    config["data"]["options"] = {"pair": "outline"}
    card = read_card(pretokenize(config, tmp_path / "records"))
    told = "image; uint8 [64]; 8 x 8 pixels of 17 levels"
    assert told in module.describe(card)
    tokenizer = open_tokenizer(card.tokenizer, card.grid)
    page = inspect(card.directory, tmp_path / "page", tokenizer, 2).read_text()
    pictures = data_uris(page, "image/png")
    assert len(pictures) == 8 and page.count("<dt>outline</dt>") == 4
    split = open_source("digits", options={"pair": "outline"}).split("train")
    outline = np.asarray(Image.open(io.BytesIO(pictures[1])))
    levels = split.example(0)["condition"]["outline"].reshape(8, 8)
    np.testing.assert_array_equal(outline, np.where(levels, 255, 0))
