"""Tests of the source `aist`, on small files of both real layouts."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_dances import NAMES, write_list, write_segments, write_wave

from cdcd_jax.data.aist import GENRES
from cdcd_jax.data.smpl import rotation_matrices
from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError


@pytest.fixture
def aist(tmp_path: Path) -> Path:
    write_segments(tmp_path)
    return tmp_path


def test_segments(aist: Path) -> None:
    source = open_source("aist", str(aist), {"video": True})
    card = source.card()
    assert card["splits"] == ("train", "val", "test")
    assert card["media"] == {"kind": "audio", "shape": [44100], "sample_rate": 22050}
    assert card["conditions"]["genre"]["names"] == list(GENRES)
    shapes = {name: spec["shape"] for name, spec in card["conditions"].items()}
    assert shapes == {"motion": [120, 219], "genre": [], "video": [1, 2048]}
    for split, names in NAMES.items():
        found = source.split(split)
        assert len(found) == len(names)
        for index, name in enumerate(names):
            example = found.example(index)
            assert example["key"] == f"{split}/{name}"
            condition = example["condition"]
            for part, shape in shapes.items():
                kind = np.int32 if part == "genre" else np.float32
                assert condition[part].dtype == kind
                assert list(condition[part].shape) == shape
            motion = np.load(aist / "motion_s2" / split / f"{name}.npy")
            np.testing.assert_allclose(condition["motion"], motion, rtol=1e-6)
            track = name.split("_")[4]
            assert GENRES[condition["genre"]] == track[1:3]
            assert example["groups"] == {"genre": track[:3], "track": track}
            assert example["audio"].shape == (44100,)
            assert abs(np.abs(example["audio"]).max() - 0.95) < 1e-3


def test_six_seconds(tmp_path: Path) -> None:
    write_segments(tmp_path, 6)
    source = open_source("aist", str(tmp_path), {"seconds": 6})
    assert source.card()["media"]["shape"] == [132300]
    example = source.split("test").example(1)
    assert example["condition"]["motion"].shape == (360, 219)
    assert set(example["condition"]) == {"motion", "genre"}
    assert example["condition"]["genre"] == 0
    with pytest.raises(InputError, match=r"aist_audio_train_segment\.txt"):
        open_source("aist", str(tmp_path))


def test_genres_are_numbered_as_the_reference_does() -> None:
    assert "".join(GENRES) == "BRPOLOMHLHHOWAKRJSJB"


def test_lists_elsewhere_and_relative(aist: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    for file in aist.glob("*.txt"):
        text = file.read_text().replace("/data/author/aistplus", ".")
        (lists / file.name).write_text(text)
        file.unlink()
    source = open_source("aist", str(aist), {"lists": str(lists)})
    assert source.split("val").example(0)["key"] == f"val/{NAMES['val'][0]}"


def test_views_change_loudness_only(aist: Path) -> None:
    split = open_source("aist", str(aist)).split("train")
    plain = split.example(0)["audio"]
    views = [split.example(0, np.random.default_rng(i))["audio"] for i in range(8)]
    scales = [float(np.abs(view).max() / np.abs(plain).max()) for view in views]
    assert 0.3 <= min(scales) < max(scales) <= 1 and len(set(scales)) == 8
    for scale, view in zip(scales, views, strict=True):
        np.testing.assert_allclose(view, plain * scale, atol=1e-5)
    quiet = open_source("aist", str(aist), {"amplitude": False}).split("train")
    view = quiet.example(0, np.random.default_rng(0))["audio"]
    np.testing.assert_array_equal(view, plain)


def test_sound_of_another_rate_channels_and_length(aist: Path) -> None:
    at = np.arange(48000 * 3) / 48000
    tone = 0.3 * np.sin(2 * np.pi * 440 * at)
    path = aist / "audio_s2" / "train" / f"{NAMES['train'][0]}.wav"
    write_wave(path, np.stack([tone, tone], 1), 48000)
    split = open_source("aist", str(aist)).split("train")
    found = split.example(0)["audio"]
    assert abs(np.abs(np.fft.rfft(found)).argmax() / 2 - 440) < 1
    # a longer file is cut at its end: motion starts at its beginning
    expected = 0.95 * np.sin(2 * np.pi * 440 * np.arange(44100) / 22050)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], atol=0.02)
    write_wave(path, tone[:48000], 48000)
    found = split.example(0)["audio"]
    assert found[:22000].any() and not found[22050:].any()
    write_wave(path, np.zeros(44100))
    assert not split.example(0)["audio"].any()


def spoil(path: Path, change: Any) -> None:
    array = np.load(path)
    np.save(path, change(array))


def with_nan(array: np.ndarray) -> np.ndarray:
    array[3, 5] = np.nan
    return array


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        ("motion", with_nan, "NaN or infinite"),
        ("motion", lambda a: a * 1e300, "NaN or infinite"),
        ("motion", lambda a: a[:, :216], r"shape \[120, 216\]; expected \[120, 219\]"),
        ("motion", lambda a: a[:119], r"shape \[119, 219\]"),
        ("motion", lambda a: a.T, r"shape \[219, 120\]"),
        ("motion", lambda a: a[:0], r"shape \[0, 219\]"),
        ("motion", lambda a: a.astype(str), "in place of numbers"),
        ("motion", lambda a: a.astype(object), "not a sound NumPy file"),
        ("video", lambda a: a[:, :1024], r"shape \[1, 1024\]; expected \[1, 2048\]"),
        ("video", lambda a: np.repeat(a, 2, 0), r"shape \[2, 2048\]"),
    ],
)
def test_bad_arrays_are_named(aist: Path, kind: str, change: Any, match: str) -> None:
    path = aist / f"{kind}_s2" / "train" / f"{NAMES['train'][0]}.npy"
    spoil(path, change)
    split = open_source("aist", str(aist), {"video": True}).split("train")
    with pytest.raises(Unreadable, match=match) as caught:
        split.example(0)
    assert caught.value.name == str(path)
    split.example(1)


def test_bad_files_are_named(aist: Path) -> None:
    split = open_source("aist", str(aist)).split("train")
    motion = aist / "motion_s2" / "train" / f"{NAMES['train'][0]}.npy"
    data = motion.read_bytes()
    for bad in (b"", data[:40], data[:-8], b"\x80\x04N."):
        motion.write_bytes(bad)
        with pytest.raises(Unreadable, match=r"seg1\.npy: not a sound NumPy file"):
            split.example(0)
    motion.unlink()
    with pytest.raises(Unreadable, match=r"seg1\.npy: no such file"):
        split.example(0)
    wave = aist / "audio_s2" / "train" / f"{NAMES['train'][1]}.wav"
    write_wave(wave, np.zeros(0))
    with pytest.raises(Unreadable, match=r"seg2\.wav: no samples"):
        split.example(1)
    wave.unlink()
    with pytest.raises(Unreadable, match=r"seg2\.wav: no such file"):
        split.example(1)


def test_axes_of_one_do_not_matter(aist: Path) -> None:
    name = NAMES["train"][0]
    spoil(aist / f"motion_s2/train/{name}.npy", lambda a: a[None].astype(np.float32))
    spoil(aist / f"video_s2/train/{name}.npy", lambda a: a[0])
    split = open_source("aist", str(aist), {"video": True}).split("train")
    condition = split.example(0)["condition"]
    assert condition["motion"].shape == (120, 219)
    assert condition["video"].shape == (1, 2048)


def test_bad_lists(aist: Path) -> None:
    audio = aist / "aist_audio_train_segment.txt"
    motion = aist / "aist_motion_train_segment.txt"
    sound, moves = audio.read_text().split(), motion.read_text().split()

    def refuse(match: str, **options) -> None:
        with pytest.raises(InputError, match=match):
            open_source("aist", str(aist), options)
        write_list(audio, sound)
        write_list(motion, moves)

    write_list(motion, moves[::-1])
    refuse("gLO_.* in line 1 of .*, but gMH_")
    write_list(motion, moves[:1])
    refuse("2 lines in .*, but 1 in")
    write_list(audio, sound[:1] * 2)
    refuse("twice")
    write_list(audio, ["gLO_sBM_c01_d14_mLO5_ch04_seg1.wav", sound[1]])
    refuse(r"names no folder audio\*")
    write_list(audio, ["/a/audio_s2/../../secret.wav", sound[1]])
    refuse(r"names no folder audio\*")
    for path, lines in ((audio, sound), (motion, moves)):
        write_list(path, [line.replace("mLO5", "mXX5") for line in lines])
    refuse("mXX5_ch04_seg1; expected a piece of music")
    write_list(audio, [])
    refuse("empty list")
    (aist / "video_s2" / "train").rename(aist / "moved")
    refuse(r"no folder .*video_s2/train", video=True)
    motion.unlink()
    refuse(r"aist_motion_train_segment\.txt, which cannot be read")


def test_bad_options(aist: Path) -> None:
    for match, options in (
        ("layout", {"layout": "raw"}),
        ("seconds", {"seconds": 4}),
        ("video_frames", {"video_frames": 0}),
        ("stride", {"stride": -1}),
        ("video", {"layout": "release", "video": True}),
    ):
        with pytest.raises(UsageError, match=match):
            open_source("aist", str(aist), options)
    with pytest.raises(UsageError, match="train, val, test"):
        open_source("aist", str(aist)).split("dev")


SEQUENCE = "gBR_sBM_cAll_d04_mBR0_ch01"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One sequence a split, 5.5 s of it in train."""
    rng = np.random.default_rng(0)
    names = {"train": SEQUENCE, "val": "gPO_sFM_cAll_d11_mPO1_ch05"}
    names["test"] = "gJB_sBM_cAll_d09_mJB5_ch02"
    (tmp_path / "splits").mkdir()
    (tmp_path / "motions").mkdir()
    for split, name in names.items():
        ignored = "gWA_sBM_cAll_d26_mWA4_ch08"
        write_list(tmp_path / f"splits/crossmodal_{split}.txt", [name, ignored])
        frames = 330 if split == "train" else 130
        motion = {
            "smpl_loss": np.float64(0.1),
            "smpl_poses": rng.normal(size=(frames, 72)),
            "smpl_scaling": np.array([2.0], np.float32),
            "smpl_trans": rng.normal(size=(frames, 3)),
        }
        data = pickle.dumps(motion, 4)
        (tmp_path / f"motions/{name}.pkl").write_bytes(data)
        wave = np.repeat([0.1, 0.2, 0.3], 16000)  # 2 s each
        wave *= np.sin(2 * np.pi * 200 * np.arange(48000) / 8000)
        write_wave(tmp_path / f"music/{name.split('_')[4]}.wav", wave, 8000)
    write_list(tmp_path / "ignore_list.txt", [ignored])
    return tmp_path


