"""The stream of training really draws: negatives, views, what follows bad files."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import RecordExamples, training_batches
from cdcd_jax.data.raw_examples import RawExamples, raw_pass
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import Unreadable
from cdcd_jax.errors import InputError

MakeDataset = Callable[..., Card]


class Source:
    """A raw source of `number` sounds of two samples: its number, and what is drawn."""

    def __init__(self, number: int, bad: tuple[int, ...] = ()) -> None:
        self.number, self.bad = number, bad

    def card(self) -> dict[str, Any]:
        return {"media": {"kind": "audio"}}

    def split(self, name: str) -> "Source":
        return self

    def __len__(self) -> int:
        return self.number

    def example(self, index: int, rng: Any = None) -> dict[str, Any]:
        if index in self.bad:
            raise Unreadable(f"{index}.wav", "bad")
        drawn = -1.0 if rng is None else rng.random()
        sound = np.array([index, drawn], np.float32)
        return {"audio": sound, "condition": {"label": np.int32(index % 3)}}


def stream(source: Source, batches: int, augment: bool = True, **more: Any) -> Any:
    """Rows (number, draw) of so many batches of 10."""
    examples = RawExamples(source, "train", augment)
    options = {"batch_size": 10, "seed": 0, "threads": 0, **more}
    found = itertools.islice(training_batches(examples, **options), batches)
    return np.concatenate([batch["audio"] for batch in found])


def test_every_example_of_every_epoch_is_another_view() -> None:
    rows = stream(Source(30), 12)
    assert len(set(rows[:, 1].tolist())) == 120 and rows[:, 1].min() >= 0
    # spread as draws are, and alike again from the same seed
    assert 0.35 < rows[:, 1].mean() < 0.65 and 0.2 < rows[:, 1].std() < 0.4
    np.testing.assert_array_equal(stream(Source(30), 12), rows)
    other = stream(Source(30), 12, seed=1)
    assert not set(other[:, 1].tolist()) & set(rows[:, 1].tolist())


def test_views_do_not_depend_on_threads_or_the_start() -> None:
    rows = stream(Source(30), 12)
    np.testing.assert_array_equal(stream(Source(30), 12, threads=3), rows)
    late = stream(Source(30), 4, start_step=8)
    np.testing.assert_array_equal(late, rows[80:])
    part = stream(Source(30), 12, rows=(3, 7))
    np.testing.assert_array_equal(
        part, rows.reshape(12, 10, 2)[:, [3, 7]].reshape(-1, 2)
    )


def test_without_augmentation_nothing_is_drawn() -> None:
    assert (stream(Source(30), 6, augment=False)[:, 1] == -1).all()


def test_after_an_unreadable_file_comes_the_next_one(capsys: Any) -> None:
    """The stream goes on, each bad file is one of its neighbours, and all are told."""
    bad = (0, 41, 42, 199)
    examples = RawExamples(Source(400, bad), "train", augment=True)
    rng = np.random.default_rng(0)
    found = [examples.example(i, rng)["audio"][0] for i in (0, 40, 41, 42, 199, 43)]
    assert found == [1, 40, 43, 43, 200, 43]
    assert len(examples.unreadable) == 4
    batches = training_batches(examples, batch_size=40, seed=0, threads=0)
    epochs = np.concatenate([next(batches)["audio"] for _ in range(20)])
    epochs = epochs.reshape(2, 400, 2)
    expected = np.sort([*set(range(400)) - set(bad), 1, 43, 43, 200])
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[:, 0]), expected)
    batches.close()
    told = capsys.readouterr().err.splitlines()
    assert told == [f"left out: {i}.wav: bad" for i in sorted(map(str, bad))]


def test_the_last_file_is_followed_by_the_first() -> None:
    examples = RawExamples(Source(300, (299,)), "train", augment=False)
    found = examples.example(299, np.random.default_rng(0))
    assert found["audio"].tolist() == [0, -1]


def test_too_many_unreadable_files_stop_the_stream() -> None:
    examples = RawExamples(Source(100, (3, 4)), "train", augment=False)
    batches = training_batches(examples, batch_size=10, seed=0, threads=0)
    with pytest.raises(InputError, match="2 unreadable of 100"):
        for _ in range(10):
            next(batches)


def test_a_pass_leaves_unreadable_files_out(capsys: Any) -> None:
    batches = raw_pass(Source(300, (0,)), "audio", 300, 100)
    found = np.concatenate([batch["audio"][:, 0] for batch in batches])
    labels = np.concatenate([batch["condition"]["label"] for batch in batches])
    np.testing.assert_array_equal(found, np.arange(1, 300))
    np.testing.assert_array_equal(labels, np.arange(1, 300) % 3)
    assert capsys.readouterr().err == "left out: 0.wav: bad\n"


# -- negatives of the table ------------------------------------------------------------


def drawn_negatives(card: Card, number: int, epochs: int) -> Iterator[tuple[int, Any]]:
    """(record, the records that were its negatives), of each example of the stream."""
    examples = RecordExamples(card, "train", number)
    batches = training_batches(examples, batch_size=30, seed=2, threads=0)
    for batch in itertools.islice(batches, epochs):
        pairs = zip(batch["tokens"], batch["negatives"], strict=True)
        yield from ((int(own[0]), others[:, 0].tolist()) for own, others in pairs)


def test_each_epoch_draws_other_negatives_of_the_table(
    make_dataset: MakeDataset,
) -> None:
    card = make_dataset(30, negatives=6)
    table = RecordSource(card, "train").negatives()
    counts, chosen = np.zeros((30, 300), int), {i: set() for i in range(30)}
    for record, others in drawn_negatives(card, 2, 60):
        assert len(set(others)) == 2
        counts[record, others] += 1
        chosen[record].add(tuple(others))
    for record, row in enumerate(table):
        assert counts[record].sum() == 120 == counts[record, row].sum()
        # each of the row in its turn: 20 times of 60, to 5 standard errors
        assert 2 < counts[record, row].min() and counts[record, row].max() < 38
        assert len(chosen[record]) > 15  # of 30 ordered pairs
    # together the places of the table are as likely, to 5 standard errors
    by_place = np.take_along_axis(counts, table.astype(int), axis=1).sum(0)
    assert np.abs(by_place - 600).max() < 5 * np.sqrt(600 * 2 / 3)


def test_all_of_a_row_are_taken_where_all_are_asked_for(
    make_dataset: MakeDataset,
) -> None:
    card = make_dataset(30, negatives=6)
    table = RecordSource(card, "train").negatives()
    for record, others in drawn_negatives(card, 6, 2):
        assert sorted(others) == sorted(table[record].tolist())
