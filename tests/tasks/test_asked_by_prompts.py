"""Models that are asked by prompts, and models that draw a text: on tiny batches."""

import jax
import numpy as np
import pytest

from cdcd_jax.config import experiment, merge
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.drawing import NO_EDIT, Edit
from cdcd_jax.tasks.prompt_weights import weighed_prompts

KEY = jax.random.key(0)
ROWS, WORDS, LENGTH = 6, 7, 3
PIXELS = dict(kind="pixels", grid=(2, 2), num_codes=5, width=8)
IMAGE = dict(kind="prompt", encoder=PIXELS, features=6, frozen=True, field="tokens")
SECOND = dict(kind="prompt", encoder=PIXELS, features=6, frozen=True)
MODEL = dict(num_codes=5, grid=(2, 2), width=16, depth=1, heads=2, mlp_ratio=2)
TINY = dict(
    data=dict(batch_size=ROWS),
    diffusion=dict(timesteps=8),
    optim=dict(num_steps=2, warmup_steps=1),
    sampling=dict(steps=4, batch_size=4),
    eval=dict(at_end=False, bound_samples=2),
)


def settings(conditions, **changes):
    config = merge(experiment(**TINY, model=MODEL), changes)
    config["model"]["conditions"] = conditions
    return config


def batch():
    rng = np.random.default_rng(0)
    return dict(
        tokens=rng.integers(0, 5, (ROWS, 4), dtype=np.int32),
        condition=dict(
            second=rng.integers(0, 5, (ROWS, 4), dtype=np.int32),
            text=rng.integers(0, WORDS, (ROWS, LENGTH), dtype=np.int32),
        ),
    )


def of(conditions, **changes):
    """Task, parameters in which all is connected to all, extra."""
    task = make_task(settings(conditions, **changes))
    params, extra = task.init(KEY)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        a + 0.5 * jax.random.normal(k, a.shape)
        for a, k in zip(leaves, keys, strict=True)
    ]
    return task, jax.tree.unflatten(tree, moved), extra


def sample(model, condition, edit=NO_EDIT, number=None, **options):
    task, params, extra = model
    section = {**task.settings["sampling"], **options}
    return task.sample(
        params, extra, condition, KEY, task.options(section), number, edit
    )


BOTH = dict(image=IMAGE, second=SECOND)
GIVEN = {"image": batch()["tokens"], "second": batch()["condition"]["second"]}


def test_a_run_takes_prompts_of_its_own_tokens_and_of_conditions():
    task, params, extra = of(BOTH)
    told = task.describe()
    picture = dict(kind="image", levels=5, grid=(2, 2), shape=(4,))
    beside = dict(field="tokens", optional=True, part="image/tower")
    assert told["conditions"]["image"] == picture | beside
    assert set(told["batch"]["condition"]) == {"second"}
    assert told["given"] == ["image/tower", "second/tower"]
    assert {"image", "second", "prompt", "network"} == set(params)
    loss, metrics, _ = task.loss(params, extra, batch(), KEY, 0)
    assert np.isfinite(loss) and "bits_per_token" in metrics
    labels = task.labels(params)
    assert set(jax.tree.leaves(labels["image"])) == {"frozen"}
    assert set(jax.tree.leaves(labels["prompt"])) == {"train"}


def test_weights_say_how_much_each_prompt_counts():
    model = of(BOTH)
    drawn = lambda given, **options: sample(model, given, **options)["tokens"]
    alone = drawn({"image": GIVEN["image"]})
    np.testing.assert_array_equal(
        alone, drawn(GIVEN, prompt_weights=dict(image=1.0, second=0.0))
    )
    np.testing.assert_array_equal(drawn(GIVEN, prompt_weights=dict(image=1.0)), alone)
    even = drawn(GIVEN)
    assert np.any(even != alone)
    halves = dict(image=0.5, second=0.5)
    np.testing.assert_array_equal(even, drawn(GIVEN, prompt_weights=halves))
    np.testing.assert_array_equal(
        even, drawn(GIVEN, prompt_weights=dict(image=-1.0, second=-1.0))
    )
    # one program for all weights
    assert model[0].draw_batch._cache_size() == 2


