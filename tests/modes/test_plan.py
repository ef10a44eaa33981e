"""Planning for TPUs: topologies, advice and report; a compilation where libtpu is."""

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.modes import plan
from cdcd_jax.planning import chips, hlo, plan_report, topology

GIB = 2**30


def program(**changes):
    return {
        "fits": True,
        "memory": dict(arguments=6 * GIB, temporaries=4 * GIB, total=10 * GIB),
        "memory_available": 16 * GIB,
        **changes,
    }


def figures(fsdp=1, train=None, sample=None, **settings):
    known = dict(
        batch_size=256,
        accumulate=1,
        rows_per_chip=16,
        remat="full",
        head_chunk=64,
        attention="splash",
        length=256,
        sample_rows=64,
        batch_shards=16,
    )
    return dict(
        topology="v5e:4x4",
        chip="TPU v5e",
        chips=16,
        chips_idle=0,
        mesh=dict(data=16 // fsdp, fsdp=fsdp, tensor=1),
        parameters=5_000_000,
        settings={**known, **settings},
        versions=dict(jax="0", libtpu="0"),
        train=train or program(),
        sample=sample or program(),
        advice=[],
    )


def too_large(arguments, temporaries):
    total = (arguments + temporaries) * GIB
    memory = dict(arguments=arguments * GIB, total=total)
    return program(fits=False, memory=memory)


@pytest.mark.parametrize(
    "text, name, shape",
    [
        ("v5e:4x4", "TPU v5e", (4, 4)),
        ("v6e:16x16", "TPU v6e", (16, 16)),
        ("v5p:2x2x2", "TPU v5p", (2, 2, 2)),
        ("v4:4x4x8", "TPU v4", (4, 4, 8)),
    ],
)
def test_topologies(text, name, shape):
    chip, sizes = topology.parse_topology(text)
    assert chip.name == name and sizes == shape


@pytest.mark.parametrize(
    "text", ["", "v5e", "v9:4x4", "v5e:4x4x4", "v5p:4x4", "v5e:4x", "v5e:0x4", "4x4"]
)
def test_malformed_topologies(text):
    with pytest.raises(UsageError, match="such as v5e:4x4"):
        topology.parse_topology(text)


def test_missing_libtpu_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cdcd_jax\[tpu-plan\]'"):
        topology.open_topology("v5e:4x4")


def test_what_fits_needs_no_advice():
    assert plan.advise(figures(), 16 * GIB) == []


def test_large_arguments_want_fsdp_first():
    advice = plan.advise(figures(train=too_large(12, 8)), 16 * GIB)
    assert advice[0] == "mesh.fsdp=4"
    assert advice[-1] == "more chips"


def test_large_temporaries_want_recomputation_then_chunks_then_smaller_batches():
    plain = figures(train=too_large(3, 40), remat="none", head_chunk=0)
    assert plan.advise(plain, 16 * GIB) == [
        "model.remat=full",
        "model.head_chunk=64",
        "optim.accumulate=2",
        "data.batch_size=128",
        "mesh.fsdp=2",
        "more chips",
    ]


def test_a_single_row_wants_tensor():
    advice = plan.advise(figures(train=too_large(3, 40), rows_per_chip=1), 16 * GIB)
    assert advice[0] == "mesh.tensor=2"


def test_a_sampler_that_does_not_fit_or_repeats_rows():
    advice = plan.advise(figures(sample=too_large(3, 40)), 16 * GIB)
    assert advice == ["sampling.batch_size=32"]
    (advice,) = plan.advise(figures(batch_shards=256), 16 * GIB)
    assert "a multiple of 256" in advice


@pytest.mark.parametrize(
    "message, gib",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
            "for HLO temporaries (33.54G) exceeds available HBM (15.75G). HLO module: "
            "jit_step.",
            33.54,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.50G of "
            "15.75G hbm. Exceeded hbm capacity by 1.75G.",
            17.5,
        ),
    ],
)
def test_the_number_of_an_out_of_memory_error(message, gib):
    assert plan.out_of_memory(message) == int(gib * GIB)


def test_other_errors_are_not_of_memory():
    assert plan.out_of_memory("INTERNAL: something else (3.00G)") is None


def test_bounds():
    chip = chips.find("v5e")
    counted = hlo.Program(flops=chip.peak_flops, bytes=2 * chip.memory_bytes)
    job = plan.Job(None, None, model_flops=8 * chip.peak_flops, tokens=1000)
    found = plan.bounds(counted, job, 16, chip, price=1.0)
    assert found["seconds"] == dict(compute=1.0, memory=2.0, network=0.0)
    assert found["bound"] == "memory" and found["step_seconds"] == 2.0
    assert found["tokens_per_second"] == 500
    assert found["mfu"] == 0.25
    assert found["cost_per_1000_steps"] == pytest.approx(1000 * 16 * 2 / 3600)
    assert found["cost_per_million_tokens"] == pytest.approx(16 * 2 / 3.6)


def test_report_of_what_does_not_fit():
    shown = figures(train=too_large(12, 8))
    shown["advice"] = plan.advise(shown, 16 * GIB)
    text = plan_report.render(shown)
    assert "20.00 GiB of 16.00 GiB (125%)" in text
    last = text.splitlines()[-1]
    assert last.startswith("does not fit: train step. Try, in this order: mesh.fsdp=4")


def test_report_of_what_fits():
    chip = chips.find("v5e")
    job = plan.Job(None, None, model_flops=1e15, tokens=1000)
    counted = hlo.Program(
        flops=5e13,
        bytes=1e11,
        collectives=[
            hlo.Collective("all-reduce", (), (hlo.Shape("f32", (1024,)),), 16, 3, "")
        ],
    )
    measured = program(
        model_flops=6e13,
        flops=counted.flops,
        kernels={"tpu_custom_call": 2},
        bytes=counted.bytes,
        collectives=counted.by_kind(),
        network_bytes=counted.network_bytes,
        host_transfers=[],
        unknown_loops=0,
        **plan.bounds(counted, job, 16, chip, price=2.0),
    )
    text = plan_report.render(figures(train=measured, sample=copy.deepcopy(measured)))
    assert "without 2 fused kernels" in text
    assert "all-reduce                3 x, 12.00 KiB of results" in text
    assert "bound by compute" in text and "per 1000 runs" in text
    assert text.splitlines()[-1] == "fits"


def test_chips():
    assert chips.find("TPU v5 lite") is chips.find("v5e")
    assert chips.find("NVIDIA H200").peak_flops == 989.4e12
    assert chips.find("cpu") is None


COMPILE = """
import json, pathlib, sys
from cdcd_jax.modes import plan
plan.use_cpu()
sys.path.insert(0, "tests")
import tiny
config = tiny.settings(
    data=dict(batch_size=32), contrastive=dict(group=4), mesh=dict(fsdp=2)
)
plan.plan(config, "v5e:2x4", 1.2, pathlib.Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_compiles_for_a_topology_without_a_tpu(tmp_path):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("fits")
    found = json.loads((tmp_path / "plan-v5e-2x4.json").read_text())
    assert found["mesh"] == dict(data=4, fsdp=2, tensor=1)
    train = found["train"]
    assert train["memory"]["total"] < 16 * GIB
    # every product of the model is in the program, and little else
    assert 0.8 < train["flops"] / train["model_flops"] < 1.4
    assert train["collectives"] and not train["host_transfers"]
    assert train["unknown_loops"] == found["sample"]["unknown_loops"] == 0
