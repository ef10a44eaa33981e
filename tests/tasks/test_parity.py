"""Parity with the PyTorch code of CDCD: schedules, posteriors, losses, networks.

`golden/*.npz` holds what that code computed (golden/make_extract.py) for its models of
classes and texts. The gradients, the two-layer networks and all of its model of music
need the complete files, looked for in $CDCD_JAX_GOLDEN or in `shared/golden` beside the
repository. The reference counts t' = t - 1 = 0..T - 1, its
class axis comes before the positions, and its log-probabilities stop at -70 (a one-hot
zero at log 1e-30 = -69.08); ours do not, so that values near e-70 are compared as
probabilities. Only what the loss subtracts needs a bound: the `floor` of 70 nats.
"""

import functools
import hashlib
import json
import os
import pathlib
import types
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cdcd_jax import config
from cdcd_jax.convert import cdcd
from cdcd_jax.convert.transformer import denoiser_params
from cdcd_jax.diffusion import negatives, objective, schedule, transition
from cdcd_jax.networks import conditioners
from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.contrast import Contrast, Network

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXTRACTS = ROOT / "tests" / "golden"
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)
FORMS = {"class": "selfcondition", "text": "selfcross", "d2m": "selfcross"}
GRIDS = {"class": (4, 4), "text": (4, 4), "d2m": (1, 20)}
RAMPS = {"class": "falling", "text": "falling", "d2m": "rising"}
K, T = 24, 20
RELEASED = "vq_diffusion_released"
FLOOR = 70.0
MODES = (
    "vb_only",
    "aux",
    "aux_nonadaptive",
    "aux_maskweight",
    "intra_step",
    "intra_sample",
    "inter_step",
    "inter_sample",
    "intra_step_nonadaptive",
    "all",
)


def positions_first(array: np.ndarray) -> np.ndarray:
    """[..., C, L] -> [..., L, C]."""
    return np.swapaxes(array, -1, -2)


