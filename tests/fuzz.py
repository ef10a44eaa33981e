"""Damages files of every kind that is read, and checks that damage is refused.

    python tests/fuzz.py [--cases=1000] [--seed=0] [--kinds=shards,cards] [--only=137]

Case i takes a kind in turn (records, shards, cards, images, sounds, pickles, weights,
checkpoints, folders, classes, levels, lines, headers), truncates a file, flips or drops
bytes, writes a value of another type, adds links and odd names, picks a mode of levels,
an end of lines or a length that a head says, and reads it as the program does. The
outcome must be one of

    right    exactly what was written
    read     a value of the promised form, where the format has no checksum to compare
    refused  an InputError or Unreadable

All else is a fault: another value, another exception, a crash, or a case that takes
longer than a minute. The cases run in a child process, which starts again after a
crash or a hang. Prints the counts by kind and every fault; the exit code is 1 if there
is one.
"""

import argparse
import collections
import json
import os
import queue
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECONDS = 60  # for a case; the first one also imports
START_SECONDS = 240
MEMORY = 24 << 30  # bytes of address space


def child(arguments: argparse.Namespace) -> None:
    """Runs cases from `--first` on; a line of JSON before each and one after it."""
    import fuzz_contents
    import fuzz_files
    import fuzz_folders
    import fuzz_records
    import fuzz_sounds

    from cdcd_jax.data.sources import Unreadable
    from cdcd_jax.errors import InputError

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    known = {
        "records": fuzz_records.Records,
        "shards": fuzz_records.Shards,
        "cards": fuzz_records.Cards,
        "images": fuzz_files.Images,
        "sounds": fuzz_files.Sounds,
        "pickles": fuzz_files.Pickles,
        "weights": fuzz_files.Weights,
        "checkpoints": fuzz_files.Checkpoints,
        "folders": fuzz_folders.Folders,
        "classes": fuzz_folders.Classes,
        "levels": fuzz_contents.Levels,
        "lines": fuzz_contents.Lines,
        "headers": fuzz_sounds.Headers,
    }
    kinds = arguments.kinds.split(",") if arguments.kinds else list(known)
    with tempfile.TemporaryDirectory(prefix="cdcd_jax_fuzz_") as folder:
        readers = {name: known[name](Path(folder)) for name in kinds}
        for case in range(arguments.first, arguments.cases):
            kind = kinds[case % len(kinds)]
            rng = random.Random(f"{arguments.seed} {case}")
            damage = readers[kind].damage(rng)
            tell(case=case, kind=kind, damage=damage)
            try:
                outcome, detail = readers[kind].read(), ""
            except (InputError, Unreadable) as error:
                outcome, detail = "refused", str(error)
            except BaseException:
                outcome, detail = "fault", traceback.format_exc(limit=-6)
            tell(case=case, outcome=outcome, detail=detail)


def tell(**content: object) -> None:
    """One line to the parent."""
    print(json.dumps(content), flush=True)


class Child:
    """The process that runs the cases, and its lines with a time limit."""

    def __init__(self, argv: list[str], first: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child", f"--first={first}", *argv],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        self._lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def lines(self) -> Iterator[dict]:
        """What the child tells; TimeoutError if it is silent for too long."""
        seconds = START_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                return
            if line.startswith("{"):
                yield json.loads(line)
                seconds = SECONDS

    def end(self) -> str:
        """Stops it, if it runs; how it ended, and its last words."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        code = self.process.wait()
        self._errors.seek(0)
        return f"exit code {code}: {self._errors.read()[-600:]}"


def run(argv: list[str], first: int, last: int, out: TextIO) -> dict:
    """All cases; {(kind, outcome): count}. Faults are printed as they come."""
    counts: collections.Counter = collections.Counter()
    while first < last:
        worker, started, ended = Child(argv, first), None, None
        try:
            for line in worker.lines():
                if "damage" in line:
                    started = line
                    continue
                ended = line["case"]
                counts[started["kind"], line["outcome"]] += 1
                if line["outcome"] == "fault":
                    report(out, started, line["detail"])
            words = worker.end()
        except TimeoutError:
            words = f"silent for too long; {worker.end()}"
        if started is None:
            raise SystemExit(f"no case was run: {words}")
        if ended != started["case"]:
            counts[started["kind"], "fault"] += 1
            report(out, started, words)
        first = started["case"] + 1
    return counts


def report(out: TextIO, started: dict, what: str) -> None:
    """One fault."""
    case = f"{started['case']} ({started['kind']}: {started['damage']})"
    print(f"FAULT case {case}\n{what}", file=out, flush=True)


def table(counts: dict) -> str:
    """Lines of kind and number of each outcome."""
    outcomes = ("right", "read", "refused", "fault")
    kinds = sorted({kind for kind, _ in counts})
    lines = ["".join(f"{title:>12}" for title in ("kind", *outcomes))]
    for kind in (*kinds, "all"):
        numbers = [
            sum(
                n for (k, o), n in counts.items() if o == outcome and kind in (k, "all")
            )
            for outcome in outcomes
        ]
        lines.append(f"{kind:>12}" + "".join(f"{number:12d}" for number in numbers))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="with commas; all if empty")
    parser.add_argument("--only", type=int, help="one case, to see it again")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        child(arguments)
        return 0
    if arguments.only is not None:
        arguments.first, arguments.cases = arguments.only, arguments.only + 1
    passed = [
        f"--{name}={getattr(arguments, name)}" for name in ("cases", "seed", "kinds")
    ]
    counts = run(passed, arguments.first, arguments.cases, sys.stdout)
    print(table(counts))
    return int(any(outcome == "fault" for _, outcome in counts))


if __name__ == "__main__":
    sys.exit(main())
