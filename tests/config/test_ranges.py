"""Numbers out of their range are refused by name, whatever the mode."""

import dataclasses
import functools
import math
from typing import Any

import pytest

from cdcd_jax.config import TASK_SETTINGS, experiment, merge
from cdcd_jax.config.ranges import _RANGES, check_ranges
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.codes import KINDS as CODES
from cdcd_jax.networks.conditioners import KINDS
from cdcd_jax.networks.towers import KINDS as TOWERS
from cdcd_jax.tasks import make_task
from cdcd_jax.training.program import build


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", 2**64, "0 to 2"),
        ("data.batch_size", 0, "at least 1"),
        ("model.heads", 0, "at least 1"),
        ("model.width", -96, "at least 1"),
        ("sampling.num_samples", 0, "at least 1"),
        ("eval.num_samples", -1, "at least 1"),
        ("sampling.guidance_scale", math.nan, "finite"),
        ("sampling.guidance_scale", math.inf, "finite"),
        ("sampling.temperature", 0.0, "above 0"),
        ("sampling.top_p", 0.0, "above 0 and at most 1"),
        ("sampling.top_p", 2.0, "above 0 and at most 1"),
        ("sampling.top_k", -1, "at least 0"),
        ("sampling.overlap", 1.0, "below 1"),
        ("model.condition_dropout", 1.5, "from 0 to 1"),
    ],
)
def test_numbers_out_of_range(key: str, value: float, says: str) -> None:
    section, _, name = key.rpartition(".")
    changes = {section: {name: value}} if section else {name: value}
    with pytest.raises(UsageError, match=rf"'{key}' is .*{says}"):
        make_task(merge(experiment(), changes))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model.patch", 0, "at least 1"),
        ("model.channels", -1, "at least 0"),
        ("model.known", -0.1, "from 0 to 1"),
        ("model.known", math.nan, "from 0 to 1"),
        ("model.modality_dropout", 1.0, "below 1"),
        ("sampling.eta", 1.1, "from 0 to 1"),
    ],
)
def test_numbers_of_several_modalities(key: str, value: float, says: str) -> None:
    section, _, name = key.rpartition(".")
    changes = {section: {name: value}}
    with pytest.raises(UsageError, match=rf"'{key}' is .*{says}"):
        make_task(merge(experiment(task="mt_diffusion"), changes))


@pytest.mark.parametrize("task", TASK_SETTINGS)
def test_defaults_are_in_range(task: str) -> None:
    check_ranges(experiment(task=task))


def test_every_key_exists() -> None:
    tasks = [experiment(task=task) for task in TASK_SETTINGS]
    fields = lambda classes: {f.name for c in classes for f in dataclasses.fields(c)}
    kinds, codes = fields(KINDS.values()), fields(CODES.values())
    towers = fields(TOWERS.values())
    for _, _, keys in _RANGES:
        for key in keys:
            section, _, name = key.rpartition(".")
            if section == "model.conditions.*":
                assert name in kinds
            elif section == "model.towers.*":
                assert name in towers
            elif section == "model.modalities.*":
                assert name in codes or name == "loss_weight"
            else:
                places = section.split(".") if section else []
                assert any(name in functools.reduce(_below, places, t) for t in tasks)


def _below(settings: Any, name: str) -> Any:
    """A section; of a task that has none, nothing."""
    found = settings.get(name, {})
    return found if isinstance(found, dict) else {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(depth=-1), r"'model\.conditions\.text\.depth' is -1: .* at least 1"),
        (dict(heads=0), r"text\.heads' is 0"),
        (dict(heads=5), r"text\.heads = 5; expected a divisor of its size, 128"),
        (dict(size=12, heads=3), r"text\.heads = 3; .* of model\.width, 128"),
    ],
)
def test_sizes_of_conditions(change: dict, says: str) -> None:
    text = dict(kind="text", shape=(5,), vocabulary=9) | change
    settings = dict(model=dict(conditions=dict(text=text)))
    with pytest.raises(UsageError, match=says):
        build(experiment(**settings, contrastive=dict(num_negatives=0)))


def test_heads_of_an_odd_size() -> None:
    none = dict(num_negatives=0)
    with pytest.raises(UsageError, match=r"heads = 25: .* choose an even one"):
        make_task(experiment(model=dict(width=100, heads=4), contrastive=none))


def test_heads_that_are_too_wide() -> None:
    none = dict(num_negatives=0)
    with pytest.raises(UsageError, match=r"heads = 5000000: .* raise model\.heads"):
        make_task(experiment(model=dict(width=10**7, heads=2), contrastive=none))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (dict(model=dict(depth=10**6)), "at most 1,000 layers"),
        (dict(diffusion=dict(timesteps=10**9)), "at most 100,000 times"),
        (dict(model=dict(grid=(4096, 4096))), "16777216 tokens; expected at most"),
        (dict(model=dict(conditions=dict(label="label"))), "expected its settings"),
        (dict(model=dict(conditions=dict(label=None))), "expected its settings"),
        (
            dict(
                model=dict(conditions=dict(label=dict(kind="label", num_classes="3")))
            ),
            "num_classes' is '3': expected at least 1",
        ),
    ],
)
def test_what_would_only_fill_the_memory_or_is_no_setting(settings, says) -> None:
    with pytest.raises(UsageError, match=says):
        make_task(experiment(**settings, contrastive=dict(num_negatives=0)))