class Golden:
    """One file's arrays, and the inputs in our shapes and types."""

    def __init__(self, folder: pathlib.Path, name: str):
        self.name, self.form, self.grid = name, FORMS[name], GRIDS[name]
        with np.load(folder / f"parity_{name}.npz") as arrays:
            self.arrays = dict(arrays)
        token = lambda key: jnp.asarray(self.arrays[key], jnp.int32)
        self.x_0, self.x_t, self.t = token("in/x0"), token("in/x_t"), token("in/t") + 1
        self.inter = token("in/negative_tokens")  # [B, 10, L]
        self.intra = jnp.swapaxes(token("loss_all/neg_tokens"), 0, 1)  # [B, 3, L]
        self.p_t = jnp.asarray(self.arrays["in/pt"])
        self.logits = jnp.asarray(positions_first(self["out/logits"]))
        # the model of music divides the uniform mass by K + 1
        codes = K + (name == "d2m")
        self.schedule = schedule.make_schedule(RELEASED, codes, T)
        self.steps = transition.one_step_table(self.schedule)
        self.jump = self.steps.at(self.t - 1)
        if name == "class":
            self.encoded = Encoded(label=token("in/label"))
        else:
            self.encoded = Encoded(sequence=jnp.asarray(self["in/cond"]))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays whose names begin with `prefix`, without it."""
        n = len(prefix)
        return {k[n:]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    @functools.cached_property
    def divergences(self) -> "Divergences":
        return Divergences.of(self, self.logits)

    def log_posterior(self, logits: jax.Array) -> jax.Array:
        return transition.log_posterior(logits, self.x_t, self.jump)


def complete_golden(name: str) -> Golden:
    if not (COMPLETE / f"parity_{name}.npz").exists():
        pytest.skip(f"no parity_{name}.npz: name its folder, CDCD_JAX_GOLDEN")
    return Golden(COMPLETE, name)


# the whole of it takes longer; its network and its token are among the fast tests
MUSIC = pytest.param("d2m", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["class", "text", MUSIC])
def golden(request: pytest.FixtureRequest) -> Golden:
    name = request.param
    return complete_golden(name) if name == "d2m" else Golden(EXTRACTS, name)


@pytest.fixture(scope="module", params=FORMS)
def complete(request: pytest.FixtureRequest) -> Golden:
    return complete_golden(request.param)


def assert_log_close(
    ours: jax.Array, reference: np.ndarray, atol: float = 2e-5
) -> None:
    """Equal logs where p > 1e-12; below, where the floors differ, equal p."""
    probable = reference > np.log(1e-12)
    close = np.testing.assert_allclose
    close(np.asarray(ours)[probable], reference[probable], rtol=0, atol=atol)
    close(np.exp(ours), np.exp(reference), rtol=0, atol=max(atol, 1e-5))


# -- schedules, posteriors, divergences ------------------------------------------------


@pytest.mark.parametrize(
    "prefix, num_codes, timesteps",
    [
        ("sched", K, T),
        ("sched_T80_K974", 974, 80),
        ("sched_T100_K974", 974, 100),
        ("sched_T80_K2887", 2887, 80),
    ],
)
def test_schedules(prefix: str, num_codes: int, timesteps: int) -> None:
    golden = Golden(EXTRACTS, "class").below(f"{prefix}/")
    ours = schedule.make_schedule(RELEASED, num_codes, timesteps)
    # the reference appends t = 0 as an entry T + 1, which t' = -1 reaches
    bars = {k: np.roll(golden[k], 1) for k in ("att", "btt", "ctt")}
    close = np.testing.assert_allclose
    close(ours.alpha_bar, bars["att"], rtol=1e-11)
    close(ours.gamma_bar, bars["ctt"], rtol=0, atol=1e-12)
    # 1 - att - ctt cancels: of 1e-6, ten digits are left
    close(ours.uniform_mass, num_codes * bars["btt"], rtol=0, atol=1e-15)

    steps = transition.one_step_table(ours)
    alpha = ours.alpha_bar[1:] / ours.alpha_bar[:-1]
    close(alpha, golden["at"], rtol=1e-11)
    close(steps.h * ours.gamma_bar[1:], golden["ct"], rtol=1e-6)
    close(steps.c * ours.beta_bar[1:], golden["bt"], rtol=1e-5)


def test_forward_law(golden: Golden) -> None:
    def log_q(x: jax.Array, t: np.ndarray) -> np.ndarray:
        at = lambda values: values[t][:, None, None]
        codes = at(golden.schedule.alpha_bar) * jax.nn.one_hot(x, K)
        codes = codes + at(golden.schedule.beta_bar)
        masked = np.broadcast_to(at(golden.schedule.gamma_bar), (*x.shape, 1))
        with np.errstate(divide="ignore"):
            return np.log(np.concatenate([codes, masked], axis=-1))

    t = np.asarray(golden.t)
    assert_log_close(log_q(golden.x_0, t), positions_first(golden["out/q_pred"]))
    before = positions_first(golden["out/q_pred_tm1"])
    assert_log_close(log_q(golden.x_0, t - 1), before)


def test_posteriors(golden: Golden) -> None:
    log_one_hot = lambda z: jnp.where(jax.nn.one_hot(z, K) > 0, 0.0, -jnp.inf)
    cases = [
        (log_one_hot(golden.x_0), "out/q_posterior_true", 2e-5),
        (golden.logits, "out/q_posterior_model", 2e-5),
        # many at the floor; 60 times the rounding of the logits
        (60.0 * golden.logits, "clampcase/q_posterior", 3e-4),
    ]
    for logits, name, atol in cases:
        reference = positions_first(golden[name])
        assert_log_close(golden.log_posterior(logits), reference, atol)
    reference = positions_first(golden["loss_intra_step/neg_q_posterior"])
    for k in range(3):
        ours = golden.log_posterior(log_one_hot(golden.intra[:, k]))
        assert_log_close(ours, reference[k])


def test_divergences(golden: Golden) -> None:
    d, later = golden.divergences, np.asarray(golden.t) > 1
    close = np.testing.assert_allclose
    close(d.sample[..., 0], golden["out/kl_aux_pos"], rtol=1e-5, atol=1e-6)
    own = d.step[..., 0]
    # float32 sums of 25 terms there: off by up to 3e-6
    close(own[later], golden["out/multinomial_kl"][later], rtol=1e-5, atol=5e-6)
    close(own[~later], golden["out/decoder_nll_pos"][~later], rtol=1e-5)
    for level in Divergences._fields:
        others = jnp.moveaxis(getattr(d, level)[..., 1:], -1, 0)  # [3 + 10, B, L]
        both = lambda key, level=level: np.concatenate(
            [golden[f"loss_{kind}_{level}/{key}"] for kind in ("intra", "inter")]
        )
        reference = both("neg_kl_pos")[:, later]
        close(others[:, later], reference, rtol=1e-5, atol=5e-6)
        nll = others[:, ~later].sum(-1)
        close(nll, both("neg_nll")[:, ~later], rtol=1e-5)


def test_gumbel_draw(golden: Golden) -> None:
    np.testing.assert_array_equal(
        draw(golden.log_posterior(golden.logits), golden["gumbel/uniform"]),
        golden["gumbel/sample"],
    )


def draw(log_p: jax.Array, uniform: np.ndarray) -> np.ndarray:
    """argmax of log p + Gumbel noise, from uniform noise [B, C, L]."""
    gumbel = -np.log(-np.log(positions_first(uniform) + 1e-30) + 1e-30)
    return np.argmax(log_p + gumbel, axis=-1)


@pytest.mark.parametrize("length", [16, 20, 23])
def test_intra_negatives(
    golden: Golden, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if f"negsampling/x_L{length}" not in golden.arrays:
        pytest.skip(f"no sequence of {length} tokens there")
    orders = golden["in/intra_orders"]  # [3, 8], one for the whole batch
    # noise whose argsort is the order
    noise = jnp.broadcast_to(np.argsort(orders) / 8.0, (2, 3, 8))
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: noise)
    tokens = jnp.asarray(golden[f"negsampling/x_L{length}"])
    ours = negatives.intra(jax.random.key(0), tokens, 3, (1, length), (1, 8))
    reference = golden[f"negsampling/random_L{length}"]
    np.testing.assert_array_equal(jnp.swapaxes(ours, 0, 1), reference)


def test_importance_sampling(golden: Golden) -> None:
    moment = jnp.asarray(golden["importance/Lt_history"])
    cold = objective.TimeHistory(moment, jnp.full(T, 11.0).at[3].set(10.0))
    close = np.testing.assert_allclose
    close(objective.time_probabilities(cold), np.full(T, 1 / T), rtol=1e-6)
    warm = objective.TimeHistory(moment, jnp.full(T, 11.0))
    ours = objective.time_probabilities(warm)
    close(ours, golden["importance/pt_all"], rtol=1e-6)
    close(ours[golden["importance/t"]], golden["importance/pt"], rtol=1e-6)

    bound = golden.divergences.step[..., 0].sum(1)
    empty = objective.init_time_history(T)
    after = objective.update_time_history(empty, golden.t, bound)
    close(after.second_moment, golden["loss_vb_only/Lt_history"], rtol=2e-5)
    close(after.count, golden["loss_vb_only/Lt_count"])


# -- losses ----------------------------------------------------------------------------


class Mode(NamedTuple):
    """Settings of one of the reference's runs."""

    auxiliary: float
    adaptive: bool
    intra: float
    intra_level: str
    inter: float
    inter_level: str
    mask_weight: tuple[float, float]

    @classmethod
    def of(cls, golden: Golden, name: str) -> "Mode":
        read = json.loads(str(golden[f"loss_{name}/config_json"]))
        inter = "extra" if golden.name == "d2m" else "inter"
        return cls(
            read["auxiliary_loss_weight"],
            read["adaptive_auxiliary_loss"],
            read["contrastive_intra_loss_weight"],
            read["intra_mode"],
            # the model of music calls them extra
            read[f"contrastive_{inter}_loss_weight"],
            read[f"{inter}_mode"],
            tuple(read["mask_weight"]),
        )