def open_release(path: Path, **options):
    return open_source("aist", str(path), {"layout": "release", **options})


def test_release(release: Path) -> None:
    source = open_release(release)
    train = source.split("train")
    assert len(train) == 2 and len(source.split("test")) == 1
    assert [train.example(i)["key"] for i in (0, 1)] == [
        f"{SEQUENCE}_seg1",
        f"{SEQUENCE}_seg2",
    ]
    stored = pickle.loads((release / f"motions/{SEQUENCE}.pkl").read_bytes())
    for index in (0, 1):
        example = train.example(index)
        part = slice(120 * index, 120 * index + 120)
        motion = example["condition"]["motion"]
        place = stored["smpl_trans"][part] / 2
        np.testing.assert_allclose(motion[:, :3], place, atol=1e-6)
        turns = motion[:, 3:].reshape(120, 24, 3, 3)
        unit = np.broadcast_to(np.eye(3), turns.shape)
        np.testing.assert_allclose(turns @ turns.swapaxes(-1, -2), unit, atol=1e-5)
        assert example["groups"] == {"genre": "mBR", "track": "mBR0"}
        assert abs(example["audio"].std() - 0.95 / 2**0.5) < 0.02
        assert example["audio"].max() < 0.9501
    wide = open_release(release, seconds=4, stride=1).split("train")
    assert len(wide) == 2
    audio = wide.example(1)["audio"]  # from 1 s to 5 s
    levels = [float(audio[i : i + 11025].max()) for i in (5512, 33075, 75000)]
    np.testing.assert_allclose(levels, [0.95 / 3, 0.95 * 2 / 3, 0.95], atol=0.02)
    (release / "music" / "mBR0.wav").unlink()
    write_wave(release / "music" / "mBR0.wav", np.full(16000, 0.5), 8000)
    with pytest.raises(Unreadable, match=r"mBR0\.wav: ends before 2\.0 s"):
        train.example(1)


