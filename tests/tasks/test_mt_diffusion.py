"""Tasks of one to four modalities by config alone, and what nobody can ask of them."""

import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np
import pytest
import tiny_joint as tj

from cdcd_jax.data.fields import check_batch
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks import bound as held_out
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.drawing import NO_EDIT, Edit
from cdcd_jax.training import program
from cdcd_jax.training.step import init_state, make_train_step

ROWS = 4
KEY = jax.random.key(5)
STYLE = dict(style=dict(kind="label", num_classes=2))


def sample(
    model: Any, condition: Any, edit: Any = NO_EDIT, number: Any = ROWS, **changes: Any
) -> Any:
    task, params = model
    options = tj.options(task, **changes)
    return task.sample(params, {}, condition, KEY, options, number, edit)


SETS = [
    ("image",),
    ("image", "label"),
    ("image", "label", "vector"),
    ("image", "label", "target", "vector"),
    ("caption", "image"),
    ("holes", "image"),
]
OUTPUTS = dict(
    image=("tokens", np.int32, (16,)),
    target=("target", np.int32, (16,)),
    label=("label", np.int32, ()),
    vector=("vector", np.float32, (6,)),
    caption=("caption", np.int32, (4,)),
)


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_a_config_alone_makes_it(names: Any) -> None:
    """Two steps of training, a draw of everything, and one of the rest."""
    config = tj.settings(tj.chosen(*names))
    task, optimizer = program.build(config)
    said = task.describe()
    expected = {OUTPUTS[n][0]: OUTPUTS[n][1:] for n in names if n in OUTPUTS}
    assert {k: spec["shape"] for k, spec in said["outputs"].items()} == {
        k: shape for k, (_, shape) in expected.items()
    }
    assert set(said["conditions"]) == (set(names) if len(names) > 1 else set())
    assert all(spec["optional"] for spec in said["conditions"].values())
    needed = {n for n in names if tj.MODALITIES[n].get("field") != "tokens"}
    assert set(said["batch"]["condition"]) == needed and said["units"] == 16
    batch = tj.batch(config["data"]["batch_size"])
    check_batch(batch, said["batch"])
    state, step = (
        init_state(task, optimizer, 0),
        jax.jit(make_train_step(task, optimizer, config)),
    )
    for _ in range(2):
        state, metrics = step(state, batch)
    heads = [f"of_{name}" for name in names] if len(names) > 1 else []
    assert {"values", "prior_kl", *heads} <= set(metrics)
    assert all(np.isfinite(float(a)) for a in metrics.values())
    assert int(state.step) == 2
    given = {n: tj.values(ROWS)[n] for n in names[:1]} if len(names) > 1 else {}
    for condition in ({}, given):
        found = sample((task, state.params), condition)
        assert {k: (a.dtype, a.shape[1:]) for k, a in found.items()} == expected
        assert all(len(a) == ROWS for a in found.values())
        for name, x in condition.items():
            if name in OUTPUTS:
                np.testing.assert_array_equal(found[OUTPUTS[name][0]], x)
        assert 0 <= found["tokens"].min() and found["tokens"].max() < tj.LEVELS


def test_as_many_rows_as_asked_for() -> None:
    """In batches of 6, and of conditions as many as there are."""
    model = tj.of("image", "label")
    assert len(sample(model, {}, number=8)["label"]) == 8
    given = dict(label=np.zeros(7, np.int32), other=np.zeros(7))
    assert len(sample(model, given, number=None)["tokens"]) == 7
    with pytest.raises(UsageError, match="no condition and no number"):
        sample(model, {}, number=None)


def test_fixed_codes_stay_in_training() -> None:
    config = tj.settings(tj.chosen("image", "label"), optim=dict(weight_decay=0.5))
    task, optimizer = program.build(config)
    state = init_state(task, optimizer, 0)
    after, _ = jax.jit(make_train_step(task, optimizer, config))(state, tj.batch())
    before, now = (s.params["code_label"]["table"] for s in (state, after))
    np.testing.assert_array_equal(before, now)
    assert set(np.unique(before)) == {-1.0, 1.0}


# -- the bound ---------------------------------------------------------------------


