"""Evaluation by its command line: sweeps of samplers, a page, going on when killed."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny

from cdcd_jax.data.digits import DigitsSource
from cdcd_jax.evaluation import parts as drawn
from cdcd_jax.evaluation.advice import judges_for
from cdcd_jax.generation.time_profile import NAME
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.metrics.inception_score import inception_score
from cdcd_jax.models.feature_judge import FeatureJudge
from cdcd_jax.reporting import files

SWEEP = [
    "--mode=evaluate",
    "--config.eval.sweep.method=('strided','random')",
    "--config.eval.sweep.steps=(1,3)",
    "--config.sampling.batch_size=8",
]
POINTS = [f"method={m},steps={s}" for m in ("strided", "random") for s in (1, 3)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    settings = dict(config__diffusion__schedule="absorbing_linear")
    code, text = tiny.run(*tiny.flags(**settings), f"--workdir={workdir}")
    assert code == 0, text
    return workdir


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 8 samples, so that 20 are three."""
    monkeypatch.setattr(drawn, "PART", 8)


def evaluated(workdir, *more):
    code, text = tiny.run(f"--workdir={workdir}", *SWEEP, *more)
    assert code == 0, text
    return json.loads((workdir / "evaluation.json").read_text()), text


@pytest.mark.slow
def test_a_sweep_is_drawn_and_judged(copied, capsys):
    figures, text = evaluated(copied)
    for end in ("", "_guided", *(f"@{point}" for point in POINTS)):
        # samples of six steps are noise: right by chance, no copies, far from real ones
        assert 0 <= figures[f"class_accuracy{end}"] < 0.5
        assert figures[f"copy_rate{end}"] == 0
        apart = figures[f"frechet_distance{end}"]
        assert 20 * figures["frechet_distance_real"] < apart < 200
        for name in ("class_accuracy", "frechet_distance", "copy_rate"):
            assert figures[f"{name}{end}/n"] == 20
        # 1,280 tokens, most of all as frequent as in real digits: 2.98 bits
        assert figures[f"token_usage{end}"] > 0.9
        assert 6 < figures[f"token_perplexity{end}"] < 13
    # each set is drawn by itself
    assert len({figures[f"frechet_distance@{point}"] for point in POINTS}) == 4
    assert 2.98 < figures["bits_per_token"] < np.log2(17)
    assert 0 < figures["bits_per_token/monte_carlo_error"] < 0.1
    said = " ".join(text.split())  # whatever the width of the terminal
    assert "method=random,steps=3: 20 samples in" in said
    assert "1 network evaluation of 1 row a sample" in said
    assert "3 network evaluations of 1 row a sample" in said
    assert "5 network evaluations of 2 rows a sample" in said  # guided
    out = capsys.readouterr().out.splitlines()
    lines = {line.split()[0]: line for line in out if line}
    assert "class_accuracy" in lines["point"] and set(POINTS) <= set(lines)
    page = (copied / "evaluation.html").read_text()
    assert all(point in page for point in POINTS) and "<svg" in page
    # the last set alone, not 80 files
    folders = {f.name for f in (copied / "samples").iterdir() if f.is_dir()}
    assert folders == {"guided", "unguided"}
    # judged alike, whatever else the sweep has
    (copied / "evaluation.json").unlink()
    again, text = evaluated(copied)
    assert again == figures and "0 samples in" in " ".join(text.split())


@pytest.mark.slow
def test_an_evaluation_goes_on_where_it_was_killed(copied, small_parts, monkeypatch):
    """At any file that it writes; nothing is drawn twice, and all is the same."""
    whole, _ = evaluated(shutil.copytree(copied, copied.parent / "whole"))
    write, left = files.write_npz, []

    class Killed(BaseException):
        """Not an Exception, so that nothing mends it."""

    def limited(path, /, **arrays):
        if not left:
            raise Killed
        left.pop()
        write(path, **arrays)

    monkeypatch.setattr(files, "write_npz", limited)
    for number in (0, 1, 4, 4):
        left[:] = [None] * number
        with pytest.raises(Killed):
            evaluated(copied)
        assert not (copied / "evaluation.json").exists()
    monkeypatch.setattr(files, "write_npz", write)
    parts = list((copied / "evaluation").glob("*/part_*.npz"))
    times = {part: part.stat().st_mtime_ns for part in parts}
    assert len(parts) >= 4
    figures, _ = evaluated(copied)
    assert figures == whole
    assert all(part.stat().st_mtime_ns == times[part] for part in parts)
    assert len(list((copied / "evaluation").glob("*/part_*.npz"))) == 3 * 6


