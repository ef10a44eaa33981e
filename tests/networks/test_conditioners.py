"""Conditioners: what each gives, the nulls, order and time, frozen towers, joining."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import motion_conditioners
from cdcd_jax.networks.conditioners import (
    KINDS,
    full_spec,
    gives_sequence,
    make_conditioner,
)
from cdcd_jax.networks.encoded import Encoded, join
from cdcd_jax.tasks import make_task

WIDTH, LENGTH, ROWS = 8, 12, 3
TEXT = dict(shape=(5,), vocabulary=9, size=6, depth=1, heads=2)
MOTION = dict(kind="motion", shape=(16, 4), size=6, depth=1)
SPECS: dict[str, dict[str, Any]] = {
    "label": dict(kind="label", num_classes=4),
    "label as a sequence": dict(kind="label", num_classes=4, sequence=6),
    "array": dict(kind="array", shape=(5, 6)),
    "array as a vector": dict(kind="array", shape=(6,)),
    "features": dict(kind="features", shape=(5, 7), size=6),
    "features of the width": dict(kind="features", shape=(5, 7), positions=False),
    "image": dict(kind="image", levels=5, grid=(6, 8, 3), patch=2),
    "text": dict(kind="text", **TEXT),
    "text read where tokens are": dict(kind="text", **TEXT, attend=False),
    "text attended": dict(kind="text", **TEXT, align=False),
    "clip_text": dict(kind="clip_text", **TEXT, projection=4),
    "motion": MOTION,
    "motion attended": dict(MOTION, align=False, attend=True, normalize=True),
    "motion both ways": dict(MOTION, attend=True),
    "reference_motion": dict(
        kind="reference_motion", shape=(16, 4), widths=(4, 4, 8), size=6
    ),
}
# What each gives in the modern form: features of a sequence, vector, aligned.
GIVEN = {
    "label": (None, True, False),
    "label as a sequence": ((1, 6), False, False),
    "array": ((5, 6), False, False),
    "array as a vector": (None, True, False),
    "features": ((5, 6), True, False),
    "features of the width": ((5, WIDTH), True, False),
    "image": (None, False, True),
    "text": ((5, 6), True, True),
    "text read where tokens are": (None, True, True),
    "text attended": ((5, 6), True, False),
    "clip_text": ((5, 6), True, False),
    "motion": (None, True, True),
    "motion attended": ((4, 6), True, False),
    "motion both ways": ((4, 6), True, True),
    "reference_motion": ((1, 6), True, False),
}


def value(spec: dict[str, Any], seed: int = 0) -> np.ndarray:
    """Random values of a condition, no row like another."""
    rng = np.random.default_rng(seed)
    if spec["kind"] == "label":
        return ((np.arange(ROWS) + seed) % spec["num_classes"]).astype(np.int32)
    shape = (ROWS, *full_spec("c", spec)["shape"])
    if spec["kind"] == "image":
        return rng.integers(-1, spec["levels"], shape).astype(np.int32)
    if KINDS[spec["kind"]].integers:
        return rng.integers(1, spec["vocabulary"], shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)


class Made:
    """A conditioner with parameters; a call encodes values."""

    def __init__(self, spec: dict[str, Any], modern: bool = True) -> None:
        self.spec = spec
        self.module = make_conditioner("c", spec, WIDTH, LENGTH, modern)
        # random ones, which cost no compilation: nothing is zero, as some are at first
        rng, args = np.random.default_rng(7), (value(spec), np.zeros(ROWS, bool))
        shapes = jax.eval_shape(self.module.init, jax.random.key(0), *args)
        draw = lambda a: (0.4 * rng.normal(size=a.shape)).astype(np.float32)
        self.params = jax.tree.map(draw, shapes.get("params", {}))
        self._jitted = jax.jit(self.apply)

    def apply(self, params: Any, array: Any, drop: Any) -> Encoded:
        return self.module.apply({"params": params}, array, drop)

    def __call__(self, array: Any, drop: Any = False) -> Encoded:
        drop = np.broadcast_to(np.asarray(drop), ROWS)
        found = self._jitted(self.params, np.asarray(array), drop)
        return jax.tree.map(np.asarray, found)


@functools.cache
def made(name: str) -> Made:
    """One of SPECS; its parameters are not to be changed."""
    return Made(SPECS[name])


@pytest.mark.parametrize("name", SPECS)
def test_what_a_conditioner_gives_and_its_null(name: str) -> None:
    spec = SPECS[name]
    make = made(name)
    one, other = value(spec), value(spec, 1)
    found, null = make(one), make(one, True)
    sequence, vector, aligned = GIVEN[name]
    assert gives_sequence(spec) == (sequence is not None)
    expected = Encoded(
        (ROWS, *sequence) if sequence else None,
        (ROWS, WIDTH) if vector else None,
        (ROWS, LENGTH, WIDTH) if aligned else None,
        (ROWS,) if name == "label" else None,
    )
    for got, shape in zip(found, expected, strict=True):
        assert (None if got is None else got.shape) == shape
    mixed, different = make(one, [False, True, False]), make(other)
    rows = (found, null, make(other, True), mixed, different)
    for kept, gone, gone_too, some, changed in zip(*rows, strict=True):
        if kept is None:
            continue
        np.testing.assert_array_equal(gone, gone_too)  # nothing leaks
        np.testing.assert_array_equal(gone, np.broadcast_to(gone[:1], gone.shape))
        np.testing.assert_array_equal(some[1], gone[1])
        np.testing.assert_array_equal(some[::2], kept[::2])
        far = lambda a, b: np.all(np.max(np.abs(a - b).reshape(ROWS, -1), 1) > 1e-3)
        assert far(kept, gone) and far(kept, changed)


def test_every_kind_is_tested() -> None:
    # prompts are mixed before they say anything: test_prompt_conditioners.py
    assert {spec["kind"] for spec in SPECS.values()} == set(KINDS) - {"prompt"}


def test_a_null_has_positions() -> None:
    null = made("text")(value(SPECS["text"]), True).sequence
    assert np.abs(null[0, 0] - null[0, 1]).max() > 1e-3


@pytest.mark.parametrize(
    "name", [n for n in SPECS if n not in ("array as a vector", "image")]
)
def test_the_reference_forms_take_no_vector_and_nothing_aligned(name: str) -> None:
    make = Made(SPECS[name], modern=False)
    unused = {"vector", "null_vector", "reader", "aligned", "null_aligned"}
    assert not unused & set(make.params)
    args = make.params, value(SPECS[name]), np.zeros(ROWS, bool)
    found = jax.eval_shape(make.apply, *args)
    assert found.vector is None and found.aligned is None
    if name == "label":  # the denoiser has its table
        assert not make.params
        found = make(np.int32([0, 3, 2]), [False, False, True])
        assert found.label.tolist() == [0, 3, 4]


# -- order and time --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "clip_text"])
def test_words_in_another_order_are_another_text(name: str) -> None:
    make = made(name)
    words = np.array([[3, 5, 7, 2, 8]] * ROWS, np.int32)
    turned = words[:, [0, 1, 3, 2, 4]]
    one, other = make(words), make(turned)
    change = np.abs(one.sequence - other.sequence).max((0, 2))
    assert change[2:4].min() > 1e-3
    if name == "clip_text":  # which looks back only
        assert change[:2].max() < 1e-5 and change[4] > 1e-4
    assert np.abs(one.vector - other.vector).max() > 1e-4


def test_features_stay_where_they_were() -> None:
    make = made("features")
    rows = value(SPECS["features"])
    moved = np.concatenate([rows[:, :3], rows[:, 3:][:, ::-1]], axis=1)
    one, other = make(rows), make(moved)
    change = np.abs(one.sequence - other.sequence).max((0, 2))
    assert change[:3].max() < 1e-6 and change[3:].min() > 1e-2
    # the order tells, since positions are added: no swap of the rows alone
    assert np.abs(one.sequence[:, 3] - other.sequence[:, 4]).max() > 1e-2
    np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)


def test_motion_that_comes_later_is_felt_later() -> None:
    spec = dict(MOTION, shape=(64, 4), strides=(2,), attend=True)
    make = Made(spec)
    still = np.zeros((ROWS, 64, 4), np.float32)
    places = []
    for frame in (20, 44):
        moved = still.copy()
        moved[:, frame : frame + 2] = 1.0
        a, b = make(still), make(moved)
        parts = (a.sequence, b.sequence, 32), (a.aligned, b.aligned, LENGTH)
        for one, other, number in parts:
            change = np.asarray(jnp.abs(one - other).max((0, 2)))
            touched = np.flatnonzero(change > 1e-6)
            # within the reach of the convolutions: 4 + 2 x 2 frames each way, and one
            # step of the interpolation
            middle, reach = (frame + 1) * number / 64, 9 * number / 64 + 1
            assert abs(touched.mean() + 0.5 - middle) < 1
            assert np.abs(touched + 0.5 - middle).max() <= reach
        places.append(touched.mean())
    assert places[1] - places[0] == pytest.approx(24 * LENGTH / 64, abs=1)


def test_at_times() -> None:
    at_times = jax.jit(motion_conditioners.at_times, static_argnums=1)
    x = jnp.array([[[0.0, 5.0], [4.0, 5.0]]])
    # middles of 2 spans at 1/4 and 3/4, of 4 at 1/8, 3/8, 5/8, 7/8
    found = at_times(x, 4)
    assert found.shape == (1, 4, 2)
    np.testing.assert_allclose(found[0, :, 0], [0.0, 1.0, 3.0, 4.0], atol=1e-6)
    np.testing.assert_allclose(found[0, :, 1], 5.0)
    np.testing.assert_allclose(at_times(x, 2), x)
    np.testing.assert_allclose(at_times(x, 1), x.mean(1, keepdims=True))
    np.testing.assert_allclose(at_times(x[:, :1], 3)[0, :, 0], 0.0)
    # fewer than there are: 3 of 6, whose middles lie between two of these
    ramp = jnp.arange(6.0)[None, :, None]
    np.testing.assert_allclose(at_times(ramp, 3)[0, :, 0], [0.5, 2.5, 4.5], atol=1e-6)


def test_fillings_change_nothing_of_a_text() -> None:
    """A longer room for the same text, its table of positions cut to fit."""
    wide, narrow = Made(dict(SPECS["text"], shape=(9,))), Made(SPECS["text"])
    tower = wide.params["tower"]
    cut = {**tower, "positions": tower["positions"][:5]}
    narrow.params = {**wide.params, "tower": cut, "null": wide.params["null"][:5]}
    text = np.array([[3, 5, 7, 0, 0], [2, 1, 0, 0, 0], [1, 2, 3, 4, 5]], np.int32)
    short, long = narrow(text), wide(np.pad(text, ((0, 0), (0, 4))))
    for row, number in enumerate((3, 2, 5)):
        np.testing.assert_allclose(
            short.sequence[row, :number], long.sequence[row, :number], atol=1e-5
        )
        assert np.abs(long.sequence[row, number:]).max() == 0
    np.testing.assert_allclose(short.vector, long.vector, atol=1e-5)
    np.testing.assert_allclose(short.aligned, long.aligned, atol=1e-5)
    # and a text of nothing, as prompts may be, is finite
    assert all(np.isfinite(wide(np.zeros((ROWS, 9), np.int32)).sequence).ravel())


# -- frozen towers ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip_text", "motion both ways"])
def test_a_frozen_tower_has_no_gradient(name: str) -> None:
    spec = SPECS[name]
    found = gradients(dict(spec, frozen=True))
    assert max(jax.tree.leaves(found.pop("tower"))) == 0
    assert {"null_vector", "vector"} <= set(found)
    assert min(jax.tree.leaves(found)) > 0


def gradients(spec: dict[str, Any]) -> dict[str, Any]:
    """Largest gradient of each array, of a loss that looks at all that is given."""
    make = Made(spec)

    def loss(params: Any) -> jax.Array:
        drop = jnp.array([False, False, True])
        found = make.apply(params, value(spec), drop)
        return sum(jnp.sum(jnp.sin(3.0 * a)) for a in found if a is not None)

    found = jax.jit(jax.grad(loss))(make.params)
    return jax.tree.map(lambda a: float(jnp.max(jnp.abs(a))), found)


def test_labels_of_a_frozen_tower() -> None:
    config = tiny.settings()
    config["model"]["conditions"] = dict(
        text=dict(SPECS["clip_text"], frozen=True), motion=MOTION
    )
    config["contrastive"] |= dict(key="text")
    task = make_task(config)
    labels = task.labels(jax.eval_shape(task.init, jax.random.key(0))[0])
    assert set(jax.tree.leaves(labels["text"].pop("tower"))) == {"frozen"}
    for part in ("text", "motion", "network"):
        assert set(jax.tree.leaves(labels[part])) == {"train"}
    assert "null" in labels["text"] and "tower" in labels["motion"]


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (dict(), "kind = None; expected one of label, array"),
        (dict(kind="txt", **TEXT), "kind = 'txt'"),
        (dict(kind="label"), r"of kind 'label' \['num_classes'\]"),
        (dict(kind="label", num_classes=3, names=("a", "b")), "2 names; expected none"),
        (dict(kind="text", shape=(5,)), "'vocabulary'"),
        (dict(kind="text", **TEXT, widht=3), "'widht'"),
        (dict(kind="array", shape=(5,), frozen=True), "'frozen'"),
        (dict(kind="motion", shape=(9, 4), width=8), "'width'"),
        (dict(kind="label", num_classes=3, modern=False), "'modern'"),
    ],
)
def test_bad_descriptions(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=rf"model\.conditions\.c.*{says}"):
        full_spec("c", spec)
    with pytest.raises(UsageError, match="correct it"):
        make_conditioner("c", spec, WIDTH, LENGTH, True)


# -- joining ---------------------------------------------------------------------------


def test_sequences_end_to_end_or_added() -> None:
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(2, *shape)))
    a = Encoded(draw(3, 4), draw(5), None, jnp.array([1, 2]))
    b = Encoded(draw(3, 4), None, draw(6, 5), jnp.array([3, 4]))
    c = Encoded(None, draw(5), draw(6, 5))
    found, added = join([a, b, c]), join([a, b, c], "add")
    np.testing.assert_array_equal(
        found.sequence, np.concatenate([a.sequence, b.sequence], axis=1)
    )
    np.testing.assert_array_equal(added.sequence, a.sequence + b.sequence)
    for joined in (found, added):
        np.testing.assert_array_equal(joined.vector, a.vector + c.vector)
        np.testing.assert_array_equal(joined.aligned, b.aligned + c.aligned)
        assert joined.label.tolist() == [1, 2]
    assert join([]) == Encoded() and join([Encoded()], "add") == Encoded()
    np.testing.assert_array_equal(join([a], "add").sequence, a.sequence)


def test_sequences_that_do_not_fit() -> None:
    of = lambda *shape: Encoded(jnp.zeros((2, *shape)))
    assert join([of(3, 4), of(1, 4)]).sequence.shape == (2, 4, 4)
    with pytest.raises(UsageError, match=r"\(3, 4\), \(1, 4\).*one shape.*'add'"):
        join([of(3, 4), of(1, 4)], "add")
    with pytest.raises(UsageError, match=r"one number of features.*'concat'"):
        join([of(3, 4), of(3, 5)])
