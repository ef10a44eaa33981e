"""eval.sets: what is given, what is kept, how sampling differs; and their names."""

import json

import jax
import numpy as np
import pytest
import tiny

from cdcd_jax.config import merge
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation import sets
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.tasks import make_task

OPTIONAL = dict(
    label=dict(kind="label", num_classes=10, optional=True),
    style=dict(kind="label", num_classes=2, optional=True),
)


def config(wanted, conditions=None):
    whole = tiny.settings(eval=dict(sets=wanted))
    whole["model"]["conditions"] = conditions or whole["model"]["conditions"]
    return whole


def of(wanted, tmp_path, **more):
    whole = config(wanted, **more)
    task = make_task(whole)
    sets.check_sets(whole, task)
    return sets.sets_of(whole, task, tmp_path)


def test_without_any_they_are_todays_two(tmp_path):
    unguided, guided = of({}, tmp_path)
    assert (unguided.name, guided.name) == ("unguided", "guided")
    assert unguided.options.guidance_scale == 1.0
    assert guided.options.guidance_scale == 2.0
    assert unguided.gets("label") and unguided.keeps("tokens")
    assert list(unguided.settings) == ["options"]  # as parts of before say it


def test_without_a_trained_null_none_is_guided(tmp_path):
    whole = config({})
    whole["model"]["condition_dropout"] = 0.0
    (only,) = sets.sets_of(whole, make_task(whole), tmp_path)
    assert only.name == "unguided" and only.options.guidance_scale == 1.0