def test_rotation_matrices_agree_with_scipy() -> None:
    from scipy.spatial.transform import Rotation

    vectors = np.random.default_rng(0).normal(size=(50, 3)) * 2
    vectors[0], vectors[1] = 0, 1e-9
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotation_matrices(vectors), expected, atol=1e-12)


def test_release_bad_files(release: Path) -> None:
    path = release / f"motions/{SEQUENCE}.pkl"
    good = pickle.loads(path.read_bytes())

    def refuse(match: str) -> None:
        split = open_release(release).split("train")
        with pytest.raises(Unreadable, match=match) as caught:
            split.example(0)
        assert caught.value.name == str(path)

    path.write_bytes(path.read_bytes()[:2000])
    refuse("not a pickle of plain data")
    path.write_bytes(pickle.dumps(print))
    refuse(r"it asks for builtins\.print")
    path.write_bytes(pickle.dumps([1, 2]))
    refuse("not SMPL motion")
    path.write_bytes(pickle.dumps({**good, "smpl_poses": good["smpl_poses"][:, :69]}))
    refuse("not SMPL motion")
    path.write_bytes(pickle.dumps({**good, "smpl_scaling": np.zeros(1)}))
    refuse(r"scaling 0\.0")
    path.write_bytes(pickle.dumps({**good, "smpl_trans": good["smpl_trans"] * np.nan}))
    refuse("NaN")
    path.unlink()
    refuse("no such file")


