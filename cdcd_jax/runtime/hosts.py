"""Several processes as one program: start-up, who reports, and one agreed stop.

JAX runs one process a host (or a GPU). `start` joins them:

    CDCD_JAX_HOSTS=auto            as JAX finds them: Cloud TPU, GKE, SLURM, Open MPI
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID   explicit, all three
    srun with several tasks        by itself
    CDCD_JAX_HOSTS=off             never

A single host needs none of them.
"""

import contextlib
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cdcd_jax.errors import UsageError

EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
DEAF_SECONDS = 1.0  # after which a main thread is taken to be at work elsewhere


def start() -> None:
    """Joins the other processes, if there are any. Call before JAX is used.

    Raises:
        UsageError: environment variables that contradict each other.
    """
    wish = os.environ.get("CDCD_JAX_HOSTS", "")
    if wish not in ("", "auto", "off"):
        raise UsageError(
            f"CDCD_JAX_HOSTS={wish!r} is unknown: set auto or off, or unset it"
        )
    if wish == "off" or jax.distributed.is_initialized():
        return
    given = {name: os.environ[name] for name in EXPLICIT if os.environ.get(name)}
    slurm = int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ
    if wish != "auto" and given:
        jax.distributed.initialize(**_explicit(given))
    elif wish == "auto" or slurm:
        try:
            jax.distributed.initialize()
        except ValueError as error:  # none found, or one that JAX cannot use
            raise UsageError(
                f"found no cluster that JAX knows ({error}): set "
                f"{', '.join(EXPLICIT)}, or unset CDCD_JAX_HOSTS on a single host"
            ) from error


def _explicit(given: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in EXPLICIT if name not in given]
    numbers = [given.get(name, "") for name in EXPLICIT[1:]]
    if missing or not all(n.isdigit() for n in numbers):
        raise UsageError(
            f"found {given} in the environment; expected {', '.join(EXPLICIT)}, the "
            "last two whole numbers: set all three, or none on a single host"
        )
    count, index = map(int, numbers)
    if index >= count:
        raise UsageError(
            f"JAX_PROCESS_ID={index} is not below JAX_NUM_PROCESSES={count}: number "
            "the processes from 0"
        )
    return dict(
        coordinator_address=given[EXPLICIT[0]], num_processes=count, process_id=index
    )


def is_main() -> bool:
    """Whether this process writes reports."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """One process's line for the terminal, wrapped to 80 columns."""
    if is_main():
        lines = textwrap.wrap(
            text,
            width=80,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        print("\n".join(lines), file=sys.stderr, flush=True)


def wait_for_all(name: str) -> None:
    """Returns when every process has come to the point `name`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def all_agree(fine: bool) -> bool:
    """Whether all processes say so; also a barrier."""
    if jax.process_count() == 1:
        return fine
    return bool(np.all(multihost_utils.process_allgather(np.asarray(fine))))


class Stop:
    """Whether to stop, agreed among all processes.

    A single process collects SIGTERM, SIGINT and SIGHUP instead of dying of them. Of
    several, JAX's coordination service tells all when one got SIGTERM, and picks the
    step.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._said, self.over = threading.Lock(), threading.Event()

    def after(self, step: int) -> bool:
        """Whether the step just done is the last one. Every process asks at each."""
        if jax.process_count() == 1:
            return bool(self.received)
        return multihost_utils.reached_preemption_sync_point(step)

    @property
    def reason(self) -> str:
        """The signal's name."""
        return signal.Signals(self.received[0] if self.received else 15).name

    @property
    def exit_code(self) -> int:
        """Of a run that was stopped: 130 by Ctrl-C, 0 by a scheduler."""
        return 130 if signal.SIGINT in self.received[:1] else 0

    def receive(self, number: int) -> None:
        """Notes a signal, and says what it does.

        Raises:
            KeyboardInterrupt: it is the second one.
        """
        if self.received and number == signal.SIGHUP:
            return  # a terminal that is closed sends it, and its shell does so again
        self.received.append(number)
        if len(self.received) > 1:
            raise KeyboardInterrupt(f"second signal, {signal.Signals(number).name}")
        self._say(number)

    def _say(self, number: int) -> None:
        if self._said.acquire(blocking=False):  # once
            print(
                f"{signal.Signals(number).name}: stopping after this step, which is "
                "then saved; once more stops now, and what came after the last "
                "checkpoint is lost",
                file=sys.stderr,
                flush=True,
            )

    def listen(self, pipe: int) -> None:
        """For a main thread that compiles or waits for a device, and so hears nothing.

        Args:
            pipe: gives the number of each signal as a byte, until it is closed.
        """
        heard = 0
        while True:
            number = os.read(pipe, 1)
            if not number or self.over.wait(DEAF_SECONDS):
                return
            if heard and number[0] == signal.SIGHUP:
                continue
            heard += 1
            if len(self.received) >= heard:  # the main thread has the first word
                continue
            self._say(number[0])
            if heard > 1:
                print("stopped", file=sys.stderr, flush=True)
                os._exit(130)


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Handles signals while a run can be stopped between two steps.

    Not in a thread of its own: there signals come to the main one alone.
    """
    stop, numbers = Stop(), (signal.SIGTERM, signal.SIGINT)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        numbers += (signal.SIGHUP,)
    alone = jax.process_count() == 1
    if not alone:  # SIGTERM belongs to the coordination service
        numbers = (signal.SIGINT,)
    if threading.current_thread() is not threading.main_thread():
        numbers = ()

    def handle(number: int, _: object) -> None:
        stop.receive(number)
        if not alone:
            os.kill(os.getpid(), signal.SIGTERM)

    old = [signal.signal(number, handle) for number in numbers]
    try:
        with _heard_by(stop) if alone and numbers else contextlib.nullcontext():
            yield stop
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _heard_by(stop: Stop) -> Iterator[None]:
    """Python calls handlers between two of its own steps; a thread hears meanwhile."""
    pipe, end = os.pipe()
    os.set_blocking(end, False)
    thread = threading.Thread(target=stop.listen, args=(pipe,), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        stop.over.set()
        os.close(end)
        thread.join()
        os.close(pipe)
