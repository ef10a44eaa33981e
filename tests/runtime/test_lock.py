"""One writer in a directory: who is refused, who takes over, and what is left."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading

import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.runtime import hosts, lock, lock_files


def leave(place, age=0.0, **changes):
    """A file as another writer has it, touched so many seconds ago."""
    holder = dataclasses.replace(lock.Holder.this_process(), **changes)
    place.mkdir(exist_ok=True)
    file = place / lock.NAME
    file.write_text(json.dumps(dataclasses.asdict(holder)))
    now = file.stat().st_mtime
    os.utime(file, (now - age, now - age))
    return file


def ended():
    """The number of a process that is no more."""
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    return process.pid


def test_a_directory_is_made_held_and_freed(tmp_path):
    place = tmp_path / "runs" / "new"
    with lock.held(place):
        (file,) = place.iterdir()
        assert json.loads(file.read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())  # what nobody wrote into is not left
    with lock.held(place):
        (place / "config.json").touch()
    assert [file.name for file in place.iterdir()] == ["config.json"]


def test_it_is_freed_by_an_error_too(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), lock.held(tmp_path):
            raise KeyError
    assert not list(tmp_path.iterdir())


def test_the_second_is_told_who_holds_it_since_when_and_what_to_do(tmp_path):
    with lock.held(tmp_path):
        with pytest.raises(InputError) as refused, lock.held(tmp_path):
            pass
        text = str(refused.value)
        for word in (f"process {os.getpid()}", "since", str(tmp_path / lock.NAME)):
            assert word in text
        lock.check_held(tmp_path)  # the first one keeps it
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "age", "free"),
    [
        (dict(), 1e6, False),  # alive, however long it was not touched
        (dict(started=1), 0, True),  # its number is another process's by now
        (dict(started=None), 0, False),  # a system that does not tell
        (dict(machine="another"), 0, False),
        (dict(machine="another"), lock.STALE_SECONDS - 60, False),
        (dict(machine="another"), lock.STALE_SECONDS + 60, True),
        (dict(machine="another"), -3600, False),  # touched by a clock that is ahead
        (dict(process=1, started=None), 0, False),  # somebody else's
    ],
)
def test_who_counts_as_gone(tmp_path, changes, age, free):
    file = leave(tmp_path, age, **changes)
    before = file.read_text()
    if free:
        with lock.held(tmp_path):
            assert json.loads(file.read_text())["process"] == os.getpid()
        assert not list(tmp_path.iterdir())
        return
    with pytest.raises(InputError, match="another run writes"), lock.held(tmp_path):
        pass
    assert file.read_text() == before


def test_a_writer_that_was_killed_is_followed(tmp_path):
    leave(tmp_path, process=ended())
    with lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def hold_until_killed(place, ready):
    with lock.held(place):
        ready.set()
        signal.pause()


def test_kill_9_frees_it_before_anybody_asks_how_it_ended(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    process = fork.Process(target=hold_until_killed, args=(tmp_path, ready))
    process.start()
    assert ready.wait(30)
    with pytest.raises(InputError, match=f"process {process.pid} "):
        lock.held(tmp_path).__enter__()
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie stays
    with lock.held(tmp_path):
        pass
    process.join()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": 3}'])
def test_a_file_that_nobody_can_read_counts_while_it_is_fresh(tmp_path, text):
    file = tmp_path / lock.NAME
    file.write_text(text)
    with pytest.raises(InputError, match="cannot be read"), lock.held(tmp_path):
        pass
    os.utime(file, (1, 1))
    with lock.held(tmp_path):
        pass


def test_who_dies_while_it_takes_over_is_followed_too(tmp_path):
    file = leave(tmp_path, process=ended())
    file.with_name(f"{lock.NAME}.taking").write_text(file.read_text())
    with lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("links", [True, False])
def test_of_many_at_once_only_one_gets_in(tmp_path, monkeypatch, left, links):
    if not links:

        def fail(*_):
            raise PermissionError("no hard links on this disk")

        monkeypatch.setattr(os, "link", fail)
    inside, most, entered = set(), [0], []
    start = threading.Barrier(8)

    def run(number):
        start.wait()
        for _ in range(10):
            try:
                with lock.held(tmp_path):
                    inside.add(number)
                    most[0] = max(most[0], len(inside))
                    entered.append(number)
                    inside.discard(number)
            except InputError:
                pass

    if left:
        leave(tmp_path, process=ended())
    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and entered
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_half_made_is_swept(tmp_path):
    names = [f".in_use.{digit * 32}" for digit in "ab"] + [".in_use.mine"]
    for name in names:
        (tmp_path / name).write_text("half")
    long_ago = (tmp_path / names[0]).stat().st_mtime - lock.STALE_SECONDS - 1
    for name in (names[0], names[2]):
        os.utime(tmp_path / name, (long_ago, long_ago))
    with lock.held(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".in_use", *names[1:]]


def test_who_has_lost_it_writes_no_more(tmp_path):
    lock.check_held(tmp_path)  # nobody holds it, nothing is asked
    with lock.held(tmp_path):
        file = leave(tmp_path, token="another")
        with pytest.raises(InputError, match="no longer this run's"):
            lock.check_held(tmp_path)
    assert file.exists()  # it is not ours to remove


def test_the_holder_touches_it_while_it_works(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    touched, touch = threading.Event(), lock_files.LocalFile.touch
    monkeypatch.setattr(
        lock_files.LocalFile, "touch", lambda file: (touch(file), touched.set())
    )
    with lock.held(tmp_path):
        os.utime(tmp_path / lock.NAME, (1, 1))
        touched.clear()
        assert touched.wait(30) and touched.clear() is None and touched.wait(30)
        assert (tmp_path / lock.NAME).stat().st_mtime > 1


def test_in_a_bucket(bucket):
    with lock.held(bucket):
        lock.check_held(bucket)
        with pytest.raises(InputError, match="another run writes"), lock.held(bucket):
            pass
    with lock.held(bucket):
        pass
    file = lock_files.at(bucket, lock.NAME)
    dead = dataclasses.replace(lock.Holder.this_process(), started=1)
    assert file.create(json.dumps(dataclasses.asdict(dead)).encode())
    with lock.held(bucket):
        file.touch()
        lock.check_held(bucket)
    assert file.read() is None


def test_of_several_processes_the_first_holds_it_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "is_main", lambda: False)
    with lock.held(tmp_path):
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(hosts, "all_agree", lambda fine: False)
    with pytest.raises(InputError, match="first process"), lock.held(tmp_path):
        pass


def test_a_place_that_is_no_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run"), lock.held(tmp_path / "file/run"):
        pass


def test_a_place_without_room_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock_files.Path, "write_bytes", full)
    with pytest.raises(InputError) as refused, lock.held(tmp_path / "run"):
        pass
    assert str(tmp_path) in str(refused.value) and "No space" in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [dict(process=None), dict(process="7"), dict(process=10**12), dict(started="x")],
)
def test_a_file_of_other_values_is_one_that_cannot_be_read(tmp_path, changes):
    leave(tmp_path, **changes)
    with pytest.raises(InputError, match="cannot be read"), lock.held(tmp_path):
        pass
    leave(tmp_path, age=lock.STALE_SECONDS + 1, **changes)
    with lock.held(tmp_path):
        pass


def test_another_machine_that_a_clock_left_in_the_future_is_gone(tmp_path):
    leave(tmp_path, age=-1e7, machine="another")
    with lock.held(tmp_path):
        pass
