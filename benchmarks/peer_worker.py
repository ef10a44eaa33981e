"""Two frameworks in two processes that take turns.

Each has its own threads and its own allocator. PyTorch's OpenMP threads were seen to
spin for about 5 ms after a call; the untimed call before each timed one outlasts that.
The parent starts a `Worker` for each framework; the child runs `serve`. A case is built
once, by name, and then timed again and again.
"""

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Case(NamedTuple):
    """Something to time: `run(n)` does it n times and waits for the end."""

    run: Callable[[int], None]
    info: dict[str, Any]


class Worker:
    """The parent's end: each method is one question and its answer.

    Every method returns ("ok", value) or ("error", one line).
    """

    def __init__(self, module: str, threads: int):
        """Imports `module` in a new process and calls its `main` there."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_child, args=(module, other, threads), daemon=True
        )
        self._process.start()
        other.close()

    def ask(self, question: str, *args: Any) -> tuple[str, Any]:
        """Question 'build', 'time', 'drop', or a name of `serve`'s `others`."""
        try:
            self._connection.send((question, args))
            return self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            self._process.join()
            return "error", f"the process died, exit code {self._process.exitcode}"

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


def _child(module: str, connection: Any, threads: int) -> None:
    threads = limit_threads(threads)  # before thread pools are made
    importlib.import_module(module).main(connection, threads)


def limit_threads(threads: int) -> int:
    """Keeps this process on that many of its cores, 0 for all; how many it has."""
    cores = sorted(os.sched_getaffinity(0))
    threads = min(threads or len(cores), len(cores))
    os.sched_setaffinity(0, cores[:threads])
    return threads


def serve(
    connection: Any,
    builders: Mapping[str, Callable[..., Case]],
    others: Mapping[str, Callable[..., Any]],
) -> None:
    """Answers until the parent hangs up.

    Args:
        connection: the child's end of the pipe.
        builders: kind -> function that builds a case.
        others: question -> function.
    """
    cases: dict[str, Case] = {}

    def build(name: str, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        case = builders[kind](**arguments)
        case.run(1)
        cases[name] = case
        return {"compile_seconds": time.perf_counter() - began, **case.info}

    def timed(name: str, number: int) -> float:
        cases[name].run(1)  # what ran in between has taken caches and page frames
        began = time.perf_counter()
        cases[name].run(number)
        return (time.perf_counter() - began) / number

    questions = {"build": build, "time": timed, "drop": cases.clear, **others}
    while True:
        try:
            question, args = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = "ok", questions[question](*args)
        except Exception as error:  # an out-of-memory is a result, too
            text = f"{type(error).__name__}: {error}"
            answer = "error", " ".join(text.split())[:300]
        connection.send(answer)
