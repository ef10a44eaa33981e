"""What a run tells at its start, in lines of 80 columns."""

import re

import jax
import tiny

from cdcd_jax.runtime import hosts
from cdcd_jax.training import observe, program, telling


def test_numbers_of_parameters():
    counts = (7, 999, 1_234, 12_345_678, 1_500_000_000)
    found = [telling.count_text(count) for count in counts]
    assert found == ["7", "999", "1.23 k", "12.3 M", "1.5 G"]


def test_examples_and_classes():
    names = ["a", "b", "c", "d", "e", "f", "g"]
    label = dict(kind="label", num_classes=7, names=names)
    text = telling.examples_text({"test": 2, "train": 9}, dict(label=label, text={}))
    assert text == (
        "found 9 examples of train; 2 examples of test; "
        "label: 7 classes (a, b, c, d, e, f, ...)"
    )
    assert telling.examples_text({"train": 1}, {}) == "found 1 examples of train"


def test_lines_are_wrapped_and_paths_stay_whole(capsys):
    path = "/a-long-path/" + "x" * 90
    hosts.say("word " * 30 + path)
    lines = capsys.readouterr().err.splitlines()
    assert max(len(line) for line in lines[:-1]) <= 80
    assert lines[-1].strip() == path


def test_the_start_of_a_run_is_told(tmp_path):
    """Stages, data, parameters, devices, and the compilation with its time."""
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path / 'run'}")
    assert code == 0
    heads = (
        "stage 1 of 2: records (token records) in",
        "found 1437 examples of train; 360 examples of test; label: 10 classes",
        "stage 2 of 2: the model (training) in",
        "k parameters, on 1 CPU device",
        "starts from step 0, to step 6",
        "compiling the step",
        "compiled in ",
    )
    places = [text.index(head) for head in heads]
    assert places == sorted(places)
    assert re.search(r"^step 6/6 \(100%\)  \S+ steps/s  0s left  loss ", text, re.M)
    assert all(len(line) <= 80 or str(tmp_path) in line for line in text.splitlines())


def test_speed_leaves_out_pauses(monkeypatch):
    """Samples and checkpoints between two reports count for nothing."""
    now = [100.0]
    config = tiny.settings()
    task, _ = program.build(config)
    clock = observe.Clock(config, task, program.place(config, task), 1.0)
    clock.watch = observe.Stopwatch(lambda: now[0])
    assert "step_seconds" not in clock.row(1)
    clock.keep_near(jax.numpy.zeros(()))
    now[0] += 4
    with clock.paused():
        now[0] += 500
    row = clock.row(3)
    assert row["step_seconds"] == 2.0 and row["steps_per_second"] == 0.5
    with clock.paused():
        now[0] += 500
    now[0] += 3
    assert clock.row(4)["step_seconds"] == 3.0
