"""Diffusers that see each other: what is trained, what each sees, draws in step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cdcd_jax.config import defaults, experiment, merge
from cdcd_jax.diffusion.process import draw
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks import make_task, together
from cdcd_jax.tasks.alignment import Alignment
from cdcd_jax.tasks.drawing import rows_of_an_example
from cdcd_jax.training.step import join_frozen, split_frozen

KEY = jax.random.key(0)
K, SIZE, T = 4, 8, dict(a=8, b=16, c=8)
GRIDS = dict(a=(1, 1), b=(1, 2), c=(1, 1))
BACKBONE = dict(width=16, depth=1, heads=2, mlp_ratio=2)


def settings(names="ab", trained="ab", **changes):
    """Modalities of a few codes each."""

    def diffuser(name):
        backbone = dict(**BACKBONE, num_codes=K, grid=GRIDS[name], environment=SIZE)
        diffusion = dict(schedule="absorbing_linear", timesteps=T[name])
        nothing = dict(kind="none")
        own = dict(model=backbone, diffusion=diffusion, tokenizer=nothing)
        return dict(task="conditional", **own)

    prompt = lambda name: dict(kind="codes", grid=GRIDS[name], num_codes=K, width=8)
    config = experiment(
        task="composable",
        model=dict(
            features=SIZE,
            stream=names[0],
            prompts={name: prompt(name) for name in names},
            diffusers={name: diffuser(name) for name in names},
            environment=dict(
                **dict(size=SIZE, slots=2, width=16, depth=1, heads=2),
                trained=tuple(trained),
            ),
        ),
        sampling=dict(steps=8, batch_size=500),
        optim=dict(num_steps=int(bool(trained))),
    )
    return merge(config, changes)


def of(*args, **changes):
    task = make_task(settings(*args, **changes))
    return task, task.init(KEY)[0]


def batch(number, seed=0, names="ab"):
    """Examples whose modalities say the same."""
    c = np.random.default_rng(seed).integers(0, K, number, dtype=np.int32)
    x = {name: np.tile(c[:, None], GRIDS[name][1]) for name in names}
    return dict(tokens=x.pop(names[0]), condition=x)


def by_code(params, given):
    """Prompts as of towers that were trained: what says the same lies in one place."""
    return {name: jax.nn.one_hot(x[:, 0], SIZE) for name, x in given.items()}


def trained(task, params, steps, names="ab"):
    """After some steps of Adam on what is trained."""
    task.encode = by_code
    moving, frozen = split_frozen(task, params)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(moving, state, batch, key):
        loss = lambda p: task.loss(join_frozen(p, frozen), {}, batch, key, 0)[0]
        change, state = optimizer.update(jax.grad(loss)(moving), state)
        return optax.apply_updates(moving, change), state

    state = optimizer.init(moving)
    for i in range(steps):
        given = batch(64, i, names), jax.random.fold_in(KEY, i)
        moving, state = step(moving, state, *given)
    return join_frozen(moving, frozen)


def drawn(task, params, names="ab", number=500, **options):
    asked = {"outputs": tuple(names), "environment_scale": 2.0, **options}
    chosen = task.options({**task.settings["sampling"], **asked})
    return task.sample(params, {}, {}, KEY, chosen, number)


def agree(found):
    return float(np.mean(found["a"][:, 0] == found["b"][:, 0]))


@pytest.fixture(scope="module")
def aligned():
    task, params = of()
    return task, trained(task, params, 300)


def test_only_what_lets_them_see_each_other_is_trained():
    task, params = of("abc", "ab")
    labels = task.labels(params)
    flat = jax.tree_util.tree_flatten_with_path(labels)[0]
    paths = {"/".join(k.key for k in path) for path, own in flat if own == "train"}
    assert paths and all(
        path.startswith(("environments/a/", "environments/b/"))
        or "/attn3/" in path
        or "/network/environment/" in path
        for path in paths
    )
    assert not [path for path in paths if "/c/" in path]
    assert {path.split("/")[0] for path in paths} == {"environments", "diffusers"}
    given = task.describe()["given"]
    assert "environments/c" in given and "environments/a" not in given
    assert not task.describe()["batch"]["condition"]["b"].get("optional")
    for way, called in dict(attention="/attn3/", vector="network/environment/").items():
        own, params = of(model=dict(environment=dict(ways=(way,))))
        flat = jax.tree_util.tree_flatten_with_path(own.labels(params))[0]
        paths = ["/".join(k.key for k in path) for path, to in flat if to == "train"]
        paths = [one for one in paths if not one.startswith("environments/")]
        assert paths and all(called in one for one in paths)
    alone, params = of("ab", "")
    assert set(jax.tree.leaves(alone.labels(params))) == {"frozen"}
    assert alone.describe()["batch"]["condition"]["b"]["optional"]


def test_the_loss_is_that_of_each_diffuser_and_of_the_contrast():
    task, params = of()
    total, metrics, _ = task.loss(params, {}, batch(16), KEY, 0)
    assert set(metrics) == {"a", "b", "contrast"}
    weight = task.settings["model"]["environment"]["contrast"]
    expected = metrics["a"] + metrics["b"] + weight * metrics["contrast"]
    assert total == pytest.approx(float(expected))
    # the attention starts at zero: with other encoders the diffusers lose the same
    others = {
        **params,
        "environments": of()[0].init(jax.random.key(1))[0]["environments"],
    }
    again = task.loss(others, {}, batch(16), KEY, 0)[1]
    assert again["a"] == metrics["a"] and again["contrast"] != metrics["contrast"]


def test_the_contrast_finds_prompts_by_what_is_shown(monkeypatch):
    """Not what the other side shows, which would be found by its time alone."""
    task, params = of()
    given = batch(16)
    codes = dict(a=given["tokens"][:, 0], b=given["condition"]["b"][:, 0])

    def perfect(self, params, name, x_t, t):
        return jax.nn.one_hot(codes[name], SIZE)[:, None].repeat(2, axis=1)

    def time_alone(self, params, name, x_t, t):
        eighth = jnp.ceil(8 * t / T[name]).astype(int) - 1
        return jax.nn.one_hot(eighth, SIZE)[:, None].repeat(2, axis=1)

    monkeypatch.setattr(task, "encode", by_code)
    contrast = lambda: task.loss(params, {}, given, KEY, 0)[1]["contrast"]
    monkeypatch.setattr(Alignment, "shown", perfect)
    others = (codes["a"][:, None] != codes["a"]).sum(-1)  # of the same code is none
    assert contrast() == pytest.approx(
        np.log(1 + others * np.exp(-10)).mean(), abs=1e-6
    )
    monkeypatch.setattr(Alignment, "shown", time_alone)
    assert contrast() > np.log(1 + others).mean()

    def aside(self, params, name, x_t, t):
        moved = perfect(self, params, name, x_t, t) + jax.nn.one_hot(K, SIZE)
        return moved / 2**0.5

    # its own prompt is the nearest, but another modality's lie elsewhere
    monkeypatch.setattr(Alignment, "shown", aside)
    assert contrast() > 10 * (1 - 0.5**0.5)


@pytest.mark.slow
def test_slots_have_length_one_and_see_the_time(aligned):
    task, params = aligned
    x, t = jnp.zeros((3, 2), int), jnp.array([1, 8, 16])
    slots = task.alignment.shown(params, "b", x, t)
    assert slots.shape == (3, 2, SIZE)
    np.testing.assert_allclose(jnp.linalg.norm(slots, axis=-1), 1, rtol=1e-5)
    assert jnp.abs(slots[0] - slots[2]).max() > 1e-3


def test_each_sees_the_others():
    task, _ = of("abc", "")
    size = SIZE**-0.5  # of a number, where the vector has the length 1
    shown = {name: jnp.full((1, 2, SIZE), i * size) for i, name in enumerate("abc")}
    seen = {name: float(task.alignment.others(shown, name)[0, 0, 0]) for name in "abc"}
    assert seen == pytest.approx({"a": 1.5, "b": 1.0, "c": 0.5})


@pytest.mark.slow
def test_aligned_diffusers_draw_what_agrees(aligned):
    task, params = aligned
    found = drawn(task, params)
    assert found["a"].shape == (500, 1) and found["b"].shape == (500, 2)
    assert agree(found) > 0.65  # in 8 steps, by diffusers that were never trained
    classes = np.unique(found["a"], return_counts=True)[1] / 500
    assert len(classes) == K and classes.min() > 0.04  # not by one class alone
    assert agree(drawn(task, params, environment_scale=0.0)) < 0.4
    own = dict(environment_scale=0.0, environment_scales=dict(b=2.0))
    assert agree(drawn(task, params, **own)) > 0.45


@pytest.mark.slow
def test_diffusers_that_see_themselves_do_not_agree(monkeypatch):
    """The fault of the paper's code, by which agreement stays at chance."""
    itself = lambda self, shown, name: shown[name]
    monkeypatch.setattr(Alignment, "others", itself)
    task, params = of()
    assert agree(drawn(task, trained(task, params, 300))) < 0.4


