"""Parity with CDCD: schedules, posteriors, divergences, negatives, importance of times.

What is compared, and where it lies, `cdcd_golden` says.
"""

import cdcd_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cdcd_golden import RELEASED, Divergences, Golden, K, T, draw, positions_first

from cdcd_jax.diffusion import negatives, objective, schedule, transition


@pytest.fixture(scope="module", params=cdcd_golden.NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return cdcd_golden.read(request.param)


def assert_log_close(
    ours: jax.Array, reference: np.ndarray, atol: float = 2e-5
) -> None:
    """Equal logs where p > 1e-12; below, where the floors differ, equal p."""
    probable = reference > np.log(1e-12)
    close = np.testing.assert_allclose
    close(np.asarray(ours)[probable], reference[probable], rtol=0, atol=atol)
    close(np.exp(ours), np.exp(reference), rtol=0, atol=max(atol, 1e-5))


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
    golden = cdcd_golden.extract("class").below(f"{prefix}/")
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
