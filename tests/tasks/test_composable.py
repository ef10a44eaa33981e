"""Any modality from any others: towers and diffusers of tiny models, joined."""

import zlib

import jax
import numpy as np
import pytest

from cdcd_jax.config import defaults, experiment, merge
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.drawing import NO_EDIT, Edit

KEY = jax.random.key(0)
ROWS, FEATURES = 5, 6
GRIDS = dict(image=(2, 2), sound=(1, 3))
CODES = dict(image=5, sound=4)
BACKBONE = dict(width=16, depth=1, heads=2, mlp_ratio=2)
PROMPTS = {
    name: dict(kind="pixels", grid=GRIDS[name], num_codes=CODES[name], width=8)
    for name in GRIDS
}


def diffuser(name, **changes):
    own = dict(
        task="conditional",
        tokenizer=dict(kind="none"),
        model=dict(**BACKBONE, num_codes=CODES[name], grid=GRIDS[name]),
        diffusion=dict(timesteps=8),
    )
    return merge(defaults(), own) and {**own, **changes}


def gaussian():
    """The picture, as levels of pixels with noise."""
    picture = dict(kind="image", field="tokens")
    model = dict(**BACKBONE, num_codes=5, grid=(2, 2), modalities=dict(x=picture))
    return dict(
        task="mt_diffusion",
        tokenizer=dict(kind="none"),
        model=model,
        diffusion=dict(timesteps=8),
    )


def settings(diffusers=None, **changes):
    config = experiment(
        task="composable",
        model=dict(features=FEATURES, stream="image"),
        sampling=dict(steps=4, batch_size=4),
        optim=dict(num_steps=0),
    )
    config = merge(config, changes)
    config["model"]["prompts"] = PROMPTS
    config["model"]["diffusers"] = diffusers or {n: diffuser(n) for n in GRIDS}
    return config


