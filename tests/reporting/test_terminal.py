"""Tables, and the line that says how far a run is."""

import io

import pytest

from cdcd_jax.reporting import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def test_progress_rate_leaves_out_compilation(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = terminal.Progress(1000, 500, stream)
    progress.update(500, {})
    clock[0] += 60  # compiles
    progress.update(510, {"lr": 0.1, "loss": 2.34567})
    clock[0] += 5
    progress.update(520, {"loss": 2.0})
    progress.close()
    assert stream.getvalue().splitlines() == [
        "step 500/1000 (50%)",
        "step 510/1000 (51%)  loss 2.346  lr 0.1",
        "step 520/1000 (52%)  loss 2  2 steps/s  4m00s left",
    ]


def test_progress_is_one_live_line_on_a_terminal(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    progress = terminal.Progress(10, stream=stream)
    for step in (1, 2):
        progress.update(step, {"loss": 1.0, "a_long_name": 123.456, "another": 1.0})
    progress.close()
    progress.close()
    first, line = stream.getvalue().split("\r")[1:]
    assert first == "step 1/10 (10%)  loss 1  a_lo"[:29] + "\x1b[K"
    assert line.endswith("\x1b[K\n")
    assert len(line) == 29 + len("\x1b[K\n")


def test_a_notebook_has_one_live_line_without_codes_of_terminals(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "in_notebook", lambda: True)
    stream = io.StringIO()
    progress = terminal.Progress(10, stream=stream)
    progress.update(1, {"loss": 1.25})
    progress.update(2, {})
    progress.close()
    first, second = stream.getvalue().split("\r")[1:]
    assert first == "step 1/10 (10%)  loss 1.25"
    assert second.rstrip() == "step 2/10 (20%)"
    assert len(second) == len(first) + 1  # nothing of the first is left; a new line


def test_format_table() -> None:
    table = terminal.format_table({"bits_per_token": 1.23456, "n": 1797, "name": "x"})
    assert table.splitlines() == [
        "bits_per_token  1.235",
        "n                1797",
        "name                x",
    ]
    assert terminal.format_table([("a", 1)]) == "a  1"
    assert terminal.format_table({}) == ""
