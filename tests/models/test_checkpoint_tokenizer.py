"""Tokenizers of work directories: their codes, fingerprints, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from made_tokenizers import IMAGE, SOUND, open_digits, records_config, settings

from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.reporting.files import write_json
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.tasks import make_task
from cdcd_jax.training import program
from cdcd_jax.training.step import init_state


def test_decode_of_a_record_is_the_direct_path(tokenizer_dir, tmp_path):
    card = read_card(pretokenize(records_config(tokenizer_dir), tmp_path))
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


def test_a_fingerprint_tells_every_weight(tokenizer_dir, tmp_path):
    tokenizer = open_digits(tokenizer_dir)
    assert open_digits(tokenizer_dir).fingerprint == tokenizer.fingerprint
    config = json.loads((tokenizer_dir / "config.json").read_text())
    task, optimizer = program.build(config)
    with Checkpoints(tokenizer_dir / "checkpoints") as checkpoints:
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


def test_refusals(tokenizer_dir, tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        open_digits(tmp_path)
    with pytest.raises(InputError, match=r"tokens of \[4, 4\]"):
        open_tokenizer({"kind": "checkpoint", "path": str(tokenizer_dir)}, (8, 8))
    with pytest.raises(UsageError, match=r"tokenizer\.level = 1"):
        open_digits(tokenizer_dir, level=1)
    with pytest.raises(InputError, match="from 0 to 16"):
        open_digits(tokenizer_dir).decode(np.arange(17)[None, :16] * 16 // 15)
    write_json(tmp_path / "config.json", tiny.settings())
    with pytest.raises(InputError, match="no tokenizer"):
        open_digits(tmp_path)
    config = records_config(tokenizer_dir)
    config["data"] = dict(raw="captioned_digits")
    with pytest.raises(InputError, match=r"\[16, 16, 1\]"):
        pretokenize(config, tmp_path / "records")


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
