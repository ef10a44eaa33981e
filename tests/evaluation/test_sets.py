"""eval.sets: what is given, what is kept, how sampling differs; and their names."""

import json

import numpy as np
import pytest
import tiny

from cdcd_jax.config import merge
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation import sets
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
        (dict(a=dict(num_samples=0)), r"eval.sets.a.num_samples = 0; .*1 or more"),
        (dict(a=dict(num_samples="9")), r"eval.sets.a.num_samples' is '9'"),
        (dict(a=dict(temperature=0.0)), "eval.sets.a: .*above 0"),
    ],
)
def test_sets_that_cannot_be(wanted, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        of(wanted, tmp_path)


def masking(whole):
    """A task that takes a picture of which pixels may be unknown."""
    task = make_task(whole)
    masked = dict(kind="image", grid=(8, 8), masked=True, optional=True)
    told = {**task.describe(), "conditions": {**task.conditions, "masked": masked}}
    task.describe = lambda: told
    return task


def test_a_set_hides_pixels_of_what_it_gets(tmp_path):
    wanted = dict(
        quarter=dict(given=("masked",), hidden=0.25, steps=3),
        whole=dict(given=("masked",)),
        none=dict(given=()),
    )
    whole = config(wanted, OPTIONAL)
    task = masking(whole)
    sets.check_sets(whole, task)
    quarter, all_known, none = sets.sets_of(whole, task, tmp_path)
    assert quarter.options.steps == 3 and quarter.settings["hidden"] == 0.25
    assert "hidden" not in all_known.settings
    rows = {"masked": np.ones((40, 64), np.int32), "label": np.arange(40)}
    under = quarter.under(rows)
    assert set(under) == {"masked"} and set(quarter.seen(rows)) == {"masked", "label"}
    assert 0 < (under["masked"] == -1).mean() < 0.5
    np.testing.assert_array_equal(all_known.under(rows)["masked"], rows["masked"])
    assert none.under(rows) == {}
    # what is hidden is the run's own
    other = sets.sets_of({**whole, "seed": 1}, task, tmp_path)[0]
    assert (other.under(rows)["masked"] != under["masked"]).any()


JOINT = dict(joint=dict(given=()), image_to_label_quick=dict(steps=3))


@pytest.mark.parametrize(
    ("wanted", "sweep", "says"),
    [
        ({}, (), "joint_pixels', which do not judge 'unguided'; expected sets called"),
        ({"jiont": {}}, (), "do not judge 'jiont'; expected sets called joint, label_"),
        (JOINT, (3, 4), "do not judge 'steps'; .* and no sweep"),
    ],
)
def test_figures_that_would_pass_a_set_over(wanted, sweep, says, tmp_path):
    whole = merge(config(wanted, OPTIONAL), dict(eval=dict(figures="joint_pixels")))
    task = make_task(whole)
    whole = merge(whole, dict(eval=dict(sweep=dict(steps=sweep))))
    with pytest.raises(UsageError, match=says):
        sets.check_sets(whole, task)


def test_figures_of_sets_of_their_kinds(tmp_path):
    whole = merge(config(JOINT, OPTIONAL), dict(eval=dict(figures="joint_pixels")))
    names = [part.name for part in sets.sets_of(whole, make_task(whole), tmp_path)]
    assert names == list(JOINT)


def test_columns_are_sets_and_what_their_names_say_beyond_another():
    names = ("unguided", "joint", "joint_quick", "one_pass", "masked_10", "masked_100")
    made = [sets.DrawnSet(name, sets.SamplingOptions(), {}) for name in names]
    swept = sets.DrawnSet("steps=3", sets.SamplingOptions(), {"steps": 3})
    found = sets.columns_of([*made, swept])
    assert found == {"": "unguided", "_quick": "quick"} | {
        f"_{name}": name for name in names[1:]
    }


def test_sets_without_a_judge(tmp_path):
    whole = merge(config(dict(a=dict(steps=3))), dict(eval=dict(figures="")))
    (found,) = sets.sets_of(whole, make_task(whole), tmp_path)
    assert found.name == "a"  # drawn and shown all the same


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