class Divergences(NamedTuple):
    """d(z) by position of the sample, intra and inter negatives, [B, L, 1 + 3 + 10]."""

    step: jax.Array
    sample: jax.Array

    @classmethod
    def of(cls, golden: Golden, logits: jax.Array) -> "Divergences":
        """The sample's is not bounded, as in our loss."""
        z = jnp.concatenate([golden.x_0[:, None], golden.intra, golden.inter], axis=1)
        z = jnp.moveaxis(z, 1, 2)
        score = objective.scores(logits, golden.x_t, z, golden.jump)
        kl = lambda floor: objective.posterior_kl(
            z, golden.x_t, score, golden.jump, K, floor
        )
        own = lambda free, bounded: jnp.where(jnp.arange(14) < 1, free, bounded)
        nll = -score.log_p
        return cls(own(kl(None), kl(FLOOR)), own(nll, jnp.minimum(nll, FLOOR)))


def settings_of(
    golden: Golden, mode: Mode, level: str, strength: float, number: int
) -> dict[str, Any]:
    """An experiment of ours with one of the reference's contrastive terms, or none."""
    return config.experiment(
        sampling=dict(steps=T),
        model=dict(num_codes=K, grid=golden.grid, conditions={}, condition_dropout=0.0),
        diffusion=dict(
            schedule=RELEASED,
            timesteps=T,
            mask_weight=mode.mask_weight,
            auxiliary_weight=mode.auxiliary,
            auxiliary_ramp=RAMPS[golden.name] if mode.adaptive else "none",
        ),
        contrastive=dict(
            form="difference",
            negatives="inter",
            inter_from="records",  # both kinds come with the batch
            level=level,
            weight=strength,
            num_negatives=number if strength else 0,
            cap=FLOOR,
            ramp="rising" if mode.adaptive else "none",
        ),
    )


