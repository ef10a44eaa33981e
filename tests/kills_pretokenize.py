"""Kills the making of records at random moments; the bytes must come out the same.

    python tests/kills_pretokenize.py [--kills=20] [--seed=0] [--examples=12000]

Captioned digits go through a small tokenizer with weights of its own into shards with a
table of negatives. The job is killed (kill -9 or SIGTERM by chance) at a random moment
of its length, started again, and so on; when it has ended, all files must equal those
of the unbroken job, and the next job begins, until all kills are done. At last, the
same records are made by two processes, and by one with four devices.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIG = """
from ml_collections import ConfigDict
from cdcd_jax.config import experiment

def get_config(variant=""):
    tokenizer = dict(kind="checkpoint", path={tokenizer!r})
    records = dict(
        mode="pretokenize",
        seed=1,
        data=dict(
            raw="captioned_digits",
            options=dict(train_examples={examples}, test_examples=300),
            shard_records=400,
            views=2,
        ),
        tokenizer=tokenizer,
        grid=(8, 8),
        batch_size=32,
        text=dict(length=24),
        negatives=dict(number=4, rule="caption"),
    )
    return ConfigDict(experiment(stages=dict(records=records)))
"""


def write_tokenizer(folder: Path) -> None:
    """An untrained tokenizer of 16 x 16 grey pictures."""
    from cdcd_jax.config import experiment
    from cdcd_jax.reporting.files import write_json
    from cdcd_jax.runtime.checkpoint import Checkpoints
    from cdcd_jax.training import program
    from cdcd_jax.training.step import init_state

    config = experiment(
        task="tokenizer",
        model=dict(
            resolution=16,
            image_channels=1,
            channels=8,
            channel_mult=(1,),
            num_res_blocks=0,
            latent_channels=8,
            patch=2,
        ),
        quantizer=dict(num_codes=64, dim=4),
    )
    task, optimizer = program.build(config)
    write_json(folder / "config.json", config)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(0, init_state(task, optimizer, 0))


def start(config: Path, workdir: Path, **env: str) -> subprocess.Popen:
    """The command line, as its own process."""
    flags = (f"--config={config}", "--mode=pretokenize", f"--workdir={workdir}")
    return subprocess.Popen(
        [sys.executable, "-m", "cdcd_jax.main", *flags],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    """Waits; raises SystemExit where one fails."""
    for process in processes:
        text = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"exit code {process.returncode}:\n{text}")


def contents(workdir: Path) -> dict[str, bytes]:
    """All files of the records."""
    return {path.name: path.read_bytes() for path in (workdir / "records").iterdir()}


def check_same(workdir: Path, expected: dict[str, bytes], what: str) -> None:
    """Raises SystemExit unless the files are equal."""
    found = contents(workdir)
    differing = {n for n in {*found, *expected} if found.get(n) != expected.get(n)}
    if differing:
        raise SystemExit(f"{what}: other files or bytes: {sorted(differing)}")


def run_kills(config: Path, folder: Path, kills: int, rng: random.Random) -> None:
    """Kills jobs until enough is killed; each must come out as the unbroken one."""
    began = time.perf_counter()
    finish(start(config, folder / "unbroken"))
    seconds = time.perf_counter() - began
    expected, done, job = contents(folder / "unbroken"), 0, 0
    print(f"unbroken: {seconds:.1f} s, {len(expected)} files", flush=True)
    while done < kills:
        workdir, starts = folder / f"job_{job}", 0
        while True:
            process, starts = start(config, workdir), starts + 1
            number = rng.choice((signal.SIGKILL, signal.SIGTERM))
            try:
                if done >= kills:
                    raise ValueError  # enough: let it end
                process.wait(rng.uniform(0.1, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                process.wait()
                done += 1
                made = len(list((workdir / "records").glob("*.arrayrecord")))
                print(f"kill {done} of job {job}: {made} shards there", flush=True)
                continue
            except ValueError:
                pass
            finish(process)
            break
        check_same(workdir, expected, f"job {job}")
        print(f"job {job} ended after {starts} starts: equal bytes", flush=True)
        job += 1
    print(f"{done} kills in {job} jobs: equal bytes")


def run_together(config: Path, folder: Path) -> None:
    """Two processes, then one with four devices."""
    expected = contents(folder / "unbroken")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = dict(JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}", JAX_NUM_PROCESSES="2")
    two = [
        start(config, folder / "two", **several, JAX_PROCESS_ID=str(index))
        for index in range(2)
    ]
    finish(*two)
    check_same(folder / "two", expected, "two processes")
    finish(start(config, folder / "four", JAX_NUM_CPU_DEVICES="4"))
    check_same(folder / "four", expected, "four devices")
    print("two processes, and four devices: equal bytes")


def main() -> None:
    """Prints a line a kill, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=12_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{name}/compiled")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        write_tokenizer(folder / "tokenizer")
        config = folder / "records.py"
        tokenizer = str(folder / "tokenizer")
        config.write_text(CONFIG.format(tokenizer=tokenizer, examples=args.examples))
        run_kills(config, folder, args.kills, random.Random(args.seed))
        run_together(config, folder)


if __name__ == "__main__":
    main()
