"""The launch scripts, with stubs for Python, clouds and SLURM: no network, no .venv."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from launch_stubs import (
    GKE,
    LAUNCH,
    PROGRAM,
    ROOT,
    TPU,
    copy_of_scripts,
    installed,
    run,
)

SCRIPTS = [
    *sorted(LAUNCH.glob("*.sh")),
    LAUNCH / "slurm.sbatch",
    ROOT / ".ci" / "run",
]
SOURCED = ("cloud.sh", "setup.sh")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of the scripts in a folder with a space, and the stubs beside it."""
    return copy_of_scripts(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK) == (script.name not in SOURCED)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    found = subprocess.run(
        ["shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("args", "adds_config"),
    [
        ([], True),
        (["--config.optim.num_steps=10"], True),
        (["--workdir=runs/a b", "--mode=evaluate"], True),
        (["--config=configs/cifar10.py", "--config.seed=1"], False),
        (["--config", "configs/cifar10.py:vanilla"], False),
    ],
)
def test_the_default_config_is_digits(
    repo: Path, args: list[str], adds_config: bool
) -> None:
    done = run(repo, "local.sh", *args)
    default = ["--config=configs/digits.py"] if adds_config else []
    expected = [str(repo), "-m", "cdcd_jax.main", *default, *args]
    assert done.stdout.splitlines() == expected
    assert done.returncode == 0


def test_installs_once_and_again_when_requirements_change(repo: Path) -> None:
    first = run(repo, "local.sh")
    assert "installing requirements.txt into .venv ... done in" in first.stderr
    assert run(repo, "local.sh").stderr == ""
    assert installed(repo) == ["requirements.txt"]
    (repo / "requirements.txt").write_text("jax==2\n")
    run(repo, "local.sh")
    assert installed(repo) == ["requirements.txt"] * 2


def test_tests_share_the_environment(repo: Path) -> None:
    run(repo, "local.sh")
    done = run(repo, "test.sh", "-k", "a or b")
    where, *command = done.stdout.splitlines()
    assert where == str(repo)
    assert command[:2] == ["-m", "pytest"] and command[-2:] == ["-k", "a or b"]
    assert installed(repo) == ["requirements.txt", "requirements-test.txt"]
    assert run(repo, "test.sh").stderr == ""


def test_a_half_made_environment_is_made_again(repo: Path) -> None:
    failed = run(repo, "local.sh", STUB_PIP_FAILS="1")
    assert failed.returncode == 1
    assert "pip failed" in failed.stderr
    leftover = repo / ".venv" / "leftover"
    leftover.touch()
    assert run(repo, "local.sh").returncode == 0
    assert not leftover.exists()
    assert installed(repo) == ["requirements.txt"]


def test_an_unusable_python_is_refused(repo: Path) -> None:
    done = run(repo, "local.sh", STUB_UNUSABLE="1")
    assert done.returncode == 1
    assert "expected a Python 3.11" in done.stderr
    assert not (repo / ".venv").exists()


def test_every_package_is_listed_for_the_wheel() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    found = set()
    for top, name in (("cdcd_jax", "cdcd_jax"), ("configs", "cdcd_jax.configs")):
        for file in (ROOT / top).rglob("*.py"):
            below = file.parent.relative_to(ROOT / top).parts
            found.add(".".join((name, *below)))
    assert listed == found, "correct [options] packages in setup.cfg"


def test_stoppable_tells_a_stopped_run_from_a_finished_one(repo: Path) -> None:
    script = repo / "launch" / "stoppable.sh"
    assert subprocess.run([script, "true"]).returncode == 0
    assert subprocess.run([script, "bash", "-c", "exit 3"]).returncode == 3
    for code, expected in ((0, 143), (3, 3)):
        child = f"trap 'exit {code}' TERM; echo up; while sleep 0.05; do :; done"
        process = subprocess.Popen([script, "bash", "-c", child], stdout=-1)
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == expected


def test_stoppable_is_told_while_it_starts_its_command(
    repo: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("trap 'sleep 0.2' DEBUG")  # before each command of bash
    child = ["sh", "-c", "kill -TERM $PPID; sleep 10; exit 7"]
    script = repo / "launch" / "stoppable.sh"
    environment = {**os.environ, "BASH_ENV": str(slow)}
    done = subprocess.run([script, *child], env=environment, timeout=60)
    assert done.returncode == 143


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("tpu_vm.sh", ["--name=a", "--zone=b"], "missing: --type --version"),
        ("tpu_vm.sh", ["--nmae=a"], "unknown flag --nmae=a"),
        ("tpu_vm.sh", [*TPU, "--", "--config=a", "--workdir=/x"], "--workdir=gs://"),
        ("tpu_vm.sh", [*TPU, "--name=A b", "--", *PROGRAM], "expected up to 40 small"),
        ("gke.sh", ["--tpu=t", "--topology=1x1"], "missing: --name --image"),
        ("gke.sh", GKE, "either --tpu=TYPE or --gpu=TYPE"),
        ("gke.sh", [*GKE, "--gpu=t"], "missing: --gpus --hosts"),
        ("gke.sh", [*GKE, "--tpu=t", "--topology=4", "--", *PROGRAM], "joined by x"),
        ("slurm.sbatch", ["--config=a"], "this is no SLURM job"),
    ],
)
def test_wrong_flags_say_what_to_do(
    repo: Path, script: str, args: list[str], message: str
) -> None:
    done = run(repo, script, *args)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("script", "args", "program"),
    [
        ("tpu_vm.sh", [*TPU, "--", *PROGRAM], "gcloud"),
        ("gke.sh", [*GKE, "--tpu=t", "--topology=2x2", "--", *PROGRAM], "kubectl"),
    ],
)
def test_missing_programs_are_named(
    repo: Path, script: str, args: list[str], program: str
) -> None:
    tools = repo.parent / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "sed"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = run(repo, script, *args, PATH=str(tools))
    assert f"found no {program} on PATH. Install it" in done.stderr


@pytest.mark.parametrize("script", ["tpu_vm.sh", "gke.sh", "slurm.sbatch"])
def test_help(repo: Path, script: str) -> None:
    done = run(repo, script, "--help")
    assert done.returncode == 0
    assert "--dry-run" in done.stdout
    assert "set -euo" not in done.stdout


def test_the_image_copies_what_exists_and_installs_the_pins() -> None:
    text = (LAUNCH / "Dockerfile").read_text()
    sent = (LAUNCH / "Dockerfile.dockerignore").read_text().splitlines()
    for line in re.findall("^COPY (?:--chmod=755 )?(.+) .+$", text, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in sent, source
    assert "pip install -r requirements.txt" in text
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    for extra in ("tpu", "cuda"):
        wanted = parser["options.extras_require"][extra]
        assert f'{extra}) set -- "{wanted}"' in text, "as setup.cfg has it"