@pytest.mark.slow
def test_parts_of_other_settings_are_drawn_anew(copied):
    first, _ = evaluated(copied)
    key = "frechet_distance@method=random,steps=3"
    other, _ = evaluated(copied, "--config.sampling.temperature=0.5")
    assert other[key] != first[key]
    folder = copied / "evaluation" / "method=random,steps=3"
    said = json.loads((folder / "settings.json").read_text())
    assert said["options"]["temperature"] == 0.5
    (folder / "settings.json").write_text("{torn")
    back, _ = evaluated(copied)
    assert back == first


@pytest.mark.slow
def test_an_optimised_grid_needs_a_profile(copied):
    draw = ["--mode=generate", "--config.sampling.grid=optimised", "--name=mine"]
    code, text = tiny.run(f"--workdir={copied}", *draw)
    assert code == 1 and NAME in text and "--mode=evaluate" in text
    evaluated(copied, "--config.eval.sweep.grid=('optimised','cosine')")
    loss = json.loads((copied / NAME).read_text())["nats_by_time"]
    assert len(loss) == 10 and np.all(np.diff(loss) >= 0)
    code, text = tiny.run(f"--workdir={copied}", *draw)
    assert code == 0, text
    (copied / NAME).write_text('{"nats_by_time": [1.0, 2.0]}')
    code, text = tiny.run(f"--workdir={copied}", *draw)
    assert code == 1 and "2 numbers" in text and "10 times" in text


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--config.eval.sweep.steps=(3,11)", "at method=strided,steps=11"),
        ("--config.eval.sweep.method=('best',)", "unknown sampling.method 'best'"),
        ("--config.eval.sweep.top_p=(1.5,)", "sampling.top_p' is 1.5"),
        ("--config.eval.sweep.top_k=(2.5,)", "expected a int"),
        ("--config.eval.sweep.grid=('cosine',) ", "has times of its own"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_drawn(copied, flag, says):
    if flag.endswith(" "):
        code, text = tiny.run(
            f"--workdir={copied}", *SWEEP, "--config.eval.sweep.method=('skip',)", flag
        )
    else:
        code, text = tiny.run(f"--workdir={copied}", *SWEEP, flag)
    assert code == 2 and says in text
    assert not (copied / "evaluation").exists()


def test_mutual_information_where_the_objective_bounds_it(copied):
    figures, _ = evaluated(copied)
    assert "mi_bound_nats" not in figures  # path 'shared' is no bound
    figures, _ = evaluated(copied, "--config.contrastive.path=parallel")
    # six steps teach nothing of labels: the sample among 3 negatives is found by chance
    assert abs(figures["mi_bound_nats"]) < 0.15 and figures["mi_bound_nats/n"] == 360
    assert 0 < figures["mi_bound_nats/standard_error"] < 0.05
    assert abs(figures["nce_accuracy_parallel"] - 1 / 4) < 0.1
    assert figures["nce_accuracy_parallel/n"] == 360


def test_features_of_other_networks(copied, monkeypatch):
    """With a network that reads four numbers off a picture, in place of Inception."""

    def read(images):
        assert images.dtype == np.uint8 and images.shape[1:] == (8, 8, 1)
        halves = images.reshape(len(images), 4, 16).astype(np.float32).mean(-1)
        return halves, halves

    class Judge(FeatureJudge):
        def __init__(self, settings):
            name = settings["inception"]
            super().__init__({**settings, "inception": ""})
            if name:
                self.readers = dataclasses.replace(self.readers, inception=read)
                self._fingerprints["inception"] = name

    monkeypatch.setattr("cdcd_jax.evaluation.evaluate.FeatureJudge", Judge)
    figures, _ = evaluated(copied, "--config.eval.features.inception=mine")
    judged = figures
    split = DigitsSource(seed=0).split("test")
    real = np.stack([split.example(i)["image"] for i in range(360)])
    sets = {"": "unguided", "_guided": "guided"}
    sets["@method=random,steps=3"] = "method=random,steps=3"
    for end, name in sets.items():
        tokens = drawn.outputs_of(copied / "evaluation" / name)["tokens"]
        ours = np.rint(tokens * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        apart = frechet_distance(read(ours)[0], read(real)[0])
        assert figures[f"fid{end}"] == pytest.approx(apart, rel=1e-4)
        score = inception_score(read(ours)[1])[0]
        assert figures[f"inception_score{end}"] == pytest.approx(score, rel=1e-4)
        for name in ("fid", "inception_score", "precision", "coverage"):
            assert figures[f"{name}{end}/n"] == 20
        assert 0 <= figures[f"precision{end}"] <= 1
        assert 0 <= figures[f"coverage{end}"] <= 1
    assert figures["fid/n_real"] == 360
    assert list((copied / "statistics").glob("inception_*.npz"))
    assert "n_real" not in (copied / "evaluation.html").read_text().split("<details")[0]
    # alone, without a judge of classes; the second time it is only told
    alone = ["--config.eval.features.inception=mine", "--config.eval.figures="]
    figures, _ = evaluated(copied, *alone)
    assert "class_accuracy" not in figures
    assert figures["fid_guided"] == judged["fid_guided"]
    (copied / "evaluation.json").write_text(json.dumps({**figures, "fid": None}))
    again, _ = evaluated(copied, *alone)
    assert again["fid"] is None


def test_without_a_judge_samples_are_drawn_and_shown(copied):
    """Samples, use of codes, bound, a page with pictures, and who could judge."""
    flags = ["--mode=evaluate", "--config.eval.figures="]
    code, text = tiny.run(f"--workdir={copied}", *flags)
    assert code == 0, text
    figures = json.loads((copied / "evaluation.json").read_text())
    assert {"bits_per_token", "token_usage", "token_usage_guided"} <= set(figures)
    assert "class_accuracy" not in figures
    for name in ("unguided", "guided"):
        assert (copied / "samples" / name / "contact_sheet.png").exists()
    page = (copied / "evaluation.html").read_text()
    assert page.count("<img ") == 2 and ">unguided<" in page
    assert "nothing judged the samples" in text
    assert "on one page:" in text and "evaluation.html" in text
    assert "--config.eval.figures=labelled_pictures" in text
    assert "--config.eval.features.inception=DIR" in text


LABEL, TEXT = {"label": {"kind": "label"}}, {"text": {"kind": "text"}}


@pytest.mark.parametrize(
    ("conditions", "media", "named", "not_named"),
    [
        (LABEL, {"image"}, ("labelled_pictures", "inception"), ("clip", "audio")),
        (TEXT, {"image"}, ("inception", "clip_score"), ("labelled", "audio")),
        ({"clip": {"kind": "clip_text"}}, {"image"}, ("clip_score",), ("labelled",)),
        ({}, {"image"}, ("inception",), ("labelled", "clip", "audio")),
        ({"motion": {"kind": "motion"}}, {"audio"}, ("danced_music", "audio="), ()),
        (LABEL, {"audio"}, ("features.audio",), ("danced", "inception", "labelled")),
        (LABEL, set(), ("tokens or numbers alone",), ("--config",)),
    ],
)
def test_who_could_judge(conditions, media, named, not_named):
    text = judges_for(conditions, media)
    assert all(name in text for name in named)
    assert not any(name in text for name in not_named)
    assert all(len(line) <= 80 for line in text.splitlines())


def test_features_are_opened_before_anything_is_drawn(copied, tmp_path):
    flag = f"--config.eval.features.inception={tmp_path / 'nowhere'}"
    code, text = tiny.run(f"--workdir={copied}", *SWEEP, flag)
    assert code == 1 and "nowhere" in text and not (copied / "evaluation").exists()
    code, text = tiny.run(
        f"--workdir={copied}", *SWEEP, "--config.eval.features.audio=math:floor"
    )
    assert code == 2 and "audio" in text
