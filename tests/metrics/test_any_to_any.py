"""Pictures, sounds and captions of digits, each by a judge that reads what it shows."""

import numpy as np
import pytest

from cdcd_jax.data import digit_media
from cdcd_jax.errors import InputError
from cdcd_jax.metrics.any_to_any import any_to_any


def examples(media, split, number):
    """Real ones, as an evaluation hands them over."""
    options = {**digit_media.OPTIONS, "media": media}
    rows = digit_media.open_source("", options, 0).split(split)
    rows = [rows.example(i) for i in range(number)]
    key = {"sound": "audio", "moving": "video"}.get(media, "image")
    name = "sound" if media == "sound" else key
    told = [key for key in rows[0]["condition"] if key != "text"]
    return {
        name: np.stack([row[key] for row in rows]),
        "condition": {k: np.array([row["condition"][k] for row in rows]) for k in told},
        "texts": [row["condition"]["text"] for row in rows],
        "sample_rate": 8000,
    }


@pytest.fixture(scope="module")
def real():
    return {
        (media, split): examples(media, split, number)
        for media in ("image", "sound", "placed", "moving")
        for split, number in (("train", 250), ("test", 60))
    }


def judged(real, samples):
    others = {"sound": {s: real["sound", s] for s in ("train", "test")}}
    return any_to_any(samples, real["image", "train"], real["image", "test"], others)


def test_each_output_is_judged_by_what_it_shows(real):
    picture, sound = real["image", "test"], real["sound", "test"]
    label, other = picture["condition"], sound["condition"]
    wrong = {"label": (other["label"] + 1) % 10}
    said = np.array(["a seven", "no digit at all", "the digit 3", "number two"])
    texts = {"text": said, "condition": {"label": np.array([7, 7, 3, 1])}}
    figures = judged(
        real,
        {
            "both": {"image": picture["image"], "condition": label, "encode": len},
            "sound_wrong": {"sound": sound["sound"], "condition": wrong},
            "image_to_text": {**texts, "given": ("image",)},
        },
    )
    assert figures["image_accuracy_both"] == figures["image_accuracy_real"] > 0.9
    assert figures["image_accuracy_both/n"] == 60
    assert figures["sound_accuracy_real"] > 0.9
    assert figures["sound_accuracy_sound_wrong"] < 0.1
    assert figures["route_image_text"] == 0.5
    assert figures["route_image_text/standard_error"] > 0
    # pictures beside are compared with real ones, sounds are not
    assert figures["image_copy_rate_both"] == figures["image_copy_rate_real"]
    assert not [name for name in figures if "sound_copy" in name]


def test_what_disagrees_is_told_apart(real):
    """Half of the sounds are of the caption's digit, the rest of the picture's."""
    sound = real["sound", "test"]
    heard = sound["condition"]["label"]
    here, there = heard.copy(), heard.copy()
    here[:30] = (heard[:30] + 1) % 10  # these show the other row's
    there[30:50] = (heard[30:50] + 1) % 10  # and the last ten are of one label
    drawn = {"sound": sound["sound"]}
    drawn |= {"condition": {"label": here}, "swapped": {"label": there}}
    drawn["given"] = ("text", "image")
    figures = judged(real, {"mixed": drawn})
    assert figures["route_text_image_sound_mixed/n"] == 50
    assert figures["route_text_image_sound_mixed"] == pytest.approx(0.4, abs=0.05)
    assert figures["swapped_text_image_sound_mixed"] == pytest.approx(0.6, abs=0.05)
    assert figures["either_text_image_sound_mixed"] > 0.9


