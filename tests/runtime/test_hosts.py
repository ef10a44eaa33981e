"""Start-up of several processes from the environment; signals of a single one."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import jax
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.runtime import hosts

EXPLICIT = dict(
    JAX_COORDINATOR_ADDRESS="10.0.0.1:1234", JAX_NUM_PROCESSES="4", JAX_PROCESS_ID="3"
)


@pytest.fixture
def calls(monkeypatch):
    """Arguments of jax.distributed.initialize, which does nothing."""
    found = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda **kwargs: found.append(kwargs)
    )
    for name in ("CDCD_JAX_HOSTS", "SLURM_NTASKS", "SLURM_PROCID", *EXPLICIT):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, []),
        (dict(CDCD_JAX_HOSTS="auto"), [{}]),
        (
            EXPLICIT,
            [dict(coordinator_address="10.0.0.1:1234", num_processes=4, process_id=3)],
        ),
        (dict(CDCD_JAX_HOSTS="off", **EXPLICIT), []),
        (dict(SLURM_NTASKS="2", SLURM_PROCID="1"), [{}]),
        (dict(SLURM_NTASKS="2"), []),  # in the batch script, not under srun
        (dict(SLURM_NTASKS="1", SLURM_PROCID="0"), []),
        (dict(SLURM_NTASKS="2", SLURM_PROCID="1", CDCD_JAX_HOSTS="off"), []),
    ],
)
def test_who_joins(calls, monkeypatch, env, expected):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    hosts.start()
    assert calls == expected


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (dict(CDCD_JAX_HOSTS="yes"), "auto or off"),
        (dict(JAX_PROCESS_ID="3"), "set all three"),
        (dict(EXPLICIT, JAX_NUM_PROCESSES="four"), "whole numbers"),
        (dict(EXPLICIT, JAX_PROCESS_ID="4"), "not below"),
    ],
)
def test_contradictions_are_named(calls, monkeypatch, env, words):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=words):
        hosts.start()
    assert not calls


def test_no_cluster_is_a_clear_error(calls, monkeypatch):
    def fail():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setenv("CDCD_JAX_HOSTS", "auto")
    with pytest.raises(UsageError, match="no cluster"):
        hosts.start()


def test_a_single_process_collects_signals():
    before = signal.getsignal(signal.SIGTERM)
    with hosts.stop_signals() as stop:
        assert not stop.after(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.after(2) and stop.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    assert hosts.is_main()
    hosts.wait_for_all("nobody")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)]
)
def test_a_signal_says_at_once_what_it_does_and_a_second_one_stops(
    number, code, capsys
):
    with pytest.raises(KeyboardInterrupt), hosts.stop_signals() as stop:
        os.kill(os.getpid(), number)
        said = capsys.readouterr().err
        assert (
            signal.Signals(number).name in said and "stopping after this step" in said
        )
        assert stop.exit_code == code and stop.after(3)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


DEAF = """
import ctypes
from cdcd_jax.runtime import hosts
hosts.DEAF_SECONDS = 0.05
with hosts.stop_signals() as stop:
    mutex = ctypes.create_string_buffer(64)
    print(hex(ctypes.addressof(mutex)), flush=True)
    for _ in range(2):  # waits for itself, as a compiler takes long, out of Python
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.skipif(
    not os.path.exists("/proc/self/syscall"), reason="no way to see what it waits for"
)
def test_a_main_thread_that_hears_nothing_is_spoken_for():
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = process.stdout.readline().strip()
    while address not in pathlib.Path(f"/proc/{process.pid}/syscall").read_text():
        assert process.poll() is None  # it does not wait for the mutex yet
    process.send_signal(signal.SIGINT)
    assert "stopping after this step" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "stopped\n")
    assert process.returncode == 130


def test_a_closed_terminal_lets_a_run_save():
    before = signal.getsignal(signal.SIGHUP)
    with hosts.stop_signals() as stop:
        for _ in range(2):  # by the system, and by the shell that goes with it
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.after(2) and stop.reason == "SIGHUP" and stop.exit_code == 0
    assert signal.getsignal(signal.SIGHUP) is before


def test_under_nohup_a_closed_terminal_is_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with hosts.stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.after(2)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_thread_no_signal_is_handled():
    done = []

    def run():
        with hosts.stop_signals() as stop:
            done.append(stop.after(1))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [False]
