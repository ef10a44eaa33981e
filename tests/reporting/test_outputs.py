"""Samples on the disk: a set of files that is replaced as a whole."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cdcd_jax.reporting import files, pictures, samples
from cdcd_jax.reporting.sheets import Medium


def draw(directory, value, number=3, **more):
    images = np.full((number, 8, 8, 1), value, np.uint8)
    outputs = {"tokens": np.zeros((number, 4), np.int32), "images": images}
    media = {"images": Medium("image")}
    samples.write_samples(directory, outputs, {}, media, **more)


def contents(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_a_set_takes_the_place_of_another_and_of_nothing_else(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    own = ("sample_holiday.wav", "sample_1.png", "notes.txt")
    old = ("sample_00007.png", "sample_00000.mp4", "original_00000.wav")
    for name in (*own, *old):
        (folder / name).write_text("mine")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".mine.{ended.pid}.partial"  # by a run that was killed
    at_work = tmp_path / f".mine.{os.getppid()}.partial"
    for other in (left, at_work):
        other.mkdir()
        (other / "sample_00009.png").touch()
    draw(folder, 1, 2)
    made = {"samples.npz", "contact_sheet.png", "sample_00000.png", "sample_00001.png"}
    assert set(contents(folder)) == {*own, *made}
    draw(folder, 1, single_files=False)
    assert set(contents(folder)) == {*own, "samples.npz", "contact_sheet.png"}
    assert set(tmp_path.iterdir()) == {folder, at_work}


@pytest.mark.parametrize("moved", [0, 1, 4])
def test_what_is_cut_off_is_the_old_set_or_plainly_none(moved, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    draw(folder, 1)
    before, calls = contents(folder), []

    def stop(*args):
        calls.append(args)
        if len(calls) > moved:
            raise KeyboardInterrupt
        return replace(*args)

    replace = pathlib.Path.replace
    monkeypatch.setattr(pathlib.Path, "replace", stop)
    if not moved:  # while it is drawn
        monkeypatch.setattr(pictures, "write_png", stop)
    with pytest.raises(KeyboardInterrupt):
        draw(folder, 2)
    after = contents(folder)
    assert after == before if not moved else "samples.npz" not in after
    assert all(after[name] != before[name] for name in after) or not moved
    assert len(after) == (moved or 5) and list(tmp_path.iterdir()) == [folder]


def test_a_bucket_takes_samples(bucket):
    folder = files.as_path(bucket) / "samples" / "mine"
    samples.check_place(folder)
    for number in (3, 2):
        draw(folder, number, number)
    assert len(contents(folder)) == 4
