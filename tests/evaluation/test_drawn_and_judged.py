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
from cdcd_jax.metrics.diversity import token_usage

K = 100
SAMPLING = dict(batch_size=4)


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
        card=None,
        decoders=SimpleNamespace(
            sample_rate=None,
            tokens={"tokens": K},
            outputs={"tokens": {}},
            decode=lambda outputs: {"images": 2 * outputs["tokens"]},
        ),
    )


def test_each_set_has_noise_and_figures_of_its_own(model):
    """Also where all else is equal."""
    sets = [DrawnSet(n, SamplingOptions(), {"steps": 1}) for n in ("unguided", "mine")]
    _, fresh = evaluate._draw_sets(model, None, sets)
    assert fresh == 16
    tokens = {
        part.name: outputs_of(model.workdir / "evaluation" / part.name)["tokens"]
        for part in sets
    }
    assert (tokens["unguided"] != tokens["mine"]).mean() > 0.9
    for part, end in zip(sets, ("", "_mine"), strict=True):
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
