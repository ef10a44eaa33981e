"""What a disk says when it takes no more, as people read it."""

import errno
import os
import shutil

import numpy as np
import pytest

from cdcd_jax import main
from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files
from cdcd_jax.reporting.metrics_log import MetricsWriter
from cdcd_jax.reporting.samples import write_samples
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.runtime.storage import told, writing

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", DISK)
def test_an_error_of_the_disk_has_place_need_and_advice(number, tmp_path):
    with pytest.raises(InputError) as raised, writing(tmp_path / "new", 3 << 20):
        failing(number)()
    text = str(raised.value)
    for part in (str(tmp_path), os.strerror(number), "room for 3.0 MiB", "Make room"):
        assert part in text
    assert ("are free there" in text) == (number == errno.ENOSPC)


def test_other_errors_stay(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "nothing").read_text()
    error = FileNotFoundError(errno.ENOENT, "No such file", "x")
    assert told(error) == str(error)


@pytest.mark.parametrize("number", DISK)
def test_the_program_names_the_file_that_could_not_be_written(
    number, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(os, "fsync", failing(number))
    monkeypatch.setattr(
        main, "run", lambda argv: files.write_json(tmp_path / "figures.json", {})
    )
    assert main.main(["x"]) == 1
    text = capsys.readouterr().err
    assert "figures.json" in text and os.strerror(number) in text
    assert "Errno" not in text and "expected room" in text
    assert not list(tmp_path.iterdir())


def test_samples_and_metrics_name_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    tokens = np.zeros((4, 2**18), np.int32)
    with pytest.raises(InputError, match=r"samples/mine .*room for 4\.0 MiB"):
        write_samples(tmp_path / "samples" / "mine", {"tokens": tokens}, {}, {})
    with (
        pytest.raises(InputError, match=r"metrics\.jsonl|tensorboard"),
        MetricsWriter(tmp_path) as w,
    ):
        monkeypatch.setattr(w._rows, "flush", failing(errno.ENOSPC), raising=False)
        w.write(1, {"loss": 1.0})


@pytest.mark.parametrize(("keep", "number"), [(0, 1), (2, 3), (5, 6)])
def test_room_is_asked_for_all_checkpoints_that_a_run_keeps(
    keep, number, tmp_path, monkeypatch
):
    state = {"w": np.zeros(1 << 20, np.float32)}
    needed = (number << 22) + (4 << 20)
    free = [needed]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    with Checkpoints(tmp_path / "checkpoints", keep) as checkpoints:
        checkpoints.check_room(state)
        free[0] -= 1
        with pytest.raises(InputError, match=rf"{number} of 4\.0 MiB") as raised:
            checkpoints.check_room(state)
        (tmp_path / "checkpoints" / "5").mkdir(parents=True)  # has its room already
        if keep:
            checkpoints.check_room(state)
    assert str(tmp_path / "checkpoints") in str(raised.value)
