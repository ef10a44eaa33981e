"""Draws of several modalities against loops by hand, and what of them is given."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_joint as tj

from cdcd_jax.diffusion import process
from cdcd_jax.networks.joint import VALUES, JointDenoiser
from cdcd_jax.tasks.drawing import NO_EDIT, Edit

ROWS, STEPS = 4, 3
KEY = jax.random.key(5)
TIMES = [8, 5, 3]  # of 3 steps over 8 times, as the grid rounds them
LABELS = np.array([0, 1, 2, 1], np.int32)
PAIR = ("image", "label")


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled() -> Iterator[None]:
    """What runs once or twice needs no fast program."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def sample(model: Any, condition: Any, edit: Any = NO_EDIT, **changes: Any) -> Any:
    """Of a (task, params); `changes` of `sampling`."""
    task, params = model
    options = tj.options(task, **{"steps": STEPS, **changes})
    return task.sample(params, {}, condition, KEY, options, ROWS, edit)


class Hand:
    """The loop of DDPM by hand, with the noise that `process.draw` takes."""

    def __init__(self, model: Any, condition: Any) -> None:
        self.task, self.params = model
        self.levels = self.task.gaussian.levels
        self.weights = self.task.gaussian.aggregation.weights
        self.apply = functools.partial(self.task.network.apply, {"params": self.params})
        self.see = lambda given: self.apply(
            given, jnp.zeros(ROWS, bool), method="encode"
        )
        self.encoded = self.see(condition)
        self.said_of = jax.jit(functools.partial(self.apply, method="said"))
        own = jax.random.fold_in(KEY, 0)  # of the first batch
        start, _, steps = jax.random.split(own, 3)
        self.start = jax.random.normal(start, (ROWS, 4, 4))
        keys = jax.random.split(steps, STEPS - 1)
        self.fresh = [jax.random.normal(key, (ROWS, 4, 4)) for key in keys]

    def said(self, z: jax.Array, time: int) -> dict[str, jax.Array]:
        return self.said_of(z, jnp.full(ROWS, time), self.encoded)

    def level(self, time: int) -> tuple[float, float]:
        alpha_bar = self.levels.alpha_bar[time]
        return float(np.sqrt(alpha_bar)), float(np.sqrt(1 - alpha_bar))

    def sum(self, codes: Any, time: int) -> Any:
        return sum(self.weights[name][time] * codes[name] for name in codes)

    def code(self, name: str, x: Any) -> jax.Array:
        return self.apply(name, x, method="code")

    def read(self, said: Any, z: jax.Array, time: int) -> jax.Array:
        """The clean code, by what the values are."""
        a, b = self.level(time)
        values = said[VALUES]
        return {
            "noise": (z - b * values) / a,
            "x_0": values,
            "v": a * z - b * values,
        }[self.task.gaussian.prediction]

    def draw(self, clean_of: Callable, times: Any = TIMES, z: Any = None) -> Any:
        """z at the last time, and what is said there.

        Args:
            clean_of: (said, z, time) -> the clean code, and how it moves to a time.
        """
        z = self.start if z is None else z
        ends = zip(times[:-1], times[1:], self.fresh, strict=False)
        for time, before, fresh in ends:
            clean, moved = clean_of(self.said(z, time), z, time)
            (a, b), (c, d) = self.level(time), self.level(before)
            beta = 1 - (a / c) ** 2
            eps = (z - a * clean) / b
            left, deviation = (a / c) * d**2 / b, np.sqrt(d**2 * beta / b**2)
            z = c * (clean + moved(before)) + left * eps + deviation * fresh
        return z, self.said(z, times[-1])


def still(clean: jax.Array) -> tuple[jax.Array, Callable]:
    """A clean code that does not move."""
    return clean, lambda time: 0.0


def tokens_of(code: Any) -> np.ndarray:
    """Of z where it is the picture."""
    pixels = np.asarray(code).reshape(ROWS, 2, 2, 2, 2).swapaxes(2, 3)
    return np.clip(np.round((pixels.reshape(ROWS, 16) + 1) * 2), 0, 4).astype(int)