def test_what_is_drawn_together_agrees_or_not(real):
    picture, sound = real["image", "test"], real["sound", "test"]
    shown, heard = picture["condition"]["label"], sound["condition"]["label"]
    said = np.array([f"the digit {d}" for d in heard])
    said[:15] = "nothing"
    drawn = {"image": picture["image"], "sound": sound["sound"], "text": said}
    none = {**drawn, "condition": {"label": shown}, "given": ()}
    figures = judged(real, {"image_sound_text": none, "mine": none})
    assert figures["coherence_sound_text_image_sound_text"] == pytest.approx(
        0.75, abs=0.05
    )
    chance = np.mean(shown == heard)
    found = figures["coherence_image_sound_mine"]
    assert found == pytest.approx(chance, abs=0.05)
    mean = figures["coherence_mean"]
    pairs = ("image_sound", "image_text", "sound_text")
    each = [figures[f"coherence_{pair}_image_sound_text"] for pair in pairs]
    assert mean == pytest.approx(np.mean(each)) == figures["coherence_mean_mine"]
    assert figures["coherence_all"] <= min(each)
    assert 2 < figures["class_entropy_bits_mine"] < 3.4
    # of what had no prompt nothing was asked
    assert not [name for name in figures if name.startswith("route")]
    assert "image_accuracy_mine" not in figures
    pair = {k: v for k, v in none.items() if k != "text"}
    assert "coherence_image_sound" in judged(real, {"image_sound": pair})


def test_what_nobody_can_judge_is_refused(real):
    drawn = {"vector": np.zeros((3, 4), np.float32)}
    with pytest.raises(InputError, match="'vector' among the samples mine"):
        judged(real, {"mine": {**drawn, "condition": {"label": np.arange(3)}}})
    with pytest.raises(InputError, match="without 'label'"):
        judged(real, {"mine": {**drawn, "condition": {}}})


def test_a_video_is_judged_by_digit_and_side(real):
    video = real["moving", "test"]
    # in the order in which an evaluation reads them
    others = {"video": {s: real["moving", s] for s in ("test", "train")}}
    digits, sides = (video["condition"][name] for name in ("label", "side"))
    meant = {"label": digits, "side": (sides + (np.arange(60) < 20)) % 4}

    def judge(**samples):
        sides = real["placed", "train"], real["placed", "test"]
        return any_to_any(samples, *sides, others)

    said = np.array([digit_media.captions(int(d), 0)[0] for d in digits])
    drawn = {"given": ("text",), "condition": meant, "video": video["video"]}
    shuffled = video["video"][::-1]
    figures = judge(
        text_to_video=drawn,
        text_to_image={"given": ("text",), "condition": meant, "text": said},
        shuffled={**drawn, "video": shuffled},
        sound_to_video={**drawn, "given": ("sound",), "condition": {"label": digits}},
        backwards={**drawn, "video": video["video"][:, ::-1]},
        text_to_video_text={**drawn, "video": shuffled, "text": said},
        video_text={**drawn, "given": (), "text": said, "condition": meant},
    )
    assert figures["video_accuracy_side_real"] == 1
    assert figures["video_accuracy_label_real"] > 0.8
    assert figures["image_accuracy_side_real"] > 0.95
    # of a third of the rows another side was meant
    assert figures["route_side_text_video"] == pytest.approx(2 / 3)
    label = figures["route_label_text_video"]
    assert label == figures["video_accuracy_label_real"]
    assert figures["route_text_video"] < min(label, 2 / 3 + 1e-6)
    assert figures["route_label_text_video_shuffled"] < 0.4
    assert figures["route_side_text_video_shuffled"] < 0.5
    # one of several outputs is told from the same one alone
    both = figures["route_side_text_video_text_to_video_text"]
    assert both == figures["route_side_text_video_shuffled"]
    # sounds have no side
    assert figures["route_sound_video"] == label
    assert "route_side_sound_video" not in figures
    # what goes the other way goes to another side
    assert figures["route_side_text_video_backwards"] < 0.34
    assert figures["route_label_text_text_text_to_image"] == 1
    assert figures["coherence_side_video_text"] == pytest.approx(np.mean(sides == 0))
    assert figures["coherence_video_text"] == label
