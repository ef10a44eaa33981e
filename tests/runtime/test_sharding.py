"""Meshes: which array lies where, and that a run does not depend on it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from cdcd_jax.errors import UsageError
from cdcd_jax.models.saved import load_config
from cdcd_jax.planning import hlo
from cdcd_jax.runtime import sharding
from cdcd_jax.training.program import abstract_state, build, check_groups

ROOT = Path(__file__).resolve().parents[2]
MESHES = ("1,1,1", "8,1,1", "2,4,1", "2,2,2", "1,1,8")


def start(*argv, **env):
    """A process of eight devices (or as env says); its output is a pipe."""
    return subprocess.Popen(
        [sys.executable, *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    """What it printed; it must have ended well."""
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return out


def meshes(*argv):
    """Losses of each mesh, {mesh: {step: loss}}."""
    rows = map(json.loads, output(start("tests/meshes.py", *argv)).splitlines())
    return {row["mesh"]: row["losses"] for row in rows}


def differences(losses, expected):
    """Relative difference at each step."""
    assert losses.keys() == expected.keys()
    return [abs(losses[k] - expected[k]) / abs(expected[k]) for k in expected]


# -- the table ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        dict(),
        dict(mlp="conv", scan_layers=True, depth=2),
        dict(form="selfcondition"),
        dict(form="self"),
    ],
)
def test_the_table_names_every_matrix(model):
    task, optimizer = build(tiny.settings(model=model))
    state = abstract_state(task, optimizer)
    paths = jax.tree_util.tree_leaves_with_path(state.params)
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    missing = [
        name
        for name, (_, leaf) in zip(names, paths, strict=True)
        if len(leaf.shape) > 1
        and not any(f"/{name}".endswith(f"/{end}") for end in sharding.PARAMETERS)
    ]
    # vectors of stacked blocks
    assert [n for n in missing if not n.endswith(("scale", "bias"))] == []


def test_the_large_configs_name_theirs_too():
    for name in ("imagenet", "coco", "aist"):
        config = load_config(f"configs/{name}.py")
        task, optimizer = build(config)
        params = abstract_state(task, optimizer).params
        labels = jax.tree.leaves(task.labels(params))
        trained = [
            (path, leaf)
            for (path, leaf), label in zip(
                jax.tree_util.tree_leaves_with_path(params), labels, strict=True
            )
            if label == "train"
        ]
        unnamed = sum(
            np.prod(leaf.shape)
            for path, leaf in trained
            if not any(sharding._axes(path, leaf.shape))
        )
        total = sum(np.prod(leaf.shape) for _, leaf in trained)
        # what stays whole on every device: most of it the table of coco's 8,192 codes
        assert unnamed < 0.02 * total


@pytest.mark.parametrize(
    ("mesh", "rows", "sizes"),
    [
        ((-1, 1, 1), 64, (8, 1, 1)),
        ((-1, 4, 1), 64, (2, 4, 1)),
        ((-1, 1, -1), 64, (8, 1, 1)),
        ((-1, 1, -1), 4, (4, 1, 2)),  # what the rows leave over
        ((-1, 2, -1), 4, (2, 2, 2)),
        ((1, 1, -1), 64, (1, 1, 8)),
        ((2, 1, 1), 64, (2, 1, 1)),  # fewer than there are, on purpose
    ],
)
def test_sizes_of_the_mesh(mesh, rows, sizes):
    settings = dict(zip(sharding.AXES, mesh, strict=True))
    assert sharding._sizes(settings, rows, 8) == sizes


@pytest.mark.parametrize(
    ("mesh", "rows", "words"),
    [
        ((-1, 1, 1), 12, "does not divide the 12 rows"),
        ((-1, 3, 1), 66, "leaves"),
        ((16, 1, 1), 64, "takes 16 devices"),
        ((0, 1, 1), 64, "1 or more"),
        ((-1, -1, 1), 64, "1 or more"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(mesh, rows, words):
    settings = dict(zip(sharding.AXES, mesh, strict=True))
    with pytest.raises(UsageError, match=words):
        sharding.make_mesh(settings, rows, devices=[None] * 8)


def test_a_group_of_negatives_is_not_parted():
    config = tiny.settings(data=dict(batch_size=16), contrastive=dict(group=8))
    task, _ = build(config)
    fake = lambda data: type("Mesh", (), {"shape": dict(data=data, fsdp=1, tensor=1)})
    check_groups(config, task, fake(2))
    with pytest.raises(UsageError, match=r"contrastive.group = 8 .* 4 examples each"):
        check_groups(config, task, fake(4))


# -- eight devices --------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The digits' records."""
    folder = tmp_path_factory.mktemp("digits")
    code, text = tiny.run(
        "--config=configs/digits.py", "--mode=pretokenize", f"--workdir={folder}"
    )
    assert code == 0, text
    return folder / "records"