def assert_tokens(found: Any, code: Any) -> None:
    """Levels of a code; one that lies between two may round either way."""
    places = (np.asarray(found) - tokens_of(code)) != 0
    assert np.mean(places) < 0.05


# -- what is given -----------------------------------------------------------------


def test_context_by_hand() -> None:
    """The network sees the label; the picture is what it leaves of z."""
    found = sample(tj.of(*PAIR), dict(label=LABELS))
    hand = Hand(tj.of(*PAIR), dict(label=LABELS))
    z, said = hand.draw(lambda *at: still(hand.read(*at)))
    clean = hand.read(said, z, TIMES[-1])
    rest = clean - 0.7 * hand.code("label", LABELS)
    assert set(found) == {"tokens", "label"}
    np.testing.assert_array_equal(found["label"], LABELS)
    assert found["tokens"].dtype == np.int32
    assert_tokens(found["tokens"], rest)
    other = sample(tj.of(*PAIR), dict(label=(LABELS + 1) % 3))
    assert np.any(other["tokens"] != found["tokens"])


def test_a_picture_says_its_label() -> None:
    image = tj.values(ROWS)["image"]
    found = sample(tj.of(*PAIR), dict(image=image))
    hand = Hand(tj.of(*PAIR), dict(image=image))
    _, said = hand.draw(lambda *at: still(hand.read(*at)))
    np.testing.assert_array_equal(found["tokens"], image)
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


def test_nothing_given_draws_both() -> None:
    found = sample(tj.of(*PAIR), {})
    hand = Hand(tj.of(*PAIR), {})
    z, said = hand.draw(lambda *at: still(hand.read(*at)))
    label = np.argmax(said["label"], -1)
    np.testing.assert_array_equal(found["label"], label)
    rest = hand.read(said, z, TIMES[-1]) - 0.7 * hand.code("label", label)
    assert_tokens(found["tokens"], rest)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_guidance_by_hand(scale: float) -> None:
    """z goes along the gradient of log p(label | z), which the network does not see."""
    changes = dict(known="guidance", guidance_scale=scale)
    found = sample(tj.of(*PAIR), dict(label=LABELS), **changes)
    hand = Hand(tj.of(*PAIR), {})

    def likely(z: jax.Array, time: int) -> jax.Array:
        log_p = jax.nn.log_softmax(hand.said(z, time)["label"])
        return jnp.sum(log_p[jnp.arange(ROWS), LABELS])

    slope = jax.jit(jax.grad(likely), static_argnums=1)

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        a, b = hand.level(time)
        noise = said[VALUES] - scale * b * slope(z, time)
        return still((z - b * noise) / a)

    z, said = hand.draw(clean_of)
    clean = clean_of(said, z, TIMES[-1])[0]
    rest = clean - 0.7 * hand.code("label", LABELS)
    np.testing.assert_array_equal(found["label"], LABELS)
    assert_tokens(found["tokens"], rest)
    # the gradient by differences
    way = np.random.default_rng(0).normal(size=z.shape).astype(np.float32)
    ends = [float(likely(z + s * 1e-2 * way, 5)) for s in (1, -1)]
    expected = (ends[0] - ends[1]) / 2e-2
    assert float(np.sum(slope(z, 5) * way)) == pytest.approx(expected, rel=0.03)


def test_substitution_by_hand() -> None:
    """The sum of what the heads say, with the label's own code in its place."""
    found = sample(tj.of(*PAIR), dict(label=LABELS), known="substitution")
    hand = Hand(tj.of(*PAIR), {})

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        codes = dict(image=said["image"], label=hand.code("label", LABELS))
        return still(hand.sum(codes, time))

    _, said = hand.draw(clean_of)
    np.testing.assert_array_equal(found["label"], LABELS)
    assert_tokens(found["tokens"], said["image"])


