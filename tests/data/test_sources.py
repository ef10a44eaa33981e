"""A source from outside of the package, by its module and by its name."""

import types
from pathlib import Path

import numpy as np
import pytest

from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import SOURCES, UnreadableFiles, open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.stages.pretokenize import pretokenize

STRIPES = """
import numpy as np

OPTIONS = {"count": 6}  # examples of a split


class Stripes:
    def __init__(self, count):
        self.count = count

    def card(self):
        label = dict(kind="label", shape=[], dtype="int32", num_classes=2)
        return dict(
            name="stripes",
            splits=("train", "test"),
            conditions=dict(label=label),
            media=dict(kind="image", shape=[4, 4, 1]),
        )

    def split(self, name):
        return self

    def __len__(self):
        return self.count

    def example(self, index, rng=None):
        image = np.zeros((4, 4, 1), np.uint8)
        image[:: 1 + index % 2] = 255
        label = np.int32(index % 2)
        return dict(
            key=f"stripes/{index}",
            image=image,
            condition=dict(label=label),
            groups=dict(label=str(label)),
        )


def open_source(path, options, seed):
    return Stripes(options["count"])
"""


def module() -> types.ModuleType:
    made = types.ModuleType("stripes")
    exec(STRIPES, made.__dict__)
    return made


def test_records_of_a_source_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "stripes", module())
    config = dict(
        data=dict(raw="stripes", options=dict(count=5)),
        tokenizer=dict(kind="palette", levels=2),
        grid=(4, 4),
        negatives=dict(number=1),
    )
    card = read_card(pretokenize(config, tmp_path))
    assert (card.name, card.splits["train"].num_records) == ("stripes", 5)
    row = RecordSource(card, "train")[1]
    assert row["condition"]["label"] == 1
    np.testing.assert_array_equal(row["tokens"].reshape(4, 4)[:, 0], [1, 0, 1, 0])
    with pytest.raises(UsageError, match=r"data\.options\.count"):
        open_source("stripes", options=dict(cuont=3))


def test_a_module_is_imported_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "mine", "stripes_from_outside")
    with pytest.raises(ModuleNotFoundError, match="stripes_from_outside"):
        open_source("mine")
    (tmp_path / "stripes_from_outside.py").write_text(STRIPES)
    monkeypatch.syspath_prepend(tmp_path)
    assert len(open_source("mine").split("train")) == 6


def test_an_unknown_source_names_those_that_there_are(monkeypatch) -> None:
    monkeypatch.setitem(SOURCES, "stripes", module())
    with pytest.raises(
        UsageError, match=r"'stripe'; expected one of .*digits.*stripes"
    ):
        open_source("stripe")


def test_broken_files_are_named_in_one_list() -> None:
    files = UnreadableFiles(100, share=0.02, listed=10)
    for i in range(7):
        files.add(f"{i}.png", "zero bytes")
    with pytest.raises(InputError) as caught:
        files.check()
    assert all(f"\n  {i}.png (zero bytes)" in str(caught.value) for i in range(7))
    assert "7 unreadable of 100" in str(caught.value) and "2%" in str(caught.value)
    lenient = UnreadableFiles(100, share=0.07)
    for i in range(7):
        lenient.add(f"{i}.png", "zero bytes")
    lenient.check()
    with pytest.raises(InputError):
        lenient.add("8.png", "zero bytes")
    with pytest.raises(InputError):  # at once, where nobody gathers
        UnreadableFiles(50).add("0.png", "zero bytes")