def test_what_sees_others_costs_a_row_more():
    task, _ = of(trained="")
    options = lambda *names, **changes: task.options(
        {**task.settings["sampling"], "outputs": names, **changes}
    )
    guided = dict(guidance_scale=2.0)
    assert rows_of_an_example(options("a")) == 1
    assert rows_of_an_example(options("a", "b")) == 2
    assert rows_of_an_example(options("a", **guided)) == 2
    assert rows_of_an_example(options("a", "b", **guided)) == 3


@pytest.mark.parametrize(("given", "scale"), [({}, 2.0), (batch(3), 0.5)])
def test_beside_a_prompt_a_share_of_the_scale_is_left(given, scale, monkeypatch):
    task, params = of("abc", "")
    seen = []
    watched = lambda _, vectors, key, wishes, *rest: seen.extend(wishes) or {}
    monkeypatch.setattr(task.together, "sample", watched)
    condition = {"a": given["condition"]["b"][:, :1]} if given else {}
    own = dict(environment_scales=dict(c=1.0), environment_prompted=0.25)
    asked = dict(outputs=("b", "c"), environment_scale=2.0, **own)
    options = task.options({**task.settings["sampling"], **asked})
    task.sample(params, {}, condition, KEY, options, 3)
    assert [wish.scale for wish in seen] == [scale, scale / 2]