@pytest.mark.parametrize("known", ["context", "guidance", "substitution"])
def test_what_is_given_comes_out_as_it_was(known: str) -> None:
    names = ("image", "label", "vector")
    given = {name: tj.values(ROWS)[name] for name in names[:2]}
    found = sample(tj.of(*names), given, known=known)
    np.testing.assert_array_equal(found["tokens"], given["image"])
    np.testing.assert_array_equal(found["label"], given["label"])
    assert found["vector"].shape == (ROWS, 6) and np.all(np.isfinite(found["vector"]))


def test_the_order_in_the_config_changes_no_draw() -> None:
    names = ("image", "label", "vector")
    other = tj.made(tj.settings(tj.chosen(*reversed(names))))
    one = sample(tj.of(*names), dict(label=LABELS))
    two = sample(other, dict(label=LABELS))
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


# -- one modality ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_one_modality_is_the_plain_walk(method: str) -> None:
    """What `process.draw` draws, of which the sample is the clean code at the end."""
    task, params = tj.of("image")
    options = tj.options(task, steps=STEPS, method=method)
    found = sample((task, params), {}, method=method)["tokens"]
    apply = functools.partial(task.network.apply, {"params": params})
    encoded = apply({}, jnp.ones(ROWS, bool), method="encode")

    @jax.jit
    def plain(key: jax.Array) -> jax.Array:
        predict = lambda z, t: {
            "z": apply(z["z"], t["z"], encoded, method="said")[VALUES]
        }
        walks = {"z": task.gaussian.walk(options)}
        return process.draw(walks, predict, {"z": key}, {"z": (ROWS, 4, 4)}).x["z"]

    assert_tokens(found, plain(jax.random.fold_in(KEY, 0)))


def test_a_label_alone() -> None:
    """Its head says what z is of."""
    found = sample(tj.of("label"), {})
    hand = Hand(tj.of("label"), {})
    _, said = hand.draw(lambda *at: still(hand.read(*at)))
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


# -- how it goes -------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_is_one_network_evaluation(steps: int, monkeypatch: Any) -> None:
    jax.config.update("jax_disable_most_optimizations", False)
    calls = []

    def counted(z: np.ndarray) -> np.ndarray:
        calls.append(len(z))
        return z

    whole = JointDenoiser.said

    def said(self: Any, z_t: jax.Array, t: jax.Array, encoded: Any) -> Any:
        # of no effect, so that what nobody reads is not run
        z_t = jax.pure_callback(
            counted, jax.ShapeDtypeStruct(z_t.shape, z_t.dtype), z_t
        )
        return whole(self, z_t, t, encoded)

    monkeypatch.setattr(JointDenoiser, "said", said)
    model = tj.made(tj.settings(tj.chosen(*PAIR)))
    image = tj.values(ROWS)["image"]
    found = sample(model, dict(image=image), method="ddim", steps=steps)
    assert calls == [ROWS] * steps
    assert set(found) == {"tokens", "label"}


def test_one_step_reads_the_heads_at_the_last_time() -> None:
    image = tj.values(ROWS)["image"]
    found = sample(tj.of(*PAIR), dict(image=image), method="ddim", steps=1)
    hand = Hand(tj.of(*PAIR), dict(image=image))
    said = hand.said(hand.start, tj.T)
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


@pytest.mark.parametrize(
    ("prediction", "weights"),
    [
        ("x_0", {}),
        ("v", dict(image=dict(weight=(1.0, 0.4)), label=dict(weight=(0.7, 0.1)))),
        ("noise", dict(label=dict(weight=(0.2, 0.9)))),
    ],
)
def test_predictions_and_ramps_by_hand(prediction: str, weights: Any) -> None:
    """Where weights change, the code moves by what the heads say."""
    config = tj.settings(
        tj.chosen(*PAIR, **weights), diffusion=dict(prediction=prediction)
    )
    model = tj.made(config)
    found, hand = sample(model, dict(label=LABELS)), Hand(model, dict(label=LABELS))
    given = hand.code("label", LABELS)

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        codes = dict(image=said["image"], label=given)
        moved = lambda before: hand.sum(codes, before) - hand.sum(codes, time)
        return hand.read(said, z, time), moved

    z, said = hand.draw(clean_of)
    last = TIMES[-1]
    rest = hand.read(said, z, last) - hand.weights["label"][last] * given
    assert_tokens(found["tokens"], rest / hand.weights["image"][last])


