"""Metrics that survive a kill."""

import json
from pathlib import Path

import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files, metrics_log


def rows(workdir: Path) -> list[dict[str, float | None]]:
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_are_flushed_and_strict(tmp_path: Path) -> None:
    with metrics_log.MetricsWriter(tmp_path) as writer:
        writer.write(1, {"loss": np.float32(2), "lr": np.ones((1,))})
        writer.write(np.int64(2), {"loss": float("nan")})
        assert rows(tmp_path) == [
            {"step": 1, "loss": 2.0, "lr": 1.0},
            {"step": 2, "loss": None},
        ]
        writer.image(2, "samples", np.zeros((8, 8, 3), np.uint8))
        writer.close()
    assert any((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("torn", ["", '{"step": 4, "lo', '{"step": 2}'])
def test_resuming_drops_torn_and_later_rows(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = '{"step": 1, "loss": 3.0}\n{"loss": null, "step":2}\n'
    path.write_text(kept + '{"step": 3, "loss": 1.0}\n' + torn)
    with metrics_log.MetricsWriter(tmp_path, resume_step=2) as writer:
        whole = '{"step": 2}\n' if torn == '{"step": 2}' else ""
        assert path.read_text() == kept + whole
        writer.write(3, {"loss": 1.5})
    assert path.read_text() == kept + whole + '{"step": 3, "loss": 1.5}\n'
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["metrics.jsonl", "tensorboard"]


def test_a_broken_row_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"line 2 of .*metrics.jsonl"):
        metrics_log.MetricsWriter(tmp_path, resume_step=3)
    assert "nonsense" in path.read_text()


# -- an object store ------------------------------------------------------------------


def test_a_bucket_serves_as_work_directory(bucket):
    folder = files.as_path(bucket)
    files.write_json(folder / "config.json", {"a": 1})
    assert json.loads((folder / "config.json").read_text()) == {"a": 1}
    with metrics_log.MetricsWriter(bucket) as writer:
        for step in range(1, 6):
            writer.write(step, {"loss": 1.0 / step})
        writer.image(5, "sheet", np.zeros((4, 4, 1), np.uint8))
    with metrics_log.MetricsWriter(bucket, resume_step=3) as writer:
        writer.write(4, {"loss": 7.0})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert json.loads(lines[-1])["loss"] == 7.0
    assert len(list((folder / "tensorboard").iterdir())) >= 1


def test_numbers_that_are_none_raise_no_alarm(tmp_path, caplog):
    with metrics_log.MetricsWriter(tmp_path) as writer:
        writer.write(1, {"accuracy": np.nan, "ratio": np.inf, "loss": 1.0})
    assert not caplog.records
    (row,) = rows(tmp_path)
    assert row["accuracy"] is None and row["loss"] == 1.0


def test_events_can_be_read_by_tensorboard(tmp_path: Path) -> None:
    """Each record is length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    with metrics_log.MetricsWriter(tmp_path, resume_step=3) as writer:
        writer.write(4, {"loss": 2.5})
        writer.image(4, "samples", np.zeros((2, 3, 3), np.uint8))
    (file,) = (tmp_path / "tensorboard").iterdir()
    data, events = file.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    version, start, loss, picture = events
    assert version.file_version == "brain.Event:2"
    assert start.step == 4 and start.session_log.status == start.session_log.START
    assert loss.step == 4 and loss.summary.value[0].simple_value == 2.5
    assert picture.summary.value[0].image.width == 3


def test_a_disk_that_fills_up_is_an_error_of_the_report(tmp_path: Path) -> None:
    """It must not become a wait for a thread that has died."""
    writer = metrics_log.MetricsWriter(tmp_path)
    writer._events._file._py_recordio_writer._writer = open("/dev/full", "wb")
    with pytest.raises(InputError, match="tensorboard"):
        for step in range(1, 100):
            writer.write(step, {"loss": 1.0})
