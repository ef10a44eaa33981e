"""Stubs for Python, clouds and SLURM, and a copy of the launch scripts beside them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"

# flags of runs
PROGRAM = ["--config=configs/imagenet.py", "--workdir=gs://b/r", "--name=a 'b' $c"]
TPU = ["--name=run-1", "--zone=us-west4-a", "--type=v5litepod-16", "--version=v"]
GKE = ["--name=run-1", "--image=host/a:1"]

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
# Notes its call and takes its answer from files: a line of `states` for each look at
# the queued resources, a line of `codes` for each run.
GCLOUD = """#!/usr/bin/env bash
cd "$(dirname "$0")"
printf '%s\\n' "$*" >> calls
pop() { head -n 1 "$1"; sed -i 1d "$1"; }
case "$*" in
  *"queued-resources list"*)
    state="$(pop states)"
    [[ "$state" != error ]] || exit 1
    printf 'run-10,FAILED\\n'
    [[ "$state" == none ]] || printf 'run-1,%s\\n' "$state" ;;
  *"worker.sh run"*) exit "$(pop codes)" ;;
esac
"""
# Says what it was called with; `apply` also what it read.
KUBECTL = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$(dirname "$0")/calls"
[[ "$1" != apply ]] || cat > "$(dirname "$0")/applied"
[[ "$1" != get || -z "${STUB_NO_JOBSET:-}" ]]
"""
SRUN = """#!/usr/bin/env bash
trap 'printf "saved\\n"; exit "${STUB_CODE:-0}"' TERM
printf '%s\\n' "devices ${JAX_LOCAL_DEVICE_IDS:-unset}" "$@"
printf '%s\\n' $$ > "$(dirname "$0")/srun.pid"
for _ in {1..100}; do [[ -n "${STUB_WAITS:-}" ]] && sleep 0.1; done
exit "${STUB_CODE:-0}"
"""
SCANCEL = """#!/usr/bin/env bash
[[ "$*" == "--signal=TERM 7" ]] && kill -TERM "$(< "$(dirname "$0")/srun.pid")"
"""
SCONTROL = """#!/usr/bin/env bash
printf '%s\\n' "scontrol $*"
"""
STUBS = dict(
    python=STUB,
    gcloud=GCLOUD,
    kubectl=KUBECTL,
    srun=SRUN,
    scancel=SCANCEL,
    scontrol=SCONTROL,
)


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def copy_of_scripts(tmp_path: Path) -> Path:
    """A copy of the scripts in a folder with a space, and the stubs beside it."""
    folder = tmp_path / "a copy"
    shutil.copytree(LAUNCH, folder / "launch")
    (folder / "requirements.txt").write_text("jax==1\n")
    (folder / "configs").mkdir()
    (folder / "cdcd_jax").mkdir()
    (folder / "cdcd_jax" / "main.py").touch()
    for name, text in STUBS.items():
        write_program(tmp_path / "stub" / name, text)
    return folder


def environment(repo: Path, **env: str) -> dict[str, str]:
    stubs = repo.parent / "stub"
    path = f"{stubs}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHON": str(stubs / "python"), **env}


def run(repo: Path, script: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [repo / "launch" / script, *args],
        cwd="/",
        env=environment(repo, **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def installed(repo: Path) -> list[str]:
    log = (repo / ".venv" / "pip.log").read_text().splitlines()
    return [Path(line).name for line in log]


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in 15 s")
