"""Sound for dances of any length, contact sheets, and generating from a directory."""

import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import soundfile
import tiny
from PIL import Image
from untrained import FRAMES, HOP, LENGTH, RATE, small, untrained

from cdcd_jax.config import experiment
from cdcd_jax.data import vocabulary
from cdcd_jax.errors import UsageError
from cdcd_jax.generation import windows
from cdcd_jax.generation.canvases import draw_samples
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.modes import flags
from cdcd_jax.reporting import samples, sheets
from cdcd_jax.tasks.drawing import NO_EDIT

MOTION = dict(motion=dict(kind="motion", shape=(FRAMES, 1), frame_rate=60))


class EchoTask:
    """Its tokens are the numbers that the frames hold; it notes what it is told."""

    def __init__(self, conditions=MOTION):
        self.conditions, self.calls = conditions, []

    def describe(self):
        return {"conditions": self.conditions}

    def options(self, section):
        return None

    def sample(self, params, extra, condition, key, options, number, edit=NO_EDIT):
        known = edit.known
        self.calls.append(SimpleNamespace(condition=condition, known=known, key=key))
        tokens = condition["motion"][..., 0].repeat(LENGTH // FRAMES, axis=1)
        tokens = tokens.astype(np.int32)
        if known is not None:
            tokens = np.where(known[1], known[0], tokens)
        return {"tokens": tokens}


class EchoTokenizer:
    """Each token is as many samples of its number."""

    outputs, sample_rate = {"audio": (LENGTH * HOP,)}, RATE

    def decode(self, tokens):
        return {"audio": tokens.repeat(HOP, axis=1).astype(np.float32)}


def echo_decoders():
    return Decoders({"tokens": {"kind": "tokens"}}, lambda *_: EchoTokenizer())


def dance(frames, rows=2):
    """[rows, frames, 1]: frame i of row r holds i + 100 r."""
    return np.arange(frames)[None, :, None] + 100.0 * np.arange(rows)[:, None, None]


def echo(frames, overlap=0.5, task=None):
    task = task or EchoTask()
    config = experiment(model=dict(grid=(1, LENGTH)), sampling=dict(overlap=overlap))
    condition = {"motion": dance(frames), "beats": np.zeros((2, 3))}
    key = jax.random.key(0)
    outputs, number = draw_samples(
        config, task, echo_decoders(), (None, None), condition, key, 2
    )
    return task, outputs, number


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("frames", [7, 8, 20, 61])
def test_windows_cover_a_long_dance_in_time(frames, overlap):
    task, outputs, number = echo(frames, overlap)
    assert number == len(task.calls) > 1
    expected = dance(frames)[..., 0].repeat(LENGTH // FRAMES, axis=1)
    # a window that starts between two frames shows the nearest
    assert np.abs(outputs["tokens"] - expected).max() <= (overlap == 0.95)
    assert outputs["audio"].shape == (2, frames * RATE // 60)
    assert np.array_equal(outputs["audio"], outputs["tokens"].repeat(HOP, axis=1))
    first, *others = task.calls
    assert first.known is None
    assert len({str(jax.random.key_data(c.key)) for c in task.calls}) == number
    least = round(overlap * LENGTH)
    for before, call in zip(task.calls, others, strict=False):
        if not least and call.known is None:
            continue  # a window that nothing reaches into
        count = call.known[1].sum(1)
        assert (count >= least).all() and (count < LENGTH).all()
        # what is known comes first and is what the motion there says
        assert (np.diff(call.known[1].astype(int)) <= 0).all()
        own = call.condition["motion"][..., 0].repeat(LENGTH // FRAMES, axis=1)
        moved = own.astype(int)[call.known[1]] - call.known[0][call.known[1]]
        assert np.abs(moved).max(initial=0) <= 1  # the nearest frame
        assert before.condition["motion"].shape == call.condition["motion"].shape
    last = task.calls[-1].condition["motion"][0, :, 0]
    assert last[-1] == frames - 1 and len(np.unique(last)) >= FRAMES - 1


@pytest.mark.parametrize("frames", [1, 4, 6])
def test_a_short_dance_holds_its_last_frame(frames):
    task, outputs, number = echo(frames)
    assert number == 1
    seen = task.calls[0].condition["motion"][0, :, 0]
    assert seen.tolist() == [min(i, frames - 1) for i in range(FRAMES)]
    assert outputs["audio"].shape == (2, frames * RATE // 60)


def test_what_has_no_time_is_the_same_in_all_windows():
    genre = dict(kind="label", num_classes=3)
    task = EchoTask({"genre": genre, **MOTION})
    config = experiment(model=dict(grid=(1, LENGTH)))
    condition = {"genre": np.array([2, 1]), "motion": dance(15)}
    draw_samples(
        config, task, echo_decoders(), ({}, {}), condition, jax.random.key(0), 2
    )
    assert len(task.calls) > 2
    assert all(c.condition["genre"].tolist() == [2, 1] for c in task.calls)


def test_tokens_that_end_before_their_motion():
    """As where 2 s of 22,050 Hz are no whole number of hops."""
    token = 128 / 22050
    assert windows.tokens_of(2.0, 344, token) == 344
    total = windows.tokens_of(5.0, 344, token)
    cut = windows.plan((1, total), (1, 344), 0.5)
    assert cut.corners[:2] == ((0, 0), (0, 172))
    assert cut.corners[-1] == (0, total - 344)
    assert 0 <= total * token - 5.0 < token
    fitted = windows.fit(np.ones((1, 344 * 128), np.float32), 44100)
    assert fitted.shape == (1, 44100) and not fitted[0, 344 * 128 :].any()


def test_windows_that_make_no_sense():
    for overlap in (1.0, -0.1):
        with pytest.raises(UsageError, match="overlap"):
            echo(20, overlap)
    two = {**MOTION, "other": dict(MOTION["motion"], frame_rate=30)}
    with pytest.raises(UsageError, match="differ in length"):
        windows.duration({"motion": dance(6), "other": dance(6)}, two)
    assert windows.duration({"motion": dance(6), "other": dance(3)}, two) == 0.1


def test_titles_stand_below_their_pictures(tmp_path):
    images = np.zeros((12, 8, 8, 1), np.uint8)
    long = "a three to the left of a seven that stands above an eight " * 4
    titles = ["a three", long, "w" * 60, "ein Ü, 字"] * 3
    condition = {"text": np.array(titles)}
    outputs = {"tokens": np.zeros((12, 4), np.int32), "images": images}
    media = {"images": sheets.Medium("image")}
    sheet = samples.write_samples(tmp_path, outputs, condition, media, titles=titles)
    cell = 112 + 4 * 14 + 4  # the picture, four lines
    assert sheet.shape == (2 * (cell + 4) + 4, 10 * (112 + 4) + 4, 3)
    strips = [sheet[4 + 112 : 4 + cell, 4 + 116 * i :][:, :112] for i in range(4)]
    ink = [(strip < 128).sum() for strip in strips]
    assert ink[1] > ink[0] > 0 and all(ink)
    assert not (sheet[:, :4] < 128).any()  # nothing is drawn past its cell
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays["condition/text"].tolist() == titles
    assert Image.open(tmp_path / "contact_sheet.png").size == sheet.shape[1::-1]


def test_sounds_have_titles_too():
    audio = np.random.default_rng(0).standard_normal((3, 8000)).astype(np.float32)
    plain = sheets.sound_sheet(audio, 8000)
    sheet = sheets.sound_sheet(audio, 8000, titles=["BR", "PO", "waltz"])
    assert sheet.shape[0] == plain.shape[0] + 14 + 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A model of tiny pictures under a text and a label, without its records."""
    workdir = tmp_path_factory.mktemp("runs") / "pictures"
    text = dict(kind="text", shape=(6,), vocabulary=8, depth=1, heads=2)
    colour = dict(kind="label", num_classes=2, names=("red", "blue"))
    conditions = dict(text=text, colour=colour)
    sampling = dict(num_samples=2)
    untrained(small(conditions, dict(grid=(4, 4)), sampling, "colour"), workdir)
    words = vocabulary.train(["a frog", "two frogs", "no"], 8)
    words.save(workdir / "text-vocabulary.json")
    return workdir


def test_pictures_of_prompts_from_a_directory_alone(pictures, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("a frog\ntwo frogs no a frog two frogs\n")
    code, text = tiny.run(
        *("--workdir", pictures, "--mode", "generate"),
        f"--condition.text=@{file}",
        *("--condition.colour", "BLUE"),
        "--config.sampling.guidance_scale=2.0",
        "--config.model.attention=xla",  # another way to the same
        "--name=frogs",
    )
    assert code == 0, text
    assert "cut after 'two frogs no a frog'" in text
    assert "4 samples of step 1" in text and "2 rows" in text
    folder = pictures / "samples" / "frogs"
    with np.load(folder / "samples.npz") as arrays:
        prompts = arrays["condition/text"].tolist()
        assert arrays["condition/colour"].tolist() == [1] * 4
        assert arrays["images"].shape == (4, 4, 4, 1)
    assert prompts == ["a frog"] * 2 + ["two frogs no a frog two frogs"] * 2
    assert len(list(folder.glob("sample_*.png"))) == 4
    assert Image.open(folder / "contact_sheet.png").height > 112


@pytest.mark.parametrize(
    ("flag", "code", "says"),
    [
        ([], 2, "--condition.colour=... --condition.text=..."),
        (["--condition.text=a frog"], 2, "--condition.colour is missing"),
        (["--condition.text= ", "--condition.colour=0"], 2, "empty"),
        (["--condition.text=a toad", "--condition.colour=0"], 1, "toad"),
        (["--condition.text=a frog", "--condition.colour=green"], 2, "red, blue"),
        (["--config.sampling.stepz=3"], 2, "sampling.steps"),
        (["--config.model.activation=silu"], 2, "model.activation ('gelu' there"),
        (["--config.diffusion.schedule=absorbing_cosine"], 2, "diffusion.schedule"),
        (["--config.model.mlp=conv", "--mode=evaluate"], 2, "model.mlp"),
    ],
)
def test_bad_commands_for_a_directory(flag, code, says, pictures):
    found, text = tiny.run(f"--workdir={pictures}", "--mode=generate", *flag)
    assert (found, text.count("\n")) == (code, 1) and says in text, text


def test_a_place_for_samples_is_tried_before_a_checkpoint_is_read(pictures, tmp_path):
    for file in ("config.json", "text-vocabulary.json"):
        shutil.copy(pictures / file, tmp_path)
    command = (f"--workdir={tmp_path}", "--mode=generate", "--condition.colour=0")
    command += ("--condition.text=a frog",)
    assert "no checkpoint" in tiny.run(*command)[1]
    assert not any((tmp_path / "samples" / "user").iterdir())
    shutil.rmtree(tmp_path / "samples")
    (tmp_path / "samples").touch()
    code, text = tiny.run(*command)
    assert (code, text.count("\n")) == (1, 1) and "cannot be written" in text, text


def test_the_config_of_a_directory(pictures, tmp_path):
    options = flags.parse(["x", f"--workdir={pictures}", "--mode=generate"])
    saved = json.loads((pictures / "config.json").read_text())
    assert options.config["model"]["grid"] == (4, 4)
    assert json.loads(json.dumps(options.config)) == saved
    named = flags.parse(["x", f"--config={pictures}/config.json", "--mode=train"])
    assert named.config == options.config
    for mode in ("train", "generate"):
        with pytest.raises(UsageError, match="no --config"):
            flags.parse(["x", f"--workdir={tmp_path}", f"--mode={mode}"])
    with pytest.raises(UsageError, match="no --config"):
        flags.parse(["x", f"--workdir={pictures}", "--mode=train"])
    for bad in ('{"task": ', '{"foo": 5}', "[3]"):
        (tmp_path / "config.json").write_text(bad)
        with pytest.raises(UsageError, match="cannot read"):
            flags.parse(["x", f"--workdir={tmp_path}", "--mode=evaluate"])
    (tmp_path / "config.json").write_text('{"mode": "train", "on_request": true}')
    assert flags.parse(["x", f"--workdir={tmp_path}", "--mode=evaluate"])


@pytest.mark.slow
def test_without_conditions_samples_are_drawn_all_the_same(tmp_path):
    config = small({}, dict(grid=(4, 4)), dict(num_samples=3))
    workdir = untrained(config, tmp_path / "run")
    command = (f"--workdir={workdir}", "--mode=generate")
    code, text = tiny.run(*command)
    assert code == 0 and "3 samples" in text, text
    code, text = tiny.run(*command, "--condition.label=3")
    assert code == 2 and "no condition" in text


def test_sound_of_another_length_is_decoded_as_one(dances):
    settings = dict(kind="checkpoint", path=str(dances.parent / "tokenizer"))
    tokenizer = open_tokenizer({**settings, "batch_size": 2}, (1, LENGTH))
    tokens = np.random.default_rng(0).integers(0, 8, (3, 5 * LENGTH), dtype=np.int32)
    whole = tokenizer.decode(tokens)["audio"]
    assert whole.shape == (3, 5 * LENGTH * HOP)
    first = tokenizer.decode(tokens[:, : 2 * LENGTH])["audio"]
    assert np.allclose(whole[:, : LENGTH * HOP], first[:, : LENGTH * HOP], atol=1e-5)
    alone = tokenizer.decode(tokens[2:])["audio"]
    assert np.allclose(alone[0], whole[2], atol=1e-5)


def test_a_dance_gets_music_of_its_length(dances, tmp_path, ffmpeg):
    calls = ffmpeg()
    motion = np.zeros((23, 219), np.float32)
    motion[:, 3:] = np.tile(np.eye(3).reshape(-1), 24)
    np.save(tmp_path / "dance.npy", motion)
    code, text = tiny.run(
        f"--workdir={dances}",
        "--mode=generate",
        f"--condition.motion={tmp_path}/dance.npy@60",
        "--condition.genre=PO",
    )
    assert code == 0, text
    assert "14 network evaluations" in text  # 2 steps in each of 7 windows
    folder = dances / "samples" / "user"
    for i in range(2):
        sound, rate = soundfile.read(folder / f"sample_{i:05d}.wav")
        assert (len(sound), rate) == (23 * RATE // 60, RATE)
    with np.load(folder / "samples.npz") as arrays:
        assert arrays["tokens"].shape == (2, 46)
        assert arrays["audio"].shape == (2, 184)
        assert arrays["condition/genre"].tolist() == [1, 1]
    assert (folder / "sample_00000.mp4").exists()
    assert not (folder / "sample_00001.mp4").exists()
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("flag", "code", "says"),
    [
        ("--condition.genre=polka", 2, "BR, PO"),
        ("--condition.motion=dance.npy@30", 2, "30 frames a second; expected 60"),
        ("--condition.motion=wide.npy", 1, "expected [frames, 219]"),
        ("--config.sampling.overlap=1.0", 2, "sampling.overlap"),
    ],
)
def test_bad_commands_for_a_dance(flag, code, says, dances, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("dance.npy", np.zeros((6, 219)))
    np.save("wide.npy", np.zeros((6, 75)))
    given = {"--condition.genre": "BR", "--condition.motion": "dance.npy"}
    name, _, value = flag.partition("=")
    words = [f"{k}={v}" for k, v in {**given, name: value}.items()]
    found, text = tiny.run(f"--workdir={dances}", "--mode=generate", *words)
    assert (found, text.count("\n")) == (code, 1) and says in text, text
