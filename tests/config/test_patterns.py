"""Keys by pattern, at any depth of a model."""

import pytest

from cdcd_jax.config import differences, experiment, merge
from cdcd_jax.config.patterns import leaves, matches
from cdcd_jax.config.ranges import check_ranges
from cdcd_jax.errors import UsageError


@pytest.mark.parametrize(
    ("key", "pattern", "fits"),
    [
        ("model.width", "model.width", True),
        ("model.width", "model.**.width", True),
        ("model.diffusers.a.model.width", "model.**.width", True),
        ("model.conditions.text.heads", "model.conditions.*.heads", True),
        ("model.conditions.heads", "model.conditions.*.heads", False),
        ("model.mywidth", "model.**.width", False),
        ("model.width.x", "model.**.width", False),
        ("modelxwidth", "model.width", False),
        ("mesh", "mesh.**", True),
        ("mesh.data", "mesh.**", True),
        ("meshes.data", "mesh.**", False),
    ],
)
def test_matches(key: str, pattern: str, fits: bool) -> None:
    assert matches(key, pattern) is fits


def test_leaves_are_dotted_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": {}}, "e": (2,)}
    assert list(leaves(nested)) == [("a.b.c", 1), ("e", (2,))]


def nested(**model: object) -> dict:
    """A model of models, each with a config of its own."""
    own = {"model": model, "sampling": {"steps": 5}}
    return {"model": {"diffusers": {"image": own}, "attention": "auto"}}


def test_a_run_goes_on_with_other_attention_at_any_depth() -> None:
    old = nested(attention="xla", width=8, remat="none")
    new = nested(attention="cudnn", width=8, remat="full")
    new["model"]["attention"] = "xla"
    assert differences(old, new) == []
    wider = nested(attention="xla", width=9, remat="none")
    assert differences(old, wider) == [
        "model.diffusers.image.model.width (8 there, 9 now)"
    ]


def test_a_condition_is_no_setting_of_its_name() -> None:
    old = {"model": {"conditions": {"attention": {"kind": "label"}}}}
    new = {"model": {"conditions": {}}}
    assert differences(old, new) == [
        "model.conditions.attention ({'kind': 'label'} there, None now)"
    ]


def test_a_run_goes_on_with_other_sections() -> None:
    old = experiment()
    changes = dict(
        report=dict(log_every=1),
        sampling=dict(steps=3),
        stages=dict(records=dict(mode="pretokenize")),
        mesh=dict(tensor=2),
        optim=dict(num_steps=7),
        data=dict(threads=9),
        model=dict(head_chunk=8, remat="full"),
    )
    assert differences(old, merge(old, changes)) == []
    assert differences(old, merge(old, dict(seed=1, optim=dict(ema_decay=0.5)))) == [
        "optim.ema_decay (0.999 there, 0.5 now)",
        "seed (0 there, 1 now)",
    ]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (dict(model=dict(width=0)), "model.width"),
        (dict(sampling=dict(top_p=2.0)), "sampling.top_p"),
        (
            dict(model=dict(conditions=dict(text=dict(queries=0)))),
            "model.conditions.text.queries",
        ),
    ],
)
def test_numbers_inside_of_a_model_are_in_range(changes: dict, key: str) -> None:
    inner = {"model": {"modalities": {"image": changes}}}
    with pytest.raises(UsageError, match=rf"'model\.modalities\.image\.{key}' is "):
        check_ranges(inner)


def test_a_condition_may_have_the_name_of_a_number() -> None:
    depth = dict(kind="label", num_classes=3)
    check_ranges(experiment(model=dict(conditions=dict(depth=depth))))
