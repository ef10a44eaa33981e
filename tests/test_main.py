"""The program from its command line: the whole job, and what it says to bad input."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
from PIL import Image

from cdcd_jax import main
from cdcd_jax.config import merge
from cdcd_jax.errors import UsageError
from cdcd_jax.models import saved


def test_one_command_makes_records_trains_samples_and_evaluates(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["optim"]["num_steps"] == 6
    assert (trained / "records" / "dataset.json").exists()
    assert list(tiny.rows(trained)) == [1, 2, 3, 4, 5, 6]
    rows = tiny.rows(trained).values()
    # a network that knows nothing pays log 17 nats a token, until it learns which
    # levels are frequent, and log 4 to tell a sample from 3 negatives
    mean = lambda name: np.mean([row[name] for row in rows])
    assert 0.5 < mean("bound") / np.log(17) < 1.3
    assert mean("contrastive") == pytest.approx(np.log(4), abs=0.4)
    for row in rows:
        total = row["bound"] + row["auxiliary"] + 0.1 * row["contrastive"]
        assert row["loss"] == pytest.approx(total, rel=1e-5)
        assert row["bits_per_token"] == pytest.approx(row["bound"] / np.log(2))
        assert 0 <= row["nce_accuracy"] <= 1 and row["grad_norm"] > 0
    assert any((trained / "tensorboard").iterdir())
    figures = json.loads((trained / "evaluation.json").read_text())
    # 2.98 bits is the entropy of a level alone, which six steps nearly learn
    assert 2.98 < figures["bits_per_token"] < np.log2(17)
    assert figures["bits_per_token/n"] == figures["class_accuracy_real/n"] == 360
    assert 0 < figures["bits_per_token/monte_carlo_error"] < 0.1
    # the judge has learned of the training split alone, which the test split is not
    assert 0.95 < figures["class_accuracy_real"] < 1
    assert figures["copy_rate_real"] == 0
    for end in ("", "_guided"):
        # such samples are noise: right by chance, one class of 10, and no copies
        assert 0 <= figures[f"class_accuracy{end}"] < 0.5
        assert figures[f"copy_rate{end}"] == 0
        apart = figures[f"frechet_distance{end}"]
        assert 20 * figures["frechet_distance_real"] < apart < 200
        for name in ("class_accuracy", "copy_rate", "frechet_distance"):
            assert figures[f"{name}{end}/n"] == 20
    for name in ("guided", "unguided"):
        with np.load(trained / "samples" / name / "samples.npz") as samples:
            assert samples["tokens"].dtype == np.int32
            assert samples["tokens"].shape == (20, 64)
            assert samples["images"].dtype == np.uint8
            assert samples["images"].shape == (20, 8, 8, 1)
            assert list(samples["condition/label"][:12]) == [*range(10), 0, 1]
        assert (trained / "samples" / name / "contact_sheet.png").exists()


def test_a_finished_run_is_not_repeated(copied):
    before = (copied / "metrics.jsonl").read_text()
    code, text = tiny.run(*tiny.flags(config__eval__at_end=True), f"--workdir={copied}")
    assert code == 0 and "training 0.0 s" in text
    assert (copied / "metrics.jsonl").read_text() == before


def test_generate_writes_what_was_asked_for(copied):
    code, text = tiny.run(
        *tiny.flags(
            config__sampling__num_samples=3, config__sampling__guidance_scale=2.0
        ),
        f"--workdir={copied}",
        "--mode=generate",
        "--condition.label=7,2",
        "--name=mine",
    )
    assert code == 0, text
    folder = copied / "samples" / "mine"
    with np.load(folder / "samples.npz") as samples:
        assert list(samples["condition/label"]) == [7, 7, 7, 2, 2, 2]
        image = samples["images"][0]
    with Image.open(folder / "sample_00000.png") as picture:
        assert np.array_equal(np.asarray(picture), image[..., 0])
    assert len(list(folder.glob("sample_*.png"))) == 6


def test_samples_are_drawn_along_the_way_and_the_same_seed_repeats(tmp_path):
    for name in ("a", "b"):
        code, text = tiny.run(
            *tiny.flags(config__report__sample_every=4), f"--workdir={tmp_path / name}"
        )
        assert code == 0, text
    files = [tmp_path / n / "samples" / "step_4" / "samples.npz" for n in ("a", "b")]
    first, second = (np.load(f)["tokens"] for f in files)
    assert np.array_equal(first, second)
    assert tiny.rows(tmp_path / "a") == tiny.rows(tmp_path / "b")


DRAW = ["--config=configs/digits.py", "--mode=generate"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no --config"),
        (["--config=configs/nothing.py"], "configs/digits.py"),
        (["--config=configs/digits.py:fast"], "'vanilla'"),
        (["--config=configs/digits.py", "--mode=fly"], "train"),
        (["--config=configs/digits.py", "--speed=3"], "speed"),
        (["--config=configs/digits.py", "more"], "more"),
        (tiny.flags(config__optim__lerning_rate=1), "optim.learning_rate"),
        (tiny.flags(config__modle__width=1), "model"),
        (tiny.flags(config__optim__learning_rate="fast"), "fast"),
        (tiny.flags(config__data__batch_size=1.5), "batch_size"),
        (tiny.flags(config__model__heads=3), "model.heads"),
        (tiny.flags(config__diffusion__schedule="linear"), "absorbing_linear"),
        (tiny.flags(config__contrastive__form="nce"), "infonce"),
        (tiny.flags(config__contrastive__num_negatives=0), "num_negatives"),
        (tiny.flags(config__contrastive__group=7), "contrastive.group"),
        (tiny.flags(config__contrastive__key="text"), "contrastive.key"),
        (tiny.flags(config__optim__schedule="step"), "plateau"),
        (tiny.flags(config__optim__accumulate=3), "optim.accumulate"),
        (tiny.flags(config__sampling__steps=11), "sampling.steps"),
        (tiny.flags(config__sampling__method="ddim"), "strided"),
        (tiny.flags(config__task="dance"), "conditional"),
        (tiny.flags(config__model__form="selfcross"), "a sequence, such as"),
        (tiny.flags(config__data__batch_size=0), "data.batch_size"),
        ([*DRAW, "--name=.."], "no path"),
        ([*DRAW, "--name=.mine"], "no dot"),
        ([*DRAW, "--name=a/b"], "no path"),
        ([*DRAW, "--name=guided"], "evaluation use"),
        ([*DRAW, "--name=step_4"], "evaluation use"),
        ([*DRAW, f"--name={'x' * 201}"], "at most 200"),
        ([*DRAW, "--condition.label=3", "--condition.label=4"], "twice"),
        ([*DRAW, "--mode=evaluate", "--name=user"], "--name is for --mode=generate"),
        ([DRAW[0], "--condition.label=3"], "--condition.label is for"),
    ],
)
def test_bad_usage_is_explained_before_anything_is_made(argv, says, tmp_path):
    workdir = tmp_path / "run"
    code, text = tiny.run(*argv, f"--workdir={workdir}")
    assert code == 2
    assert says in text and "Traceback" not in text
    assert text.startswith("error: ") and text.count("\n") == 1
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--condition.label=10"], "0 to 9"),
        (["--condition.label=three"], "0 to 9"),
        (["--condition.text=three"], "label"),
    ],
)
def test_bad_conditions_are_explained(trained, argv, says):
    code, text = tiny.run(
        *tiny.flags(), f"--workdir={trained}", "--mode=generate", *argv
    )
    assert code == 2 and says in text


@pytest.mark.parametrize(
    ("mode", "says"), [("generate", "no checkpoint"), ("evaluate", "stage 'records'")]
)
def test_a_work_directory_without_a_run_is_explained(mode, says, tmp_path):
    workdir = tmp_path / "run"
    code, text = tiny.run(*tiny.flags(), f"--workdir={workdir}", f"--mode={mode}")
    assert code == 1 and says in text
    assert not workdir.exists()


def test_a_run_from_before_a_key_existed_goes_on(copied):
    path = copied / "config.json"
    saved = json.loads(path.read_text())
    del saved["model"]["embedding_scale"], saved["sampling"]["overlap"]
    path.write_text(json.dumps(saved))
    more = tiny.flags(config__optim__num_steps=7)
    code, text = tiny.run(*more, f"--workdir={copied}")
    assert code == 0, text
    assert max(tiny.rows(copied)) == 7
    more = tiny.flags(config__optim__num_steps=8, config__model__embedding_scale=1.0)
    code, text = tiny.run(*more, f"--workdir={copied}")
    assert code == 2 and "model.embedding_scale (0.02 there, 1.0 now)" in text


def test_a_model_is_used_as_it_was_made(copied):
    config = saved.load_config(str(copied / "config.json"))
    one = merge(config, dict(model=dict(dtype="bfloat16", condition_dropout=0.5)))
    one["model"]["conditions"]["label"] |= dict(names=(), sequence=0)  # the defaults
    saved.check_model(one, copied)
    for change in (
        dict(model=dict(heads=4)),
        dict(model=dict(conditions=dict(label=dict(num_classes=11)))),
        dict(diffusion=dict(timesteps=11)),
    ):
        with pytest.raises(UsageError, match="holds a model of other settings"):
            saved.check_model(merge(config, change), copied)


def test_a_model_whose_settings_cannot_be_read_needs_its_config(copied, capsys):
    (copied / "config.json").write_text("{")
    argv = [*tiny.flags(), f"--workdir={copied}", "--mode=generate"]
    code, text = tiny.run(*argv, "--config.sampling.num_samples=1")
    assert code == 0 and "warning: cannot read" in text


def test_an_interrupt_is_told_in_a_line(monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "run", interrupted)
    assert tiny.run(*tiny.flags()) == (130, "interrupted\n")


def test_records_unlike_the_config_are_refused(copied):
    for change, says in (
        (
            {"config__model__num_codes": 16, "config__tokenizer__levels": 16},
            "num_codes",
        ),
        ({"config__model__grid": "(4,4)"}, "grid"),
    ):
        records = copied / "records"
        workdir = copied.parent / "other"
        code, text = tiny.run(
            *tiny.flags(config__data__path=records, **change), f"--workdir={workdir}"
        )
        assert code in (1, 2) and says in text
        assert not (workdir / "checkpoints").exists()


def test_a_missing_or_corrupt_shard_is_named(copied):
    shard = next((copied / "records").glob("train-*"))
    flags_ = [*tiny.flags(config__optim__num_steps=8), f"--workdir={copied}"]
    content = bytearray(shard.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(b ^ 255 for b in content[middle : middle + 8])
    shard.write_bytes(content)
    code, text = tiny.run(*flags_)
    assert code == 1 and shard.name in text
    shard.unlink()
    code, text = tiny.run(*flags_)
    assert code == 1 and shard.name in text
    assert max(tiny.rows(copied)) == 6


def test_a_record_that_goes_bad_on_the_way_keeps_what_was_computed(
    tmp_path, monkeypatch
):
    from cdcd_jax.data import records
    from cdcd_jax.errors import InputError

    good = records.RecordSource.__getitem__

    def bad(self, index):
        if index == 700:
            raise InputError("record 700 is corrupt")
        return good(self, index)

    monkeypatch.setattr(records.RecordSource, "__getitem__", bad)
    code, text = tiny.run(
        *tiny.flags(
            config__optim__num_steps=100, config__report__checkpoint_every=1000
        ),
        f"--workdir={tmp_path}",
    )
    assert code == 1 and "record 700" in text
    (kept,) = (tmp_path / "checkpoints").iterdir()
    assert int(kept.name) == max(tiny.rows(tmp_path)) > 1


def test_a_work_directory_of_another_config_is_not_touched(copied):
    before = {f: f.stat().st_mtime_ns for f in copied.rglob("*") if f.is_file()}
    code, text = tiny.run(
        *tiny.flags(config__optim__learning_rate=0.5), f"--workdir={copied}"
    )
    assert code == 2
    assert "optim.learning_rate" in text and "--workdir" in text
    assert {f: f.stat().st_mtime_ns for f in copied.rglob("*") if f.is_file()} == before


def test_fewer_steps_than_there_are_is_refused(copied):
    code, text = tiny.run(
        *tiny.flags(config__optim__num_steps=4), f"--workdir={copied}"
    )
    assert code == 2 and "6 steps" in text


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_checkpoint(tmp_path):
    code, text = tiny.run(
        *tiny.flags(
            config__optim__learning_rate=1e30,
            config__optim__warmup_steps=3,
            config__optim__num_steps=20,
            config__report__log_every=10,
            config__report__checkpoint_every=1,
        ),
        f"--workdir={tmp_path}",
    )
    assert code == 1 and "became" in text
    step = int(text.partition("in step ")[2].partition(";")[0])
    kept = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
    assert 0 < max(kept) < step


def test_a_full_disk_is_explained(tmp_path, monkeypatch):
    full = lambda path: shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr(shutil, "disk_usage", full)
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path}")
    assert code == 1 and "free" in text and "checkpoints" in text


def test_list_and_help_end_well(capsys):
    assert tiny.run("--list")[0] == 0
    assert "configs/digits.py  Class-to-image" in capsys.readouterr().out
    assert tiny.run("--help")[0] == 0
    assert "--workdir" in capsys.readouterr().out


def test_a_stage_is_made_and_then_nothing_more(tmp_path):
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path}", "--stage=records")
    assert code == 0, text
    assert [file.name for file in tmp_path.iterdir()] == ["records"]
    code, text = tiny.run(*tiny.flags(), f"--workdir={tmp_path}", "--stage=record")
    assert code == 2 and "expected a stage of this config (records)" in text
    for mode in ("generate", "evaluate", "plan"):
        code, text = tiny.run(
            *tiny.flags(), f"--workdir={tmp_path}", "--stage=records", f"--mode={mode}"
        )
        assert code == 2 and "--stage=records is for --mode=train" in text


def test_listing_loads_nothing_heavy():
    code = (
        "import sys\nfrom cdcd_jax import main\n"
        "assert main.main(['x', '--list']) == 0\n"
        "heavy = {'jax', 'flax', 'numpy', 'ml_collections'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert main.main(['x', '--help']) == 0\n"
        "heavy = {'jax', 'flax', 'grain', 'orbax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "configs/digits.py  " in done.stdout and "--workdir" in done.stdout
