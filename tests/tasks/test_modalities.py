"""Modalities as a config declares them, and those that cannot be."""

from typing import Any

import pytest
import tiny_joint as tj

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.conditioners import full_spec
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.modalities import primary_of, read_modalities


def read(modalities: Any, **model: Any) -> Any:
    return read_modalities(tj.settings(modalities, model=model)["model"])


ALL = read(tj.MODALITIES)


def test_what_they_are() -> None:
    assert list(ALL) == sorted(tj.MODALITIES)
    label, image, caption = (ALL[name] for name in ("label", "image", "caption"))
    assert (label.weight, label.loss_weight, label.gradient) == (0.7, 0.3, "fixed")
    assert label.batch_field == dict(shape=(), dtype="int32", low=0, high=3)
    assert (image.field, image.output_name, image.discrete) == (
        *("tokens", "tokens"),
        False,
    )
    assert image.batch_field == dict(shape=(16,), dtype="int32", low=0, high=5)
    assert (ALL["target"].field, ALL["target"].output_name) == ("target", "target")
    assert caption.batch_field["high"] == 7 and caption.shape == (4,)
    assert ALL["vector"].batch_field == dict(shape=(6,), dtype="float32")
    assert not ALL["holes"].is_drawn and not ALL["holes"].is_stream
    ramp = read(tj.chosen("label", label=dict(weight=[1.0, 0.2])))["label"]
    assert ramp.weight == (1.0, 0.2)


def test_who_may_be_given_is_a_condition_of_the_model() -> None:
    for name, one in ALL.items():
        spec = one.condition()
        assert spec["optional"] and full_spec(name, spec)
        assert spec.get("field") == ("tokens" if one.field == "tokens" else None)
    assert ALL["holes"].condition()["masked"]
    colours = read(tj.chosen("image"), grid=(4, 4, 3))["image"]
    assert colours.shape == (48,) and colours.condition()["grid"] == (4, 4, 3)
    named = read(dict(label=dict(kind="label", num_classes=2, names=("a", "b"))))
    assert named["label"].condition()["names"] == ("a", "b")
    assert named["label"].output((4, 4))["names"] == ("a", "b")


def test_the_primary_one() -> None:
    name = lambda *names: primary_of(read(tj.chosen(*names)))
    assert name("label", "image", "target") == "image"
    assert name("label", "target", "vector") == "target"
    assert name("holes", "vector", "label") == "vector"
    assert name("holes", "label", "caption") == "caption"
    absent = tj.chosen("image", "label", image=dict(weight=(0, 1)))
    assert primary_of(read(absent)) == "label"


# -- what cannot be ----------------------------------------------------------------

IMAGE = tj.MODALITIES["image"]


