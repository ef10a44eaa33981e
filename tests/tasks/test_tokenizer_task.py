"""Tokenizers as a task: what is learned in every form, adversaries, bad settings."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from made_tokenizers import SOUND, settings, write_config

from cdcd_jax.errors import UsageError
from cdcd_jax.training import program
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.step import init_state, make_train_step


def steps(config, number):
    """Metrics and states of some steps on one batch."""
    task, optimizer = program.build(config)
    update = jax.jit(make_train_step(task, optimizer, config))
    state = init_state(task, optimizer, 0)
    data = {**config["data"], "reuse_batch": True}
    stream = input_stream({**config, "data": data})(0, np.arange(8))
    rows, states, batch = [], [state], next(stream)
    for _ in range(number):
        state, metrics = update(state, batch)
        rows.append({k: float(v) for k, v in metrics.items()})
        states.append(state)
    return task, rows, states


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(quantizer=dict(update="gradient")),
        dict(quantizer=dict(normalize=True), model=dict(mid_attention=False, groups=4)),
        dict(quantizer=dict(kind="gumbel", num_codes=16, dim=4), losses=dict(kl=0.01)),
        pytest.param(
            dict(
                model=dict(patch=1, channel_mult=(1, 2), num_res_blocks=1),
                losses=dict(pyramid=0.5, l1=1.0),
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_it_learns_to_reconstruct(changes):
    optim = dict(schedule="constant", learning_rate=1e-2)
    _, rows, states = steps(settings(optim=optim, **changes), 40)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert rows[-1]["l2"] < 0.5 * rows[0]["l2"]
    assert 0 < rows[-1]["usage"] <= 1 and rows[-1]["perplexity"] > 1
    parts = [s.params.get("codebooks") or s.extra["codebooks"] for s in states[::40]]
    assert tiny.max_difference(*parts) > 0


@pytest.mark.slow
def test_sound_has_codes_at_every_level():
    task, rows, _ = steps(settings(SOUND), 3)
    assert {"l2_0", "l2_1", "spectral_0", "usage_1"} <= set(rows[0])
    assert task.hops == (4, 8) and task.grid(1) == (1, 64)


def test_sound_may_be_seen_by_its_spectra():
    spectra = dict(patch=32, bands=12, window=64, downs=(1,), strides=(2,))
    config = settings(SOUND, model=dict(**spectra, multipliers=(1,)))
    config["losses"]["spectral"] = 0.0
    task, rows, states = steps(config, 20)
    assert task.hops == (64,) and task.grid() == (1, 8)
    assert rows[-1]["l2"] < rows[0]["l2"]
    waves = np.random.default_rng(0).uniform(-1, 1, (3, 512)).astype(np.float32)
    assert task.scaled(dict(audio=waves)).shape == (3, 16, 12)
    params, extra = states[-1].params, states[-1].extra
    codes = task.encode_batch(params, extra, waves, 0)
    sounds = task.decode_batch(params, extra, codes, 0)
    assert codes.shape == (3, 8) and sounds.shape == (3, 512)
    assert np.isfinite(sounds).all() and np.abs(sounds).max() <= 1
    assert task.decode_batch(params, extra, codes[:, :5], 0).shape == (3, 320)


@pytest.mark.slow
def test_the_adversary_starts_late_and_the_judge_of_likeness_is_frozen():
    config = settings(
        model=dict(resolution=16),
        losses=dict(adversarial=0.5, adversarial_start=2, perceptual=1.0),
        data=dict(synthetic=True),
    )
    _, rows, states = steps(config, 4)
    assert [row["adversarial_weight"] > 0 for row in rows] == [False, False, True, True]
    moved = [
        {
            name: tiny.max_difference(a.params[name], b.params[name]) > 0
            for name in ("autoencoder", "discriminator", "perceptual")
        }
        for a, b in itertools.pairwise(states)
    ]
    assert not any(step["perceptual"] for step in moved)
    # the first step's learning rate is 0
    assert [step["discriminator"] for step in moved] == [False, False, True, True]
    assert [step["autoencoder"] for step in moved] == [False, True, True, True]


@pytest.mark.slow
def test_adversary_and_autoencoder_see_their_own_loss_only():
    config = settings(
        model=dict(resolution=16),
        losses=dict(adversarial=1.0),
        data=dict(synthetic=True),
    )
    task, _ = program.build(config)
    params, extra = task.init(jax.random.key(0))
    batch = next(input_stream(config)(0, np.arange(8)))

    def of(params, name):
        metrics = task.loss(params, extra, batch, jax.random.key(1), jnp.int32(0))[1]
        return metrics[name]

    grads = jax.grad(of)(params, "discriminator")
    assert optax_norm(grads["autoencoder"]) == 0 < optax_norm(grads["discriminator"])
    grads = jax.grad(of)(params, "adversarial")
    assert optax_norm(grads["discriminator"]) == 0 < optax_norm(grads["autoencoder"])


def optax_norm(tree):
    """Of all leaves together."""
    return float(sum(jnp.sum(jnp.square(a)) for a in jax.tree.leaves(tree)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model=dict(kind="vae")), "model.kind"),
        (dict(quantizer=dict(update="sgd")), "quantizer.update"),
        (dict(quantizer=dict(kind="binary")), "quantizer.kind"),
        (dict(model=dict(resolution=9)), "multiple of the 2"),
        (dict(losses=dict(spectral=1.0)), "losses.spectral"),
        (dict(model=dict(kind="vqgan", width=3)), "model|width"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises((UsageError, TypeError), match=message):
        program.build(settings(**changes))
    wave = dict(SOUND["model"], strides=(4,))
    with pytest.raises(UsageError, match="as many of each"):
        program.build(settings({**SOUND, "model": wave}))
    with pytest.raises(UsageError, match=r"losses\.adversarial"):
        program.build(settings(SOUND, losses=dict(adversarial=1.0)))
    with pytest.raises(UsageError, match=r"losses\.spectral = 1\.0"):
        program.build(settings(SOUND, model=dict(bands=12, patch=2)))
    for bands, window in ((-1, 16), (12, 15)):
        spectra = dict(bands=bands, patch=8, window=window)
        with pytest.raises(UsageError, match=f"bands = {bands} .* 2 patch or more"):
            program.build(settings(SOUND, model=spectra, losses=dict(spectral=0.0)))


@pytest.mark.slow
def test_devices_do_not_change_the_losses(tmp_path):
    file = write_config(tmp_path / "images.py", settings(eval=dict(at_end=False)))
    losses = []
    for count in (1, 4):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cdcd_jax.main"),
                *(f"--config={file}", f"--workdir={tmp_path / str(count)}"),
            ],
            env={**os.environ, "JAX_NUM_CPU_DEVICES": str(count)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        rows = tiny.rows(tmp_path / str(count))
        losses.append([row["loss"] for row in rows.values()])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
