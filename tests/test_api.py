"""The Python handle: what it takes and gives, and that it draws what flags draw."""

import inspect
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny
from untrained import FRAMES, HOP, LENGTH, RATE, small, untrained

import cdcd_jax
from cdcd_jax import api
from cdcd_jax.config import merge
from cdcd_jax.data import vocabulary
from cdcd_jax.errors import InputError, UsageError


@pytest.fixture(scope="module")
def model(trained):
    return cdcd_jax.open(trained)


def arrays(file):
    with np.load(file) as found:
        return {name: found[name] for name in found.files}


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, cdcd_jax\n"
        "assert cdcd_jax.__version__ and 'open' in dir(cdcd_jax)\n"
        "assert cdcd_jax.config.experiment()['task'] == 'conditional'\n"
        "heavy = {'jax', 'flax', 'numpy', 'grain', 'ml_collections', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "try:\n    cdcd_jax.opne\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "no attribute 'opne'" in done.stdout


def test_it_says_what_it_is(model, trained):
    text = repr(model)
    assert f"{trained}, task conditional, step 6" in text
    assert "takes label: label (num_classes 10)" in text
    assert "gives tokens: tokens" in text and "num_codes 17" in text
    assert model.step == 6 and set(model.conditions) == {"label"}
    assert [row["step"] for row in model.metrics] == [1, 2, 3, 4, 5, 6]
    assert model.config["data"]["path"] == str(trained / "records")


def test_samples_are_those_of_the_command_line(model, copied):
    """Same seed and name, same samples and files."""
    code, text = tiny.run(
        f"--workdir={copied}",
        *("--mode=generate", "--condition.label=3,8", "--name=mine"),
        *("--config.sampling.num_samples=4", "--config.sampling.guidance_scale=1.5"),
        *("--config.sampling.method=spread", "--config.seed=5"),
    )
    assert code == 0, text
    asked = dict(number=4, guidance_scale=1.5, method="spread", seed=5, name="mine")
    out = model.sample(label=[3, 8], **asked)
    by_flags = arrays(copied / "samples" / "mine" / "samples.npz")
    assert np.array_equal(out.tokens, by_flags["tokens"])
    assert np.array_equal(out.images, by_flags["images"])
    assert out.condition["label"].tolist() == [3] * 4 + [8] * 4 and len(out) == 8
    place = out.save(copied / "by_hand")
    here, there = (
        {f.name: f.read_bytes() for f in folder.iterdir()}
        for folder in (place, copied / "samples" / "mine")
    )
    assert here == there
    other = model.sample(label=[3, 8], **{**asked, "name": "other"})
    assert (other.tokens != out.tokens).any()
    assert (
        model.sample(label=[3, 8], **{**asked, "seed": 6}).tokens != out.tokens
    ).any()


@pytest.mark.slow
def test_the_newest_weights_are_drawn_from(copied):
    """A handle that is open while the model is trained on."""
    model = cdcd_jax.open(copied)
    before = model.sample(label=1, number=1)
    assert before.step == 6
    cdcd_jax.train(model._whole, copied, optim=dict(num_steps=8))
    assert model.step == 8 and model.sample(label=1, number=1).step == 8
    for child in (copied / "checkpoints").iterdir():
        (child / "state").rename(child / "moved")
    assert model.sample(label=1, number=1).step == 8  # read once


