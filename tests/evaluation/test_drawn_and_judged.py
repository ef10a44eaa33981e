"""What an evaluation draws and what judges learn of, with a task of one line."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.schedule import make_schedule
from cdcd_jax.evaluation import evaluate, splits
from cdcd_jax.evaluation.parts import outputs_of
from cdcd_jax.evaluation.sets import DrawnSet
from cdcd_jax.evaluation.sides import Side
from cdcd_jax.metrics.diversity import token_usage
from cdcd_jax.models.decoders import Decoders

K = 100
SAMPLING = dict(batch_size=4)
CARD = SimpleNamespace(conditions={})


class Task:
    def __init__(self):
        self.settings = dict(sampling=SAMPLING)
        self.schedule = make_schedule("absorbing_linear", K, 4)

    def note(self, options):
        return ""

    def sample(self, params, extra, condition, key, options, number):
        tokens = jax.random.randint(key, (number, 3), 0, K)
        return {"tokens": np.asarray(tokens, np.int32)}


@pytest.fixture
def model(tmp_path):
    return SimpleNamespace(
        config=dict(
            seed=0,
            eval=dict(num_samples=8, split="test", judge="records", figures="mine"),
            sampling=SAMPLING,
            data=dict(raw="", path="", options={}, batch_size=4),
        ),
        workdir=tmp_path,
        task=Task(),
        weights=(1, {}, {}),
        conditions={"label": {"kind": "label", "num_classes": 4}},
        card=CARD,
        decoders=SimpleNamespace(
            sample_rate=None,
            tokens={"tokens": K},
            outputs={"tokens": {}},
            decode=lambda outputs: {"images": 2 * outputs["tokens"]},
        ),
    )


def test_each_set_has_noise_and_figures_of_its_own(model):
    """Also where all else is equal."""
    numbers = dict(unguided=8, mine=8, many=12)
    how = SamplingOptions(), {"steps": 1}
    sets = [DrawnSet(name, *how, number=n) for name, n in numbers.items()]
    samples, fresh = evaluate._draw_sets(model, {"": Side(model, CARD)}, sets)
    assert fresh == 28
    for part in sets:  # and rows, as many as it has samples
        labels = samples[part.name]["condition"]["label"]
        assert len(samples[part.name]["images"]) == len(labels) == part.number
    tokens = {
        part.name: outputs_of(model.workdir / "evaluation" / part.name)["tokens"]
        for part in sets
    }
    assert (tokens["unguided"] != tokens["mine"]).mean() > 0.9
    for part, end in zip(sets, ("", "_mine", "_many"), strict=True):
        expected = token_usage(tokens[part.name], K)
        named = {f"{figure}{end}": value for figure, value in expected.items()}
        assert evaluate._usage(model, part) == named


def test_judges_learn_of_the_training_split_and_compare_with_the_other(
    model, monkeypatch
):
    rows = lambda value: [
        {"tokens": np.full((4, 3), value), "condition": {"label": np.arange(4)}}
    ]
    read = dict(train=rows(1), test=rows(2))
    monkeypatch.setattr(splits, "one_pass", lambda card, split, size: read[split])
    judged = splits.judged_splits(model, None, {"test": rows(3)})
    assert list(judged) == ["test", "train"]
    np.testing.assert_array_equal(judged["train"]["images"], np.full((4, 3), 2))
    np.testing.assert_array_equal(judged["test"]["images"], np.full((4, 3), 6))
    model.config["eval"]["figures"] = ""  # no judge of classes, nothing to learn
    assert list(splits.judged_splits(model, None, {"test": rows(3)})) == ["test"]


def pairs(number):
    """Records with a second picture, as rows of conditions have them."""
    tokens = np.arange(3 * number).reshape(number, 3)
    condition = {"label": np.arange(number), "target": tokens + 50, "image": tokens}
    return {"tokens": tokens, "condition": condition}


@pytest.fixture
def drawing_pairs(model, monkeypatch):
    """A model that draws tokens, a second picture and a label."""
    model.conditions = dict(
        image=dict(kind="image", field="tokens"),
        target=dict(kind="image"),
        label=dict(kind="label"),
    )
    decode = lambda tokens: {"images": 2 * tokens}
    opened = SimpleNamespace(outputs=("images",), sample_rate=None, decode=decode)
    kinds = dict(tokens="tokens", target="tokens", label="label", vector="vector")
    outputs = {name: {"kind": kind} for name, kind in kinds.items()}
    model.decoders = Decoders(outputs, lambda name, spec: opened)
    rows = lambda model, card, number: pairs(number)
    monkeypatch.setattr(splits, "held_out_records", rows)
    empty = SimpleNamespace(texts={})
    monkeypatch.setattr(splits, "told", lambda model, condition: empty)
    return model


def test_the_truth_is_all_that_records_hold_of_what_is_drawn(drawing_pairs):
    known = splits.known_of(drawing_pairs, CARD, 8)
    rows = pairs(8)
    assert set(known) == {"condition", "sample_rate", "truth"}
    assert set(known["condition"]) == {"label", "target", "image"}
    truth = known["truth"]
    assert set(truth) == {"condition", "sample_rate", "images", "target", "label"}
    np.testing.assert_array_equal(truth["images"], 2 * rows["tokens"])
    np.testing.assert_array_equal(truth["target"], 2 * (rows["tokens"] + 50))
    np.testing.assert_array_equal(truth["label"], np.arange(8))


def test_the_encoder_of_the_records_is_at_hand_for_who_judges(
    drawing_pairs, monkeypatch
):
    encoders = lambda card, name: SimpleNamespace(encode=lambda x: (name, x))
    monkeypatch.setattr(splits, "encoder_of", encoders)
    card = SimpleNamespace(conditions={"vector": {"encoder": "0123"}, "label": {}})
    assert splits.known_of(drawing_pairs, card, 8)["encode"](3) == ("vector", 3)
    drawing_pairs.config["eval"]["figures"] = ""  # nobody asks for it
    assert "encode" not in splits.known_of(drawing_pairs, card, 8)
    drawing_pairs.config["eval"]["figures"] = "mine"
    given = SimpleNamespace(conditions={"vector": {}})  # made by nobody knows whom
    assert "encode" not in splits.known_of(drawing_pairs, given, 8)


def test_judges_learn_of_all_that_records_hold(drawing_pairs, monkeypatch):
    monkeypatch.setattr(splits, "one_pass", lambda card, split, size: [pairs(4)] * 2)
    judged = splits.judged_splits(drawing_pairs, None, {"test": [pairs(4)]})
    np.testing.assert_array_equal(
        judged["test"]["target"], 2 * (pairs(4)["tokens"] + 50)
    )
    assert len(judged["train"]["images"]) == 8 == len(judged["train"]["target"])


def test_other_rows_are_other_samples():
    rows = pairs(4)["condition"]
    same = dict(reversed(rows.items()))
    assert splits.rows_told_by(rows) == splits.rows_told_by(same)
    for name in rows:
        other = {**rows, name: np.roll(rows[name], 1, axis=0)}
        assert splits.rows_told_by(rows) != splits.rows_told_by(other)


def test_what_was_given_whole_is_no_use_of_codes(drawing_pairs, tmp_path):
    model = drawing_pairs
    model.decoders.outputs["tokens"]["num_codes"] = K
    model.decoders.outputs["target"]["num_codes"] = 2 * K
    model.conditions["masked"] = dict(kind="image", field="tokens", masked=True)
    tokens = pairs(8)["tokens"]

    def used(given):
        part = DrawnSet("unguided", SamplingOptions(), {}, given=given)
        folder = tmp_path / "evaluation" / part.name
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "part_00000.npz", tokens=tokens, target=tokens + 50)
        return set(evaluate._usage(model, part))

    both = {f"token_{w}{of}" for w in ("usage", "perplexity") for of in ("", "_target")}
    assert used(()) == both == used(None) == used(("masked", "label"))
    assert used(("image",)) == {"token_usage_target", "token_perplexity_target"}
    assert used(("target",)) == {"token_usage", "token_perplexity"}