def test_what_they_say(tmp_path):
    wanted = dict(
        quick=dict(steps=3, guidance_scale=1.5),
        alone=dict(given=("label",), outputs=("tokens",)),
        nothing=dict(given=()),
    )
    quick, alone, nothing = of(wanted, tmp_path, conditions=OPTIONAL)
    assert quick.options.steps == 3 and quick.options.guidance_scale == 1.5
    assert quick.gets("label") and quick.gets("style")
    assert alone.gets("label") and not alone.gets("style") and alone.keeps("tokens")
    assert not nothing.gets("label") and nothing.options.steps == 5
    assert quick.cost == {"evaluations": 3, "rows": 2}
    assert alone.settings["given"] == ("label",)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (dict(a=dict(given=("genre",))), r"eval.sets.a.given .*correct it at 'genre'"),
        (dict(a=dict(given=())), r"expected some of label, label among them"),
        (dict(a=dict(outputs=("sound",))), "correct it at 'sound'"),
        (dict(a=5), "expected settings, such as"),
        ({"..": {}}, "no path and no dot in front"),
        ({"step_5": {}}, "another name than those"),
        ({"real": {}}, "another name than those"),
        ({"steps=3": {}}, "a name without ="),
        (dict(a=dict(stps=3)), r"eval.sets.a: unknown config key 'sampling.stps'"),
        (dict(a=dict(steps=99)), r"eval.sets.a: .*choose 1..10"),
        (dict(a=dict(steps="many")), "eval.sets.a: .*expected a int"),
        (dict(a=dict(temperature=0.0)), "eval.sets.a: .*above 0"),
    ],
)
def test_sets_that_cannot_be(wanted, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        of(wanted, tmp_path)


def test_sets_without_a_judge(tmp_path):
    whole = merge(config(dict(a=dict(steps=3))), dict(eval=dict(figures="")))
    (found,) = sets.sets_of(whole, make_task(whole), tmp_path)
    assert found.name == "a"  # drawn and shown all the same


class TwoOutputs:
    """Draws its key's numbers under two names; notes under what."""

    def __init__(self):
        self.settings = dict(sampling=dict(batch_size=4))
        self.calls = []

    def sample(self, params, extra, condition, key, options, number):
        self.calls.append(sorted(condition))
        value = np.int32(jax.random.randint(key, (), 0, 100))
        return {
            "label": np.full(number, value),
            "tokens": np.full((number, 3), value),
        }


def test_all_outputs_of_a_part_are_kept(tmp_path):
    task, decoders = TwoOutputs(), Decoders({"label": {"kind": "label"}}, None)
    options = sets.SamplingOptions()
    both = sets.DrawnSet("both", options, {})
    label = sets.DrawnSet("label", options, {}, given=("a",), outputs=("label",))
    condition = {"a": np.arange(8), "b": np.arange(8)}
    for part in (both, label):
        fresh = sets.draw(
            task,
            *(({}, {}), part, tmp_path / part.name, condition, 8),
            *(jax.random.key(0), {"step": 1}),
        )
        assert fresh == 8
    assert task.calls == [["a", "b"], ["a"]]
    found = sets.outputs_of(tmp_path / "both")
    assert found["label"].shape == (8,) and found["tokens"].shape == (8, 3)
    assert set(sets.outputs_of(tmp_path / "label")) == {"label"}
    known = {"condition": condition, "sample_rate": None}
    samples = sets.Sets(tmp_path, [both, label], decoders, known)
    assert set(samples["label"]) == {"label", "condition", "sample_rate"}
    assert set(samples["label"]["condition"]) == {"a", "b"}  # a judge needs all
    assert set(samples.media("label")) == {"label"}
    rows = np.array([1, 3])
    assert samples.some("both", rows)["tokens"].shape == (2, 3)
    again = sets.draw(
        task,
        *(({}, {}), label, tmp_path / "label", condition, 8),
        *(jax.random.key(0), {"step": 1}),
    )
    assert again == 0  # nothing is drawn twice


def test_parts_are_no_copies(tmp_path, monkeypatch):
    """Each part has noise of its own and its own rows of the conditions it gets."""
    monkeypatch.setattr(sets, "PART", 4)
    seen, values = [], []

    class Shown(TwoOutputs):
        def sample(self, params, extra, condition, key, options, number):
            seen.append({name: rows.tolist() for name, rows in condition.items()})
            outputs = super().sample(params, extra, condition, key, options, number)
            values.append(outputs["label"])
            return outputs

    drawn = sets.DrawnSet("some", sets.SamplingOptions(), {}, given=("a",))
    condition = {"a": np.arange(10), "a/present": np.arange(10) > 4, "b": np.arange(10)}
    args = ({}, {}), drawn, tmp_path / "some", condition, 10, jax.random.key(0), {}
    assert sets.draw(Shown(), *args) == 10
    assert [part["a"] for part in seen] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(set(part) == {"a", "a/present"} for part in seen)
    found = sets.outputs_of(tmp_path / "some")["label"]
    assert len(found) == 10 and len(set(found[[0, 4, 8]].tolist())) == 3
    np.testing.assert_array_equal(found, np.concatenate(values))  # in their order
    decoders = Decoders({"label": {"kind": "label"}}, None)
    samples = sets.Sets(tmp_path, [drawn], decoders, {})
    some = samples.some("some", np.array([9, 0, 5]))["label"]
    np.testing.assert_array_equal(some, found[[9, 0, 5]])
    # a part that is lost is drawn again as it was
    (tmp_path / "some" / "part_00001.npz").unlink()
    assert sets.draw(Shown(), *args) == 4 and seen[-1]["a"] == [4, 5, 6, 7]
    np.testing.assert_array_equal(sets.outputs_of(tmp_path / "some")["label"], found)


def test_parts_fill_whole_batches(tmp_path, monkeypatch):
    """At least `PART` samples, in batches of 4; the last part has what is left."""
    monkeypatch.setattr(sets, "PART", 5)
    task, numbers = TwoOutputs(), []
    sample = task.sample
    task.sample = lambda *args: numbers.append(args[-1]) or sample(*args)
    drawn = sets.DrawnSet("some", sets.SamplingOptions(), {})
    args = ({}, {}), drawn, tmp_path / "some", {"a": np.arange(19)}, 19
    assert sets.draw(task, *args, jax.random.key(0), {}) == 19
    assert numbers == [8, 8, 3]


def test_parts_of_other_settings_are_thrown_away(tmp_path):
    """By the sampling options, and by all else that the tokens depend on."""
    condition, key = {"a": np.arange(8)}, jax.random.key(0)

    def fresh(steps, **asked):
        drawn = sets.DrawnSet("some", sets.SamplingOptions(steps=steps), {})
        args = ({}, {}), drawn, tmp_path / "some", condition, 8, key, asked
        return sets.draw(TwoOutputs(), *args)

    assert [fresh(3, step=1), fresh(3, step=1)] == [8, 0]
    assert [fresh(4, step=1), fresh(4, step=2), fresh(4, step=2)] == [8, 8, 0]


def test_named_sets_are_judged_and_shown(copied):
    """By the command line: figures, samples, columns of the page."""
    saved = json.loads((copied / "config.json").read_text())
    saved["eval"]["sets"] = {"quick": {"steps": 2}, "sure": {"guidance_scale": 3.0}}
    (copied / "config.json").write_text(json.dumps(saved))
    code, text = tiny.run(f"--workdir={copied}", "--mode=evaluate")
    assert code == 0, text
    figures = json.loads((copied / "evaluation.json").read_text())
    assert {"class_accuracy_quick", "class_accuracy_sure"} <= set(figures)
    assert "token_usage_quick" in figures and "class_accuracy" not in figures
    for name in ("quick", "sure"):
        assert (copied / "samples" / name / "samples.npz").exists()
    page = (copied / "evaluation.html").read_text()
    heads = [f'<th scope="col">{name}</th>' for name in ("quick", "sure", "real")]
    assert all(head in page for head in heads)
    assert '<th scope="col">guided</th>' not in page