def loss_terms(golden: Golden, logits: jax.Array, mode: Mode) -> dict[str, jax.Array]:
    """The reference's terms, [B] in nats over p(t), and its scalar, by our `Contrast`.

    A run of ours has one kind of negatives; the reference's may add two.
    """
    network = Network(None, lambda _, logits: logits, {})
    ramp = objective.ramp(golden.t, T, RAMPS[golden.name] if mode.adaptive else "none")
    terms: dict[str, jax.Array] = {}
    total = jnp.zeros(())
    for name, others, level, strength in (
        ("loss3", golden.intra, mode.intra_level, mode.intra),
        ("loss4", golden.inter, mode.inter_level, mode.inter),
    ):
        number = others.shape[1]
        settings = settings_of(golden, mode, level, strength, number)
        contrast = Contrast(settings, schedule.make_schedule(RELEASED, K, T))
        contrast.jumps = golden.steps  # those of the model of music are of K + 1 codes
        z = jnp.concatenate([golden.x_0[:, None], others], axis=1)
        d = contrast.divergences(network, logits, z, golden.x_t, golden.t)
        terms["loss1"] = d.step[:, 0] / golden.p_t
        terms["loss2"] = mode.auxiliary * ramp * d.sample[:, 0] / golden.p_t
        if strength:
            valid = jnp.ones(others.shape[:2], bool)
            term = contrast.term(d.level(level), valid, golden.t, golden.p_t)
            term = strength * contrast.length * term
            total = total + term
            # the reference's is the sum over the negatives
            terms[name] = -term * number
    total = terms["loss1"] + terms["loss2"] + total
    return {**terms, "vb_loss": total, "loss": jnp.sum(total) / golden.x_0.size}


