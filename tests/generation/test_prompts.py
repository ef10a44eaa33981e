"""--condition flags: what becomes of good ones, and what is said of bad ones."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cdcd_jax.data import aist, bpe, vocabulary
from cdcd_jax.data.card import Card
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation.prompts import rows_of, rows_told
from cdcd_jax.networks.conditioners import full_spec

GENRE = dict(kind="label", num_classes=3, names=("waltz", "techno", "swing, slow"))
MOTION = dict(kind="motion", shape=(6, 4), frame_rate=60)
CLIP = full_spec("text", dict(kind="clip_text", shape=(8,)))
WORDS = dict(kind="text", shape=(6,), vocabulary=12)


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Of a model whose words are known."""
    words = vocabulary.train(["a three left of seven", "an eight"], 12)
    words.save(tmp_path / "text-vocabulary.json")
    return tmp_path


def card(directory: Path, **conditions) -> Card:
    return Card(directory, "x", 4, (2, 2), conditions, {}, {}, {})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("techno", [1]),
        ("Techno, waltz", [1, 0]),
        ("1, 0", [1, 0]),
        ("swing, slow", [2]),
        ("#2,#2,waltz", [2, 2, 0]),
    ],
)
def test_labels_are_numbers_or_names(text, numbers):
    rows = rows_of({"genre": text}, {"genre": GENRE}, 2)
    assert rows.condition["genre"].tolist() == np.repeat(numbers, 2).tolist()
    assert rows.condition["genre"].dtype == np.int32
    assert rows.titles == [GENRE["names"][n] for n in np.repeat(numbers, 2)]


def test_names_may_come_from_the_records(tmp_path):
    bare = dict(kind="label", num_classes=2)
    told = card(tmp_path, genre={**bare, "names": ["BR", "PO"]})
    assert rows_of({"genre": "po"}, {"genre": bare}, 1, told).titles == ["PO"]
    assert rows_of({"genre": "1"}, {"genre": bare}, 1).titles is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"genre": "polka", "motion": "x.npy"}, "waltz, techno, swing, slow"),
        ({"genre": "3", "motion": "x.npy"}, "0 to 2"),
        ({"genre": "1"}, "--condition.motion is missing"),
        ({"genre": "1", "dance": "2"}, "takes genre, motion"),
    ],
)
def test_bad_labels(given, says):
    with pytest.raises(UsageError, match=says):
        rows_of(given, {"genre": GENRE, "motion": MOTION}, 1)


def test_of_many_names_the_nearest_are_shown():
    names = ("tabby cat", "tiger cat", *(f"class {i}" for i in range(98)))
    spec = dict(kind="label", num_classes=100, names=names)
    with pytest.raises(UsageError) as caught:
        rows_of({"label": "tabby cot"}, {"label": spec}, 1)
    assert "tabby cat" in str(caught.value) and "class 50" not in str(caught.value)


def test_prompts_are_encoded_and_shown(workdir):
    rows = rows_of({"text": "A  three left"}, {"text": WORDS}, 3, workdir=workdir)
    assert rows.condition["text"].shape == (3, 6)
    assert rows.titles == ["A  three left"] * 3
    assert rows.texts["text"].dtype.kind == "U"
    told = rows_told(rows.condition, {"text": WORDS}, workdir=workdir)
    assert told.titles == ["a three left"] * 3


def test_a_file_of_prompts_beside_one_genre(workdir):
    file = workdir / "prompts.txt"
    file.write_text("a seven\n  an\u2028eight of \x0cthree \r\n")
    given = {"text": f"@{file}", "genre": "waltz"}
    rows = rows_of(given, {"text": WORDS, "genre": GENRE}, 2, workdir=workdir)
    assert rows.condition["genre"].tolist() == [0, 0, 0, 0]
    assert rows.titles[1::2] == ["a seven, waltz", "an\u2028eight of \x0cthree, waltz"]
    told = rows_told(rows.condition, {"text": WORDS, "genre": GENRE}, workdir=workdir)
    assert told.titles[2] == "an eight of three, waltz"


def test_clip_needs_no_file_and_the_records_tell_theirs(workdir):
    rows = rows_of({"text": "two frogs"}, {"text": CLIP}, 1)
    assert np.array_equal(rows.condition["text"], bpe.encode("two frogs", 8))
    words = vocabulary.Vocabulary.load(workdir / "text-vocabulary.json")
    told = dict(vocabulary="trained", file="text-vocabulary.json", sha256=words.sha256)
    rows = rows_of({"text": "a seven"}, {"text": WORDS}, 1, card(workdir, text=told))
    assert np.array_equal(rows.condition["text"], words.encode("a seven", 6))


