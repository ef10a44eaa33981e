"""Kills a short run at random moments and checks that nothing is lost.

    python tests/kills.py [--kills=200] [--seed=0] [--steps=60]

A run of the tiny digits, with a checkpoint every 5 steps, is killed (SIGTERM or kill -9
in turns by chance) at a random moment: while it starts, between steps, while it saves.
It is started again, and again, until it ends; then the next run begins, until all kills
are done. Each start must go on from the newest finished checkpoint, no checkpoint may
be damaged, and the rows of every run must equal those of the unbroken one.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny

ROOT = Path(__file__).resolve().parents[1]


def start(workdir: Path, steps: int) -> subprocess.Popen:
    """The command line, as its own process."""
    flags = tiny.flags(
        config__optim__num_steps=steps,
        config__report__checkpoint_every=5,
    )
    return subprocess.Popen(
        [sys.executable, "-m", "cdcd_jax.main", *flags, f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def newest(workdir: Path) -> int:
    """The step of the newest finished checkpoint, 0 if there is none."""
    folder = workdir / "checkpoints"
    names = [p.name for p in folder.iterdir()] if folder.exists() else []
    return max((int(name) for name in names if name.isdigit()), default=0)


def kill_at_random(
    process: subprocess.Popen, rng: random.Random, steps: int
) -> tuple[str, list[str]]:
    """Kills the process, unless it ends before; what was done, and what it printed."""
    number = rng.choice((signal.SIGTERM, signal.SIGKILL))
    starting = rng.random() < 0.25
    goal = "" if starting else f"step {rng.randrange(1, 25)} more"
    delay = rng.random() * (6.0 if starting else 0.3)
    lines, done = [], threading.Event()

    def strike() -> None:
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(number)
            done.set()

    more = int(goal.split()[1]) if goal else 0
    striking = threading.Thread(target=strike, daemon=True)
    if starting:
        striking.start()
    for line in process.stderr:
        lines.append(line)
        seen = sum(bool(re.match(r"step \d+/", text)) for text in lines)
        if not starting and not striking.is_alive() and not done.is_set():
            if seen >= more:
                striking.start()
                starting = True  # once only
    process.wait()
    name = signal.Signals(number).name if done.is_set() else "none"
    return f"{name} {'while starting' if not goal else 'after ' + goal}", lines


def check_start(lines: list[str], before: int) -> None:
    """The run went on from the newest checkpoint, and found no damage."""
    text = "".join(lines)
    if "damaged" in text or "Traceback" in text:
        raise SystemExit(f"damage:\n{text}")
    found = re.search(r"^step (\d+)/", text, re.M)
    if found and int(found.group(1)) != before + 1:
        raise SystemExit(f"went on at {found.group(1)}, not after {before}:\n{text}")


def main() -> None:
    """Prints a line a kill, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    kills = runs = starts = 0
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/compiled")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        unbroken = Path(folder, "unbroken")
        process = start(unbroken, args.steps)
        text = process.communicate()[1]
        assert process.returncode == 0, text
        expected = tiny.rows(unbroken)
        while kills < args.kills or starts:
            workdir = Path(folder, f"run_{runs}")
            before = newest(workdir)
            process, starts = start(workdir, args.steps), starts + 1
            if kills < args.kills:
                what, lines = kill_at_random(process, rng, args.steps)
            else:
                what, lines = "none", process.communicate()[1].splitlines(True)
            check_start(lines, before)
            if not what.startswith("none"):
                kills += 1
                kind = what.split()[0] + (" starting" if "while" in what else "")
                counts[kind] = counts.get(kind, 0) + 1
                print(f"kill {kills} of run {runs}: {what}, step {before} ->", end=" ")
                print(newest(workdir), flush=True)
            elif process.returncode != 0:
                raise SystemExit(f"exit code {process.returncode}:\n{''.join(lines)}")
            if process.returncode == 0 and newest(workdir) == args.steps:
                if tiny.rows(workdir) != expected:
                    raise SystemExit(f"the rows of run {runs} differ")
                print(f"run {runs} ended after {starts} starts; rows equal", flush=True)
                shutil.rmtree(workdir)
                runs, starts = runs + 1, 0
    print(f"{kills} kills {counts} in {runs} runs: all resumed, all rows equal")


if __name__ == "__main__":
    main()
