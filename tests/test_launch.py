"""The launch scripts, with a stub in place of Python: no network, no real .venv."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci" / "run"]

# Makes a stub environment for `-m venv`, records calls of pip, prints other arguments.
STUB = """#!/usr/bin/env bash
here="$(cd "$(dirname "$0")" && pwd)"
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && : > "$3/pip.log" ;;
  "-m pip")
    [[ -z "${STUB_PIP_FAILS:-}" ]] || exit 1
    printf '%s\\n' "${@: -1}" >> "$here/../pip.log" ;;
  -c*) exit "${STUB_UNUSABLE:-0}" ;;
  *) printf '%s\\n' "$PWD" "$@" ;;
esac
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of the scripts in a folder with a space, and the stub interpreter."""
    folder = tmp_path / "a copy"
    shutil.copytree(ROOT / "launch", folder / "launch")
    (folder / "requirements.txt").write_text("jax==1\n")
    stub = tmp_path / "stub" / "python"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    return folder


def run(repo: Path, script: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    stub = repo.parent / "stub" / "python"
    return subprocess.run(
        [repo / "launch" / script, *args],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHON": str(stub), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def installed(repo: Path) -> list[str]:
    log = (repo / ".venv" / "pip.log").read_text().splitlines()
    return [Path(line).name for line in log]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.name == "setup.sh" or os.access(script, os.X_OK)
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
    assert done.stdout.splitlines() == [str(repo), "-m", "pytest", "-k", "a or b"]
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
