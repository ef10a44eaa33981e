"""One writer in a work directory, on whatever disk it lies.

The writer keeps a file `.in_use` there, which says who it is, and touches it while it
works. A writer of this machine is looked at: if its process has gone, or its number is
another process's by now, the next one takes over. That of another machine cannot be
looked at, and counts until its file has not been touched for `STALE_SECONDS`.

The file comes into being by a hard link (or, where a disk has none, by O_EXCL; in an
object store, by a condition on the object), which only one can make; kernel locks are
not kept on all network disks. Whoever takes over does so under a second such file, and
looks again once it holds that one, so that two who see the same dead writer do not
both become the next.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdcd_jax.errors import InputError
from cdcd_jax.runtime import hosts, lock_files

NAME = ".in_use"
BEAT_SECONDS = 30.0
STALE_SECONDS = 600.0
AHEAD_SECONDS = 86400.0
_HELD: dict[str, "Lock"] = {}  # of this process, by the place of its file


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who writes: a process that no other can be taken for.

    Attributes:
        host: name of the machine, for people.
        machine: what tells machines and containers apart, also of one name.
        process: its number.
        started: when the process began, in the clock ticks of that machine; None where
            the system does not tell.
        since: when it began to write, UTC.
        token: another one each time.
    """

    host: str
    machine: str
    process: int
    started: int | None
    since: str
    token: str

    @classmethod
    def this_process(cls) -> "Holder":
        """Who calls."""
        now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
        process = os.getpid()
        return cls(
            host=socket.gethostname(),
            machine=_machine(),
            process=process,
            started=_started(process),
            since=now.removesuffix("+00:00"),
            token=uuid.uuid4().hex,
        )

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if that cannot be seen from here."""
        if self.machine != _machine():
            return None
        found = _started(self.process)
        if found is not None:
            return self.started in (found, None)
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's, of whom /proc may tell nothing
            return True
        return self.started is None  # else it has ended, and nobody has asked how


class Lock:
    """A lock that this process has; see `held`."""

    def __init__(self, file: Any, holder: Holder) -> None:
        self._file, self._holder = file, holder
        self._done, self._lost = threading.Event(), False
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the disk may come back
                if self._is_ours():
                    self._file.touch()

    def _is_ours(self) -> bool:
        found = self._file.read()
        return found is not None and _parsed(found[0]) == self._holder

    def check(self) -> None:
        """Raises InputError if another one has taken over, or the file was deleted."""
        if not self._is_ours():
            raise InputError(
                f"Found that {self._file} is no longer this run's: it stood still for "
                "long, and another run took over, or somebody deleted the file. "
                "Nothing more is written. If no other run is there, start this one "
                "again; it goes on from its last checkpoint."
            )

    def release(self) -> None:
        """Frees the directory."""
        self._done.set()
        self._beats.join()
        with contextlib.suppress(OSError):  # then the next one sees that we are gone
            if self._is_ours():
                self._file.remove()


@contextlib.contextmanager
def held(directory: Any) -> Iterator[None]:
    """The right to write in a work directory, which is made; of several processes of
    one run, the first holds it for all.

    Args:
        directory: local path or URL of an object store.

    Raises:
        InputError: another run writes there, or nobody can.
    """
    file, lock, error, made = lock_files.at(directory, NAME), None, None, []
    if hosts.is_main():
        try:
            made = file.make_folder()
            lock = Lock(file, _taken(file, directory))
            file.sweep(STALE_SECONDS)
        except OSError as problem:
            error = InputError(
                f"Found that nothing can be written to {directory} "
                f"({problem.strerror or problem}); expected a directory with room and "
                "the right to write. Make room there, or choose another one with "
                "--workdir."
            )
        except InputError as problem:
            error = problem
    try:
        if not hosts.all_agree(error is None):
            raise error or InputError(
                f"Found that the first process of this run cannot write to {directory};"
                " expected that it can; see its message."
            )
        if lock is not None:
            _HELD[str(file)] = lock
        yield
    finally:
        if lock is not None:
            _HELD.pop(str(file), None)
            lock.release()
        for folder in made:  # that hold nothing else
            with contextlib.suppress(OSError):
                folder.rmdir()


def check_held(directory: Any) -> None:
    """Raises InputError if this process held a directory and has lost it.

    Called before something is written that another writer's would mix with.
    """
    lock = _HELD.get(str(lock_files.at(directory, NAME)))
    if lock is not None:
        lock.check()


def _taken(file: Any, directory: Any) -> Holder:
    """Makes the file ours.

    Raises:
        InputError: somebody else's it is.
        OSError: it cannot be written.
    """
    own = Holder.this_process()
    text = json.dumps(dataclasses.asdict(own), indent=2).encode() + b"\n"
    for _ in range(100):  # who holds it may leave between two looks
        if file.create(text):
            return own
        found = file.read()
        if found is None:
            continue
        if (reason := _why_in_use(*found)) is not None:
            raise InputError(_in_use(file, directory, reason))
        taking = file.beside(".taking")
        _taken(taking, directory)
        try:
            found = file.read()  # another one may have been faster
            if found is not None and _why_in_use(*found) is None:
                file.replace(text)
                return own
        finally:
            taking.remove()
    raise InputError(_in_use(file, directory, "others that come and go"))


def _why_in_use(text: bytes, age: float) -> str | None:
    """Who holds a file of that content, touched so many seconds ago; None: nobody."""
    holder = _parsed(text)
    alive = None if holder is None else holder.is_alive()
    # more than a day ahead is no other clock: one was wrong, and nobody came since
    silent = age > STALE_SECONDS or age < -AHEAD_SECONDS
    if alive is False or (alive is None and silent):
        return None
    if holder is None:
        return f"somebody whose file cannot be read, {age:.0f} s ago"
    who = f"process {holder.process} on {holder.host}, since {holder.since} UTC"
    if alive:
        return who
    return f"{who}; it last said so {max(age, 0):.0f} s ago"


def _in_use(file: Any, directory: Any, who: str) -> str:
    return (
        f"Found that another run writes to {directory}: {who}. Expected one run at a "
        "time in a work directory. Wait for it or stop it, or choose another "
        "--workdir. If that process is surely gone, or this directory is a copy of the "
        f"one where it writes, delete {file}; one of another "
        f"machine counts as gone after {STALE_SECONDS / 60:.0f} minutes of silence"
    )


def _parsed(text: bytes) -> Holder | None:
    try:
        found = Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None
    sound = isinstance(found.process, int) and 0 < found.process < 2**31
    return found if sound and isinstance(found.started, int | None) else None


def _machine() -> str:
    """One boot of one machine, and in it one numbering of processes."""
    boot, numbers = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {boot} {numbers}".strip()


def _started(process: int) -> int | None:
    """When a process began; None if there is none, a dead one, or no way to know."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces
    return None if fields[0] in "ZX" else int(fields[19])
