"""The training loop: updates, resuming, stopping, keys, traces, schedules."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from cdcd_jax.errors import UsageError
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.training import program
from cdcd_jax.training.optimizer import learning_rate, make_optimizer
from cdcd_jax.training.start import load_params, starting_state
from cdcd_jax.training.step import init_state, make_train_step, split_microbatches


def make(**changes):
    """Task, jitted step and fresh state of the tiny experiment."""
    config = tiny.settings(**changes)
    task, optimizer = program.build(config)
    step = jax.jit(make_train_step(task, optimizer, config))
    return task, step, init_state(task, optimizer, config["seed"])


def test_the_step_traces_once_and_the_loss_falls():
    _, step, state = make(optim=dict(learning_rate=3e-3, num_steps=50))
    batch, losses = tiny.batch(), []
    for _ in range(50):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert step._cache_size() == 1
    assert int(state.step) == 50
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1


@pytest.mark.parametrize(
    "contrast",
    [
        dict(path="shared", negatives="both"),
        pytest.param(
            dict(path="parallel", critic="ratio", negatives="inter"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_no_key_is_used_twice(contrast):
    jax.config.update("jax_debug_key_reuse", True)
    try:
        _, step, state = make(contrastive=contrast, optim=dict(accumulate=1))
        state, metrics = step(state, tiny.batch())
        assert 0 < metrics["bound"] < 4 * np.log(17)
    finally:
        jax.config.update("jax_debug_key_reuse", False)


def test_nothing_moves_between_host_and_device_inside_the_step():
    _, step, state = make()
    batch = jax.device_put(tiny.batch())
    state, _ = step(state, batch)
    with jax.transfer_guard("disallow"):
        after, _ = step(state, batch)
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            step(state, tiny.batch())  # what does move is noticed
    assert int(after.step) == 2


def test_microbatches_are_strided():
    parts = split_microbatches({"a": np.arange(8)}, 2)
    assert parts["a"].tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_frozen_parameters_stay_and_decay_spares_vectors():
    params = {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    labels = {"a": "train", "b": "frozen", "bias": "train"}
    optim = tiny.settings(optim=dict(warmup_steps=0, weight_decay=0.5))["optim"]
    optimizer = make_optimizer(optim, labels)
    grads = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params, value=1.0)
    assert np.all(updates["a"] < 0)
    assert np.all(updates["b"] == 0) and np.all(updates["bias"] == 0)


def test_schedules():
    optim = tiny.settings(
        optim=dict(learning_rate=0.1, warmup_steps=10, num_steps=110)
    )["optim"]
    rate = learning_rate(optim)
    np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 0.05, 0.1], atol=1e-7)
    np.testing.assert_allclose([rate(60), rate(110)], [0.05, 0], atol=1e-7)
    constant = learning_rate({**optim, "schedule": "plateau"})
    assert float(constant(1000)) == pytest.approx(0.1)
    with pytest.raises(UsageError, match="cosine"):
        learning_rate({**optim, "schedule": "poly2"})


def test_a_plateau_halves_the_rate():
    changes = dict(
        schedule="plateau",
        warmup_steps=0,
        clip_norm=1e9,
        weight_decay=0.0,
        plateau=dict(metric="bound", factor=0.5, patience=3, threshold=0.1),
    )
    optim = tiny.settings(optim=changes)["optim"]
    params = {"a": jnp.ones((2, 2))}
    optimizer = make_optimizer(optim, {"a": "train"})
    state, sizes = optimizer.init(params), []
    for _ in range(12):
        updates, state = optimizer.update(params, state, params, value=jnp.ones(()))
        sizes.append(float(optax.tree.norm(updates)))
    assert sizes[-1] < 0.6 * sizes[0]


def test_the_average_follows_the_parameters():
    _, step, state = make(optim=dict(warmup_steps=0))
    before = state
    state, _ = step(state, tiny.batch())
    decay = min(0.999, 2 / 11)
    mean = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new, before.params, state.params
    )
    assert tiny.max_difference(mean, state.ema_params) < 1e-6


def test_init_from_starts_from_the_averaged_parameters(tmp_path):
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path / 'a'}")
    assert code == 0, text
    config = tiny.settings(init_from=str(tmp_path / "a"))
    task, optimizer = program.build(config)
    with Checkpoints(tmp_path / "b") as empty:
        mesh = program.place(config, task)
        state = starting_state(config, task, optimizer, empty, mesh)
    step, params, _ = load_params(
        tmp_path / "a", program.abstract_state(task, optimizer)
    )
    assert step == 6 and int(state.step) == 0
    assert tiny.max_difference(state.params, params) == 0


# -- stopping and resuming ----------------------------------------------------------

STEPS = 30


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The metrics of a run that nobody stopped."""
    workdir = tmp_path_factory.mktemp("unbroken")
    code, text = tiny.run(
        *tiny.flags(config__optim__num_steps=STEPS), f"--workdir={workdir}"
    )
    assert code == 0, text
    return workdir


def start_and_signal(workdir, number, after):
    """Runs the program until it reports step `after`, then signals it."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "cdcd_jax.main",
            *tiny.flags(config__optim__num_steps=STEPS),
            f"--workdir={workdir}",
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    text = []
    for line in process.stderr:
        text.append(line)
        if re.search(rf"\b{after}/{STEPS}\b", line):
            process.send_signal(number)
            break
    rest = process.communicate()[1]
    return process.returncode, "".join(text) + rest


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGTERM, 7),
        pytest.param(signal.SIGINT, 9, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, 11, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(unbroken, tmp_path, number, after):
    code, text = start_and_signal(tmp_path, number, after)
    assert max(tiny.rows(tmp_path)) < STEPS, text
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == {signal.SIGTERM: 0, signal.SIGINT: 130}[number]
        assert "stopping after this step" in text and "saved" in text
    code, text = tiny.run(
        *tiny.flags(config__optim__num_steps=STEPS), f"--workdir={tmp_path}"
    )
    assert code == 0, text
    assert tiny.rows(tmp_path) == tiny.rows(unbroken)


@pytest.mark.slow
def test_a_truncated_checkpoint_is_skipped_by_name(unbroken, tmp_path, caplog):
    workdir = shutil.copytree(unbroken, tmp_path / "run")
    newest = max((workdir / "checkpoints").iterdir(), key=lambda p: int(p.name))
    for file in newest.rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)
    longer = tiny.flags(config__optim__num_steps=STEPS + 2)
    code, text = tiny.run(*longer, f"--workdir={workdir}")
    assert code == 0, text
    assert f"checkpoints/{newest.name} is damaged" in caplog.text
    rows, expected = tiny.rows(workdir), tiny.rows(unbroken)
    assert max(rows) == STEPS + 2
    # the steps after the older checkpoint are done again; cosine sees a longer run
    assert [rows[s] for s in range(1, STEPS - 1)] == [
        expected[s] for s in range(1, STEPS - 1)
    ]


@pytest.mark.slow
def test_the_script_that_kills_at_random():
    done = subprocess.run(
        [sys.executable, "tests/kills.py", "--kills=2", "--steps=20"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all resumed, all rows equal" in done.stdout