@pytest.mark.parametrize("spec", [WORDS, CLIP])
def test_a_prompt_that_is_too_long_is_cut_with_a_warning(spec, workdir, capsys):
    long = "a three left of seven a three left of seven"
    rows = rows_of({"text": long}, {"text": spec}, 1, workdir=workdir)
    assert np.count_nonzero(rows.condition["text"]) == spec["shape"][0]
    kept = "a three left of seven" + " a" * (spec is CLIP)
    warning = capsys.readouterr().err
    assert f"cut after {' '.join(kept.split()[-5:])!r}" in warning
    assert f"{spec['shape'][0]} tokens" in warning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" ", "empty"),
        ("@", "empty --condition.text=@; expected a prompt"),
        ("@nothing.txt", "nothing.txt"),
        ("@EMPTY", "no prompt in line 1"),
        ("@BLANK", "no prompt in line 2 of .*BLANK"),
        ("@MARK", "no prompt in line 2"),
        ("@NUL", "no prompt in line 3"),
        ("@BINARY", "UTF-8"),
        ("a zebra", "zebra"),
        ("a zebra left of seven three an eight", "zebra"),
    ],
)
def test_bad_prompts(text, says, workdir, capsys):
    (workdir / "EMPTY").write_text("")
    (workdir / "BLANK").write_text("a seven\n \nan eight\n")
    (workdir / "MARK").write_text("a seven\n\ufeff\n")
    (workdir / "NUL").write_text("a seven\nan eight\n\0")
    (workdir / "BINARY").write_bytes(b"\xff\xfe\xff")
    text = f"@{workdir}/{text[1:]}" if text.startswith("@") and text[1:] else text
    with pytest.raises(InputError, match=says):
        rows_of({"text": text}, {"text": WORDS}, 1, workdir=workdir)
    assert not capsys.readouterr().err


def test_words_without_a_vocabulary(tmp_path):
    with pytest.raises(InputError, match=r"text-vocabulary\.json"):
        rows_of({"text": "a seven"}, {"text": WORDS}, 1, workdir=tmp_path)


def test_a_vocabulary_of_another_model(workdir):
    small = {**WORDS, "vocabulary": 3}
    with pytest.raises(InputError, match="below 3"):
        rows_of({"text": "a seven"}, {"text": small}, 1, workdir=workdir)


def motion_file(tmp_path: Path, shape=(9, 4), name="m.npy") -> Path:
    values = np.random.default_rng(0).standard_normal(shape)
    np.save(tmp_path / name, values)
    return tmp_path / name


def test_motion_of_any_length_keeps_it(tmp_path):
    file, several = motion_file(tmp_path), motion_file(tmp_path, (2, 3, 4), "n.npy")
    for text in (f"{file}", f"{file}@60", f"{file}@60.0"):
        rows = rows_of({"motion": text}, {"motion": MOTION}, 2)
        assert rows.condition["motion"].shape == (2, 9, 4)
        assert rows.condition["motion"].dtype == np.float32
        assert rows.titles is None
    given = {"motion": str(several), "genre": "1,2"}
    rows = rows_of(given, {"motion": MOTION, "genre": GENRE}, 1)
    assert rows.condition["motion"].shape == (2, 3, 4)
    with pytest.raises(UsageError, match=r"2 of motion, 3 of genre"):
        rows_of({**given, "genre": "1,2,0"}, {"motion": MOTION, "genre": GENRE}, 1)


