"""Pictures as conditions: from files and arrays, in models, beside edits, refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from untrained import small, untrained

from cdcd_jax import api
from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.evaluation.splits import conditions_of
from cdcd_jax.generation.prompts import rows_of
from cdcd_jax.generation.rows import standing_for_all, told
from cdcd_jax.models.model import Trained
from cdcd_jax.networks.conditioners import full_spec
from cdcd_jax.reporting.pictures import write_png
from cdcd_jax.stages.pretokenize import pretokenize

LEVELS = 5
GREY = full_spec("c", dict(kind="image", levels=LEVELS, grid=(2, 3)))
RGB = full_spec("c", dict(kind="image", levels=LEVELS, grid=(2, 3, 3)))


def read(value, spec=GREY, number=1):
    rows = rows_of({"target": value}, {"target": spec}, number)
    assert rows.titles is None and not rows.texts
    return rows.condition["target"]


def pictures(number=3, channels=1):
    shape = (number, 2, 3, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def nearest(images):
    """The nearest of the levels by a search over all of them."""
    palette = np.arange(LEVELS) * 255 / (LEVELS - 1)
    found = np.abs(images.reshape(len(images), -1, 1) - palette).argmin(-1)
    return found.astype(np.int32)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Pictures in the directory of the test, where names need no path."""
    monkeypatch.chdir(tmp_path)
    images = pictures()
    for i, image in enumerate(images):
        write_png(Path(f"{i}.png"), image)
    return images


def test_files_become_the_nearest_levels(files):
    expected = nearest(files)
    found = read("1.png", number=2)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected[[1, 1]])
    for several in ("2.png,0.png", "2.png, 0.png", [Path("2.png"), "0.png"]):
        np.testing.assert_array_equal(read(several), expected[[2, 0]])
    np.testing.assert_array_equal(read(Path("2.png")), expected[[2]])
    os.rename("0.png", "a,b.png")  # a comma in the name of a file that is there
    np.testing.assert_array_equal(read("a,b.png"), expected[[0]])


def test_pictures_of_colours(files):
    images = pictures(channels=3)
    write_png(Path("colours.png"), images[0])
    np.testing.assert_array_equal(read("colours.png", RGB), nearest(images[:1]))
    np.testing.assert_array_equal(read(images, RGB), nearest(images))
    # a grey picture is one of three equal channels
    same = nearest(files[:1].repeat(3, axis=-1))
    np.testing.assert_array_equal(read("0.png", RGB), same)
    with pytest.raises(InputError, match=r"colours in .*--condition\.target"):
        read("colours.png")


def test_arrays_and_files_of_them(files):
    expected = nearest(files)
    levels = np.where(np.arange(6) % 2, -1, expected)
    given = [
        (files, expected),
        (files[1], expected[[1]]),
        (files[1, ..., 0], expected[[1]]),
        (list(files), expected),
        (levels, levels),
        (levels[2].astype(np.int64), levels[[2]]),
    ]
    for array, wanted in given:
        np.testing.assert_array_equal(read(array), wanted)
        np.save("array.npy", array)
        np.testing.assert_array_equal(read("array.npy"), wanted)


def test_samples_of_an_earlier_run(files):
    expected = nearest(files)
    np.savez("samples.npz", tokens=expected, images=files)
    np.testing.assert_array_equal(read("samples.npz"), expected)
    np.testing.assert_array_equal(read("samples.npz:1,0.png"), expected[[1, 0]])
    # its own name goes first
    np.savez("both.npz", images=files[::-1], target=files)
    np.testing.assert_array_equal(read("both.npz:0"), expected[[0]])
    with pytest.raises(UsageError, match=r"samples.npz:3; expected a row below 3"):
        read("samples.npz:3")
    np.savez("tokens.npz", tokens=expected)
    with pytest.raises(InputError, match=r"expected a samples.npz with `target` or"):
        read("tokens.npz")