def test_a_place_may_be_relative(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = model.sample(label=3, number=1, directory="three")
    assert (tmp_path / "three" / "sample_00000.png").exists() and out.seconds > 0
    assert model.sample(label=3, number=1).save("other") == pathlib.Path("other")


def test_labels_as_people_have_them(model):
    draw = lambda label: model.sample(label=label, number=1).condition["label"].tolist()
    assert draw(3) == draw("3") == draw(np.int64(3)) == [3]
    assert draw("3, 8") == draw((3, 8)) == draw(np.array([3, 8])) == [3, 8]
    everything = model.sample(number=1)
    assert everything.condition["label"].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (dict(lable=3), "did you mean label"),
        (dict(label=3, stps=4), "did you mean steps"),
        (dict(label=10), "numbers from 0 to 9"),
        (dict(label="three"), "numbers from 0 to 9"),
        (dict(label=[]), "numbers from 0 to 9"),
        (dict(label=3, number=0), "num_samples"),
        (dict(label=3, steps=99), "choose 1..10"),
        (dict(label=3, method="magic"), "ancestral"),
        (dict(label=3, steps="four"), "expected a int"),
        (dict(label=3, batch_size=3), "belongs to the opened model"),
        (dict(condition=dict(genre=1)), "this model takes label"),
    ],
)
def test_bad_requests(asked, says, model):
    with pytest.raises(UsageError, match=says):
        model.sample(**asked)


def test_a_place_is_tried_before_a_checkpoint_is_read(copied):
    (copied / "taken").write_text("a file")
    for child in (copied / "checkpoints").iterdir():
        (child / "state").rename(child / "moved")  # no weights can be read
    model = cdcd_jax.open(copied)
    with pytest.raises(InputError, match="cannot be written"):
        model.sample(label=1, directory=copied / "taken")


def test_directories_that_are_no_model(tmp_path, trained):
    with pytest.raises(UsageError, match=r"Found no .*nothing"):
        cdcd_jax.open(tmp_path / "nothing")
    with pytest.raises(UsageError, match="cannot read"):
        cdcd_jax.open(tmp_path)
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    with pytest.raises(InputError, match="no checkpoint"):
        cdcd_jax.open(tmp_path)
    with pytest.raises(UsageError, match="model of other settings"):
        cdcd_jax.open(trained, model=dict(width=32))
    with pytest.raises(UsageError, match="did you mean"):
        cdcd_jax.open(trained, smapling=dict(batch_size=1))


def test_editing_takes_arrays_paths_and_samples(model, tmp_path):
    out = model.sample(label=3, number=2)
    first = out.save(tmp_path / "first")
    one = dict(mask="left", label=3, number=2)
    by_path = model.edit(first / "sample_00000.png", **one)
    by_array = model.edit(out.images[0], **one)
    assert np.array_equal(by_path.images, by_array.images)
    assert np.array_equal(by_path.images[:, :, 4:], out.images[[0, 0], :, 4:])
    by_samples = model.edit(out, mask=(0, 0, 0.5, 1), number=1)  # under its own labels
    by_file = model.edit(first / "samples.npz", mask="left", number=1)
    assert np.array_equal(by_samples.images, by_file.images)
    assert by_samples.condition["label"].tolist() == [3, 3]
    larger = model.edit(expand=(8, 0, 0, 0), label=1, number=1)
    assert larger.images.shape == (1, 8, 16, 1)
    between = model.edit(toward=dict(label=5), label=3, number=3)
    assert between.outputs["edit/weight"].tolist() == [0.0, 0.5, 1.0]
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    by_region = model.edit(out.images[0], mask=mask, label=3, number=2)
    assert np.array_equal(by_region.images, by_array.images)
    varied = model.edit(out.images, strength=0.3, label=3, number=1, steps=3)
    assert varied.images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (dict(input=np.zeros((4, 4, 1), np.uint8), mask="left"), r"\[8, 8, 1\]"),
        (dict(input=np.zeros((8, 8, 1)), mask="left"), "float64"),
        (dict(input=np.zeros((8, 8, 1), np.uint8)), "Found --edit.input alone"),
        (dict(mask="left"), "without --edit.input"),
        (
            dict(input=np.zeros((8, 8, 1), np.uint8), mask=np.zeros((8, 8))),
            "Found a mask of float64",
        ),
        (dict(input=np.zeros((8, 8, 1), np.uint8), mask="middle"), "expected left"),
    ],
)
def test_bad_edits(edit, says, model):
    with pytest.raises(InputError, match=says):
        model.edit(label=3, **edit)