def test_a_picture_that_is_no_part_of_z_is_read_by_its_head() -> None:
    """At the end of a ramp to 0, where one step starts."""
    config = tj.settings(tj.chosen(*PAIR, image=dict(weight=(1.0, 0.0))))
    model = tj.made(config)
    found = sample(model, dict(label=LABELS), steps=1)
    hand = Hand(model, dict(label=LABELS))
    assert_tokens(found["tokens"], hand.said(hand.start, tj.T)["image"])


# -- editing -----------------------------------------------------------------------


@pytest.mark.parametrize("names", [("image",), PAIR, ("image", "label", "holes")])
def test_known_pixels_stand(names: Any) -> None:
    image = tj.values(ROWS)["image"]
    stands = np.random.default_rng(0).random(image.shape) < 0.5
    free = sample(tj.of(*names), {})["tokens"]
    found = sample(tj.of(*names), {}, Edit(known=(image, stands)))["tokens"]
    np.testing.assert_array_equal(found[stands], image[stands])
    assert np.any(free[stands] != image[stands])
    # the rest is drawn in their company
    other = sample(tj.of(*names), {}, Edit(known=(4 - image, stands)))["tokens"]
    assert np.any(other[~stands] != found[~stands])
    everything = sample(tj.of(*names), {}, Edit(known=(image, stands | True)))
    np.testing.assert_array_equal(everything["tokens"], image)


def test_what_stands_is_what_a_masked_picture_shows() -> None:
    """An edit of a picture is the masked picture of it, given."""
    names = ("image", "label", "holes")
    task, params = tj.of(*names)
    image = tj.values(ROWS)["image"]
    stands = np.random.default_rng(0).random(image.shape) < 0.5
    edited = sample((task, params), {}, Edit(known=(image, stands)))
    both = dict(holes=np.where(stands, image, -1))
    given = sample((task, params), both, Edit(known=(image, stands)))
    for name in ("tokens", "label"):
        np.testing.assert_array_equal(edited[name], given[name])
    alone = sample((task, params), both)
    assert set(alone) == {"tokens", "label"}
    assert np.any(alone["tokens"] != sample((task, params), {})["tokens"])


def test_a_draw_may_start_from_a_picture() -> None:
    """Noised to a time with what is given, and read there after one step."""
    image = tj.values(ROWS)["image"]
    edit = Edit(start=image, time=3)
    found = sample(tj.of(*PAIR), dict(label=LABELS), edit, steps=1)
    hand = Hand(tj.of(*PAIR), dict(label=LABELS))
    a, b = hand.level(3)
    codes = dict(image=hand.code("image", image), label=hand.code("label", LABELS))
    z = a * hand.sum(codes, 3) + b * hand.start
    rest = hand.read(hand.said(z, 3), z, 3) - 0.7 * codes["label"]
    assert_tokens(found["tokens"], rest)
    # whose label is not given has none in z
    found = sample(tj.of(*PAIR), {}, edit, steps=1)
    hand = Hand(tj.of(*PAIR), {})
    z = a * codes["image"] + b * hand.start
    said = hand.said(z, 3)
    np.testing.assert_array_equal(found["label"], np.argmax(said["label"], -1))


