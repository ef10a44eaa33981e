"""Towers as a task: the loss by hand, no labels in it, what is frozen, figures."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import untrained

from cdcd_jax.config import experiment, merge
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.diffusion.contrastive import bounded_scale, symmetric_infonce
from cdcd_jax.errors import UsageError
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.runtime.leaf_table import weights_digest
from cdcd_jax.tasks import make_task
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.loop import train
from cdcd_jax.training.program import build, model_flops
from cdcd_jax.training.step import init_state, make_train_step

TOWER = dict(kind="pixels", grid=(4, 4), num_codes=5, width=16, depth=1)
STILL = dict(shift=0.0, rotation=0.0, zoom=0.0, noise=0.0)
SIZES = dict(width=8, depth=1, heads=2, queries=2)
TEXT = dict(kind="text", field="text", shape=(4,), vocabulary=9, **SIZES)
SOUND = dict(kind="codes", grid=(1, 5), num_codes=6, **SIZES)
PAIR = dict(
    image=dict(TOWER), other=dict(TOWER, field="target", grid=(3, 3), num_codes=7)
)


def settings(towers=None, **changes):
    config = experiment(
        task="bridge",
        data=dict(batch_size=8, synthetic=True),
        model=dict(towers=towers or dict(image=TOWER), features=6),
        optim=dict(num_steps=4, warmup_steps=1, learning_rate=1e-2),
        report=dict(log_every=1),
    )
    return merge(config, changes)


def batch(size=8, seed=0):
    rng = np.random.default_rng(seed)
    condition = dict(
        target=rng.integers(0, 7, (size, 9), dtype=np.int32),
        label=np.arange(size, dtype=np.int32) % 3,
    )
    tokens = rng.integers(0, 5, (size, 16), dtype=np.int32)
    return dict(tokens=tokens, condition=condition)


def started(config, seed=0):
    task = make_task(config)
    return task, *task.init(jax.random.key(seed))


def loss_of(task, params, examples, seed=1):
    """Loss and metrics, by the key of this seed."""
    compute = jax.jit(lambda *args: task.loss(*args, 0)[:2])
    loss, metrics = compute(params, {}, examples, jax.random.key(seed))
    return float(loss), metrics


def test_of_one_tower_two_views_find_each_other():
    task, params, _ = started(settings(views=STILL))
    examples = batch()
    loss, metrics = loss_of(task, params, examples)
    vectors = task.encode(params, "image", examples["tokens"])
    expected = symmetric_infonce(vectors, vectors, 10.0)
    assert loss == pytest.approx(float(jnp.mean(expected)), rel=1e-5)
    assert metrics["retrieval"] == 1.0 and metrics["scale"] == pytest.approx(10.0)
    seen, params, _ = started(settings())
    other, metrics = loss_of(seen, params, examples)
    assert other > loss and loss_of(seen, params, examples)[0] == other
    assert loss_of(seen, params, examples, 2)[0] != other


def test_no_label_is_read():
    (task, params, _), examples = started(settings()), batch()
    alone = loss_of(task, params, dict(tokens=examples["tokens"]))[0]
    assert loss_of(task, params, examples)[0] == alone
    description = task.describe()
    assert description["conditions"] == description["outputs"] == {}
    assert list(description["batch"]) == ["tokens"]


def test_of_several_towers_each_pair_is_aligned():
    towers = {**PAIR, "third": dict(PAIR["other"], field="more")}
    task, params, _ = started(settings(towers, views=STILL))
    examples = batch()
    examples["condition"]["more"] = examples["condition"]["target"]
    params["scale"] = jnp.float32(0.7)
    loss, _ = loss_of(task, params, examples)
    fields = dict(
        image=examples["tokens"],
        other=examples["condition"]["target"],
        third=examples["condition"]["more"],
    )
    vectors = {n: task.encode(params, n, field) for n, field in fields.items()}
    terms = [
        symmetric_infonce(vectors[a], vectors[b], bounded_scale(params["scale"]))
        for a, b in itertools.combinations(vectors, 2)
    ]
    assert loss == pytest.approx(float(np.mean(terms)), rel=1e-5)
    described = task.describe()
    assert described["batch"]["tokens"]["grid"] == (4, 4)
    assert described["batch"]["condition"]["target"]["shape"] == (9,)
    assert set(described["conditions"]) == {"target", "more"}
    (drawn,) = itertools.islice(synthetic_batches(described, np.arange(3)), 1)
    assert drawn["condition"]["more"].max() < 7


def test_examples_that_say_the_same_are_no_negatives():
    examples = batch()
    examples["condition"]["target"][1::2] = examples["condition"]["target"][0]
    plain = settings(PAIR, views=STILL)
    told = merge(plain, dict(model=dict(same="other")))
    task, params, _ = started(told)
    found, _ = loss_of(task, params, examples)
    a = task.encode(params, "image", examples["tokens"])
    b = task.encode(params, "other", examples["condition"]["target"])
    same = np.array([[i == j or (i % 2 and j % 2) for j in range(8)] for i in range(8)])
    same[0, 1::2] = same[1::2, 0] = True
    expected = jnp.mean(symmetric_infonce(a, b, 10.0, jnp.asarray(same)))
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert found < loss_of(make_task(plain), params, examples)[0]


def test_a_frozen_tower_must_be_given_and_stays():
    towers = dict(PAIR, other=dict(PAIR["other"], frozen=True))
    config = settings(towers, optim=dict(warmup_steps=0))
    task, optimizer = build(config)
    assert task.describe()["given"] == ["towers/other"]
    state = init_state(task, optimizer, 0)
    after, _ = jax.jit(make_train_step(task, optimizer, config))(state, batch())
    same = jax.tree.map(np.array_equal, state.params, after.params)
    assert all(jax.tree.leaves(same["towers"]["other"]))
    assert not any(jax.tree.leaves(same["towers"]["image"]["vector"]))


def test_an_anchor_of_an_earlier_run_stays_bit_for_bit(tmp_path):
    """Texts and pictures, then texts and sounds, which never stand together."""

    def weights(name, config):
        shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))[0]
        found = load_parts(tmp_path / name, shapes, {})[1]["towers"]
        return {n: weights_digest(tower).hexdigest() for n, tower in found.items()}

    towers = dict(sound=SOUND, text={**TEXT, "frozen": True})
    pictures, config = settings(dict(image=TOWER, text=TEXT)), settings(towers)
    first = untrained(pictures, tmp_path / "first")
    begun = untrained(config, tmp_path / "begun", 0.2)
    with pytest.raises(UsageError, match=r"towers/text must come .*frozen = False"):
        train(config, tmp_path / "alone", input_stream(config), lambda *args: {})
    given = {"towers/text": str(first), "towers/sound": str(begun)}
    config = merge(config, dict(init_parts=given))
    train(config, tmp_path / "second", input_stream(config), lambda *args: {})
    anchor, found = weights("first", pictures)["text"], weights("second", config)
    assert found["text"] == anchor != weights("begun", config)["text"]
    assert found["sound"] != weights("begun", config)["sound"]


def test_texts_and_codes_say_what_they_are():
    task = make_task(settings(dict(text=TEXT, sound=SOUND)))
    described = task.describe()
    text = dict(kind="text", shape=(4,), vocabulary=9)
    assert described["conditions"] == dict(text=text)
    assert described["batch"] == dict(
        tokens=dict(shape=(5,), dtype="int32", low=0, high=6, grid=(1, 5)),
        condition=dict(text=dict(shape=(4,), dtype="int32", low=1, high=9)),
    )
    assert described["units"] == 9
    frozen = dict(text={**TEXT, "frozen": True}, sound=SOUND)
    told = make_task(settings(frozen)).describe()["conditions"]
    assert told == dict(text={**text, "part": "towers/text"})
    # a text that is the tokens of its records
    task = make_task(
        settings(dict(text={**TEXT, "field": "tokens"}, other=PAIR["other"]))
    )
    field = task.describe()["batch"]["tokens"]
    assert field["grid"] == (1, 4) and field["high"] == 9


def captioned(size=12, seed=0):
    """Texts of which several are equal, sounds, and what both are of."""
    rng = np.random.default_rng(seed)
    label = np.arange(size, dtype=np.int32) % 3
    text = np.stack([label + 1, label * 2 + 1, 0 * label, 0 * label], axis=1)
    tokens = rng.integers(0, 6, (size, 5), dtype=np.int32)
    return dict(tokens=tokens, condition=dict(text=text, label=label))


def test_a_text_finds_any_picture_that_it_is_said_of():
    """The loss, one example at a time, without pairs of one caption as negatives."""
    towers = dict(text=TEXT, sound=SOUND)
    task, params, _ = started(settings(towers, model=dict(same="text")))
    examples = captioned()
    loss, metrics = loss_of(task, params, examples)
    texts = task.encode(params, "text", examples["condition"]["text"])
    sounds = task.encode(params, "sound", examples["tokens"])
    cosine, said = np.asarray(texts @ sounds.T, float), examples["condition"]["label"]
    terms = []
    for i in range(12):
        kept = [j for j in range(12) if j == i or said[j] != said[i]]
        for row in (cosine[i], cosine[:, i]):
            terms.append(-np.log(np.exp(10 * row[i]) / np.sum(np.exp(10 * row[kept]))))
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)
    right = np.mean(said[cosine.argmax(axis=1)] == said)
    assert float(metrics["retrieval"]) == pytest.approx(right)
    # and nothing but the pixels has other views
    assert loss_of(task, params, examples, 2)[0] == loss


def test_codes_are_swapped_in_training_alone():
    towers = dict(text=TEXT, sound=SOUND)
    plain, params, _ = started(settings(towers, eval=dict(probe="label")))
    mixed = make_task(settings(towers, views=dict(swap=0.5), eval=dict(probe="label")))
    examples = captioned()
    losses = {loss_of(mixed, params, examples, seed)[0] for seed in range(4)}
    assert len(losses) == 4 and loss_of(plain, params, examples)[0] not in losses
    both = dict(train=captioned(seed=1), test=examples)
    found = [t.evaluate(params, {}, both, jax.random.key(0)) for t in (plain, mixed)]
    assert found[0] == found[1]


def test_class_retrieval_is_of_labels_and_of_both_ways():
    config = settings(dict(text=TEXT, sound=SOUND), eval=dict(probe="label"))
    task, params, extra = started(config)
    examples = captioned()
    found = task.evaluate(
        params, extra, dict(train=examples, test=examples), jax.random.key(0)
    )
    names = {name for name in found if "/" not in name}
    ways = ("text_to_sound", "sound_to_text")
    assert names == {
        *("probe_accuracy_text", "probe_accuracy_sound"),
        *(f"{way}{end}" for way in ways for end in ("_retrieval", "_class_retrieval")),
    }
    sounds = task.encode(params, "sound", examples["tokens"])
    texts = task.encode(params, "text", examples["condition"]["text"])
    said = examples["condition"]["label"]
    expected = np.mean(said[np.argmax(sounds @ texts.T, axis=1)] == said)
    assert found["sound_to_text_class_retrieval"] == pytest.approx(expected)
    assert found["text_to_sound_class_retrieval/n"] == 12


def test_it_trains_in_the_ordinary_loop_and_is_planned_for_training_alone(tmp_path):
    config = settings()
    train(config, tmp_path, input_stream(config), lambda *args: {})
    assert (tmp_path / "checkpoints").exists()
    assert model_flops(config) > 3 * 2 * 2 * 16 * (16 + 6)  # two views, three products
    assert not hasattr(make_task(config), "sampling")


def test_figures_say_what_is_told_apart_and_what_is_alike():
    config = settings(eval=dict(probe="label", noise=0.05))
    task, params, extra = started(config)
    train, test = batch(60, 1), batch(30, 2)
    for part in (train, test):  # classes that pixels tell
        part["tokens"][:, :13] = part["condition"]["label"][:, None] * 2
    found = task.evaluate(
        params, extra, dict(train=train, test=test), jax.random.key(0)
    )
    assert set(found) == {
        f"{name}{end}"
        for name in ("noise_retrieval", "probe_accuracy", "view_retrieval")
        for end in ("", "/n")
    }
    assert found["view_retrieval/n"] == 30
    assert found["noise_retrieval"] > found["view_retrieval"] > 1 / 30
    assert found["probe_accuracy"] > 0.8
    with pytest.raises(UsageError, match=r"eval\.probe = 'colour'.*target, label"):
        wrong = make_task(settings(eval=dict(probe="colour")))
        wrong.evaluate(params, extra, dict(train=train, test=test), jax.random.key(0))


def test_figures_of_several_towers_are_named_after_them():
    task, params, extra = started(settings(PAIR))
    examples = dict(train=batch(12), test=batch(12))
    found = task.evaluate(params, extra, examples, jax.random.key(0))
    names = {name for name in found if "/" not in name}
    assert names == {
        *("noise_retrieval_image", "noise_retrieval_other"),
        *("image_to_other_retrieval", "other_to_image_retrieval"),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model=dict(same="text")), r"model\.same = 'text'; expected a tower"),
        (dict(views=dict(erase=2.0)), r"views\.erase"),
        (dict(model=dict(dtype="int8")), r"model\.dtype"),
        (dict(model=dict(features=0)), r"model\.features"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(UsageError, match=message):
        make_task(settings(**changes))


@pytest.mark.parametrize("tower", [SOUND, {**TEXT, "field": "tokens"}])
def test_what_has_no_other_views_needs_a_second_tower(tower):
    with pytest.raises(UsageError, match="no other views; expected pixels, or a sec"):
        make_task(settings(dict(one=tower)))


@pytest.mark.parametrize(
    "towers",
    [
        {},
        dict(other=PAIR["other"]),  # nothing that reads the tokens
        dict(one=TOWER, two=TOWER),  # two that read them
    ],
)
def test_towers_that_cannot_be(towers):
    config = settings()
    config["model"]["towers"] = towers
    with pytest.raises(UsageError, match="expected one tower that reads 'tokens'"):
        make_task(config)
