"""CONTRIBUTING.md can be followed: its blocks are run as they stand there.

What each one adds comes from outside of the package, and serves as ours does.
"""

import json
import pathlib
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import cdcd_jax
from cdcd_jax.config import experiment
from cdcd_jax.config.keys import TASK_SETTINGS
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import SOURCES
from cdcd_jax.diffusion.sampler import SamplingOptions, sample
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.schedule import CURVES, make_schedule
from cdcd_jax.errors import UsageError
from cdcd_jax.generation.prompts import rows_of
from cdcd_jax.models.model import Trained
from cdcd_jax.modes import flags
from cdcd_jax.networks.conditioners import KINDS
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.tasks import TASKS, make_task

PAGE = pathlib.Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
TABLES = (TASKS, TASK_SETTINGS, KINDS, SAMPLERS, SOURCES, CURVES)
BLOCKS = dict(
    re.findall(r"^### (.*?)\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
)


@pytest.fixture
def follow(monkeypatch):
    """Runs the block below a headline, as a module; afterwards it is gone."""
    before = [dict(table) for table in TABLES]

    def run(headline):
        module = types.ModuleType(f"contributed_{headline.rpartition(' ')[2]}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(BLOCKS[headline], module.__dict__)

    yield run
    for table, own in zip(TABLES, before, strict=True):
        table.clear()
        table.update(own)


def test_there_is_a_block_for_each_thing_that_can_be_added():
    assert list(BLOCKS) == [
        *("A task", "A condition", "A sampler", "A source", "A noise schedule")
    ]


def test_a_task_trains(follow, tmp_path):
    follow("A task")
    config = experiment(
        task="line",
        optim=dict(num_steps=3, warmup_steps=1, learning_rate=0.1, ema_decay=0.0),
        report=dict(log_every=1),
    )
    model = cdcd_jax.train(config, tmp_path)
    rows = model.metrics
    assert model.step == 3 and [row["step"] for row in rows] == [1, 2, 3]
    assert rows[2]["loss"] == rows[2]["error"] < rows[0]["loss"] == 1.0
    assert "Model of" in repr(model) and "gives x: vector" in repr(model)
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "line"
    # and goes on
    rows = cdcd_jax.train(config, tmp_path, optim=dict(num_steps=4)).metrics
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def drawn(task, params, extra, condition):
    options = SamplingOptions.of(task.settings["sampling"])
    given = task.sample(params, extra, condition, jax.random.key(1), options, 4)
    assert given["tokens"].shape == (4, 64)
    assert 0 <= given["tokens"].min() and given["tokens"].max() < 17
    return given["tokens"]


def test_a_condition_trains_and_is_drawn_under(follow):
    spec = dict(turn=dict(kind="angle"))
    config = tiny.settings(contrastive=dict(negatives="intra"))
    config["model"]["conditions"] = spec
    with pytest.raises(UsageError, match="'angle'"):
        make_task(config)
    follow("A condition")
    task = make_task(config)
    field = task.describe()["batch"]["condition"]["turn"]
    assert field == dict(shape=(), dtype="float32")
    params, extra = jax.jit(task.init)(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.1, params)  # some are 0 at the start
    batch = {**tiny.batch(), "condition": dict(turn=np.linspace(0, 6, 16))}
    loss = lambda params: task.loss(params, extra, batch, jax.random.key(0), 0)[0]
    moved = jax.jit(jax.grad(loss))(params)["turn"]["vector"]["kernel"]
    assert moved.shape == (2, 16) and np.all(moved != 0)
    rows = rows_of({"turn": [0.5, 3]}, task.conditions, 2, None, None)
    np.testing.assert_allclose(rows.condition["turn"], [0.5, 0.5, 3, 3])
    drawn(task, params, extra, rows.condition)


def test_a_sampler_is_a_method_of_config_and_command(follow):
    argv = ["cdcd_jax", *tiny.flags(config__sampling__method="in_order")]

    def checked():
        Trained(flags.parse(argv).config, None).check()

    with pytest.raises(UsageError, match=r"'in_order'.*first_hitting"):
        checked()
    follow("A sampler")
    checked()
    task = make_task(tiny.settings(sampling=dict(method="in_order")))
    label = dict(label=np.arange(4))
    drawn(task, *jax.jit(task.init)(jax.random.key(0)), label)
    canvases = sample(
        lambda x_t, t: jnp.zeros((*x_t.shape, 5)),
        make_schedule("absorbing_linear", 5, 8),
        jax.random.key(0),
        (3, 8),
        SamplingOptions(method="in_order", steps=8),
        canvases=True,
    ).canvases
    masked = np.asarray(canvases) == 5
    expected = np.arange(8) > np.arange(8)[:, None]  # one token more at each step
    np.testing.assert_array_equal(masked, np.repeat(expected[:, None], 3, axis=1))


def test_a_source_makes_records(follow, tmp_path):
    follow("A source")
    config = dict(
        data=dict(raw="stripes", options=dict(count=5)),
        tokenizer=dict(kind="palette", levels=2),
        grid=(4, 4),
        negatives=dict(number=1),
    )
    card = read_card(pretokenize(config, tmp_path))
    assert (card.name, card.splits["train"].num_records) == ("stripes", 5)
    row = RecordSource(card, "train")[1]
    np.testing.assert_array_equal(row["tokens"].reshape(4, 4)[:, 0], [1, 0, 1, 0])


def test_a_schedule_trains_and_samples(follow):
    with pytest.raises(UsageError, match="'late'"):
        make_task(tiny.settings(diffusion=dict(schedule="late")))
    follow("A noise schedule")
    task = make_task(tiny.settings(diffusion=dict(schedule="late")))
    assert task.schedule.gamma_bar[5] == pytest.approx(0.25)  # of T = 10
    params, extra = jax.jit(task.init)(jax.random.key(0))
    _, metrics, _ = jax.jit(task.loss)(
        params, extra, tiny.batch(), jax.random.key(0), 0
    )
    # of a network that knows nothing, at 16 random times
    assert metrics["bound"] == pytest.approx(np.log(17), rel=0.3)
    drawn(task, params, extra, dict(label=np.arange(4)))


def test_what_was_added_is_gone_again():
    names = {name for table in TABLES for name in table}
    assert names.isdisjoint({"line", "angle", "in_order", "stripes", "late"})