def test_all_are_at_the_same_share_of_their_times(monkeypatch):
    task, params = of(trained="")
    seen = {}

    def watched(walks, predict, *args, **kwargs):
        seen.update({n: walk.times / T[n] for n, walk in walks.items()})
        return draw(walks, predict, *args, **kwargs)

    monkeypatch.setattr(together.process, "draw", watched)
    task.together._jitted = functools.partial(task.together.draw)
    drawn(task, params, number=3)
    np.testing.assert_allclose(seen["a"], seen["b"])
    assert len(seen["a"]) == 8


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(model=dict(environment=dict(size=3))), "expected model.features = 8"),
        (
            dict(model=dict(features=3, environment=dict(size=3))),
            "an environment of 8 features",
        ),
        (dict(model=dict(environment=dict(size=0))), "size = 0; expected a number"),
        (dict(model=dict(environment=dict(trained=("z",)))), "trained with 'z'"),
        (dict(model=dict(environment=dict(ways=("z",)))), "ways with 'z'"),
        (dict(model=dict(environment=dict(ways=()))), r"ways = \(\) with"),
        (dict(sampling=dict(environment_scale=-1.0)), "environment_scale"),
        (dict(sampling=dict(environment_scales=dict(z=1.0))), r"scales\.z"),
        (
            dict(
                sampling=dict(
                    outputs=("a", "b"), diffusers=dict(a=dict(method="first_hitting"))
                )
            ),
            "not in step",
        ),
    ],
)
def test_alignments_that_cannot_be(changes, says):
    with pytest.raises((UsageError, ValueError), match=says):
        make_task(settings(**changes))


def test_diffusers_without_an_environment_are_not_aligned():
    config = settings()
    plain = merge(defaults("conditional"), {})["model"]
    assert plain["environment"] == 0
    del config["model"]["diffusers"]["b"]["model"]["environment"]
    with pytest.raises(
        UsageError, match=r"diffusers\.b .*an environment of 0 features"
    ):
        make_task(config)
    config = settings(trained="", model=dict(environment=dict(size=0)))
    for own in config["model"]["diffusers"].values():
        own["model"]["environment"] = 0
    task = make_task(config)
    both = task.options({**task.settings["sampling"], "outputs": ("a", "b")})
    assert "never aligned" in task.note(both)
    assert not task.note(task.options(task.settings["sampling"]))
