"""FLOPs counted, speed reported, traces written, random batches drawn."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import UsageError
from cdcd_jax.models.saved import load_config
from cdcd_jax.modes.flags import parse_range
from cdcd_jax.planning.flops import matmul_flops
from cdcd_jax.training import program
from cdcd_jax.training.inputs import input_stream


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_products_and_convolutions_are_counted():
    assert matmul_flops(jnp.dot, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
    batched = lambda a, b: jnp.einsum("bij,bjk->bik", a, b)
    assert matmul_flops(batched, shape(4, 3, 5), shape(4, 5, 7)) == 4 * 2 * 3 * 5 * 7
    convolution = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = matmul_flops(convolution, shape(2, 8, 8, 3), shape(3, 3, 3, 6))
    assert found == 2 * (2 * 8 * 8 * 6) * (3 * 3 * 3)
    scanned = lambda x, w: jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=9)
    assert matmul_flops(scanned, shape(4, 4), shape(4, 4)) == 9 * 2 * 4**3
    kept = jax.checkpoint(jax.jit(jnp.dot))
    assert matmul_flops(kept, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize(("config", "teraflops"), [("imagenet", 0.744), ("aist", 1.98)])
def test_flops_of_the_large_configs(config, teraflops):
    # the paper's networks by hand; ours have modulations and a longer condition too
    config = load_config(f"configs/{config}.py")
    assert program.model_flops(config) / 1e12 == pytest.approx(teraflops, rel=0.05)


def test_flops_do_not_depend_on_how_the_step_is_run():
    expected = program.model_flops(tiny.settings())
    for model in (
        dict(scan_layers=True, remat="full"),
        dict(head_chunk=16),
        dict(attention="splash"),
    ):
        assert program.model_flops(tiny.settings(model=model)) == expected
    accumulated = dict(optim=dict(accumulate=2), contrastive=dict(group=8))
    assert program.model_flops(tiny.settings(**accumulated)) == expected


def test_a_run_tells_its_speed_and_writes_a_trace(tmp_path):
    flags = tiny.flags(
        config__data__synthetic=True, config__optim__num_steps=5, profile="3:4"
    )
    code, text = tiny.run(*flags, f"--workdir={tmp_path}")
    assert code == 0, text
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = list(map(json.loads, lines))
    assert rows[0]["compile_seconds"] > 0
    speed = rows[-1]
    assert speed["tokens_per_second"] == pytest.approx(
        64 * speed["examples_per_second"]
    )
    assert speed["examples_per_second"] == pytest.approx(16 / speed["step_seconds"])
    per_step = speed["tflops_per_second"] * speed["step_seconds"] * 1e12
    expected = 16 * program.model_flops(tiny.settings())
    assert per_step == pytest.approx(expected, rel=1e-4)
    assert 0 <= speed["input_wait"] <= 1
    assert "mfu" not in speed  # nobody knows this CPU's peak
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("text", ["5", "5:", "0:3", "7:5", "a:b"])
def test_a_bad_range_of_steps_is_refused(text):
    with pytest.raises(UsageError, match="from:to"):
        parse_range(text)


def test_random_batches_fit_the_task_and_their_position():
    task, _ = program.build(tiny.settings())
    stream = lambda rows, step=0: synthetic_batches(task.describe(), rows, 5, step)
    whole = list(itertools.islice(stream(np.arange(8)), 3))
    assert whole[0]["tokens"].shape == (8, 64) and whole[0]["tokens"].max() < 17
    assert whole[0]["condition"]["label"].max() < 10
    assert (whole[0]["tokens"] != whole[1]["tokens"]).any()
    part = next(stream(np.array([2, 5]), 2))
    np.testing.assert_array_equal(part["tokens"], whole[2]["tokens"][[2, 5]])


def test_one_batch_can_be_used_again():
    config = tiny.settings(data=dict(synthetic=True, reuse_batch=True))
    stream = input_stream(config)(0, np.arange(4))
    first, second = next(stream), next(stream)
    np.testing.assert_array_equal(first["tokens"], second["tokens"])


def test_synthetic_training_needs_no_data_packages():
    code = """
import sys
for name in ("grain", "array_record", "clu", "librosa", "tensorflow_datasets"):
    sys.modules[name] = None
sys.path.insert(0, "tests")
import tiny, tempfile
with tempfile.TemporaryDirectory() as folder:
    code, text = tiny.run(
        "--config=configs/imagenet.py:synthetic", f"--workdir={folder}",
        "--config.model.depth=1", "--config.model.width=16", "--config.model.heads=2",
        "--config.model.grid=(4,4)", "--config.model.num_codes=9",
        "--config.data.batch_size=8", "--config.optim.num_steps=2",
    )
    assert code == 0, text
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