@pytest.mark.parametrize(
    ("modalities", "says"),
    [
        ({}, r"modalities \[\]; expected one or more that are drawn"),
        (tj.chosen("holes"), r"\['holes'\]; expected one or more that are drawn"),
        (dict(image="image"), "modalities.image = 'image'; expected its settings"),
        (dict(image=dict(kind="picture")), "'picture'.*; expected .* a kind of image"),
        (dict(image=dict(field="tokens")), "= {'field': 'tokens'}; expected its"),
        (dict(image=None), "modalities.image = None; expected its settings"),
        (dict(image=dict(kind="image", size=3)), r"with \['size'\]; expected of kind"),
        (dict(label=dict(kind="label")), r"with \[\].*'num_classes'"),
        (dict(label=dict(kind="label", num_classes=0)), "'model.modalities.label.num"),
        (dict(label=dict(kind="label", num_classes=2.5)), "a whole number of at least"),
        (dict(vector=dict(kind="vector", features=-1)), "features' is -1"),
        (tj.chosen("label", label=dict(loss_weight=-0.1)), "loss_weight' is -0.1"),
        (tj.chosen("label", label=dict(loss_weight="a")), "loss_weight' is 'a'"),
        (tj.chosen("label", label=dict(weight="a")), "weight of label is 'a'"),
        (tj.chosen("label", label=dict(weight=(1, 2, 3))), r"label is \(1, 2, 3\)"),
        (tj.chosen("image", image=dict(weight=0)), "primary.*'image' has the weight 0"),
        (tj.chosen("image", image=dict(weight=(0.0, 1.0))), "has the weight 0.0 at t"),
        (tj.chosen("label", label=dict(gradient="learned")), "gradient = 'learned'"),
        (tj.chosen("label", label=dict(given="no")), "label.given = 'no'"),
        (tj.chosen("label", label=dict(field="style")), "label.field = 'style'"),
        (tj.chosen("label", label=dict(field="tokens")), "label.field = 'tokens' of"),
        (tj.chosen("label", label=dict(names=("a",))), "with 1 names; expected none"),
        (tj.chosen("image", image=dict(deviation=0.0)), "deviation' is 0.0"),
        (dict(a=IMAGE, b=IMAGE), "modalities a, b that are all the field 'tokens'"),
        ({"image": IMAGE, "a/b": tj.MODALITIES["label"]}, "modalities.a/b; expected a"),
        (
            dict(caption=dict(kind="tokens", num_codes=7, length=5)),
            "of 5 tokens of 7",
        ),
        (
            dict(vector=dict(kind="vector", features=17)),
            "of 17 features in 16",
        ),
    ],
)
def test_what_cannot_be(modalities: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_task(tj.settings(modalities))


@pytest.mark.parametrize(
    "name",
    [
        *("tokens", "values", "images", "network", "join", "space", "absent", "codes"),
        *("absence", "code", "said", "modalities", "conditions", "style", "code_image"),
    ],
)
def test_names_that_are_taken(name: str) -> None:
    """By the network, by samples, or by a condition."""
    config = tj.settings({"image": IMAGE, name: tj.MODALITIES["label"]})
    config["model"]["conditions"] = dict(style=dict(kind="label", num_classes=2))
    with pytest.raises(UsageError, match=rf"{name}; expected a name of letters.*other"):
        make_task(config)


@pytest.mark.parametrize("name", ["image", "code_image", "absence"])
def test_names_that_no_condition_has(name: str) -> None:
    config = tj.settings(tj.chosen("image"))
    config["model"]["conditions"] = {name: dict(kind="label", num_classes=2)}
    with pytest.raises(UsageError, match=rf"model\.conditions\.{name}; .* choose"):
        make_task(config)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(model=dict(patch=3)), "patch = 3 of 4 x 4 tokens; expected a divisor"),
        (dict(model=dict(patch=0)), "patch' is 0"),
        (dict(model=dict(num_codes=1)), "num_codes = 1 levels of a pixel.* 2 to 256"),
        (dict(model=dict(num_codes=257)), "num_codes = 257 levels of a pixel"),
        (dict(model=dict(channels=5)), "4 of 5 numbers; correct"),
        (dict(model=dict(channels=-1)), "channels' is -1"),
        (dict(model=dict(known=1.5)), "model.known' is 1.5: expected from 0 to 1"),
        (dict(model=dict(modality_dropout=1.0)), "at least 0 and below 1"),
        (dict(model=dict(grid=((4, 4), (2, 2)))), "H, W, channels"),
        (dict(model=dict(form="self")), "model.form = 'self'; expected 'modern'"),
        (dict(diffusion=dict(weight_ramp="cubic")), "unknown ramp 'cubic'"),
        (dict(diffusion=dict(prediction="x")), "unknown prediction 'x'"),
        (dict(diffusion=dict(loss="l1")), "diffusion.loss = 'l1'"),
        (dict(sampling=dict(eta=1.5)), "sampling.eta' is 1.5"),
        (dict(sampling=dict(known="cond")), "sampling.known = 'cond'"),
        (dict(sampling=dict(steps=9)), r"steps = 9 does not fit"),
        (dict(eval=dict(figures="mine")), "eval.figures = 'mine'"),
    ],
)
def test_settings_that_cannot_be(changes: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_task(tj.settings(tj.chosen("image", "label"), **changes))