def test_the_bound_of_a_split() -> None:
    """Parts that add up; more repeats say the same of them."""
    task, params = tj.of("image", "label")
    batches = [tj.batch(6, seed=1), tj.batch(4, seed=2)]
    found = task.bound(params, batches, KEY)
    assert found.terms.shape == (10, 2) and found.length == 16
    assert {n: np.shape(a) for n, a in found.fixed.items()} == dict.fromkeys(
        ("reconstruction", "others", "prior"), (10,)
    )
    figures = task.evaluate(params, {}, {"test": batches}, KEY)
    parts = [figures[f"bits_per_token_{n}"] for n in ("denoising", *found.fixed)]
    assert figures["bits_per_token"] == pytest.approx(sum(parts), rel=1e-5)
    assert figures["bits_per_token/n"] == 10 and min(parts) >= 0
    assert figures == held_out.figures(found)
    # of the first batch's label, which has one symbol of three to be said in 16 tokens
    first = task.objective.bound(params, batches[0], np.ones(6, np.int32), KEY)
    assert set(first) == {"denoising", "reconstruction", "others", "prior"}
    assert task.profile(found) is None


@pytest.mark.parametrize("kind", ["noise", "v"])
def test_the_bound_of_pixels_that_are_known_for_certain(kind: str) -> None:
    """A network that always says the same picture: nats are known without a network.

    The step's KL at t is (SNR_{t-1} - SNR_t) / 2 times the squared error.
    """
    config = tj.settings(tj.chosen("image"), diffusion=dict(prediction=kind))
    task, params = tj.made(config)
    batch, levels = tj.batch(ROWS), task.gaussian.levels
    guess = 0.25

    class Certain:
        """In the place of the network."""

        conditions: ClassVar = {}
        space = (4, 4)
        blurs = False

        def apply(
            self, variables: Any, *args: Any, method: str, rngs: Any = None
        ) -> Any:
            if method == "said":
                z_t, t, _ = args
                signal, noise = (a[:, None, None] for a in levels.at(t))
                eps = (z_t - signal * guess) / noise
                v = signal * eps - noise * guess
                return {"values": dict(noise=eps, v=v)[kind]}
            if method == "encode":
                return None
            return task.network.apply(variables, *args, method=method)

    objective = dataclasses.replace(task.objective, network=Certain())
    code = 2.0 * batch["tokens"] / 4 - 1
    apart = np.square(code - guess).sum(1)
    snr = levels.alpha_bar[1:] / levels.noise[1:]
    for time in range(2, tj.T + 1):
        found = objective.bound(params, batch, np.full(ROWS, time), KEY)
        nats = 0.5 * (snr[time - 2] - snr[time - 1]) * apart
        np.testing.assert_allclose(found["denoising"], tj.T * nats, rtol=2e-3)


# -- what cannot be asked ----------------------------------------------------------

PAIR = ("image", "label")
IMAGE = tj.values(ROWS)["image"]
LABEL = tj.values(ROWS)["label"]


def without_known(*names: str, **changes: Any) -> Any:
    config = tj.settings(tj.chosen(*names), model=dict(known=0.0), **changes)
    return make_task(config), None


def test_context_that_was_never_shown() -> None:
    model = without_known(*PAIR)
    with pytest.raises(UsageError, match=r"label given under.*model.known = 0, which"):
        sample(model, dict(label=LABEL))
    assert set(model[0].network.conditions) == set()
    params = tj.made(model[0].settings)[1]
    found = sample((model[0], params), dict(label=LABEL), known="guidance")
    np.testing.assert_array_equal(found["label"], LABEL)


def test_a_model_that_always_knew_a_part_draws_nothing_from_nothing() -> None:
    config = tj.settings(tj.chosen(*PAIR), model=dict(known=1.0))
    model, params = make_task(config), tj.made(config)[1]
    says = r"nothing given under.*'context' to a model of model.known = 1.*image, label"
    with pytest.raises(UsageError, match=says):
        sample((model, params), {})
    with pytest.raises(UsageError, match=r"under sampling.known = 'guidance'"):
        sample((model, params), dict(label=LABEL), known="guidance")
    found = sample((model, params), dict(label=LABEL))
    np.testing.assert_array_equal(found["label"], LABEL)
    # of one modality there is nothing to know
    alone = tj.settings(tj.chosen("image"), model=dict(known=1.0))
    assert sample((make_task(alone), tj.made(alone)[1]), {})["tokens"].shape


def test_the_bound_is_not_trained_where_no_decoder_reads_z() -> None:
    config = tj.settings(tj.chosen("label"), diffusion=dict(loss="bound"))
    with pytest.raises(UsageError, match=r"'bound' of modalities .* 'label'"):
        make_task(config)