def test_release_bad_trees(release: Path) -> None:
    (release / "splits" / "crossmodal_test.txt").rename(release / "x.txt")
    with pytest.raises(InputError, match=r"crossmodal_test\.txt.*\n.*motions/"):
        open_release(release)
    (release / "music").rename(release / "songs")
    with pytest.raises(InputError, match=r"no folder .*music"):
        open_release(release)


def test_lists_without_val(aist: Path, release: Path) -> None:
    """As D2M-GAN and EDGE publish them."""
    for file in aist.glob("aist_*_val_segment*.txt"):
        file.unlink()
    source = open_source("aist", str(aist))
    assert source.card()["splits"] == ("train", "test") and len(source.split("test"))
    with pytest.raises(UsageError, match="train, test"):
        source.split("val")
    (release / "splits" / "crossmodal_val.txt").unlink()
    assert open_release(release).card()["splits"] == ("train", "test")


def test_music_of_the_release_in_another_format(release: Path) -> None:
    expected = open_release(release).split("train").example(0)["audio"]
    for file in (release / "music").glob("*.wav"):
        wave, rate = soundfile.read(file)
        soundfile.write(file.with_suffix(".FLAC"), wave, rate)
        file.unlink()
    found = open_release(release).split("train").example(0)["audio"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_motion_without_scaling_is_scaled_already(release: Path) -> None:
    path = release / "motions" / f"{SEQUENCE}.pkl"
    content = pickle.loads(path.read_bytes())
    content["smpl_trans"] = content["smpl_trans"] / content.pop("smpl_scaling")
    expected = open_release(release).split("train").example(0)["condition"]["motion"]
    path.write_bytes(pickle.dumps(content))
    found = open_release(release).split("train").example(0)["condition"]["motion"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_ignore_list_as_people_write_it(release: Path) -> None:
    ignored = release / "ignore_list.txt"
    ignored.write_text("")
    number = len(open_release(release).split("test"))
    assert number
    for text, message in ((f"{SEQUENCE}.pkl\n", None), ("nothing like it\n", "music")):
        ignored.write_text(text)
        if message:
            with pytest.raises(InputError, match=message):
                open_release(release)
        else:
            split = open_release(release).split("train")
            assert SEQUENCE not in str(split.segments)


@pytest.mark.parametrize("which", ["none", "all"])
def test_an_ignore_list_that_fits_nothing_or_everything(
    release: Path, which: str
) -> None:
    every = (release / "splits/crossmodal_train.txt").read_text()
    text = every if which == "all" else "gBR_sBM_cAll_d04_mBR0_ch99.mp4\n"
    (release / "ignore_list.txt").write_text(text)
    says = "all the names" if which == "all" else "in no line.*ch99.mp4"
    with pytest.raises(InputError, match=says):
        open_release(release)


def test_lines_of_an_ignore_list_that_fit_nothing_are_told(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = "gBR_sBM_cAll_d04_mBR0_ch98"
    (release / "ignore_list.txt").write_text(f"{SEQUENCE}\n{strange}.pkl\n")
    assert len(open_release(release).split("train"))
    said = "1 of 2 lines of ignore_list.txt name no motion, such as"
    assert f"{said} '{strange}'" in capsys.readouterr().err
