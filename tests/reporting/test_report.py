"""Files that appear whole, metrics that survive a kill, and the progress line."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import report


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_is_strict(tmp_path: Path) -> None:
    obj = {"a": np.float32(1.5), "b": [float("nan"), np.inf], "c": np.arange(2), 3: "β"}
    report.write_json(tmp_path / "new" / "x.json", obj)
    text = (tmp_path / "new" / "x.json").read_text(encoding="utf-8")
    expected = {"a": 1.5, "b": [None, None], "c": [0, 1], "3": "β"}
    assert json.loads(text) == expected


def test_npz_keeps_the_name_and_refuses_objects(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    captions = np.array(["two at left", "β"])
    report.write_npz(path, tokens=np.eye(3), **{"condition/caption": captions})
    with np.load(path) as file:
        np.testing.assert_array_equal(file["tokens"], np.eye(3))
        np.testing.assert_array_equal(file["condition/caption"], captions)
    with pytest.raises(InputError, match="array 'bad' of Python objects"):
        report.write_npz(path, bad=np.array([None]))
    assert names(tmp_path) == ["samples.bin"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    report.write_npz(path, a=np.zeros(2))
    before = path.read_bytes()

    def fail(file: io.BufferedWriter, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space"):
        report.write_npz(path, a=np.ones(2))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_round_trip(tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    report.write_png(tmp_path / "x.png", image)
    read = np.asarray(Image.open(tmp_path / "x.png")).reshape(image.shape)
    np.testing.assert_array_equal(read, image)
    with pytest.raises(InputError, match="float64"):
        report.write_png(tmp_path / "x.png", image / 255)


def test_image_grid_places_each_picture() -> None:
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
    sheet = report.image_grid(images, columns=2, scale=2, pad=1)
    assert sheet.shape == (3 * (4 + 1) + 1, 2 * (6 + 1) + 1, 1)
    for index, image in enumerate(images):
        top, left = 1 + index // 2 * 5, 1 + index % 2 * 7
        np.testing.assert_array_equal(
            sheet[top : top + 4 : 2, left : left + 6 : 2], image
        )
        assert sheet[top + 1, left + 1] == image[0, 0]
    assert (sheet[11:, 8:] == 255).all()
    with pytest.raises(InputError, match="columns=0"):
        report.image_grid(images, columns=0)
    with pytest.raises(InputError, match=r"\[N, H, W, C\]"):
        report.image_grid(images[0], columns=1)


def rows(workdir: Path) -> list[dict[str, float | None]]:
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_are_flushed_and_strict(tmp_path: Path) -> None:
    with report.MetricsWriter(tmp_path) as writer:
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
    with report.MetricsWriter(tmp_path, resume_step=2) as writer:
        whole = '{"step": 2}\n' if torn == '{"step": 2}' else ""
        assert path.read_text() == kept + whole
        writer.write(3, {"loss": 1.5})
    assert path.read_text() == kept + whole + '{"step": 3, "loss": 1.5}\n'
    assert names(tmp_path) == ["metrics.jsonl", "tensorboard"]


def test_a_broken_row_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"line 2 of .*metrics.jsonl"):
        report.MetricsWriter(tmp_path, resume_step=3)
    assert "nonsense" in path.read_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
    return now


def test_progress_rate_leaves_out_compilation(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = report.Progress(1000, 500, stream)
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
    progress = report.Progress(10, stream=stream)
    for step in (1, 2):
        progress.update(step, {"loss": 1.0, "a_long_name": 123.456, "another": 1.0})
    progress.close()
    progress.close()
    first, line = stream.getvalue().split("\r")[1:]
    assert first == "step 1/10 (10%)  loss 1  a_lo"[:29] + "\x1b[K"
    assert line.endswith("\x1b[K\n")
    assert len(line) == 29 + len("\x1b[K\n")


def test_format_table() -> None:
    table = report.format_table({"bits_per_token": 1.23456, "n": 1797, "name": "x"})
    assert table.splitlines() == [
        "bits_per_token  1.235",
        "n                1797",
        "name                x",
    ]
    assert report.format_table([("a", 1)]) == "a  1"
    assert report.format_table({}) == ""


def test_importing_needs_numpy_only() -> None:
    code = (
        "import sys, cdcd_jax.reporting.report\n"
        "heavy = {'jax', 'PIL', 'tensorboardX', 'flax'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=dict(os.environ), check=True
    )


# -- an object store ------------------------------------------------------------------


def test_a_bucket_serves_as_work_directory(bucket):
    folder = report.as_path(bucket)
    report.write_json(folder / "config.json", {"a": 1})
    assert json.loads((folder / "config.json").read_text()) == {"a": 1}
    with report.MetricsWriter(bucket) as writer:
        for step in range(1, 6):
            writer.write(step, {"loss": 1.0 / step})
        writer.image(5, "sheet", np.zeros((4, 4, 1), np.uint8))
    with report.MetricsWriter(bucket, resume_step=3) as writer:
        writer.write(4, {"loss": 7.0})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert json.loads(lines[-1])["loss"] == 7.0
    assert len(list((folder / "tensorboard").iterdir())) >= 1
