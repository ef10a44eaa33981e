"""What of its modalities each example shows, hides and knows."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest
import tiny_joint as tj

from cdcd_jax.tasks.joint_values import drawn_known, values_of
from cdcd_jax.tasks.modalities import read_modalities

KEY = jax.random.key(0)
IMAGE = tj.MODALITIES["image"]


def read(modalities: Any, **model: Any) -> Any:
    return read_modalities(tj.settings(modalities, model=model)["model"])


ALL = read(tj.MODALITIES)


def test_values_of_a_batch() -> None:
    found = values_of(ALL, tj.batch(), KEY)
    assert set(found) == set(ALL)
    for name, x in found.items():
        shown = np.asarray(x) != -1 if name == "holes" else True
        np.testing.assert_array_equal(x, np.where(shown, tj.values()[name], -1))
    assert 0 < np.mean(found["holes"] == -1) < 1


def test_the_share_of_hidden_pixels() -> None:
    """Even from 0 to 1, and in one of eleven pictures all; pixel by pixel."""
    side, rows = 400, 4000
    masked = read(tj.chosen("image", "holes"), grid=(20, 20), patch=2)
    batch = {"tokens": np.ones((rows, side), np.int32), "condition": {}}
    hidden = np.asarray(values_of(masked, batch, KEY)["holes"]) < 0
    share = hidden.mean(1)
    assert abs(np.mean(share == 1) - 1 / 11) < 0.02
    counts = np.histogram(share[share < 1], bins=5, range=(0, 1))[0] / rows
    np.testing.assert_allclose(counts, 10 / 11 / 5, atol=0.025)
    # neighbours are hidden no more often together than others, given the share
    apart = hidden[:, 1:] & hidden[:, :-1]
    np.testing.assert_allclose(apart.mean(1), share**2, atol=0.12)


def test_masks_of_several_differ_and_have_their_names() -> None:
    two = {n: dict(kind="masked_image", field="tokens") for n in ("a", "b")}
    one = read(dict(image=IMAGE, b=two["b"]))
    both = read(dict(image=IMAGE, **two))
    first, second = (values_of(m, tj.batch(), KEY) for m in (one, both))
    np.testing.assert_array_equal(first["b"], second["b"])
    assert np.any(second["a"] != second["b"])


@pytest.mark.parametrize(
    ("names", "changes", "possible"),
    [
        (("image", "label"), {}, [(0, 1), (1, 0)]),
        (("image", "label"), dict(image=dict(given=False)), [(1,)]),
        (
            ("image", "label", "vector"),
            {},
            [p for p in itertools.product((0, 1), repeat=3) if 0 < sum(p) < 3],
        ),
        (
            ("image", "label", "target", "vector"),
            dict(vector=dict(given=False)),
            [p for p in itertools.product((0, 1), repeat=3) if sum(p)],
        ),
    ],
)
def test_which_are_known(names: Any, changes: Any, possible: Any) -> None:
    """Every subset as likely, but none and all; and none in the other examples."""
    rows, modalities = 40_000, read(tj.chosen(*names, **changes))
    found = drawn_known(KEY, modalities, 0.6, rows)
    given = [name for name, one in modalities.items() if one.given]
    assert list(found) == given
    drawn = np.stack([found[name] for name in given], axis=1).astype(int)
    patterns, counts = np.unique(drawn, axis=0, return_counts=True)
    seen = dict(zip(map(tuple, patterns), counts / rows, strict=True))
    assert set(seen) == {*possible, (0,) * len(given)}
    for pattern, share in seen.items():
        expected = 0.6 / len(possible) if any(pattern) else 0.4
        assert abs(share - expected) < 4 * np.sqrt(expected / rows)
    assert not any(np.any(a) for a in drawn_known(KEY, modalities, 0.0, 99).values())


def test_one_alone_is_never_known() -> None:
    found = drawn_known(KEY, read(tj.chosen("image")), 1.0, 9)
    assert found["image"].tolist() == [False] * 9