def test_bound_and_evaluation_are_those_of_the_command_line(copied):
    figures = json.loads((copied / "evaluation.json").read_text())
    model = cdcd_jax.open(copied)
    found = model.bound("test")
    assert found["bits_per_token"] == figures["bits_per_token"]
    batch = tiny.batch(8)
    few = model.bound([batch])
    assert few["bits_per_token/n"] == 8 and few["bits_per_token"] > 0
    assert model.evaluate() == figures  # which is known
    judged = model.evaluate(num_samples=10)
    assert judged["class_accuracy/n"] == 10
    with pytest.raises(UsageError, match="did you mean"):
        model.evaluate(num_sample=10)


def test_the_tokenizer_of_a_model(model):
    images = model.sample(label=1, number=2).images
    tokens = model.tokenizer.encode(images)
    assert np.array_equal(model.tokenizer.decode(tokens)["images"], images)


@pytest.mark.slow
def test_training_from_python_is_that_of_the_command_line(trained, tmp_path):
    """A whole config, laid over; the run that comes back draws."""
    sections = merge(tiny.SETTINGS, {})
    sections["report"]["sample_every"] = 0
    del sections["model"]["conditions"]
    run = cdcd_jax.train("configs/digits.py", tmp_path / "run", **sections)
    assert tiny.rows(tmp_path / "run") == tiny.rows(trained)
    assert run.step == 6 and run.sample(label=2, number=1).images.shape == (1, 8, 8, 1)
    again = cdcd_jax.train(run._whole, tmp_path / "run")  # finished: nothing is done
    assert again.step == 6
    with pytest.raises(UsageError, match="Found no workdir"):
        cdcd_jax.train(run._whole)
    with pytest.raises(UsageError, match="no config file"):
        cdcd_jax.train("configs/nothing.py")


def test_a_stage_alone(tmp_path):
    made = cdcd_jax.train("configs/digits.py", tmp_path, stage="records")
    assert made is None and (tmp_path / "records" / "dataset.json").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["records"]


@pytest.mark.slow
def test_a_model_of_texts_and_of_arrays(tmp_path):
    """Prompts in a list, arrays as they are, titles; optional ones left out."""
    words = vocabulary.train(["a red cat", "a blue dog"], 64)
    shape = (3,)
    config = small(
        dict(
            text=dict(
                kind="text", shape=(6,), vocabulary=64, heads=1, depth=1, optional=True
            ),
            feature=dict(kind="array", shape=shape, optional=True),
        ),
        dict(num_codes=17, grid=(2, 2), depth=1, heads=1),
        dict(batch_size=4),
        key="text",
    )
    workdir = untrained(config, tmp_path / "run")
    words.save(workdir / vocabulary.FILE_NAME)
    model = cdcd_jax.open(workdir)
    feature = np.ones(shape, np.float32)
    np.save(tmp_path / "feature.npy", feature)
    both = model.sample(text=["a red cat", "a blue dog"], feature=feature, number=2)
    assert both.titles == ["a red cat"] * 2 + ["a blue dog"] * 2
    assert both.condition["text"].tolist() == both.titles
    (tmp_path / "prompts.txt").write_text("a red cat\na blue dog\n")
    by_path = model.sample(
        text=tmp_path / "prompts.txt", feature=tmp_path / "feature.npy", number=2
    )
    assert np.array_equal(by_path.tokens, both.tokens)
    again = model.sample(text=both.condition["text"], number=1)
    assert again.titles == both.titles
    drawn = {
        "both": both.tokens[:2],
        "text": model.sample(text="a red cat", number=2).tokens,
        "feature": model.sample(feature=feature, number=2).tokens,
        "none": model.sample(number=2).tokens,
    }
    for name, flags in {
        "text": ["--condition.text=a red cat"],
        "feature": [f"--condition.feature={tmp_path}/feature.npy"],
        "both": [
            "--condition.text=a red cat",
            f"--condition.feature={tmp_path}/feature.npy",
        ],
        "none": [],
    }.items():
        code, text = tiny.run(
            f"--workdir={workdir}",
            "--mode=generate",
            "--config.sampling.num_samples=2",
            *flags,
        )
        assert code == 0, text
        found = arrays(workdir / "samples" / "user" / "samples.npz")
        assert np.array_equal(found["tokens"], drawn[name]), name
        given = {key for key in found if key.startswith("condition/")}
        assert given == {
            f.split("=")[0].replace("--condition.", "condition/") for f in flags
        }
    for bad in (["a red cat", ""], [], 5):
        with pytest.raises(UsageError, match="one or more prompts"):
            model.sample(text=bad)
    with pytest.raises(InputError, match=r"expected \[3\]"):
        model.sample(feature=np.ones(4))
    with pytest.raises(UsageError, match="array of numbers"):
        model.sample(feature=["one", "two", "three"])
    with pytest.raises(InputError, match="Found '@', 'nothing'"):
        model.sample(text=["@nothing"])  # of several prompts none is a file