@pytest.mark.slow
def test_losses_do_not_depend_on_the_mesh(records):
    found = meshes("losses", records, 20, "scratch", *MESHES)
    assert set(found) == set(MESHES)
    for mesh in MESHES[1:]:
        apart = differences(found[mesh], found["1,1,1"])
        assert len(apart) == 20
        assert max(apart[:5]) < 1e-5 and max(apart) < 1e-4, mesh


@pytest.mark.slow
def test_losses_of_several_modalities_do_not_depend_on_the_mesh():
    """Nor what is known, masked or left out of z, which the step's key decides."""
    found = meshes("joint", 3, "1,1,1", "4,1,1", "2,2,2")
    for mesh in ("4,1,1", "2,2,2"):
        assert max(differences(found[mesh], found["1,1,1"])) < 1e-5, mesh


def program(mesh, *changes):
    """The compiled step of a mesh, counted."""
    return hlo.analyse(output(start("tests/meshes.py", "hlo", mesh, *changes)))


@pytest.mark.slow
@pytest.mark.parametrize("negatives", ["intra", "inter"])
def test_a_data_parallel_step_only_sums_gradients(negatives):
    change = f"contrastive.negatives='{negatives}'"
    found = program("8,1,1", change, "model.head_chunk=16")
    assert {c.kind for c in found.collectives} == {"all-reduce"}
    # gradients, loss and counts; each gradient once, not for each chunk of tokens
    task, _ = build(tiny.settings())  # the same network
    params = jax.eval_shape(task.init, jax.random.key(0))[0]
    size = sum(4 * np.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    real = [c for c in found.collectives if c.group_size > 1]
    summed = sum(c.count * s.bytes for c in real for s in c.results)
    assert size <= summed <= size + 4 * 100
    assert not found.host_transfers


@pytest.mark.slow
def test_a_sharded_step_gathers_parameters_and_no_batch():
    found = program("2,4,1", "optim.accumulate=2", "contrastive.group=4")
    gathered = [s for c in found.collectives for s in c.results if "gather" in c.kind]
    assert gathered and not found.host_transfers
    batch = 32 * 64  # tokens of a microbatch; of features or logits there are more
    assert max(np.prod(s.dims) for s in gathered) < batch
    assert {c.kind for c in found.collectives} <= {
        "all-gather",
        "all-reduce",
        "reduce-scatter",
    }


# -- several processes ----------------------------------------------------------------


def run_two(workdir, *more):
    """The command line as two processes of four devices; returns both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = tiny.flags(config__data__batch_size=64, config__contrastive__group=8)
    return [
        start(
            *("-m", "cdcd_jax.main", *flags, f"--workdir={workdir}", *more),
            JAX_NUM_CPU_DEVICES="4",
            JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(index),
        )
        for index in range(2)
    ]


@pytest.mark.slow
def test_two_processes_are_one_run(records, tmp_path):
    more = ("--config.report.keep_checkpoints=9", "--config.mesh.fsdp=2")
    processes = run_two(tmp_path / "two", *more, "--config.eval.at_end=True")
    for process in processes:
        output(process)
    rows = tiny.rows(tmp_path / "two")
    losses = {str(step): row["loss"] for step, row in rows.items()}
    figures = json.loads((tmp_path / "two" / "evaluation.json").read_text())
    assert figures["class_accuracy/n"] == 20
    expected = meshes("losses", records, 6, "scratch", "4,2,1")["4,2,1"]
    assert max(differences(losses, expected)) < 1e-5

    # the checkpoint of both goes on with any number of devices in one process
    after = {step: loss for step, loss in losses.items() if int(step) > 4}
    found = meshes(
        *("losses", records, 6, f"{tmp_path / 'two'}@4"),
        *("1,1,1", "2,1,1", "2,2,1", "1,4,2"),
    )
    assert len(found) == 4
    for mesh, goes_on in found.items():
        assert max(differences(goes_on, after)) < 1e-5, mesh


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_step(tmp_path):
    workdir = tmp_path / "run"
    steps = ("--config.optim.num_steps=40", "--config.report.checkpoint_every=1000")
    first, second = run_two(workdir, *steps)
    for line in first.stderr:
        if "step 5/40" in line:
            second.terminate()
            break
    texts = [process.communicate(timeout=600)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], texts
    (step,) = {int(p.name) for p in (workdir / "checkpoints").iterdir()}
    assert 5 <= step < 40 and all(f"after step {step}; saved" in t for t in texts)

    unbroken = tmp_path / "unbroken"
    shutil.copytree(workdir / "records", unbroken / "records")
    for folder in (workdir, unbroken):  # the one goes on, the other begins
        for process in run_two(folder, *steps):
            output(process)
    assert tiny.rows(workdir) == tiny.rows(unbroken)
