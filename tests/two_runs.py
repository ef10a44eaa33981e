"""Starts two runs at once in one work directory, and checks that only one writes.

    python tests/two_runs.py [--trials=50] [--seed=0] [--steps=30]

Each trial forks two processes that train the same tiny task in one directory, the
second at a random moment after the first. In every second trial the one that holds the
directory is killed (kill -9) at a random moment. Then two more are started at once:
where nobody lives, one of them must take over and end the run. At no time may two
processes write, whoever is refused must say who holds the directory, and each step must
have one row, equal to that of an unbroken run.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import jax.numpy as jnp
import tiny

from cdcd_jax import api
from cdcd_jax.config import experiment
from cdcd_jax.config.keys import TASK_SETTINGS
from cdcd_jax.errors import InputError
from cdcd_jax.runtime import lock
from cdcd_jax.stages import run
from cdcd_jax.tasks import TASKS

REFUSED, TWO_WRITERS, FAILED = 3, 4, 5  # exit codes of a forked run


def settings():
    """Of the task below."""
    return dict(
        data=dict(batch_size=8, synthetic=True, reuse_batch=False),
        model=dict(size=3),
        eval=dict(at_end=False),
    )


class Line:
    """The scale of each number of x, so that x comes out as ones."""

    def __init__(self, config):
        self.size = config["model"]["size"]

    def init(self, key):
        return {"scale": jnp.zeros(self.size)}, {}

    def loss(self, params, extra, batch, key, step):
        error = jnp.mean(jnp.square(batch["x"] * params["scale"] - 1))
        return error, {"error": error}, extra

    def labels(self, params):
        return {"scale": "train"}

    def describe(self):
        numbers = dict(shape=(self.size,), dtype="float32", low=1, high=2)
        return dict(
            conditions={},
            outputs={"x": dict(kind="vector", shape=(self.size,))},
            batch={"x": numbers},
            units=self.size,
            group=1,
            negatives=0,
            given=[],
            kept=[],
        )


TASKS["line"], TASK_SETTINGS["line"] = Line, settings


def config(steps: int) -> dict:
    """Of a run that reports each step and saves often."""
    report = dict(log_every=1, checkpoint_every=5, sample_every=0)
    return experiment(task="line", optim=dict(num_steps=steps), report=report)


def start(workdir: Path, witness: Path, steps: int) -> int:
    """The number of a forked process that trains."""
    process = os.fork()
    if process:
        return process
    code = FAILED
    try:
        log = (witness / f"{os.getpid()}.log").open("w")
        os.dup2(log.fileno(), 2)
        train = run.train

        def watched(*args, **named):
            """Training, during which nobody else may be in here."""
            own = witness / f"{os.getpid()}.writing"
            own.touch()
            others = [int(p.stem) for p in witness.glob("*.writing")]
            if any(alive(other) for other in others if other != os.getpid()):
                os._exit(TWO_WRITERS)
            seconds = train(*args, **named)
            own.unlink()
            return seconds

        run.train = watched
        api.train(config(steps), workdir)
        code = 0
    except InputError as error:
        says = f"process {holder_named(str(error))} on" in str(error)
        code = REFUSED if "another run writes" in str(error) and says else FAILED
        print(error, file=sys.stderr)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def holder_named(text: str) -> str:
    """The number of the process that a refusal names."""
    return text.partition("process ")[2].partition(" ")[0]


def alive(process: int) -> bool:
    """Whether a process runs, by our own look."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def holder(workdir: Path) -> int | None:
    """The process that holds the directory."""
    try:
        return json.loads((workdir / lock.NAME).read_text())["process"]
    except (OSError, ValueError):
        return None


def end(processes: list[int]) -> list[int]:
    """Exit codes, of killed ones negative."""
    return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in processes]


def trial(
    workdir: Path, witness: Path, steps: int, rng: random.Random, kill: bool
) -> str:
    """What happened, in words; raises SystemExit where a promise is broken."""
    witness.mkdir()
    offset = rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 2.5)))
    processes = [start(workdir, witness, steps)]
    time.sleep(offset)
    processes.append(start(workdir, witness, steps))
    killed = None
    if kill:
        time.sleep(rng.uniform(0.05, 2.0))
        killed = holder(workdir)
        if killed in processes:
            os.kill(killed, signal.SIGKILL)
    first = end(processes)
    second = end([start(workdir, witness, steps) for _ in range(2)])
    codes = first + second
    logs = "".join(file.read_text() for file in witness.glob("*.log"))
    if TWO_WRITERS in codes or FAILED in codes:
        raise SystemExit(f"codes {codes} in {workdir}:\n{logs}")
    if not set(first) & {0, -signal.SIGKILL} or 0 not in second:
        raise SystemExit(f"nobody went on: {codes} in {workdir}:\n{logs}")
    if (workdir / lock.NAME).exists() or list(workdir.glob(f"{lock.NAME}*.taking")):
        raise SystemExit(f"the directory was not freed: {workdir}")
    return f"second after {offset:.2f} s, killed {killed is not None}, codes {codes}"


def check_rows(workdir: Path, expected: dict) -> None:
    """Each step has one row, and it is the unbroken run's."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["step"] for line in lines]
    if numbers != list(expected):
        raise SystemExit(f"steps {numbers} in {workdir}")
    if tiny.rows(workdir) != expected:
        raise SystemExit(f"the rows of {workdir} differ")


def main() -> None:
    """Prints a line a trial, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args()
    rng, killed = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w").mkdir()
        if end([start(folder / "unbroken", folder / "w", args.steps)]) != [0]:
            raise SystemExit("".join(f.read_text() for f in (folder / "w").iterdir()))
        expected = tiny.rows(folder / "unbroken")
        for number in range(args.trials):
            workdir, witness = folder / f"run_{number}", folder / f"witness_{number}"
            told = trial(workdir, witness, args.steps, rng, kill=number % 2 == 1)
            check_rows(workdir, expected)
            killed += "-9" in told
            print(f"trial {number}: {told}", flush=True)
    print(
        f"{args.trials} trials, {killed} holders killed: never two writers, one row a "
        "step, equal to the unbroken run's"
    )


if __name__ == "__main__":
    main()