@pytest.mark.parametrize("name", MODES)
def test_loss_terms(golden: Golden, name: str) -> None:
    ours = loss_terms(golden, golden.logits, Mode.of(golden, name))
    reference = golden.below(f"loss_{name}/")
    assert ("loss3" in ours, "loss4" in ours) == (
        "loss3" in reference,
        "loss4" in reference,
    )
    assert len(ours.keys() & reference.keys()) >= 3
    for term in ours.keys() & reference.keys():
        np.testing.assert_allclose(ours[term], reference[term], 1e-5, err_msg=term)


# 'all' mixes two weights and two levels, which a run of ours does not
@pytest.mark.parametrize("name", MODES[:-1])
def test_task_loss(golden: Golden, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task, given the reference's t, x_t and logits, assembles the same scalar."""
    mode = Mode.of(golden, name)
    others = golden.intra if mode.intra else golden.inter
    level = mode.intra_level if mode.intra else mode.inter_level
    strength = mode.intra or mode.inter
    task = make_task(settings_of(golden, mode, level, strength, others.shape[1]))
    task.network = types.SimpleNamespace(apply=lambda *args, **kwargs: golden.logits)
    drawn = lambda *args: (golden.t, golden.p_t)
    monkeypatch.setattr(objective, "sample_times", drawn)
    monkeypatch.setattr(
        "cdcd_jax.tasks.conditional.sample_x_t", lambda *args: golden.x_t
    )
    batch = {"tokens": golden.x_0, "condition": {}}
    batch |= {"negatives": others} if strength else {}
    extra = {"time_history": objective.init_time_history(T)}
    params = {"network": {"logits": {}}}
    loss, _, _ = task.loss(params, extra, batch, jax.random.key(0), jnp.zeros((), int))
    np.testing.assert_allclose(loss, golden[f"loss_{name}/loss"], rtol=1e-5)


# -- networks --------------------------------------------------------------------------


def denoiser(name: str, **changes: Any) -> Denoiser:
    """The two-layer network of a complete file, with changes."""
    music = name == "d2m"
    settings = dict(
        form=FORMS[name],
        num_codes=K,
        grid=GRIDS[name],
        width=64,
        depth=2,
        heads=4,
        mlp="fc" if music else "conv",
        mlp_ratio=4 if music else 2,
        activation="gelu2",
        timesteps=T,
        num_classes=10,
    )
    return Denoiser(**{**settings, **changes})


def logits_of(network: Denoiser, params: Any, golden: Golden) -> jax.Array:
    return network.apply({"params": params}, golden.x_t, golden.t, golden.encoded)


@pytest.mark.parametrize(
    "name, variant, form, changes",
    [
        ("class", "gelu_fc", "selfcondition", dict(mlp="fc", activation="gelu")),
        ("class", "uncond_self", "self", {}),
        (
            "text",
            "fc_gelu",
            "selfcross",
            dict(mlp="fc", activation="gelu", mlp_ratio=4),
        ),
    ],
)
def test_one_layer_network(
    name: str, variant: str, form: str, changes: dict[str, Any]
) -> None:
    golden = Golden(EXTRACTS, name)
    network = denoiser(name, form=form, width=32, depth=1, **changes)
    state = golden.below(f"variant_{variant}/params/")
    params = denoiser_params(state, form, depth=1, heads=4)
    ours = logits_of(network, params, golden)
    reference = positions_first(golden[f"variant_{variant}/logits"])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5)


def converted(golden: Golden, prefix: str) -> dict[str, Any]:
    """Arrays below `prefix` as a tree of our parameters."""
    state = golden.below(prefix)
    return denoiser_params(state, golden.form, depth=2, heads=4)