@pytest.mark.parametrize(
    ("names", "given", "edit", "changes", "says"),
    [
        (PAIR, dict(image=IMAGE[:, :15]), {}, {}, r"image as int32\[4, 15\] of other"),
        (PAIR, dict(image=IMAGE - 1), {}, {}, r"\[N, 16\] from 0 to below 5; correct"),
        (PAIR, dict(image=IMAGE / 4), {}, {}, "image as float64"),
        (PAIR, dict(label=LABEL + 1), {}, {}, r"of \[.*\]; expected int32 .* below 3"),
        (
            ("image", "holes"),
            dict(holes=np.full((ROWS, 16), -2)),
            {},
            {},
            "from -1 to below 5",
        ),
        (
            PAIR,
            {"label": LABEL, "label/present": LABEL > 0},
            {},
            {},
            "label/present beside the modality 'label'; expected it in all rows",
        ),
        (
            PAIR,
            dict(label=LABEL),
            dict(toward=(dict(label=LABEL), np.ones(ROWS))),
            dict(known="guidance"),
            "label as the end of an interpolation under sampling.known = 'guidance'",
        ),
        (
            ("label", "vector"),
            {},
            dict(known=(IMAGE, IMAGE > 0)),
            {},
            "a picture to edit, and no modality of it",
        ),
        (
            ("label", "target"),
            {},
            dict(start=IMAGE, time=2),
            {},
            "expected one whose field is 'tokens'",
        ),
        (
            PAIR,
            {},
            dict(scales=dict(sound=np.ones(ROWS))),
            {},
            r"scales of \['sound'\]",
        ),
        (
            PAIR,
            dict(label=LABEL),
            dict(scales=dict(label=np.ones(ROWS))),
            dict(known="substitution"),
            "scales by modality with sampling.known = 'substitution'",
        ),
    ],
)
def test_what_cannot_be_asked(
    names: Any, given: Any, edit: Any, changes: Any, says: str
) -> None:
    task = make_task(tj.settings(tj.chosen(*names)))
    with pytest.raises(UsageError, match=says):
        sample((task, None), given, Edit(**edit), **changes)


def with_style(known: float, dropout: float = 0.1, names: Any = PAIR) -> Any:
    model = dict(known=known, condition_dropout=dropout)
    config = tj.settings(tj.chosen(*names), model=model)
    config["model"]["conditions"] = STYLE
    return make_task(config)


@pytest.mark.parametrize(
    ("task", "changes", "says"),
    [
        (lambda: tj.of("image")[0], {}, "the model takes no condition"),
        (lambda: without_known(*PAIR)[0], {}, "the model takes no condition"),
        (lambda: with_style(0.5, 0.0), {}, "condition_dropout = 0 never trained"),
        (lambda: with_style(0.0, 0.0), {}, "condition_dropout = 0 never trained"),
        (lambda: with_style(1.0), {}, "model.known = 1 never trained the null"),
        (
            lambda: tj.of(*PAIR)[0],
            dict(known="substitution"),
            "a code that takes a place in a sum knows no scale",
        ),
        (
            lambda: tj.of(*PAIR)[0],
            dict(method="strided"),
            "'strided': choose one of dd",
        ),
        (lambda: tj.of(*PAIR)[0], dict(grid="optimised"), "'optimised': choose one of"),
    ],
)
def test_options_that_cannot_be(task: Any, changes: Any, says: str) -> None:
    task = task()
    with pytest.raises((UsageError, ValueError), match=says):
        task.check_sampling(tj.options(task, **{"guidance_scale": 2.0, **changes}))


def test_guidance_that_can_be() -> None:
    for task, known in (
        (tj.of(*PAIR)[0], "context"),
        (tj.of(*PAIR)[0], "guidance"),
        (without_known(*PAIR)[0], "guidance"),
        (with_style(0.0, names=("image",)), "context"),
        (with_style(0.5), "substitution"),  # of the ordinary condition
    ):
        task.check_sampling(tj.options(task, known=known, guidance_scale=2.0))


def test_substitution_is_warned_of() -> None:
    task = tj.of(*PAIR)[0]
    assert "docs/mt_diffusion.md" in task.note(tj.options(task, known="substitution"))
    assert task.note(tj.options(task)) == ""


def test_weights_that_leave_z_unlike_noise() -> None:
    """Told with its number, by the first batch's codes."""
    own = dict(image=dict(weight=3.0))
    config = tj.settings(
        tj.chosen(*PAIR, **own), diffusion=dict(schedule="sqrt_linear", timesteps=20)
    )
    task, params = tj.made(config)
    with pytest.raises(UsageError, match=r"that do not fit: .* nats a dimension"):
        task.check_first(params, tj.batch())
    fine, params = tj.of(*PAIR)
    fine.check_first(params, tj.batch())


def test_what_planning_compiles() -> None:
    """Shapes alone: what is drawn where nothing is given."""
    task = with_style(0.5)
    draw, arguments = task.sampling(3, tj.options(task))
    assert set(arguments[1]) == {"style"}
    found = jax.eval_shape(draw, *arguments)
    assert {name: a.shape for name, a in found.items()} == dict(
        image=(3, 16), label=(3,)
    )