def test_shared_noise_makes_equal_rows() -> None:
    """Of equal conditions, on the whole way, also in several batches."""
    same = dict(label=np.ones(9, np.int32))
    task, params = tj.of(*PAIR)
    options = tj.options(task, steps=STEPS)
    draw = lambda edit: task.sample(params, {}, same, KEY, options, edit=edit)
    found = draw(Edit(shared=True))["tokens"]
    assert len(found) == 9 > task.settings["sampling"]["batch_size"]
    assert np.all(found == found[:1])
    apart = draw(Edit())["tokens"]
    assert len(np.unique(apart, axis=0)) == 9


def test_guidance_by_an_ordinary_condition() -> None:
    """eps of the null, and `guidance_scale` times what the condition adds."""
    config = tj.settings(tj.chosen("image"), model=dict(condition_dropout=0.1))
    style = dict(style=np.array([0, 1, 1, 0], np.int32))
    config["model"]["conditions"] = dict(style=dict(kind="label", num_classes=2))
    model = tj.made(config)
    found = sample(model, style, guidance_scale=3.0)["tokens"]
    hand = Hand(model, style)
    null = hand.apply(style, jnp.ones(ROWS, bool), method="encode")

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        base = hand.said_of(z, jnp.full(ROWS, time), null)[VALUES]
        values = base + 3.0 * (said[VALUES] - base)
        return still(hand.read({VALUES: values}, z, time))

    z, said = hand.draw(clean_of)
    assert_tokens(found, clean_of(said, z, TIMES[-1])[0])


def test_guidance_by_what_is_known() -> None:
    """In context a modality is guided as a condition is; log p of heads is weighed."""
    scales = dict(label=np.full(ROWS, 2.0, np.float32))
    model, given = tj.of("image", "label", "caption"), dict(label=LABELS)
    by_name = sample(model, given, Edit(scales=scales))
    guided = sample(model, given, guidance_scale=2.0)
    for name in ("tokens", "caption"):
        np.testing.assert_array_equal(by_name[name], guided[name])
    hand = Hand(model, given)
    null = hand.see({})

    def mixed(z: jax.Array, time: int) -> Any:
        own = hand.said(z, time)
        base = hand.said_of(z, jnp.full(ROWS, time), null)
        log_p = lambda a: jax.nn.log_softmax(a.reshape(ROWS, 4, 7))
        caption = log_p(base["caption"])
        caption += 2 * (log_p(own["caption"]) - caption)
        return base[VALUES] + 2 * (own[VALUES] - base[VALUES]), caption

    clean_of = lambda said, z, time: still(
        hand.read({VALUES: mixed(z, time)[0]}, z, time)
    )
    z, _ = hand.draw(clean_of)
    caption = np.argmax(mixed(z, TIMES[-1])[1], -1)
    assert np.mean(caption != guided["caption"]) < 0.1


def test_between_two_labels() -> None:
    """At both ends it is theirs; on the way, z has the code between them."""
    model, ends = tj.of(*PAIR), (LABELS, (LABELS + 1) % 3)
    far = lambda share: Edit(
        toward=(dict(label=ends[1]), np.full(ROWS, share, np.float32))
    )
    for share, end in zip((0.0, 1.0), ends, strict=True):
        found = sample(model, dict(label=LABELS), far(share))
        alone = sample(model, dict(label=end))
        np.testing.assert_array_equal(found["label"], end)
        assert np.mean(found["tokens"] != alone["tokens"]) < 0.05
    found = sample(model, dict(label=LABELS), far(0.3))
    hands = [Hand(model, dict(label=end)) for end in ends]

    def clean_of(said: Any, z: jax.Array, time: int) -> Any:
        one, other = (hand.said(z, time)[VALUES] for hand in hands)
        return still(hands[0].read({VALUES: 0.7 * one + 0.3 * other}, z, time))

    z, said = hands[0].draw(clean_of)
    codes = [hands[0].code("label", end) for end in ends]
    rest = clean_of(said, z, TIMES[-1])[0] - 0.7 * (0.7 * codes[0] + 0.3 * codes[1])
    np.testing.assert_array_equal(found["label"], LABELS)
    assert_tokens(found["tokens"], rest)
