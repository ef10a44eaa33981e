"""More samples than fit one batch: rows, keys and edits of each, and the last ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.sampler import Sample, SamplingOptions
from cdcd_jax.tasks.drawing import NO_EDIT, Edit, in_batches

SPECS = dict(label=dict(kind="label"))
KEY = jax.random.key(0)


class Draw:
    """Stands in for `draw_batch`; a sample is its label and a number of its own."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, condition: Any, key: Any, *edited: Any, **settings: Any) -> Any:
        self.calls.append((condition, key, edited, settings))
        rows = (settings["batch"],)
        chance = jax.random.randint(key, rows, 0, 2**30)
        label = condition.get("label", jnp.zeros(rows, int))
        return Sample(jnp.stack([label, chance], axis=1), None)


def drawn(number: int, most: int, edit: Any = NO_EDIT, key: Any = KEY) -> Any:
    draw = Draw()
    condition = dict(label=10 + np.arange(number))
    tokens = in_batches(draw, SPECS, condition, key, None, edit, most).tokens
    return tokens, draw.calls


@pytest.mark.parametrize(("number", "most"), [(10, 4), (8, 4), (3, 4), (5, 1)])
def test_each_sample_has_its_row_and_its_noise(number: int, most: int) -> None:
    tokens, calls = drawn(number, most)
    assert tokens[:, 0].tolist() == list(range(10, 10 + number))
    assert len(set(tokens[:, 1].tolist())) == number
    assert [call[3]["batch"] for call in calls] == [min(most, number)] * len(calls)
    assert len(calls) == -(-number // most)
    # the last batch is filled with its own last row
    last = np.asarray(calls[-1][0]["label"])
    assert last.max() == 10 + number - 1 and last.min() >= 10


def test_more_samples_leave_the_first_ones_as_they_are() -> None:
    many, few = drawn(11, 4)[0], drawn(6, 4)[0]
    np.testing.assert_array_equal(many[:6], few)
    other = drawn(6, 4, key=jax.random.key(1))[0]
    assert not set(other[:, 1]) & set(few[:, 1])


def test_edits_go_with_their_rows_and_may_share_their_noise() -> None:
    row = np.arange(10)
    known = np.stack([row, row], 1), np.stack([row > 2, row > 5], 1)
    edit = Edit(
        known=known,
        start=known[0] + 100,
        time=3,
        toward=(dict(label=row + 50), row / 10),
        scales=dict(label=row + 0.5),
        shared=True,
    )
    tokens, calls = drawn(10, 4, edit)
    for name, of in (
        ("known", lambda edited: edited[0][0][:, 0]),
        ("which", lambda edited: edited[0][1].sum(1)),
        ("start", lambda edited: edited[1][:, 1]),
        ("toward", lambda edited: edited[2][0]["label"]),
        ("weight", lambda edited: edited[2][1]),
        ("scale", lambda edited: edited[3]["label"]),
    ):
        found = np.concatenate([of(edited) for _, _, edited, _ in calls])[:10]
        expected = dict(
            known=row,
            which=(row > 2).astype(int) + (row > 5),
            start=row + 100,
            toward=row + 50,
            weight=row / 10,
            scale=row + 0.5,
        )[name]
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert all(call[3] == dict(batch=4, time=3, shared=True) for call in calls)
    # of one noise, so that rows differ by their law alone
    assert tokens[0, 1] == tokens[4, 1] == tokens[8, 1]


def test_without_conditions_the_number_counts() -> None:
    draw = Draw()
    tokens = in_batches(draw, {}, {}, KEY, 7, NO_EDIT, 3).tokens
    assert len(set(tokens[:, 1].tolist())) == 7 and len(draw.calls) == 3


def test_a_task_draws_beyond_its_first_batch() -> None:
    """Through a task: rows of one label are no copies of the batch before."""
    import tiny

    from cdcd_jax.tasks import make_task

    config = tiny.settings(sampling=dict(batch_size=4, steps=2))
    task = make_task(config)
    shapes = jax.eval_shape(task.init, KEY)[0]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: rng.normal(0, 0.3, a.shape).astype("f4"), shapes)
    options = SamplingOptions.of(config["sampling"])

    def draw(*labels: int) -> np.ndarray:
        condition = {"label": np.array(labels, np.int32)}
        return task.sample(params, {}, condition, KEY, options)["tokens"]

    tokens = draw(1, 1, 1, 1, 1, 2)
    assert tokens.shape == (6, 64) and len({tuple(row) for row in tokens}) == 6
    np.testing.assert_array_equal(draw(1, 1, 1, 1), tokens[:4])
    # what a row is drawn under says what it becomes, in every batch
    other = draw(1, 1, 1, 1, 2, 2)
    np.testing.assert_array_equal(other[[0, 1, 2, 3, 5]], tokens[[0, 1, 2, 3, 5]])
    assert (other[4] != tokens[4]).any()
