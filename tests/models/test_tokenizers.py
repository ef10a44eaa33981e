"""Tokenizers: training in every form, codes, fingerprints, records by the way."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.config import experiment
from cdcd_jax.data.card import read_card, write_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.evaluation.evaluate import open_data
from cdcd_jax.models.model import Trained
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.reporting.files import write_json
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.tasks import make_task
from cdcd_jax.training import program
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.start import load_params, starting_state
from cdcd_jax.training.step import init_state, make_train_step

IMAGE = dict(
    task="tokenizer",
    data=dict(raw="digits", batch_size=8),
    model=dict(
        resolution=8,
        image_channels=1,
        channels=8,
        channel_mult=(1,),
        patch=2,
        num_res_blocks=0,
        latent_channels=8,
    ),
    quantizer=dict(num_codes=16, dim=4),
    optim=dict(num_steps=4, warmup_steps=1, learning_rate=3e-3, weight_decay=0.0),
    eval=dict(num_samples=40, shown=8),
    report=dict(log_every=1),
)
SOUND = dict(
    IMAGE,
    data=dict(synthetic=True, batch_size=4),
    model=dict(
        kind="vqvae1d",
        length=512,
        sample_rate=8000,
        downs=(1, 1),
        strides=(4, 2),
        width=8,
        depth=1,
        multipliers=(1, 1),
    ),
    losses=dict(spectral=1.0),
    eval=dict(at_end=False),
)


def settings(base=IMAGE, **changes):
    """A tokenizer experiment with sections laid over the small one."""
    sections = {k: {**base.get(k, {}), **v} for k, v in changes.items()}
    return experiment(**{**base, **sections})


def write_config(path, config) -> Path:
    """A config file; returns it."""
    path.write_text(
        "from ml_collections import ConfigDict\n"
        f"get_config = lambda variant: ConfigDict({config!r})\n"
    )
    return path


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


# -- a tokenizer in use --------------------------------------------------------------


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """A tokenizer of the digits, trained for a few steps by the command line."""
    folder = tmp_path_factory.mktemp("tokenizer")
    file = write_config(folder / "digits.py", settings())
    code, text = tiny.run(f"--config={file}", f"--workdir={folder / 'run'}")
    assert code == 0, text
    return folder / "run"


def open_digits(workdir, **more):
    return open_tokenizer(
        {"kind": "checkpoint", "path": str(workdir), "batch_size": 16, **more}, (4, 4)
    )


def records_config(workdir, **more):
    tokenizer = dict(kind="checkpoint", path=str(workdir))
    return dict(
        data=dict(raw="digits", shard_records=100),
        tokenizer=tokenizer,
        grid=(4, 4),
        batch_size=16,
        **more,
    )


def test_training_leaves_reconstructions_and_figures(workdir):
    figures = json.loads((workdir / "evaluation.json").read_text())
    assert figures["psnr/n"] == 40 and figures["psnr"] > 5
    folder = workdir / "samples" / "reconstructions"
    assert len(list(folder.glob("sample_*.png"))) == 8
    drawn = np.load(folder / "samples.npz")
    assert drawn["condition/image"].shape == drawn["images"].shape == (8, 8, 8, 1)


def test_decode_of_a_record_is_the_direct_path(workdir, tmp_path):
    card = read_card(pretokenize(records_config(workdir), tmp_path))
    tokenizer = open_tokenizer(card.tokenizer, card.grid)
    split = open_source("digits").split("test")
    images = np.stack([split.example(i)["image"] for i in range(len(split))])
    records = RecordSource(card, "test")
    tokens = np.stack([records[i]["tokens"] for i in range(len(records))])
    np.testing.assert_array_equal(tokens, tokenizer.encode(images))
    task = tokenizer.task
    direct = task.sample(tokenizer._params, tokenizer._extra, {"image": images}, 0, 0)
    np.testing.assert_array_equal(direct["tokens"], tokens)
    decoded = tokenizer.decode(tokens)["images"]
    # batches of another size round differently
    assert np.abs(decoded.astype(int) - direct["images"]).max() <= 1
    split = card.splits["train"]
    assert 0 < split.codes_used <= 16 and 1 <= split.perplexity <= split.codes_used


def test_parts_come_from_elsewhere(workdir, tmp_path):
    config = settings(init_parts=dict(autoencoder=str(workdir)))
    task, optimizer = program.build(config)
    abstract = program.abstract_state(task, optimizer)
    _, params, _ = load_params(workdir, abstract)
    with Checkpoints(tmp_path) as empty:
        mesh = program.place(config, task)
        state = starting_state(config, task, optimizer, empty, mesh)
        assert (
            tiny.max_difference(state.params["autoencoder"], params["autoencoder"]) == 0
        )
        config = settings(init_parts=dict(encoder=str(workdir)))
        with pytest.raises(UsageError, match="autoencoder"):
            starting_state(config, task, optimizer, empty, mesh)


def test_codebooks_go_with_the_parameters(workdir, tmp_path):
    config = {**settings(), "init_from": str(workdir)}
    task, optimizer = program.build(config)
    _, _, extra = load_params(workdir, program.abstract_state(task, optimizer))
    with Checkpoints(tmp_path) as empty:
        state = starting_state(
            config, task, optimizer, empty, program.place(config, task)
        )
    assert tiny.max_difference(state.extra["codebooks"], extra["codebooks"]) == 0


@pytest.mark.parametrize(
    "changes", [dict(quantizer=dict(remap=8)), dict(losses=dict(perceptual=1.0))]
)
def test_what_training_does_not_make_must_be_given(changes, tmp_path):
    config = settings(model=dict(resolution=16), **changes)
    task, optimizer = program.build(config)
    with Checkpoints(tmp_path) as empty:
        mesh = program.place(config, task)
        with pytest.raises(UsageError, match="init_from"):
            starting_state(config, task, optimizer, empty, mesh)


def test_figures_of_other_data_are_made_anew(workdir, capsys):
    file = workdir.parent / "digits.py"
    again = (f"--config={file}", f"--workdir={workdir}", "--mode=evaluate")
    assert tiny.run(*again)[0] == 0 and "evaluated before" in capsys.readouterr().out
    before = (workdir / "evaluation_config.json").read_text()
    assert tiny.run(*again, "--config.eval.num_samples=16")[0] == 0
    assert "evaluated before" not in capsys.readouterr().out
    (workdir / "evaluation_config.json").write_text(before[:20])  # torn
    assert tiny.run(*again)[0] == 0
    assert "evaluated before" not in capsys.readouterr().out


def test_flags_that_a_tokenizer_does_not_take(workdir):
    file = workdir.parent / "digits.py"
    generate = (f"--config={file}", f"--workdir={workdir}", "--mode=generate")
    for flag, message in (
        ("--condition.label=3", "takes none"),
        ("--name=../../up", "no path"),
        ("--views=2", "pretokenize"),
        ("--config.model.channel_mult=()", "channel_mult is empty"),
        ("--config.quantizer.num_codes=0", "num_codes = 0"),
        ("--config.model.dtype=float33", "float33"),
    ):
        code, text = tiny.run(*generate, flag)
        assert code == 2 and message in text, text
    assert tiny.run(*generate, "--name=mine")[0] == 0
    assert (workdir / "samples" / "mine" / "contact_sheet.png").exists()


def test_a_fingerprint_tells_every_weight(workdir, tmp_path):
    tokenizer = open_digits(workdir)
    assert open_digits(workdir).fingerprint == tokenizer.fingerprint
    config = json.loads((workdir / "config.json").read_text())
    task, optimizer = program.build(config)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        _, state = checkpoints.restore(program.abstract_state(task, optimizer))
    kernel = state.ema_params["autoencoder"]["conv_out"]["kernel"]
    kernel = kernel.at[0, 0, 0, 0].add(1e-3)
    state.ema_params["autoencoder"]["conv_out"]["kernel"] = kernel
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(4, state)
    write_json(tmp_path / "config.json", config)
    assert open_digits(tmp_path).fingerprint != tokenizer.fingerprint
    card = {**tokenizer.settings, "path": str(tmp_path)}
    with pytest.raises(InputError, match="fingerprint"):
        open_tokenizer({**card, "fingerprint": tokenizer.fingerprint}, (4, 4))


@pytest.mark.parametrize(
    "base, fingerprint", [(IMAGE, "14ae03ee4d2dff39"), (SOUND, "324b593ddff0e951")]
)
def test_fingerprints_of_before_stay(tmp_path, base, fingerprint):
    """Records name them: a new key at its default must not make another tokenizer."""
    config = settings(base)
    task = make_task(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    params, extra = jax.tree.map(lambda s: jnp.full(s.shape, 0.25, s.dtype), shapes)
    state = dict(step=jnp.zeros((), jnp.int32), ema_params=params, extra=extra)
    with Checkpoints(tmp_path / "checkpoints") as writer:
        writer.save(0, state)
    write_json(tmp_path / "config.json", config)
    tokenizer = dict(kind="checkpoint", path=str(tmp_path))
    assert open_tokenizer(tokenizer, task.grid()).fingerprint == fingerprint
    # one that an earlier version wrote
    for section, names in dict(
        model=("mid_attention", "groups"), quantizer=("normalize",)
    ).items():
        for name in names:
            config[section].pop(name, None)
    write_json(tmp_path / "config.json", config)
    assert open_tokenizer(tokenizer, task.grid()).fingerprint == fingerprint


def test_refusals(workdir, tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        open_digits(tmp_path)
    with pytest.raises(InputError, match=r"tokens of \[4, 4\]"):
        open_tokenizer({"kind": "checkpoint", "path": str(workdir)}, (8, 8))
    with pytest.raises(UsageError, match=r"tokenizer\.level = 1"):
        open_digits(workdir, level=1)
    with pytest.raises(InputError, match="from 0 to 16"):
        open_digits(workdir).decode(np.arange(17)[None, :16] * 16 // 15)
    write_json(tmp_path / "config.json", tiny.settings())
    with pytest.raises(InputError, match="no tokenizer"):
        open_digits(tmp_path)
    config = records_config(workdir)
    config["data"] = dict(raw="captioned_digits")
    with pytest.raises(InputError, match=r"\[16, 16, 1\]"):
        pretokenize(config, tmp_path / "records")


def test_records_of_another_tokenizer_are_refused(workdir, tmp_path):
    card = read_card(pretokenize(records_config(workdir), tmp_path / "records"))
    config = tiny.settings(
        data=dict(path=str(tmp_path / "records")),
        model=dict(num_codes=16, grid=(4, 4)),
        tokenizer=dict(kind="checkpoint", path=str(workdir)),
    )
    assert open_data(Trained(config, tmp_path)) == card
    foreign = dataclasses.replace(card, tokenizer={"fingerprint": "0"})
    write_card(foreign)
    with pytest.raises(InputError, match="of the tokenizer"):
        open_data(Trained(config, tmp_path))


def test_views_are_augmented_and_seeded(tmp_path):
    config = dict(
        seed=3,
        data=dict(
            raw="captioned_digits",
            views=3,
            options=dict(train_examples=20, test_examples=10),
        ),
        grid=(16, 16),
        text=dict(length=24),
    )
    cards = [read_card(pretokenize(config, tmp_path / name)) for name in "ab"]
    assert [c.splits["train"].num_records for c in cards] == [60, 60]
    assert cards[0].splits["test"].num_records == 10
    source = RecordSource(cards[0], "train")
    keys = [source.key(i) for i in range(6)]
    assert keys[1] == keys[0] + "#1" and keys[2] == keys[0] + "#2"
    shards = [sorted((tmp_path / n).glob("*.arrayrecord")) for n in "ab"]
    for a, b in zip(*shards, strict=True):
        assert a.read_bytes() == b.read_bytes()
    rows = np.stack([source[i]["tokens"] for i in range(3)])
    assert len(np.unique(rows, axis=0)) > 1


def test_sampled_gumbel_codes_depend_on_the_number_alone(tmp_path):
    config = settings(quantizer=dict(kind="gumbel", num_codes=16, dim=4))
    task, optimizer = program.build(config)
    state = init_state(task, optimizer, 0)
    write_json(tmp_path / "config.json", config)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(0, state)
    drawn, likely = (open_digits(tmp_path, sample=flag) for flag in (True, False))
    assert drawn.fingerprint != likely.fingerprint
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    tokens = drawn.encode(images)
    np.testing.assert_array_equal(
        tokens[5:9], drawn.start_encoding(images[5:9], np.arange(5, 9))()
    )
    assert (tokens != likely.encode(images)).any()
    assert (tokens[5:9] != drawn.start_encoding(images[5:9], np.arange(4))()).any()
