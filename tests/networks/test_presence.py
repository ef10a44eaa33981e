"""Which conditions are there: left out, absent in some rows, dropped by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import conditioners, presence
from cdcd_jax.networks.conditioners import full_spec

LABEL = full_spec("label", dict(kind="label", num_classes=4))
TEXT = full_spec("text", dict(kind="array", shape=(2, 3), optional=True))
SPECS = dict(label=LABEL, text=TEXT)
ROWS = 5
LABELS, TEXTS = jnp.arange(ROWS), jnp.ones((ROWS, 2, 3))
FIRST = jnp.arange(ROWS) == 0
NONE = jnp.zeros(ROWS, bool)


def lists(found: dict) -> dict:
    return {name: np.asarray(rows).tolist() for name, rows in found.items()}


def test_a_drop_for_all_or_by_name() -> None:
    given = dict(label=LABELS, text=TEXTS)
    first, none = [True] + [False] * 4, [False] * 5
    assert lists(presence.nulls(SPECS, given, FIRST)) == dict(label=first, text=first)
    found = presence.nulls(SPECS, given, {"label": FIRST})
    assert lists(found) == dict(label=first, text=none)
    assert lists(presence.nulls(SPECS, given, {})) == dict(label=none, text=none)


def test_what_is_left_out_or_absent_is_its_null() -> None:
    found = presence.nulls(SPECS, dict(label=LABELS), FIRST)
    assert lists(found)["text"] == [True] * 5
    here = jnp.array([True, True, False, True, False])
    found = presence.nulls(
        SPECS, {"label": LABELS, "text": TEXTS, "text/present": here}, FIRST
    )
    assert lists(found)["text"] == [True, False, True, False, True]
    assert lists(found)["label"] == [True] + [False] * 4


def test_what_must_be_given() -> None:
    message = r"Found the conditions \['text'\]; expected 'label'.*give it, or"
    for ask in (presence.taken, lambda *a: presence.nulls(*a, FIRST)):
        with pytest.raises(UsageError, match=message):
            ask(SPECS, dict(text=TEXTS))
    given = {"label": 1, "other": 2, "text/present": 3}
    assert presence.taken(SPECS, given) == {"label": 1, "text/present": 3}


def test_only_those_that_may_be_absent_say_so() -> None:
    assert "optional" not in LABEL and TEXT["optional"] is True
    said = full_spec("label", dict(kind="label", num_classes=4, optional=False))
    assert said == LABEL
    zeros = conditioners.empty(TEXT, 2), conditioners.empty(LABEL, 2)
    assert [(a.shape, a.dtype) for a in zeros] == [
        ((2, 2, 3), jnp.float32),
        ((2,), jnp.int32),
    ]


def test_without_optional_conditions_the_stream_is_one_draw() -> None:
    key, rows = jax.random.key(3), 64
    must = dict(label=LABEL, other=LABEL)
    found = presence.drawn_drop(key, must, {}, 0.3, rows)
    np.testing.assert_array_equal(found, jax.random.bernoulli(key, 0.3, (rows,)))


def test_each_optional_condition_is_also_dropped_by_itself() -> None:
    key, rows, rate = jax.random.key(3), 20_000, 0.2
    both = dict(a=TEXT, b=LABEL, c=TEXT)
    given = dict(a=jnp.zeros((rows, 2, 3)), b=jnp.zeros(rows, int))
    given["c"] = given["a"]
    found = presence.drawn_drop(key, both, given, rate, rows)
    everything = jax.random.bernoulli(key, rate, (rows,))
    np.testing.assert_array_equal(found["b"], everything)  # never by itself
    for name in "ac":
        assert not np.any(everything & ~found[name])
        assert np.mean(found[name]) == pytest.approx(1 - (1 - rate) ** 2, abs=0.01)
    own = [np.asarray(found[name])[~np.asarray(everything)] for name in "ac"]
    assert np.mean(own[0] & own[1]) == pytest.approx(rate**2, abs=0.01)
    # the order of the config changes nothing
    other = presence.drawn_drop(key, dict(reversed(both.items())), given, rate, rows)
    for name in both:
        np.testing.assert_array_equal(found[name], other[name])
    # one condition alone is dropped at the rate that is asked for
    alone = presence.drawn_drop(key, dict(a=TEXT), given, rate, rows)
    np.testing.assert_array_equal(alone["a"], everything)