@pytest.mark.parametrize(
    ("value", "says", "error"),
    [
        ("wide.png", r"--condition\.target=wide.png of 4 x 2 pixels; .* 3 x 2", None),
        ("0.png,wide.png", r"wide.png of 4 x 2", None),
        ("none.png", r"--condition\.target cannot be read", None),
        ("a three", r"expected a picture \(\.png", UsageError),
        ("0.png,", r"expected a picture", UsageError),
        (np.zeros((2, 4, 1), np.uint8), r"uint8 \[2, 4, 1\] in an array", None),
        (np.zeros((0, 2, 3, 1), np.uint8), r"uint8 \[0, 2, 3, 1\]", None),
        (np.zeros((2, 3, 1)), r"float64 \[2, 3, 1\] in an array", None),
        (np.zeros(6, np.uint8), r"uint8 \[6\] in an array; expected pictures", None),
        (np.full(6, LEVELS), r"from 5 to 5 in an array; .* -1 \(unknown\) to 4", None),
        (np.full((1, 6), -2), r"from -2 to -2", None),
        (np.zeros((1, 5), int), r"int64 \[1, 5\]", None),
        ([], r"float64 \[0\]", None),
        (["0.png", 3], r"in an array", None),
    ],
)
def test_pictures_that_do_not_fit(value, says, error, files):
    write_png(Path("wide.png"), np.zeros((2, 4, 1), np.uint8))
    with pytest.raises(error or InputError, match=says):
        read(value)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of grey pictures under a picture."""
    spec = dict(kind="image", levels=LEVELS, grid=(4, 6))
    config = small(
        dict(target=spec),
        dict(grid=(4, 6), num_codes=LEVELS),
        dict(num_samples=2),
        "target",
        tokenizer=dict(kind="palette", levels=LEVELS),
        diffusion=dict(schedule="absorbing_linear"),
    )
    return untrained(config, tmp_path_factory.mktemp("pictures") / "run", size=0.5)


def test_samples_keep_what_they_were_drawn_under(model, tmp_path):
    opened = api.open(model)
    image = np.random.default_rng(1).integers(0, 256, (2, 4, 6, 1), dtype=np.uint8)
    for i in range(2):
        write_png(tmp_path / f"{i}.png", image[i])
    drawn = opened.sample(target=image, directory=tmp_path / "out")
    levels = nearest(image).repeat(2, axis=0)
    np.testing.assert_array_equal(drawn.condition["target"], levels)
    with np.load(tmp_path / "out" / "samples.npz") as arrays:
        np.testing.assert_array_equal(arrays["condition/target"], levels)
    files = ",".join(str(tmp_path / f"{i}.png") for i in range(2))
    code, text = tiny.run(
        *(f"--workdir={model}", "--mode=generate", f"--condition.target={files}")
    )
    assert code == 0, text
    with np.load(model / "samples" / "user" / "samples.npz") as arrays:
        np.testing.assert_array_equal(arrays["tokens"], drawn.tokens)
    # an edit goes on under the picture that its input was drawn under
    npz = str(tmp_path / "out" / "samples.npz")
    edited = opened.edit(f"{npz}:3", mask="left", number=2)
    np.testing.assert_array_equal(edited.condition["target"], levels[[3, 3]])
    with pytest.raises(UsageError, match=r"expand under the picture .*target"):
        opened.edit(f"{npz}:3", expand=(0, 0, 2, 0))
    toward = opened.edit(
        target=image[0], toward=dict(target=tmp_path / "1.png"), number=3
    )
    assert len(toward) == 3 and toward.titles is None


def test_an_input_under_levels_that_there_are_not(model, tmp_path):
    drawn = api.open(model).sample(target=np.zeros((4, 6, 1), np.uint8), number=1)
    condition = np.full((1, 24), LEVELS, np.int32)
    file = tmp_path / "bad.npz"
    np.savez(file, **drawn.outputs, **{"condition/target": condition})
    with pytest.raises(InputError, match="condition/target of shape"):
        api.open(model).edit(file, mask="left")


def pairs(path: Path, pair: str) -> Path:
    config = default_config()
    config["data"]["options"] = {"pair": pair}
    return pretokenize(config, path)


def test_what_is_made_of_the_tokens_of_held_out_records(tmp_path):
    """For samples of any kind, and for those that are judged."""
    card = read_card(pairs(tmp_path / "records", "outline"))
    config = tiny.settings(data=dict(path=str(card.directory)))
    model = Trained(config, tmp_path / "run")
    spec = dict(kind="image", levels=17, grid=(8, 8))
    found = dict(
        outline=full_spec("outline", spec),
        image=full_spec("image", dict(spec, field="tokens", optional=True)),
    )
    model.__dict__["description"] = {**model.description, "conditions": found}
    condition = standing_for_all(model, 3)
    records = RecordSource(card, "test")
    rows = [records[i] for i in (0, 179, 359)]
    for name, stored in dict(image=None, outline="outline", label="label").items():
        for row, got in zip(rows, condition[name], strict=True):
            wanted = row["condition"][stored] if stored else row["tokens"]
            np.testing.assert_array_equal(got, wanted)
    assert told(model, condition).titles is None
    judged = conditions_of(model, card, 3)
    assert set(judged) == {"image", "outline", "label", "truth"}
    np.testing.assert_array_equal(judged["image"], judged["truth"])


def trained(tmp_path: Path, pair: str, name: str, steps: int, **model) -> api.Model:
    """A run of few steps on digits under their second picture."""
    config = tiny.settings(
        data=dict(path=str(pairs(tmp_path / "records", pair)), batch_size=64),
        model=model,
        diffusion=dict(schedule="absorbing_linear"),
        contrastive=dict(weight=0.0, num_negatives=0, key=name),
        tokenizer=dict(kind="palette", levels=17),
        optim=dict(num_steps=steps, learning_rate=3e-3),
        report=dict(log_every=steps, checkpoint_every=steps),
        eval=dict(figures=""),
    )
    spec = dict(kind="image", levels=17, grid=(8, 8), patch=1)
    config["model"]["conditions"] = {name: spec}
    return api.train(config, tmp_path / "run")


def test_from_pairs_of_digits_to_a_file(tmp_path):
    run = trained(tmp_path, "invert", "target", 4)
    target = RecordSource(read_card(tmp_path / "records"), "test")[7]["condition"]
    file = tmp_path / "target.png"
    grey = np.rint(target["target"] * (255 / 16)).astype(np.uint8)
    Image.fromarray(grey.reshape(8, 8)).save(file)
    words = f"--condition.target={file}", "--config.sampling.num_samples=3"
    code, text = tiny.run(f"--workdir={run.workdir}", "--mode=generate", *words)
    assert code == 0, text
    with np.load(run.workdir / "samples" / "user" / "samples.npz") as arrays:
        assert arrays["images"].shape == (3, 8, 8, 1)
        found = arrays["condition/target"]
    np.testing.assert_array_equal(found, [target["target"]] * 3)
    # without any, those of held-out records
    held_out = run.sample(number=2).condition
    np.testing.assert_array_equal(
        held_out["target"],
        standing_for_all(Trained(run.config, run.workdir), 2)["target"],
    )


@pytest.mark.slow
def test_a_model_learns_what_a_picture_says(tmp_path):
    """Digits under their outlines lie where these lie."""
    run = trained(tmp_path, "outline", "outline", 150, width=32, depth=2)
    records = RecordSource(read_card(tmp_path / "records"), "test")
    rows = [records[i] for i in range(40)]
    digits = np.stack([row["tokens"] for row in rows])
    outlines = np.stack([row["condition"]["outline"] for row in rows])
    right = run.sample(outline=outlines, number=1).tokens
    wrong = run.sample(outline=np.roll(outlines, 1, axis=0), number=1).tokens
    error = lambda found: np.abs(found - digits).mean()
    assert error(right) < 0.7 * error(wrong)
