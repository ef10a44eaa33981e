"""Captions of single digits, with pictures or with sounds."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cdcd_jax.data import digit_media as module
from cdcd_jax.data import tones
from cdcd_jax.data.captioned_digits import NAMES
from cdcd_jax.data.moving_digits import SIDES
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError

SOUND = dict(media="sound", train_sounds=40, test_sounds=20)
MEDIA = [dict(media="image"), dict(media="placed"), dict(media="moving"), SOUND]
SPOKEN = dict(media="spoken")


def split(name: str = "train", seed: int = 0, **options: Any) -> module.Captioned:
    return open_source("digit_media", options=options, seed=seed).split(name)


def test_every_caption_has_one_meaning() -> None:
    texts = [module.captions(digit) for digit in range(10)]
    assert len({text for forms in texts for text in forms}) == 80
    for digit, forms in enumerate(texts):
        assert all(module.read_caption(text) == {"label": digit} for text in forms)
        said = {word for text in forms for word in text.split()}
        assert {str(digit), NAMES[digit]} <= said
        assert max(len(text.split()) for text in forms) == 5
    assert "an eight" in texts[8] and "a seven" in texts[7]
    assert module.read_caption(" The digit  7. ") == {"label": 7}
    for text in ("a cat", "seven a", "", "a three to the left of a seven"):
        with pytest.raises(InputError, match="expected one of a digit such as a seven"):
            module.read_caption(text)


def test_every_caption_of_a_side_has_one_meaning() -> None:
    found = {}
    for label, side in itertools.product(range(10), range(4)):
        for text in module.captions(label, side):
            assert module.read_caption(text) == {"label": label, "side": side}
            assert SIDES[side] in text and len(text.split()) <= 8
            found[text] = label, side
    assert len(found) == 10 * 4 * 16
    assert found["an eight to the left"] == found["number 8 on the left"] == (8, 0)
    plain = {word for text in split().texts() for word in text.split()}
    sided = {word for text in split(media="placed").texts() for word in text.split()}
    assert sided - plain == {"on", "at", "to", *SIDES} and plain <= sided


@pytest.mark.parametrize("options", MEDIA)
def test_examples_are_as_the_card_says(options: dict) -> None:
    source = open_source("digit_media", options=options)
    card = source.card()
    media = card["media"]
    assert card["name"] == "digit_media" and card["splits"] == ("train", "test")
    label = dict(kind="label", shape=[], dtype="int32", num_classes=10)
    told = {"text": dict(kind="text"), "label": label}
    if options["media"] in ("placed", "moving"):
        told["side"] = {**label, "num_classes": 4, "names": list(SIDES)}
    assert card["conditions"] == told
    for part in map(source.split, card["splits"]):
        keys = set()
        for index in range(20):
            example = part.example(index)
            condition = example["condition"]
            assert list(example[media["kind"]].shape) == media["shape"]
            assert set(condition) == set(card["conditions"])
            said = {k: v for k, v in condition.items() if k != "text"}
            assert module.read_caption(condition["text"]) == said
            assert condition["text"] in part.texts()
            assert example["groups"] == {"label": str(condition["label"])}
            keys.add(example["key"])
        assert len(keys) == 20


def test_pictures_are_those_of_the_digits_in_their_splits() -> None:
    for name, number in (("train", 1437), ("test", 360)):
        found, digits = split(name, seed=3), open_source("digits", seed=3).split(name)
        assert len(found) == len(digits) == number
        for index in (0, number - 1):
            one, other = found.example(index), digits.example(index)
            np.testing.assert_array_equal(one["image"], other["image"])
            assert one["condition"]["label"] == other["condition"]["label"]
            assert one["key"] == other["key"]


def test_sounds_are_those_of_tones() -> None:
    for name, number in (("train", 40), ("test", 20)):
        found = split(name, seed=3, **SOUND)
        assert len(found) == number
        tone = tones.Tones(3, name, number).example(19)
        np.testing.assert_array_equal(found.example(19)["audio"], tone["audio"])
        with pytest.raises(IndexError):
            found.example(number)


@pytest.mark.parametrize("options", [dict(media="image"), SOUND])
def test_captions_are_drawn_by_seed_index_and_view(options: dict) -> None:
    train = split(**options)
    said = lambda part: [part.example(i)["condition"]["text"] for i in range(40)]
    assert said(train) == said(split(**options)) != said(split(seed=1, **options))
    forms = {module.captions(**module.read_caption(t)).index(t) for t in said(train)}
    assert forms == set(range(8))
    view = lambda seed: train.example(7, np.random.default_rng(seed))["condition"]
    assert view(2) == view(2)
    views = [view(seed) for seed in range(40)]
    assert {v["label"] for v in views} == {train.example(7)["condition"]["label"]}
    assert len({v["text"] for v in views}) == 8


def test_both_media_say_the_same() -> None:
    assert split().texts() == split("test", **SOUND).texts()
    assert len(split().texts()) == 80


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers say each digit seven times: a tone for each, and longer ones."""
    folder = tmp_path_factory.mktemp("recordings")
    for digit in range(10):
        for speaker in ("ann", "bo"):
            for i in range(7):
                time = np.arange(2000 + 600 * i) / 8000
                wave = 0.1 * np.sin(2 * np.pi * (200 + 50 * digit) * time)
                soundfile.write(folder / f"{digit}_{speaker}_{i}.wav", wave, 8000)
    return folder