def test_two_layer_network(complete: Golden) -> None:
    params = converted(complete, "params/transformer.")
    ours = logits_of(denoiser(complete.name), params, complete)
    reference = positions_first(complete["out/logits_f64"])
    np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5)


def without_null(tree: dict[str, Any]) -> dict[str, Any]:
    """Class tables without the null row, which the reference does not have."""
    is_table = lambda path: jax.tree_util.keystr(path).endswith(
        "['ln2']['emb']['embedding']"
    )
    cut = lambda path, a: a[:-1] if is_table(path) else a
    return jax.tree_util.tree_map_with_path(cut, tree)


@pytest.mark.slow
def test_gradients(complete: Golden) -> None:
    network = denoiser(complete.name)
    modes = [Mode.of(complete, name) for name in MODES]

    @jax.jit
    @jax.jacrev
    def gradients(params: Any) -> jax.Array:
        logits = logits_of(network, params, complete)
        return jnp.stack([loss_terms(complete, logits, mode)["loss"] for mode in modes])

    ours = gradients(
        jax.tree.map(jnp.asarray, converted(complete, "params/transformer."))
    )
    ours = [without_null(jax.tree.map(lambda g, i=i: g[i], ours)) for i in range(10)]

    # each leaf of ours belongs to one of the reference's parameters: mark them
    # the rest makes the condition that is given here
    inner = np.char.startswith(complete["param_names"], "transformer.")
    names = [n.removeprefix("transformer.") for n in complete["param_names"][inner]]
    shapes = complete.below("params/transformer.")
    marks = {n: np.full(shapes[n].shape, i) for i, n in enumerate(names)}
    marks = denoiser_params(marks, complete.form, depth=2, heads=4)
    order = [int(leaf.flat[0]) for leaf in jax.tree.leaves(marks)]
    assert sorted(order) == list(range(len(names)))
    for name, tree in zip(MODES, ours, strict=True):
        norms = [np.linalg.norm(g) for g in jax.tree.leaves(tree)]
        reference = complete[f"loss_{name}/grad_norms"][inner]
        # a key's bias has no gradient but rounding
        atol = 1e-6 * np.linalg.norm(reference)
        np.testing.assert_allclose(norms, reference[order], 1e-3, atol, err_msg=name)

    # a softmax over one key has no gradient, and none is there
    grads = {n: np.zeros(shapes[n].shape, np.float32) for n in names}
    grads |= complete.below("grads_all/transformer.")
    grads = denoiser_params(grads, complete.form, depth=2, heads=4)
    reference = without_null(grads)
    atol = 1e-6 * optax.tree.norm(reference)
    for path, expected in jax.tree_util.tree_leaves_with_path(reference):
        found = ours[-1]
        for key in path:
            found = found[key.key]
        error = np.linalg.norm(found - expected)
        name = jax.tree_util.keystr(path)
        assert error <= 1e-3 * np.linalg.norm(expected) + atol, name