def test_the_rest_is_shared_evenly():
    specs = make_task(settings(BOTH)).conditions
    found = weighed_prompts(specs, GIVEN, dict(image=0.7))
    np.testing.assert_allclose(found["image/weight"], 0.7)
    np.testing.assert_allclose(found["second/weight"], 0.3, rtol=1e-6)
    assert set(weighed_prompts(specs, {}, dict(image=0.7))) == set()


@pytest.mark.parametrize(
    ("given", "weights", "says"),
    [
        (GIVEN, dict(sound=1.0), "no prompt 'sound'; expected some of image, second"),
        (GIVEN, dict(image=0.7, second=0.7), "sum to 1.4; expected shares"),
        (GIVEN, dict(image=0.2, second=0.2), "sum to 0.4; expected shares"),
        (GIVEN, dict(image=1.2), "sum to 1.2"),
        (GIVEN, dict(image=-0.2, second=1.2), "expected shares from 0 to 1"),
        ({"image": GIVEN["image"]}, dict(second=0.3), "no --condition.second"),
        ({"image": GIVEN["image"]}, dict(image=0.3), "sum to 0.3"),
    ],
)
def test_weights_that_cannot_be(given, weights, says):
    with pytest.raises(UsageError, match=says):
        sample(of(BOTH), given, prompt_weights=weights)


def test_no_prompt_where_the_null_is_not_trained():
    without = of(BOTH, model=dict(condition_dropout=0.0))
    with pytest.raises(UsageError, match="Found no prompt for a model"):
        sample(without, {}, number=3)
    assert sample(of(BOTH), {}, number=3)["tokens"].shape == (3, 4)


def test_a_way_from_one_prompt_to_another():
    toward = Edit(toward=({"image": GIVEN["second"]}, np.ones(ROWS)))
    model = of(BOTH)
    found = sample(model, {"image": GIVEN["image"]}, toward)["tokens"]
    # at its end it is the other alone, but for the order of sums
    there = sample(model, {"image": GIVEN["second"]})["tokens"]
    assert np.mean(found == there) > 0.9


def test_a_blurred_prompt_changes_the_loss_and_no_sample():
    plain, blurred = (of(BOTH, model=dict(prompt_noise=n)) for n in (0.0, 0.5))
    loss = lambda m: m[0].loss(m[1], m[2], batch(), KEY, 0)[0]
    assert loss(plain) != loss(blurred)
    drawn = [sample(m, GIVEN)["tokens"] for m in (plain, blurred)]
    np.testing.assert_array_equal(*drawn)


TEXT = dict(
    tokenizer=dict(kind="none"),
    model=dict(target="text", num_codes=WORDS, grid=(1, LENGTH)),
)


def test_a_text_is_drawn_for_a_picture():
    task, params, extra = model = of(dict(image=IMAGE), **TEXT)
    told = task.describe()
    assert told["outputs"] == {"text": dict(kind="text", shape=(3,), vocabulary=7)}
    field = dict(shape=(LENGTH,), dtype="int32", low=0, high=WORDS)
    assert told["batch"]["condition"] == {"text": field}
    assert told["batch"]["tokens"]["grid"] == (2, 2)
    found = sample(model, {"image": GIVEN["image"]})
    assert set(found) == {"text"} and found["text"].shape == (ROWS, LENGTH)
    assert found["text"].max() < WORDS
    # x_0 is the text: what stands in the tokens is a condition alone
    whole = batch()
    loss = lambda b: task.loss(params, extra, b, KEY, 0)[0]
    turned = {**whole, "tokens": whole["tokens"][::-1]}
    assert loss(whole) != loss(turned)
    bound = task.bound(params, [whole], KEY)
    assert bound.length == LENGTH and bound.terms.shape == (ROWS, 2)


def test_a_text_has_no_negatives_in_the_records():
    contrast = dict(weight=0.1, inter_from="records")
    with pytest.raises(UsageError, match=r"'records' with model\.target = 'text'"):
        of(dict(image=IMAGE), **TEXT, contrastive=contrast)


def test_a_target_that_is_its_own_condition():
    for name, spec in (
        ("text", dict(kind="text", shape=(LENGTH,), vocabulary=WORDS)),
        ("other", dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, field="text")),
    ):
        with pytest.raises(UsageError, match=f"conditions.{name} of the field 'text'"):
            of({name: spec}, **TEXT)
    picture = dict(kind="image", levels=5, grid=(2, 2), field="tokens")
    with pytest.raises(UsageError, match=r"of the field 'tokens', which"):
        of(dict(picture=picture))