def test_recordings_have_captions_and_the_splits_of_their_numbers(
    recordings: Path,
) -> None:
    source = open_source("digit_media", str(recordings), SPOKEN)
    card = source.card()
    assert card["media"] == dict(kind="audio", shape=[5120], sample_rate=8000)
    assert set(card["conditions"]) == {"text", "label"} and card["left_out"] == {}
    for name, numbers in (("train", "56"), ("test", "01234")):
        part = source.split(name)
        assert len(part) == 10 * 2 * len(numbers)
        for index in range(len(part)):
            example = part.example(index)
            digit, _, i = Path(example["key"]).stem.split("_")
            assert i in numbers and example["groups"] == {"label": digit}
            condition = example["condition"]
            assert condition["label"] == int(digit)
            assert module.read_caption(condition["text"]) == {"label": int(digit)}
            assert example["audio"].shape == (5120,)
            assert np.abs(example["audio"]).max() == pytest.approx(0.95, abs=1e-3)
        plain, views = part.example(0)["audio"], []
        for seed in range(20):
            views.append(part.example(0, np.random.default_rng(seed))["audio"])
            shown = np.trim_zeros(plain), np.trim_zeros(views[-1])
            np.testing.assert_array_equal(*shown)
        onsets = {int(np.flatnonzero(view)[0]) for view in views}
        assert len(onsets) > 9 and max(onsets) <= 1201
    assert source.split("train").texts() == split().texts()


def test_recordings_of_some_digits_are_refused(recordings: Path) -> None:
    for file in recordings.glob("3_*.wav"):
        file.unlink()
    with pytest.raises(InputError, match=r"of 0, 1, 2, 4, .* all digits from 0 to 9"):
        open_source("digit_media", str(recordings), SPOKEN)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="media = 'video'; expected one of image, pl"):
        split(media="video")
    with pytest.raises(UsageError, match="frames = 1; expected 2 or more"):
        split(media="moving", frames=1)
    with pytest.raises(UsageError, match="train_sounds = 0; expected 1 or more"):
        split(media="sound", train_sounds=0)
    for options in ({}, SOUND):
        with pytest.raises(UsageError, match="needs no files"):
            open_source("digit_media", "somewhere", options)
    with pytest.raises(UsageError, match=r"no data\.path for media = 'spoken'"):
        open_source("digit_media", options=SPOKEN)
    with pytest.raises(UsageError, match=r"data\.options\.sounds"):
        split(sounds=3)
    with pytest.raises(UsageError, match="train, test"):
        split("valid")