def test_music_of_motion_given_as_an_array(dances, tmp_path):
    model = cdcd_jax.open(dances)
    motion = np.zeros((2 * FRAMES, model.conditions["motion"]["shape"][1]))
    out = model.sample(motion=motion, genre=0, number=1)
    assert out.sample_rate == RATE and out.images is None
    assert out.audio.shape == (1, 2 * LENGTH * HOP) and out.audio.dtype == np.float32
    assert repr(out).startswith("Samples: 1 of step 1, tokens")
    files = {f.name for f in out.save(tmp_path / "music").iterdir()}
    assert {"samples.npz", "sample_00000.wav", "contact_sheet.png"} <= files
    with pytest.raises(InputError, match="Found motion of shape"):
        model.sample(motion=motion[:, :1], genre=0)


def test_a_tokenizer_by_itself(dances, tmp_path):
    """It rebuilds; what models of tokens alone can is refused in words."""
    model = cdcd_jax.open(dances.parent / "tokenizer")
    assert "gives audio: audio" in repr(model)
    sound = np.zeros((2, LENGTH * HOP), np.float32)
    tokens = model.tokenizer.encode(sound)
    assert tokens.shape == (2, LENGTH)
    assert model.tokenizer.decode(tokens)["audio"].shape == sound.shape
    with pytest.raises(UsageError, match="which alone has a bound"):
        model.bound("test")
    for asked in (dict(number=3), dict(steps=3), dict(label=3)):
        with pytest.raises(UsageError):
            model.sample(**asked)


def test_showing(model, monkeypatch):
    from PIL import Image

    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
    model.sample(label=[1, 2], number=3).show()
    assert len(shown) == 1 and shown[0][0] > 8


@pytest.mark.slow
def test_docstrings_have_examples_that_run(model, trained, monkeypatch, tmp_path):
    """Each public method's indented example, in the words that stand there."""
    monkeypatch.chdir(tmp_path)
    out = model.sample(label=3, number=1)
    (out.save("drawn") / "sample_00000.png").rename("three.png")
    names = dict(model=model, np=np, cdcd_jax=cdcd_jax)
    documented = ("sample", "edit", "evaluate", "bound")
    for name in documented:
        text = inspect.getdoc(getattr(api.Model, name))
        code = [line[4:] for line in text.split("\n") if line.startswith("    ")]
        example = "\n".join(code).partition("\nArgs")[0]
        lines = [
            line for line in example.split("\n") if line.startswith(("out", "model"))
        ]
        assert lines, name
        for line in lines:
            exec(line, names)
    assert names["out"].images.shape == (8, 8, 8, 1)
