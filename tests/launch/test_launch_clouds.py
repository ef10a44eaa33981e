"""The launch scripts of TPU VMs, GKE and SLURM, with stubs for the clouds."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from launch_stubs import (
    GKE,
    PROGRAM,
    STUB,
    TPU,
    copy_of_scripts,
    environment,
    run,
    wait_until,
    write_program,
)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of the scripts in a folder with a space, and the stubs beside it."""
    return copy_of_scripts(tmp_path)


def tpu_vm(
    repo: Path, states: str, codes: str, *flags: str
) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs tpu_vm.sh against a gcloud that answers so; also its calls, in a word."""
    stubs = repo.parent / "stub"
    (stubs / "states").write_text(states.replace(" ", "\n") + "\n")
    (stubs / "codes").write_text(codes.replace(" ", "\n") + "\n")
    done = run(repo, "tpu_vm.sh", *TPU, *flags, "--", *PROGRAM, TPU_POLL_SECONDS="0")
    verbs = "create|delete|scp|set-up|worker.sh run"
    found = [re.findall(verbs, c) for c in (stubs / "calls").read_text().splitlines()]
    return done, [words[-1].split()[-1] for words in found if words]


RUN = ["scp", "set-up", "run"]


@pytest.mark.parametrize(
    ("states", "codes", "calls"),
    [
        ("none WAITING_FOR_RESOURCES ACTIVE", "0", ["create", *RUN]),
        ("ACTIVE", "0", RUN),
        # taken away: noticed by a signal, by the connection, by the run's failure
        ("ACTIVE SUSPENDING SUSPENDED none CREATING ACTIVE", "143 0", 2),
        ("ACTIVE SUSPENDED none ACTIVE", "255 0", 2),
        ("ACTIVE ACTIVE error SUSPENDING SUSPENDED none ACTIVE", "1 0", 2),
        ("ACTIVE ACTIVE", "143 0", [*RUN, *RUN]),
        ("none FAILED none FAILED none ACTIVE", "0", 3),
    ],
)
def test_a_tpu_run_goes_on_until_it_is_finished(
    repo: Path, states: str, codes: str, calls: list[str] | int
) -> None:
    done, made = tpu_vm(repo, states, codes)
    if calls == 2:
        calls = [*RUN, "delete", "create", *RUN]
    elif calls == 3:
        calls = ["create", "delete", "create", "delete", "create", *RUN]
    assert made == calls
    assert done.returncode == 0
    assert "run-1 is not deleted" in done.stderr


def test_a_tpu_run_that_fails_by_itself_is_not_repeated(repo: Path) -> None:
    done, made = tpu_vm(repo, "none" + 8 * " ACTIVE", "1", "--spot")
    assert (done.returncode, made) == (1, ["create", *RUN])
    assert "exit code 1" in done.stderr
    (repo.parent / "stub" / "calls").unlink()
    done, made = tpu_vm(repo, "ACTIVE", "2", "--delete")
    assert (done.returncode, made) == (2, [*RUN, "delete"])
    done, _ = tpu_vm(repo, "none FAILED none FAILED none FAILED", "")
    assert done.returncode == 1
    assert "run-1 failed three times" in done.stderr
    done, _ = tpu_vm(repo, "error", "")
    assert "gcloud auth login" in done.stderr


def test_a_tpu_dry_run_prints_what_would_run(repo: Path) -> None:
    flags = [*TPU, "--project=p", "--spot", "--delete", "--dry-run", "--", *PROGRAM]
    done = run(repo, "tpu_vm.sh", *flags)
    assert not (repo.parent / "stub" / "calls").exists()
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    gcloud = [line for line in lines if line[0] == "gcloud"]
    assert all({"--zone=us-west4-a", "--project=p"} <= set(line) for line in gcloud)
    create, setup, start, delete = (gcloud[i] for i in (1, 3, 4, 5))
    wanted = (
        "--node-id=run-1 --accelerator-type=v5litepod-16 --runtime-version=v --spot"
    )
    assert set(wanted.split()) <= set(create)
    assert "--worker=all" in setup and "--force" in delete
    remote = next(w for w in start if w.startswith("--command=")).partition("=")[2]
    assert shlex.split(remote)[2:] == ["run", *PROGRAM]
    tar = next(line for line in lines if line[0] == "tar")
    assert subprocess.run(tar, check=False).returncode == 0
    assert {"launch", "cdcd_jax", "configs", "requirements.txt"} <= set(tar)


WORKER_PYTHON = """#!/usr/bin/env bash
trap 'echo saved; exit 0' TERM
printf '%s\\n' "hosts $CDCD_JAX_HOSTS" "$@"
for _ in {1..200}; do [[ ! -e "${STUB_WAITS:-}" ]] || sleep 0.05; done
exit "${STUB_CODE:-0}"
"""


def test_a_worker_runs_joins_and_makes_way(repo: Path) -> None:
    home = repo.parent / "home"
    write_program(home / "venv" / "bin" / "python", WORKER_PYTHON)
    write_program(
        repo.parent / "stub" / "python3", STUB.replace('"-m venv"', '"-m uv"')
    )
    for name in ("first", "second"):
        shutil.copytree(repo, home / name)
    waits = home / "waits"
    env = environment(repo, STUB_WAITS=str(waits))
    worker = [home / "first" / "launch" / "worker.sh", "run", "--config=a b"]

    def start(said: str, **more: str) -> subprocess.Popen:
        with (home / said).open("w") as file:
            return subprocess.Popen(worker, env={**env, **more}, stdout=file)

    def follows(said: str) -> None:
        wait_until(lambda: "a b" in (home / said).read_text())

    waits.touch()
    process = start("said")
    follows("said")
    again = start("again")  # the connection broke: no second run
    follows("again")
    setup = [home / "second" / "launch" / "worker.sh", "set-up"]
    done = subprocess.run(setup, env=env, cwd=home, timeout=60)
    assert done.returncode == 0
    out = "hosts auto\n-m\ncdcd_jax.main\n--config=a b\nsaved\n"
    for name, one in dict(said=process, again=again).items():
        assert (one.wait(120), (home / name).read_text()) == (143, out)
    assert not (home / "first").exists()  # stopped, then removed
    waits.unlink()
    worker[0] = setup[0]
    assert start("second said", STUB_CODE="3").wait(30) == 3


def manifest(repo: Path, *flags: str) -> tuple[list[list[str]], dict, dict]:
    """The commands of a dry run, the JobSet, and its container."""
    done = run(repo, "gke.sh", *GKE, *flags, "--dry-run", "--", *PROGRAM, "--name=$(X)")
    assert done.returncode == 0, done.stderr
    commands, _, text = done.stdout.partition("kubectl apply -f - <<'MANIFEST'\n")
    jobset = yaml.safe_load(text.removesuffix("MANIFEST\n"))
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    lines = [shlex.split(line) for line in commands.splitlines()]
    return lines, jobset, job


def test_the_tpu_manifest(repo: Path) -> None:
    flags = ["--tpu=tpu-v5-lite-podslice", "--topology=4x4", "--spot", "--build"]
    lines, jobset, job = manifest(repo, *flags, "--replace")
    assert [line[:2] for line in lines] == [
        ["docker", "build"],
        ["docker", "push"],
        ["kubectl", "delete"],
    ]
    assert "ACCELERATOR=tpu" in lines[0]
    assert (jobset["kind"], jobset["metadata"]["name"]) == ("JobSet", "run-1")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 10
    assert job["completions"] == job["parallelism"] == 4
    assert (job["completionMode"], job["backoffLimit"]) == ("Indexed", 0)
    codes = [r.get("onExitCodes") for r in job["podFailurePolicy"]["rules"]][1]
    assert (codes["containerName"], codes["values"]) == ("main", [143])
    pod = job["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == (
        "Never",
        300,
    )
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }
    container = pod["containers"][0]
    assert container["command"] == ["stoppable.sh", "python", "-m", "cdcd_jax.main"]
    assert container["args"] == [*PROGRAM, "--name=$$(X)"]  # $(..) is Kubernetes's
    assert container["env"] == [dict(name="CDCD_JAX_HOSTS", value="auto")]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}


def test_the_gpu_manifest(repo: Path) -> None:
    flags = ["--gpu=nvidia-h100-80gb", "--gpus=8", "--hosts=2", "--max-restarts=3"]
    _, jobset, job = manifest(repo, *flags)
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 3
    container = job["template"]["spec"]["containers"][0]
    env = {entry["name"]: entry for entry in container["env"]}
    # <JobSet>-<replicated job>-<job>-<pod>.<JobSet>
    assert env["JAX_COORDINATOR_ADDRESS"]["value"] == "run-1-hosts-0-0.run-1:8482"
    assert env["JAX_NUM_PROCESSES"]["value"] == "2"
    assert "nvidia" in env["LD_LIBRARY_PATH"]["value"]
    path = env["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert "job-completion-index" in path
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


@pytest.mark.parametrize(
    ("topology", "chips", "hosts", "limit"),
    [("1x1", "", 1, 1), ("2x4", "--chips=8", 1, 8), ("2x2x4", "", 4, 4)],
)
def test_hosts_of_a_topology(
    repo: Path, topology: str, chips: str, hosts: int, limit: int
) -> None:
    more = [chips] if chips else []
    _, _, job = manifest(repo, "--tpu=t", f"--topology={topology}", *more)
    container = job["template"]["spec"]["containers"][0]
    assert job["completions"] == hosts
    assert container["resources"]["limits"]["google.com/tpu"] == limit
    assert bool(container["env"]) == (hosts > 1)


def test_the_manifest_is_applied(repo: Path) -> None:
    flags = [*GKE, "--tpu=t", "--topology=2x2", "--", *PROGRAM]
    done = run(repo, "gke.sh", *flags)
    assert done.returncode == 0
    applied = (repo.parent / "stub" / "applied").read_text()
    assert yaml.safe_load(applied)["metadata"]["namespace"] == "default"
    done = run(repo, "gke.sh", *flags, STUB_NO_JOBSET="1")
    assert (done.returncode, "found no JobSet" in done.stderr) == (1, True)


def test_slurm_prints_and_runs_the_command(repo: Path) -> None:
    dry = run(repo, "slurm.sbatch", "--dry-run", *PROGRAM, PYTHON="")
    cd, srun = (shlex.split(line) for line in dry.stdout.splitlines())
    assert cd == ["cd", str(repo)]
    assert srun[-6:] == [".venv/bin/python", "-m", "cdcd_jax.main", *PROGRAM]
    env = dict(SLURM_JOB_ID="7", SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="3")
    done = run(repo, "slurm.sbatch", *PROGRAM, STUB_CODE="3", **env)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-5:] == ["-m", "cdcd_jax.main", *PROGRAM]
    assert {"--kill-on-bad-exit=1", "--cpus-per-task=3"} <= set(done.stdout.split("\n"))
    for tasks, devices in (("1(x2)", "0,1,2,3"), ("4(x2)", "unset")):
        done = run(repo, "slurm.sbatch", SLURM_TASKS_PER_NODE=tasks, **env)
        assert done.stdout.startswith(f"devices {devices}\n")


@pytest.mark.parametrize(
    ("number", "code", "requeued"),
    [(signal.SIGUSR1, 0, True), (signal.SIGUSR1, 1, False), (signal.SIGTERM, 0, False)],
)
def test_slurm_requeues_a_run_that_is_out_of_time(
    repo: Path, number: int, code: int, requeued: bool
) -> None:
    pid = repo.parent / "stub" / "srun.pid"
    process = subprocess.Popen(
        [repo / "launch" / "slurm.sbatch", *PROGRAM],
        env=environment(repo, SLURM_JOB_ID="7", STUB_WAITS="1", STUB_CODE=str(code)),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: pid.exists() and bool(pid.read_text()))
    process.send_signal(number)
    if number == signal.SIGTERM:  # SLURM tells the tasks by itself
        os.kill(int(pid.read_text()), signal.SIGTERM)
    out = process.communicate(timeout=120)[0]
    assert "saved" in out
    assert process.returncode == code
    assert ("scontrol requeue 7" in out) == requeued