@pytest.mark.slow
def test_five_steps_of_training(complete: Golden) -> None:
    if complete.name == "d2m":
        pytest.skip("there the matrix of the conditions is trained too")
    network, mode = denoiser(complete.name), Mode.of(complete, "all")
    # unlike ours, the reference's weight decay is on every parameter
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(1e-3, 0.9, 0.96, eps=1e-8, weight_decay=0.045),
    )

    params = jax.tree.map(jnp.asarray, converted(complete, "params/transformer."))
    # one vector, which compiles faster than a tree
    vector, tree_of = jax.flatten_util.ravel_pytree(params)

    def loss(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits_of(network, tree_of(vector), complete)
        terms = loss_terms(complete, logits, mode)
        return terms["loss"], terms["loss1"]

    @jax.jit
    def step(vector: jax.Array, opt_state: Any, history: Any) -> tuple:
        (value, bound), grads = jax.value_and_grad(loss, has_aux=True)(vector)
        updates, opt_state = optimizer.update(grads, opt_state, vector)
        history = objective.update_time_history(history, complete.t, bound / T)
        return vector + updates, opt_state, history, value, jnp.linalg.norm(grads)

    opt_state, history = optimizer.init(vector), objective.init_time_history(T)
    found = []
    for _ in range(5):
        vector, opt_state, history, *row = step(vector, opt_state, history)
        found.append(row)
    losses, norms = np.asarray(found).T
    close = np.testing.assert_allclose
    close(losses, complete["train/loss"], rtol=1e-5)
    close(norms, complete["train/grad_norm"], rtol=1e-4)
    close(history.second_moment, complete["train/final_Lt_history"], rtol=1e-4)
    # over all tensors; the null row is not the reference's
    trained = jax.tree.leaves(without_null(jax.device_get(tree_of(vector))))
    expected = np.linalg.norm(complete["train/final_param_norms"])
    norm = np.linalg.norm([np.linalg.norm(leaf) for leaf in trained])
    close(norm, expected, rtol=1e-5)


def test_ancestral_sampling(complete: Golden) -> None:
    """All 20 steps from all masks, each from the reference's canvas before it."""
    params = converted(complete, "params/transformer.")
    after, noise = complete["sample_full/tokens"], complete["sample_full/uniform"]
    start = np.full_like(after[:1], K)
    canvases = np.concatenate([start, after[:-1]])  # [20, B, L]
    times = np.arange(T, 0, -1)
    network = denoiser(complete.name)

    @jax.jit
    def log_posterior(x_t: jax.Array, t: jax.Array) -> jax.Array:
        t = jnp.full(len(x_t), t)
        logits = network.apply({"params": params}, x_t, t, complete.encoded)
        return transition.log_posterior(logits, x_t, complete.steps.at(t - 1))

    for x_t, t, uniform, x_s in zip(canvases, times, noise, after, strict=True):
        drawn = draw(log_posterior(jnp.asarray(x_t, jnp.int32), t), uniform)
        np.testing.assert_array_equal(drawn, x_s, err_msg=f"t = {t}")


def test_the_token_of_dance_video_and_genre() -> None:
    """Three parts of the reference's matrix, added, make its one token."""
    golden = complete_golden("d2m")
    random = np.random.RandomState(12345)
    weight = (random.standard_normal((1024, 3328)) * 0.02).astype(np.float32)
    digest = hashlib.sha256(weight.tobytes()).hexdigest()
    assert str(golden["lin1_weight_recipe"]).endswith(digest)
    state = golden.below("params/condition_emb.")
    state = {f"transformer.condition_emb.{k}": v for k, v in state.items()}
    state["transformer.lin1.weight"] = weight
    state["transformer.lin1.bias"] = golden["params/lin1.bias"]
    # the file has the dance's features in place of an encoder's weights
    for name, shape in dict(cdcd.motion_layout(4, 6, [4, 4, 1024])).items():
        state[f"condition_codec_motion.{name}"] = np.ones(shape, np.float32)
    params, specs = cdcd.dance_parts(state, "golden")
    drop = jnp.zeros(5, bool)
    genre = np.argmax(golden["in/condition_genre"], axis=1)
    token = golden["in/condition_motion"] @ params["motion"]["tower"]["lin1"]["kernel"]
    token = token + params["motion"]["tower"]["lin1"]["bias"]
    for name, value in (("video", golden["in/condition_video"]), ("genre", genre)):
        part = conditioners.make_conditioner(name, specs[name], 64, 20, False)
        token = token + part.apply({"params": params[name]}, value, drop).sequence
    np.testing.assert_allclose(token, golden["out/cond_emb"], rtol=0, atol=2e-5)


def test_extract_is_part_of_the_complete_file(complete: Golden) -> None:
    if complete.name == "d2m":
        pytest.skip("no part of it is here")
    for key, value in Golden(EXTRACTS, complete.name).arrays.items():
        np.testing.assert_array_equal(value, complete[key], err_msg=key)