def moved(params):
    """Parameters in which all is connected to all."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return jax.tree.unflatten(
        tree, [a + 0.5 * jax.random.normal(k, a.shape) for a, k in pairs]
    )


def of(*args, **changes):
    task = make_task(settings(*args, **changes))
    params, extra = task.init(KEY)
    return task, moved(params), extra


def given(name, seed=0):
    rng = np.random.default_rng(seed)
    size = (ROWS, int(np.prod(GRIDS[name])))
    return rng.integers(0, CODES[name], size, dtype=np.int32)


def sample(model, condition, edit=NO_EDIT, number=None, **options):
    task, params, extra = model
    section = {**task.settings["sampling"], **options}
    return task.sample(
        params, extra, condition, KEY, task.options(section), number, edit
    )


def test_what_it_takes_and_gives():
    task, params, _ = of()
    told = task.describe()
    assert set(params) == {"prompts", "diffusers"}
    # towers are there once, and no diffuser has one
    assert set(params["diffusers"]["image"]) == {"network", "prompt"}
    assert told["conditions"]["image"]["field"] == "tokens"
    assert told["batch"]["tokens"]["grid"] == (2, 2)
    assert told["batch"]["condition"]["sound"]["optional"]
    assert told["outputs"]["sound"]["num_codes"] == 4
    assert set(jax.tree.leaves(task.labels(params))) == {"frozen"}
    assert told["given"] == [
        "prompts/image",
        "prompts/sound",
        "diffusers/image",
        "diffusers/sound",
    ]


def test_each_from_the_other_and_both_from_nothing():
    model = of()
    found = sample(model, dict(image=given("image")))
    assert set(found) == {"sound"} and found["sound"].shape == (ROWS, 3)
    assert found["sound"].max() < 4
    other = sample(model, dict(image=given("image", 1)))
    assert np.any(found["sound"] != other["sound"])
    assert set(sample(model, dict(sound=given("sound")))) == {"image"}
    both = sample(model, {}, number=ROWS, outputs=("sound", "image"))
    assert {k: v.shape for k, v in both.items()} == dict(sound=(5, 3), image=(5, 4))


def test_an_output_is_what_its_diffuser_draws_by_itself():
    """The mixture is outside: the same vectors, the same key, the same sample."""
    task, params, extra = model = of()
    prompts = dict(image=given("image"))
    vectors = jax.device_get(task.encode(params, prompts))
    part = task.parts["sound"]
    key = jax.random.fold_in(KEY, zlib.crc32(b"sound"))
    options = part.options({**part.settings["sampling"], "steps": 4})
    alone = part.sample(params["diffusers"]["sound"], extra, vectors, key, options)
    np.testing.assert_array_equal(sample(model, prompts)["sound"], alone["tokens"])


def test_a_gaussian_diffuser_beside_a_discrete_one():
    model = of(dict(image=gaussian(), sound=diffuser("sound")))
    found = sample(model, dict(sound=given("sound")))
    assert found["image"].shape == (ROWS, 4) and found["image"].max() < 5


def test_weights_scales_and_ways_reach_the_diffuser():
    third = {**PROMPTS, "other": PROMPTS["sound"]}
    config = settings()
    config["model"]["prompts"] = third
    task = make_task(config)
    params, extra = task.init(KEY)
    model = task, moved(params), extra
    both = dict(image=given("image"), other=given("sound"))
    drawn = lambda given, edit=NO_EDIT, **options: sample(
        model, given, edit, **options
    )["sound"]
    alone = drawn(dict(image=both["image"]))
    np.testing.assert_array_equal(drawn(both, prompt_weights=dict(image=1.0)), alone)
    assert np.any(drawn(both) != alone)
    assert np.any(drawn(both, guidance_scale=3.0) != drawn(both))
    ends = Edit(toward=(dict(image=given("image", 1)), np.ones(ROWS)))
    there = drawn(dict(image=given("image", 1)))
    assert np.mean(drawn(dict(image=both["image"]), ends) == there) > 0.9


def test_a_joined_model_trains_nothing():
    task, params, extra = of()
    batch = dict(tokens=given("image"), condition={})
    assert task.loss(params, extra, batch, KEY, 0)[:2] == (0, {})
    with pytest.raises(UsageError, match="num_steps = 5 for a model that aligns"):
        of(optim=dict(num_steps=5))


@pytest.mark.parametrize(
    ("condition", "options", "says"),
    [
        (dict(image=0), dict(outputs=("image",)), "image given and image to be drawn"),
        (dict(image=0, sound=0), {}, "image, sound given and nothing to be drawn"),
        (dict(image=0), dict(outputs=("video",)), "'video'; expected some of image"),
    ],
)
def test_outputs_that_cannot_be(condition, options, says):
    model = of()
    rows = {name: given(name) for name in condition}
    with pytest.raises(UsageError, match=says):
        model[0].check_sampling(
            model[0].options({**model[0].settings["sampling"], **options})
        )
        sample(model, rows, **options)


def test_each_diffuser_has_a_sampler_of_its_own():
    task, params, extra = of()
    rows = {"image": given("image")}
    own = dict(diffusers=dict(sound=dict(method="confidence")))
    default, changed = (
        sample((task, params, extra), rows, **{"outputs": ("sound",), **options})
        for options in ({}, own)
    )
    assert (default["sound"] != changed["sound"]).any()
    options = task.options({**task.settings["sampling"], **own})
    assert options.told()["diffusers"] == (("sound", (("method", "confidence"),)),)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (dict(video=dict(method="skip")), "diffusers.video = .*one of image, sound"),
        (dict(sound=dict(steps=3)), "steps, .* are those of all"),
        (dict(sound=dict(metod="skip")), "unknown config key .*sound.metod"),
        (dict(sound=dict(method=3)), r"sampling\.diffusers\.sound\.method"),
        (dict(sound=dict(method="fast")), "fast"),
    ],
)
def test_samplers_that_cannot_be(own, says):
    with pytest.raises((UsageError, ValueError), match=says):
        make_task(settings(sampling=dict(diffusers=own)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(diffusers={}), "without model.prompts or model.diffusers"),
        (dict(stream="video"), "stream = 'video'; expected a modality"),
        (dict(diffusers=dict(image=dict(model={}))), "image with no task"),
        (dict(diffusers=dict(image=diffuser("image", optim={}))), "image with optim"),
        (
            dict(diffusers=dict(image={**diffuser("image"), "modle": {}})),
            "unknown config key 'model.diffusers.image.modle'",
        ),
    ],
)
def test_models_that_cannot_be(change, says):
    config = settings()
    config["model"] |= change
    with pytest.raises(UsageError, match=says):
        make_task(config)
