"""Editing from files to files: masks, variation, canvases, interpolation, errors."""

import numpy as np
import pytest
import soundfile
import tiny
from PIL import Image
from untrained import LENGTH, RATE, small, untrained

from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.errors import UsageError
from cdcd_jax.modes import flags
from cdcd_jax.reporting.pictures import write_png

LEVELS = 5  # of the palette
RED, TWO = ("--condition.colour=red",), "--config.sampling.num_samples=2"


def generate(workdir, *words, name="user"):
    """Exit code, standard error, and the arrays that were written."""
    command = (f"--workdir={workdir}", "--mode=generate", f"--name={name}")
    code, text = tiny.run(*command, *words)
    if code:
        return code, text, {}
    with np.load(workdir / "samples" / name / "samples.npz") as arrays:
        return code, text, dict(arrays)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A model of grey pictures of 4 x 6 pixels, a token each, under a colour."""
    workdir = tmp_path_factory.mktemp("editing") / "pictures"
    colour = dict(kind="label", num_classes=2, names=("red", "blue"))
    model = dict(grid=(4, 6), num_codes=LEVELS)
    config = small(
        dict(colour=colour),
        model,
        dict(num_samples=2),
        "colour",
        tokenizer=dict(kind="palette", levels=LEVELS),
        # an untrained model would replace codes at random under another
        diffusion=dict(schedule="absorbing_linear"),
    )
    return untrained(config, workdir, size=0.5)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A grey picture with values between those of the palette."""
    file = tmp_path_factory.mktemp("input") / "picture.png"
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 1), dtype=np.uint8)
    write_png(file, pixels)
    return file, pixels


