"""Settings that cannot be, and those that are off and ask for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.config import experiment, merge
from cdcd_jax.config.patterns import leaves
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.drawing import Edit
from cdcd_jax.training.program import build

BASES = dict(
    conditional=tiny.settings(),
    vqgan=experiment(task="tokenizer"),
    vqvae1d=experiment(task="tokenizer", model=dict(kind="vqvae1d")),
)
# Words that are looked at where they are used: paths, and names of the data's.
ELSEWHERE = {
    "optim.plateau.metric",
    *("data.path", "data.raw", "init_from", "tokenizer.kind", "tokenizer.path"),
    *("eval.split", "contrastive.key", "model.target", "eval.features.inception"),
    *("eval.features.clip", "eval.features.audio", "lpips.path", "lpips"),
}
WORDS = [
    (base, key)
    for base, config in BASES.items()
    for key, value in leaves(config)
    if isinstance(value, str) and key not in ELSEWHERE
]


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(("base", "key"), WORDS)
def test_a_word_that_is_no_choice_is_refused_by_name(base, key):
    with pytest.raises((UsageError, InputError)) as caught:
        build(merge(BASES[base], nested(key, "nonsense")))
    assert "nonsense" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float17", "int32", "complex64", "float64", ""])
def test_a_dtype_that_no_product_has(dtype):
    with pytest.raises(UsageError, match=r"model.dtype = .* choose one of float32"):
        make_task(tiny.settings(model=dict(dtype=dtype)))


@pytest.mark.parametrize(
    "name",
    [
        *("network", "denoiser", "conditions", "join", "encode", "head", "features"),
        *("name", "parent", "scope", "init", "apply", "setup", "encoders", "path"),
        *("", "a/b", "a.b", "a b", "a=b", "-a", "label/present"),
    ],
)
def test_a_condition_of_a_name_that_cannot_be(name):
    config = tiny.settings(contrastive=dict(weight=0.0, num_negatives=0))
    config["model"]["conditions"] = {name: dict(kind="label", num_classes=2)}
    with pytest.raises(UsageError, match=r"model\.conditions\..* choose another name"):
        make_task(config)


@pytest.mark.parametrize("name", ["logits", "blocks", "größe", "two-words", "_1"])
def test_other_names_are_theirs(name):
    config = tiny.settings(contrastive=dict(weight=0.0, num_negatives=0))
    config["model"]["conditions"] = {name: dict(kind="label", num_classes=2)}
    task = make_task(config)
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    assert f"encoders_{name}" in params or name in params


# -- contrast ----------------------------------------------------------------------


def unconditional(**changes):
    config = tiny.settings(**changes)
    config["model"]["conditions"] = {}
    return config


OFF = [
    unconditional(contrastive=dict(weight=0.0)),
    tiny.settings(contrastive=dict(weight=0.0, group=64)),
    tiny.settings(contrastive=dict(weight=0.0, num_negatives=16)),
    tiny.settings(contrastive=dict(weight=0.0, key="genre")),
    tiny.settings(contrastive=dict(weight=0.0, inter_from="records")),
    tiny.settings(contrastive=dict(weight=0.0, negatives="intra", chunks=(3, 3))),
    tiny.settings(contrastive=dict(weight=0.0, form="difference", critic="ratio")),
    tiny.settings(contrastive=dict(weight=0.0), model=dict(condition_dropout=1.0)),
]


@pytest.mark.parametrize("config", OFF)
def test_a_contrast_that_is_off_asks_for_nothing(config):
    task = make_task(config)
    said = task.describe()
    assert said["negatives"] == 0 and said["differ"] == ""
    batch = tiny.batch()
    if not config["model"]["conditions"]:
        batch = {**batch, "condition": {}}
    params, extra = jax.eval_shape(task.init, jax.random.key(0))
    loss, _, _ = jax.eval_shape(
        task.loss, params, extra, batch, jax.random.key(0), jnp.int32(0)
    )
    assert loss.shape == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(contrastive=dict(group=64)), "group = 64"),
        (dict(contrastive=dict(key="genre")), "genre"),
        (dict(contrastive=dict(num_negatives=0)), "needs negatives"),
        (dict(model=dict(condition_dropout=1.0)), "trains nothing"),
        (
            dict(contrastive=dict(critic="ratio"), model=dict(condition_dropout=0.0)),
            "never trained the null",
        ),
    ],
)
def test_a_contrast_that_is_on_is_refused_where_it_cannot_be(changes, says):
    with pytest.raises(UsageError, match=says):
        make_task(tiny.settings(**changes))


def test_one_class_has_no_negatives():
    config = tiny.settings()
    config["model"]["conditions"] = dict(label=dict(kind="label", num_classes=1))
    with pytest.raises(UsageError, match=r"one class of contrastive.key = 'label'"):
        make_task(config)
    make_task(merge(config, dict(contrastive=dict(negatives="intra"))))
    make_task(merge(config, dict(contrastive=dict(weight=0.0))))


# -- guidance ----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_guidance_needs_a_null_that_was_trained(scale):
    guided = SamplingOptions(steps=5, guidance_scale=scale)
    untrained = make_task(tiny.settings(model=dict(condition_dropout=0.0)))
    with pytest.raises(UsageError, match="condition_dropout = 0 never trained"):
        untrained.check_sampling(guided)
    with pytest.raises(UsageError, match="takes no condition"):
        make_task(unconditional(contrastive=dict(weight=0.0))).check_sampling(guided)
    untrained.check_sampling(SamplingOptions(steps=5))
    known = tiny.settings(model=dict(condition_dropout=0.0, null_trained=True))
    make_task(known).check_sampling(guided)
    make_task(tiny.settings()).check_sampling(guided)


def test_guidance_in_a_config_is_refused_before_training():
    changes = dict(model=dict(condition_dropout=0.0), sampling=dict(guidance_scale=2.0))
    with pytest.raises(UsageError, match="never trained the null"):
        make_task(tiny.settings(**changes))


def test_a_scale_by_modality_is_guidance_too():
    task = make_task(tiny.settings(model=dict(condition_dropout=0.0)))
    edit = Edit(scales={"label": np.full(2, 2.0)})
    with pytest.raises(UsageError, match="never trained the null"):
        task.sample({}, {}, {}, jax.random.key(0), SamplingOptions(steps=5), 2, edit)
