"""Do the tests notice single-line faults? Run by hand: python tests/mutants.py

Each fault of `mutants.txt` is put into a temporary copy of the repository, alone, and
the tests that must catch it run there, on the copy's own package. Then the line is put
back. Before that all named tests must pass on the copy as it is, which also compiles
what they share. A fault is caught where a test fails; one that breaks an import is no
fault that a test is needed for. Ends with 1 if any is missed, takes longer than the
limit, or is not found exactly once.
"""

import argparse
import ast
import concurrent.futures
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutants.txt"
COPIED = ("cdcd_jax", "configs", "tests", "benchmarks", "docs", "launch")
LIMIT = 60.0  # seconds in which a fault must be caught


class Mutant(NamedTuple):
    """One fault: `old` in the file becomes `new`, which `tests` must notice."""

    file: str  # below cdcd_jax/
    old: str
    new: str
    tests: tuple[str, ...]  # below tests/

    def __str__(self) -> str:
        return f"{self.file}: {self.old} -> {self.new or '(nothing)'}"

    @property
    def path(self) -> str:
        return f"cdcd_jax/{self.file}"

    def fault(self, text: str) -> str:
        """What keeps it from being put into the file's text, or ''."""
        if text.count(self.old) != 1:
            return f"the old text is there {text.count(self.old)} times, not once"
        if self.old == self.new:
            return "the new text is the old one"
        try:
            ast.parse(text.replace(self.old, self.new))
        except SyntaxError as error:
            return f"the new text is no Python ({error})"
        return ""


def read(text: str) -> list[Mutant]:
    """The faults of a list: a file, '- old', '+ new', '= tests', in this order.

    Raises:
        ValueError: a line that has no place.
    """
    mutants, file, found = [], "", {}
    for number, line in enumerate(text.splitlines(), 1):
        mark, _, rest = line.strip().partition(" ")
        if not mark or mark == "#":
            continue
        if line[0] != " ":
            file = line.strip()
        elif mark not in "-+=" or mark in found or ("-+=".index(mark) != len(found)):
            raise ValueError(f"line {number} of the list has no place: {line}")
        else:
            found[mark] = rest
        if len(found) == 3:
            tests = tuple(found["="].split())
            mutants.append(Mutant(file, found["-"], found["+"], tests))
            found = {}
    return mutants


class Copy:
    """A copy of the repository, in which one fault at a time is tried."""

    def __init__(self, folder: pathlib.Path, cache: pathlib.Path) -> None:
        litter = shutil.ignore_patterns("__pycache__", ".*")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=litter)
        for file in ROOT.iterdir():
            if file.is_file() and file.name[0] != ".":
                shutil.copy(file, folder)
        self._folder = folder
        self._env = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
        }
        where = "import cdcd_jax; print(cdcd_jax.__file__)"
        found = self._python("-c", where)[1].strip()
        if not found.startswith(str(folder)):
            raise RuntimeError(f"the tests would try {found}, not {folder}")

    def _python(self, *words: str, limit: float = 3600.0) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=self._folder,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return -1, ""
        return done.returncode, done.stdout + done.stderr

    def run(self, tests: list[str], limit: float = 3600.0) -> tuple[int, str]:
        """Exit code of pytest, -1 after the limit, and what it wrote."""
        words = ("-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider")
        paths = (f"tests/{test}" for test in tests)
        return self._python(*words, *paths, limit=limit)

    def verdict(self, mutant: Mutant, limit: float) -> tuple[bool, str]:
        """Whether the tests notice the fault, and the first that does or what else."""
        path = self._folder / mutant.path
        whole = path.read_text()
        if fault := mutant.fault(whole):
            return False, fault
        try:
            self._write(path, whole.replace(mutant.old, mutant.new))
            code, text = self.run(list(mutant.tests), limit)
        finally:
            self._write(path, whole)
        failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", text, re.MULTILINE)
        named = failed.group(1) if failed else ""
        if code == 1:
            return True, named
        said = {-1: f"not in {limit:.0f} s", 0: "all tests pass"}
        return False, said.get(code, f"pytest ends with {code}: {named or text[-300:]}")

    def _write(self, path: pathlib.Path, text: str) -> None:
        path.write_text(text)
        # two versions of a second and of one size look alike to Python
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            stale.unlink()


def try_all(mutants: list[Mutant], jobs: int, limit: float) -> int:
    """Prints a line for each fault and the sum; returns how many are not caught."""
    with tempfile.TemporaryDirectory(prefix="cdcd_jax_mutants_") as root:
        place, cache = pathlib.Path(root), pathlib.Path(root) / "compiled"
        every = [Copy(place / f"copy_{i}", cache) for i in range(jobs)]
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in every:
            copies.put(copy)
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        began, parts = time.perf_counter(), [tests[i::jobs] for i in range(jobs)]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            whole = lambda copy, part: copy.run(part) if part else (0, "")
            for code, text in pool.map(whole, every, parts):
                if code:
                    print(
                        f"{text[-3000:]}\nthe tests must pass before faults are tried"
                    )
                    return len(mutants)
        seconds = time.perf_counter() - began
        print(f"all named tests pass without a fault, {seconds:.0f} s", flush=True)

        def tried(mutant: Mutant) -> tuple[Mutant, bool, str, float]:
            copy, began = copies.get(), time.perf_counter()
            try:
                caught, said = copy.verdict(mutant, limit)
            finally:
                copies.put(copy)
            return mutant, caught, said, time.perf_counter() - began

        missed = 0
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for mutant, caught, said, seconds in pool.map(tried, mutants):
                missed += not caught
                word = "caught" if caught else "MISSED"
                print(f"{word} {seconds:4.0f} s  {mutant}\n{'':15}{said}", flush=True)
    print(f"{len(mutants) - missed} of {len(mutants)} caught")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose text has this in it")
    parser.add_argument("--jobs", type=int, default=2, help="copies, used at once")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds a fault")
    options = parser.parse_args()
    mutants = [m for m in read(LIST.read_text()) if options.only in f"{m} {m.tests}"]
    if not mutants:
        print(f"no fault has {options.only!r} in it")
        return 1
    return int(try_all(mutants, options.jobs, options.limit) > 0)


if __name__ == "__main__":
    sys.exit(main())
