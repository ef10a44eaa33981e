"""Tables, and the line that says how far a run is."""

import io
import os

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
        "step 520/1000 (52%)  2 steps/s  4m00s left  loss 2",
    ]


def test_the_rate_is_a_recent_one_without_pauses(clock: list[float]) -> None:
    """Slow at first, quick later; a pause for samples counts for nothing."""
    stream, watch = io.StringIO(), terminal.Stopwatch(lambda: clock[0])
    progress = terminal.Progress(10_000, 0, stream, now=watch.seconds)
    for step in range(10, 110, 10):
        clock[0] += 10  # 1 step a second
        progress.update(step, {})
    assert "  1 steps/s  " in stream.getvalue().splitlines()[-1]
    for step in range(110, 310, 10):
        with watch.paused():
            clock[0] += 1000
        clock[0] += 1  # 10 steps a second
        progress.update(step, {})
    line = stream.getvalue().splitlines()[-1]
    assert line == "step 300/10000 (3%)  10 steps/s  16m10s left"


def test_a_pause_that_fails_is_left_out_too(clock: list[float]) -> None:
    watch = terminal.Stopwatch(lambda: clock[0])
    before = watch.seconds()
    with pytest.raises(ValueError), watch.paused():
        clock[0] += 7
        raise ValueError
    clock[0] += 2
    assert watch.seconds() == before + 2


def test_lines_have_80_columns_and_metrics_give_way(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = terminal.Progress(1_000_000, 0, stream)
    metrics = {"a_metric_with_a_rather_long_name": 0.1234, "loss": 1.5, "z": 2.0}
    for step in (123_400, 123_450):
        clock[0] += 10
        progress.update(step, metrics)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].endswith("5 steps/s  48h41m left  loss 1.5  z 2")


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
    assert first == "step 1/10 (10%)  loss 1" + "\x1b[K"
    assert line == "step 2/10 (20%)  loss 1" + "\x1b[K\n"


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


def test_nobody_listens_any_more():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        lasting = terminal.Lasting(stream)
        print("heard", file=lasting, flush=True)
        assert os.read(reader, 100) == b"heard\n"
        os.close(reader)
        for _ in range(3):
            print("not heard", file=lasting, flush=True)
