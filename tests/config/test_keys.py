"""Tables that a task from elsewhere joins, and paths of stages."""

import pathlib

import pytest

from cdcd_jax.config import (
    TASK_SETTINGS,
    defaults,
    experiment,
    resolve_stages,
    stage_of,
    with_defaults,
)
from cdcd_jax.errors import UsageError


def test_a_task_from_outside(monkeypatch) -> None:
    monkeypatch.setitem(TASK_SETTINGS, "mine", lambda: dict(model=dict(layers=3)))
    own = defaults("mine")
    assert own["task"] == "mine" and own["model"] == dict(layers=3)
    assert own["optim"] == defaults()["optim"]
    made = experiment(task="mine", model=dict(layers=5))
    assert made["model"]["layers"] == 5
    with pytest.raises(UsageError, match=r"'model\.layer': did you mean model\.layers"):
        experiment(task="mine", model=dict(layer=5))
    assert with_defaults(dict(task="mine", seed=4))["model"] == dict(layers=3)


def test_an_unknown_task_names_those_that_there_are() -> None:
    with pytest.raises(
        UsageError,
        match=r"'x' is unknown: .* bridge, composable, tokenizer",
    ):
        defaults("x")


def test_defaults_are_new_each_time() -> None:
    defaults()["model"]["conditions"]["label"] = dict(kind="label")
    assert defaults()["model"]["conditions"] == {}


def test_paths_of_stages() -> None:
    settings = dict(
        path="@records", text=dict(vocabulary="@first/vocabulary.json"), other="a@b"
    )
    assert resolve_stages(settings, pathlib.Path("runs/x")) == dict(
        path="runs/x/records",
        text=dict(vocabulary="runs/x/first/vocabulary.json"),
        other="a@b",
    )
    assert stage_of("@records") == stage_of("@records/vocabulary.json") == "records"
    assert stage_of("records") is None and stage_of(3) is None
