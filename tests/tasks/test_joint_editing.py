"""Pictures that are known in part or started from, and guidance, by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_joint as tj
from joint_hand import (
    KEY,
    LABELS,
    PAIR,
    ROWS,
    STEPS,
    TIMES,
    Hand,
    assert_tokens,
    sample,
    still,
)

from cdcd_jax.networks.joint import VALUES
from cdcd_jax.tasks.drawing import Edit


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
    """An edit of a picture gives the masked picture of it, and the other way round."""
    model = tj.of("image", "label", "holes")
    image = tj.values(ROWS)["image"]
    stands = np.random.default_rng(0).random(image.shape) < 0.5
    edit, masked = Edit(known=(image, stands)), dict(holes=np.where(stands, image, -1))
    found = [
        sample(model, {}, edit),
        sample(model, masked),
        sample(model, masked, edit),
    ]
    for other in found[1:]:
        assert set(other) == {"tokens", "label"}
        for name in other:
            np.testing.assert_array_equal(other[name], found[0][name])
    np.testing.assert_array_equal(found[1]["tokens"][stands], image[stands])
    free = sample(model, {})["tokens"]
    assert np.any(free[~stands] != found[1]["tokens"][~stands])


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