@pytest.fixture(scope="module")
def sounds(dances, tmp_path_factory):
    """A model of sound of 12 tokens with 4 samples each, without conditions."""
    path = str(dances.parent / "tokenizer")
    config = small(
        {},
        dict(grid=(1, LENGTH), num_codes=8),
        dict(num_samples=2),
        tokenizer=dict(kind="checkpoint", path=path, batch_size=4),
    )
    return untrained(config, tmp_path_factory.mktemp("sounds") / "run")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A wav of 0.15 s, 72 samples or 18 tokens, in 16 bits."""
    file = tmp_path_factory.mktemp("input") / "sound.wav"
    wave = np.random.default_rng(2).uniform(-0.5, 0.5, 72)
    soundfile.write(file, wave, RATE, subtype="PCM_16")
    return file, soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize("method", SAMPLERS)
def test_what_is_masked_out_stays_under_every_method(method, pictures, picture):
    file, pixels = picture
    code, text, drawn = generate(
        pictures,
        *RED,
        f"--edit.input={file}",
        "--edit.mask=left",
        f"--config.sampling.method={method}",
        f"--config.sampling.steps={10 if method == 'ancestral' else 2}",
        name=method,
    )
    assert code == 0, text
    known = np.tile(np.arange(6) >= 3, 4)
    assert drawn["edit/known"].tolist() == [known.tolist()] * 2
    codes = np.rint(pixels.reshape(-1) * ((LEVELS - 1) / 255))
    assert (drawn["edit/input"] == codes).all()
    assert (drawn["tokens"][:, known] == codes[known]).all()
    assert (drawn["tokens"] < LEVELS).all()
    for i in range(2):
        found = np.asarray(
            Image.open(pictures / "samples" / method / f"sample_{i:05d}.png")
        )
        assert np.array_equal(found[:, 3:], pixels[:, 3:, 0])  # off the palette too
        palette = np.rint(np.arange(LEVELS) * 255 / (LEVELS - 1))
        assert np.isin(found[:, :3], palette).all()


def test_seed_and_name_say_what_is_drawn(pictures, picture):
    words = (*RED, f"--edit.input={picture[0]}", "--edit.mask=0.2,0,0.9,0.8")
    first, again = (generate(pictures, *words)[2] for _ in range(2))
    assert all(np.array_equal(first[k], again[k]) for k in first)
    known = first["edit/known"]
    others = [
        generate(pictures, *words, "--config.seed=1")[2],
        generate(pictures, *words, name="another")[2],
    ]
    found = [first["tokens"], *(other["tokens"] for other in others)]
    assert all(np.array_equal(tokens[known], found[0][known]) for tokens in found)
    # six drawings of 5 codes: of no two is more than a chance part alike
    rows = np.concatenate(found)[:, ~known[0]]
    pairs = [(a == b).mean() for i, a in enumerate(rows) for b in rows[:i]]
    assert rows.shape[1] >= 12 and max(pairs) < 0.8


def test_variation_goes_from_the_input(pictures, picture):
    words = (*RED, f"--edit.input={picture[0]}")
    near = (*words, "--edit.strength=0.1", "--config.sampling.steps=1")
    code, text, drawn = generate(pictures, *near)
    assert code == 0 and "1 network evaluation of 1 row a sample" in text, text
    assert not drawn["edit/known"].any()
    kept = [(drawn["tokens"] == drawn["edit/input"]).mean()]
    far = (*words, "--edit.strength=1", "--config.sampling.steps=2")
    drawn = generate(pictures, *far)[2]
    kept.append((drawn["tokens"] == drawn["edit/input"]).mean())
    assert kept[0] > 0.7 > kept[1]
    drawn = generate(pictures, *near, "--edit.mask=top")[2]
    below = np.repeat([False, True], 12)
    assert np.array_equal(drawn["edit/known"], [below, below])
    same = drawn["tokens"] == drawn["edit/input"]
    assert same[:, below].all()


def test_samples_of_an_earlier_run_are_edited_under_their_conditions(pictures):
    _, _, first = generate(pictures, "--condition.colour=0,1", TWO, name="first")
    file = pictures / "samples" / "first" / "samples.npz"
    words = (f"--edit.input={file}", "--edit.mask=bottom")
    code, text, drawn = generate(pictures, *words, TWO)
    assert code == 0 and "8 samples" in text, text
    assert drawn["condition/colour"].tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(drawn["edit/input"], first["tokens"].repeat(2, 0))
    assert np.array_equal(drawn["images"][:, :2], first["images"].repeat(2, 0)[:, :2])
    one = (f"--edit.input={file}:3", "--edit.mask=bottom", "--condition.colour=0,1")
    drawn = generate(pictures, *one, TWO)[2]
    assert (drawn["edit/input"] == first["tokens"][3]).all()
    assert drawn["condition/colour"].tolist() == [0, 0, 1, 1]
    code, text, _ = generate(pictures, *words, "--condition.colour=0,1")
    assert code == 2 and "2 conditions, 4 inputs" in text, text


def test_interpolation_between_conditions(pictures):
    words = (*RED, "--edit.toward.colour=blue", "--config.sampling.num_samples=5")
    words += ("--config.sampling.batch_size=3",)
    code, text, drawn = generate(pictures, *words)
    assert code == 0 and "of 2 rows a sample" in text, text
    assert np.allclose(drawn["edit/weight"], [0, 0.25, 0.5, 0.75, 1])
    # all from one noise: the ends are drawn as they are without the other end
    for row, colour in ((0, "red"), (-1, "blue")):
        end = (f"--condition.colour={colour}", f"--edit.toward.colour={colour}")
        alone = generate(pictures, *end, *words[2:])[2]["tokens"]
        assert (alone == alone[0]).all()
        assert np.array_equal(alone[0], drawn["tokens"][row])
    # of one noise, what differs comes from the condition alone, and step by step
    moved = (drawn["tokens"] != drawn["tokens"][0]).sum(1)
    assert moved[0] == 0 < moved[-1] and (np.diff(moved) >= -2).all()
    guided = generate(pictures, *words, "--config.sampling.guidance_scale=2.0")
    assert "of 3 rows a sample" in guided[1]


def test_a_larger_picture_grows_out_of_its_input(pictures, picture):
    file, pixels = picture
    words = (*RED, f"--edit.input={file}", "--edit.expand=7,0,2,3")
    code, text, drawn = generate(pictures, *words)
    assert code == 0, text
    assert drawn["images"].shape == (2, 7, 15, 1)
    assert (drawn["images"][:, :4, 7:13] == pixels).all()
    inside = np.zeros((7, 15), bool)
    inside[:4, 7:13] = True
    assert np.array_equal(drawn["edit/known"].reshape(2, 7, 15), [inside, inside])
    assert (drawn["tokens"] < LEVELS).all()
    code, text, drawn = generate(pictures, *RED, "--edit.expand=0,0,6,0")
    assert code == 0 and drawn["images"].shape == (2, 4, 12, 1)
    assert "6 network evaluations" in text  # 2 steps in each of 3 windows
    assert "edit/known" not in drawn


def test_sound_is_continued_and_completed(sounds, sound):
    file, wave = sound
    code, text, drawn = generate(sounds, f"--edit.input={file}", "--edit.seconds=0.31")
    assert code == 0, text
    assert drawn["audio"].shape == (2, round(0.31 * RATE))
    assert np.array_equal(drawn["audio"][:, :72], [wave, wave])
    assert drawn["edit/known"].sum(1).tolist() == [18, 18]
    assert drawn["tokens"].shape == (2, 38)
    heard, rate = soundfile.read(sounds / "samples" / "user" / "sample_00000.wav")
    assert rate == RATE and np.allclose(heard[:72], wave, atol=1 / 32000)
    # 0.05 s to 0.1 s are the samples 24 to 47, of which token 12 is not touched
    mask = generate(sounds, f"--edit.input={file}", "--edit.mask=0.05:0.1")[2]
    known = mask["edit/known"]
    assert (np.flatnonzero(~known[0]) == np.arange(6, 12)).all()
    assert np.array_equal(mask["audio"][:, 48:], [wave[48:]] * 2)
    assert (mask["tokens"][known] == mask["edit/input"][known]).all()
    mask = generate(sounds, f"--edit.input={file}", "--edit.mask=0.11:")[2]
    assert mask["edit/known"].sum(1).tolist() == [13, 13]  # token 13 is drawn whole
    code, text, drawn = generate(sounds, "--edit.seconds=0.25")
    assert code == 0 and drawn["audio"].shape == (2, 120), text


def test_sound_is_varied(sounds, sound):
    words = (f"--edit.input={sound[0]}", "--edit.strength=0.2")
    code, text, drawn = generate(sounds, *words)
    assert code == 0, text
    assert drawn["audio"].shape == (2, 72) and drawn["tokens"].shape == (2, 18)
    earlier = sounds / "samples" / "user" / "samples.npz"
    words = (f"--edit.input={earlier}:1", "--edit.seconds=0.2")
    code, text, longer = generate(sounds, *words, name="longer")
    assert code == 0, text
    assert np.array_equal(longer["tokens"][:, :18], drawn["tokens"][[1, 1]])
    assert np.array_equal(longer["audio"][:, :72], drawn["audio"][[1, 1]])


def test_music_for_a_dance_goes_on_from_a_sound(dances, sound, tmp_path):
    np.save(tmp_path / "dance.npy", np.zeros((23, 219), np.float32))
    words = (f"--condition.motion={tmp_path}/dance.npy", "--condition.genre=PO")
    words += (f"--edit.input={sound[0]}", "--config.sampling.videos=0")
    code, text, drawn = generate(dances, *words, "--edit.mask=0.1:")
    assert code == 0, text
    assert drawn["audio"].shape == (2, 23 * RATE // 60)
    assert np.array_equal(drawn["audio"][:, :48], [sound[1][:48]] * 2)
    assert drawn["edit/known"].sum(1).tolist() == [12, 12]
    code, text, _ = generate(dances, *words, "--edit.seconds=1")
    assert code == 2 and "the motion's" in text


BAD = [
    (["--edit.mask=left"], 2, "without --edit.input"),
    (["--edit.strength=0.5"], 2, "without --edit.input"),
    (["--edit.input=IN"], 2, "all would be kept"),
    (["--edit.input=IN", "--edit.mask=middle"], 2, "center"),
    (["--edit.input=IN", "--edit.mask=0.5,0,0.4,1"], 2, "shares from 0 to 1"),
    (["--edit.input=IN", "--edit.mask=0,0,2,1"], 2, "shares from 0 to 1"),
    (["--edit.input=IN", "--edit.mask=0,0,0.01,0.01"], 2, "would be kept"),
    (["--edit.input=IN", "--edit.mask=black.png"], 2, "would be kept"),
    (["--edit.input=IN", "--edit.mask=wide.png"], 1, "7 x 4 pixels; expected 6 x 4"),
    (["--edit.input=IN", "--edit.mask=grey.png"], 1, "black and white"),
    (["--edit.input=IN", "--edit.mask=none.png"], 1, "cannot be read"),
    (["--edit.input=IN", "--edit.strength=0"], 2, "at most 1"),
    (["--edit.input=IN", "--edit.strength=1.5"], 2, "at most 1"),
    (["--edit.input=IN", "--edit.strength=x"], 2, "at most 1"),
    (["--edit.input=IN", "--edit.strength=0.1"], 2, "sampling.steps = 2"),
    (["--edit.input=IN", "--edit.strength=1", "--edit.expand=1,1,1,1"], 2, "one of"),
    (["--edit.input=IN", "--edit.seconds=2"], 2, "model of pictures"),
    (["--edit.input=IN", "--edit.expand=1,1,1"], 2, "LEFT,TOP,RIGHT,BOTTOM"),
    (["--edit.expand=0,0,0,0"], 2, "not all 0"),
    (["--edit.expand=-1,0,0,0"], 2, "whole numbers"),
    (["--edit.expand=9999999,0,0,0"], 2, "tokens; expected at most"),
    (["--edit.input=wide.png", "--edit.mask=left"], 1, "expected 6 x 4"),
    (["--edit.input=colour.png", "--edit.mask=left"], 1, "colours"),
    (["--edit.input=none.png", "--edit.mask=left"], 1, "cannot be read"),
    (["--edit.input=broken.png", "--edit.mask=left"], 1, "cannot be read"),
    (["--edit.input=sound.wav", "--edit.mask=left"], 1, "expected a picture"),
    (["--edit.input=broken.npz", "--edit.mask=left"], 1, "samples.npz"),
    (["--edit.input=other.npz", "--edit.mask=left"], 1, "samples of this model"),
    (["--edit.input=fit.npz:9", "--edit.mask=left"], 2, "a row below 1"),
    (["--edit.toward.colour=blue", "--config.sampling.num_samples=1"], 2, "2 or more"),
    (["--edit.toward.tone=blue"], 2, "--edit.toward.tone"),
    (["--edit.toward.colour=green"], 2, "red, blue"),
    (["--edit.toward=blue"], 2, "toward.<modality>"),
    (["--edit.inputs=IN"], 2, "unknown --edit.inputs: choose one of input"),
    (["--edit.mask=left", "--edit.mask=top"], 2, "twice"),
    (["--edit.mask="], 2, "expected --edit.<name>=<value>"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    grey = np.zeros((4, 6, 1), np.uint8)
    write_png(folder / "black.png", grey)
    write_png(folder / "grey.png", grey + 128)
    write_png(folder / "wide.png", np.zeros((4, 7, 1), np.uint8))
    write_png(folder / "colour.png", grey + np.array([9, 8, 7], np.uint8))
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:40])
    (folder / "broken.npz").write_bytes(b"PK" * 9)
    soundfile.write(folder / "sound.wav", np.zeros(99), RATE)
    samples = dict(tokens=np.zeros((1, 24), np.int32), images=grey[None])
    np.savez(folder / "fit.npz", **samples)
    np.savez(folder / "other.npz", **{**samples, "tokens": np.ones((1, 16), np.int32)})
    return folder


@pytest.mark.parametrize(("words", "code", "says"), BAD)
def test_bad_edits(words, code, says, pictures, picture, bad_files, monkeypatch):
    monkeypatch.chdir(bad_files)
    words = [word.replace("=IN", f"={picture[0]}") for word in words]
    found, text, _ = generate(pictures, *RED, *words, name="bad")
    assert (found, text.count("\n")) == (code, 1) and says in text, text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--edit.input=IN", "--edit.mask=left"], 2, "START:END"),
        (["--edit.input=IN", "--edit.mask=0.2:"], 2, "of the 0.15 s"),
        (["--edit.input=IN", "--edit.mask=0.1:0.05"], 2, "START:END"),
        (["--edit.input=IN", "--edit.seconds=0.1"], 2, "at least the input"),
        (["--edit.input=IN", "--edit.seconds=0.15"], 2, "would be kept"),
        (["--edit.input=IN", "--edit.seconds=9", "--edit.strength=1"], 2, "as long"),
        (["--edit.seconds=-1"], 2, "above 0"),
        (["--edit.seconds=inf"], 2, "above 0"),
        (["--edit.seconds=1e9"], 2, "tokens; expected at most"),
        (["--edit.expand=1,1,1,1"], 2, "--edit.seconds"),
        (["--edit.input=grey.png", "--edit.mask=1:"], 1, "expected a sound"),
        (["--edit.input=none.wav", "--edit.mask=1:"], 1, "cannot be read"),
        (["--edit.toward.label=1"], 2, "it has none"),
        (["--config.sampling.overlap=1.0", "--edit.seconds=2"], 2, "overlap"),
    ],
)
def test_bad_edits_of_sound(words, code, says, sounds, sound, bad_files, monkeypatch):
    monkeypatch.chdir(bad_files)
    words = [word.replace("=IN", f"={sound[0]}") for word in words]
    found, text, _ = generate(sounds, *words, name="bad")
    assert (found, text.count("\n")) == (code, 1) and says in text, text


def test_inputs_need_a_condition(pictures, picture):
    words = (f"--edit.input={picture[0]}", "--edit.mask=left")
    code, text, _ = generate(pictures, *words)
    assert code == 2 and "without --condition.colour" in text


@pytest.mark.parametrize("mode", ["train", "evaluate", "pretokenize", "inspect"])
def test_edits_are_for_generate_alone(mode, pictures):
    command = ["x", f"--config={pictures}/config.json", f"--mode={mode}"]
    with pytest.raises(UsageError, match=r"--edit\.mask is for --mode=generate"):
        flags.parse([*command, "--edit.mask=left"])