def test_motion_in_other_files(tmp_path):
    values = np.load(motion_file(tmp_path))
    np.savez(tmp_path / "a.npz", values)
    np.savez(tmp_path / "b.npz", motion=values, beats=np.ones(2))
    (tmp_path / "d.NPY").write_bytes((tmp_path / "m.npy").read_bytes())
    for name in ("a.npz", "b.npz", "d.NPY"):
        rows = rows_of({"motion": str(tmp_path / name)}, {"motion": MOTION}, 1)
        assert np.allclose(rows.condition["motion"][0], values)
    content = dict(
        smpl_poses=np.zeros((5, 72)),
        smpl_trans=np.ones((5, 3)) * 180,
        smpl_scaling=np.array([90.0]),
    )
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(content))
    spec = dict(kind="motion", shape=(10, aist.MOTION_WIDTH), frame_rate=60)
    rows = rows_of({"motion": str(tmp_path / "c.pkl")}, {"motion": spec}, 1)
    motion = rows.condition["motion"][0]
    assert motion.shape == (5, 219) and np.allclose(motion[:, :3], 2)
    assert np.allclose(motion[0, 3:12], np.eye(3).reshape(-1))
    with pytest.raises(UsageError, match="60 frames a second; expected 30"):
        rows_of(
            {"motion": str(tmp_path / "c.pkl")},
            {"motion": {**spec, "frame_rate": 30}},
            1,
        )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wide.npy", r"\[9, 5\].*\[frames, 4\]"),
        ("m.npy@30", "30 frames a second; expected 60"),
        ("nan.npy", "not finite, the first at"),
        ("large.npy", "1 values .* too large for float32"),
        ("none.npy", "no file"),
        ("torn.npy", "cannot be read"),
        ("long.npy", "cannot be read"),
        ("n" * 300 + ".npy", "cannot be read"),
        ("text.npy", "expected numbers"),
        ("object.npy", "cannot be read"),
        ("two.npz", "none of them motion"),
        ("torn.npz", "cannot be read"),
        ("cut.npz", "cannot be read"),
        ("crc.npz", "cannot be read.*CRC"),
        ("array.npz", "cannot be read"),
        ("nothing.npz", "arrays -"),
        ("bytes.npz", "expected numbers"),
        ("torn.pkl", "cannot be read"),
        ("torn.pkl@30", "30 frames a second; expected 60"),
        ("empty.npy", r"\[0, 4\]"),
        ("m.csv", r"\.npy, \.npz, \.pkl"),
    ],
)
def test_bad_motion(name, says, tmp_path):
    motion_file(tmp_path)
    motion_file(tmp_path, (9, 5), "wide.npy")
    motion_file(tmp_path, (0, 4), "empty.npy")
    bad = np.zeros((9, 4))
    bad[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    bad[3, 1] = 1e300
    np.save(tmp_path / "large.npy", bad)
    np.savez(tmp_path / "two.npz", a=bad, b=bad)
    np.savez(tmp_path / "nothing.npz")
    (tmp_path / "array.npz").write_bytes((tmp_path / "m.npy").read_bytes())
    with (tmp_path / "long.npy").open("wb") as file:
        header = dict(descr="<f8", fortran_order=False, shape=(10**15, 4))
        np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as archive:
        archive.writestr("motion.npy", "no array")
    packed = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(packed[: len(packed) // 2])
    np.savez(tmp_path / "crc.npz", np.full((9, 4), 2.5))
    packed = (tmp_path / "crc.npz").read_bytes()
    other = packed.replace(np.float64(2.5).tobytes(), np.float64(3.5).tobytes())
    (tmp_path / "crc.npz").write_bytes(other)
    for torn in ("torn.npy", "torn.npz", "torn.pkl"):
        (tmp_path / torn).write_bytes(b"\x93NUMPY, or not")
    with pytest.raises(InputError, match=says):
        rows_of({"motion": str(tmp_path / name)}, {"motion": MOTION}, 1)


def test_finished_arrays(tmp_path):
    spec = dict(kind="features", shape=(3, 2))
    np.save(tmp_path / "one.npy", np.ones((3, 2)))
    np.save(tmp_path / "two.npy", np.ones((2, 3, 2)))
    np.save(tmp_path / "bad.npy", np.ones((3, 4)))
    for name, count in (("one", 1), ("two", 2)):
        rows = rows_of({"video": str(tmp_path / f"{name}.npy")}, {"video": spec}, 1)
        assert rows.condition["video"].shape == (count, 3, 2)
    with pytest.raises(InputError, match=r"\[3, 4\].*\[3, 2\]"):
        rows_of({"video": str(tmp_path / "bad.npy")}, {"video": spec}, 1)
    np.savez(tmp_path / "one.npz", np.ones((3, 2)))
    with pytest.raises(UsageError, match=r"give such a file$"):
        rows_of({"video": str(tmp_path / "one.npz")}, {"video": spec}, 1)
    text = dict(kind="array", shape=(77, 512))
    for words in ("two frogs", "two frogs. " * 40):
        with pytest.raises(UsageError, match=r"cannot be made from words.*clip_text"):
            rows_of({"text": words}, {"text": text}, 1)
