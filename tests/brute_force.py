"""The forward chain as explicit (K+1) x (K+1) matrices in float64, and what follows.

Nothing here uses a closed form: one-step matrices come from the definition of
mask-and-replace diffusion, everything else from matrix products and Bayes' rule.
Entry [i, k] of a matrix is the probability of going from i to k; M = K is the mask.
"""

import functools
import itertools

import jax
import numpy as np
from scipy.stats import chi2

from cdcd_jax.diffusion.schedule import CURVES, Schedule, make_schedule

# For programs that run once: half the time to compile, the same arithmetic.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)

ABSORBING = ("absorbing_linear", "absorbing_cosine")
SCHEDULES = tuple(CURVES)
# (schedule, K, T); all but the released one, which needs two ends, allow one step.
CASES = tuple(
    (name, k, timesteps)
    for k, timesteps in [(2, 2), (3, 2), (7, 2), (2, 8), (3, 8), (7, 8), (3, 1)]
    for name in SCHEDULES
    if timesteps > 1 or name != "vq_diffusion_released"
)
# Jumps (t, s) by T: first, middle and last step, and longer ones. Repeated to equal
# numbers, so that cases of one K share a compilation.
JUMPS = {
    timesteps: np.resize(jumps, (7, 2))
    for timesteps, jumps in {
        1: [(1, 0)],
        2: [(1, 0), (2, 1), (2, 0)],
        8: [(1, 0), (4, 3), (8, 7), (4, 0), (5, 2), (8, 3), (8, 0)],
    }.items()
}


@functools.cache
def schedule_of(name: str, num_codes: int, timesteps: int) -> Schedule:
    return make_schedule(name, num_codes, timesteps)


def one_step_rates(schedule: Schedule, t: int) -> tuple[float, float, float]:
    """alpha_t, beta_t, gamma_t from ratios of cumulative values."""
    alpha = schedule.alpha_bar[t] / schedule.alpha_bar[t - 1]
    unmasked = (1 - schedule.gamma_bar[t]) / (1 - schedule.gamma_bar[t - 1])
    return alpha, (unmasked - alpha) / schedule.num_codes, 1 - unmasked


@functools.cache
def jump_matrix(schedule: Schedule, s: int, t: int) -> np.ndarray:
    """q(x_t | x_s), the product of the one-step matrices of s + 1..t."""
    k = schedule.num_codes
    if s == t:
        return np.eye(k + 1)
    alpha, beta, gamma = one_step_rates(schedule, t)
    step = np.zeros((k + 1, k + 1))
    step[:k, :k] = alpha * np.eye(k) + beta
    step[:k, k] = gamma
    step[k, k] = 1.0  # the mask absorbs
    return jump_matrix(schedule, s, t - 1) @ step


def prior(schedule: Schedule) -> np.ndarray:
    """p(x_T), [K + 1]: M with gamma_bar_T, each code with (1 - gamma_bar_T) / K."""
    k, gamma_bar = schedule.num_codes, schedule.gamma_bar[-1]
    return np.append(np.full(k, (1 - gamma_bar) / k), gamma_bar)


def posterior(schedule: Schedule, t: int, s: int, x_t: int) -> np.ndarray:
    """q(x_s | x_t, x_0) by Bayes, [K, K + 1] with a row for each x_0.

    An unmasked x_t of an absorbing schedule can only be x_0; the rows of all other x_0,
    impossible pairs, carry x_t over, as the software promises.
    """
    k = schedule.num_codes
    if schedule.name in ABSORBING and x_t < k:
        return np.tile(np.eye(k + 1)[x_t], (k, 1))
    joint = jump_matrix(schedule, 0, s)[:k] * jump_matrix(schedule, s, t)[:, x_t]
    return joint / jump_matrix(schedule, 0, t)[:k, x_t, None]


def reachable(schedule: Schedule, t: int) -> list[int]:
    """Every x_t that has positive probability."""
    return np.flatnonzero(jump_matrix(schedule, 0, t)[:-1].sum(0) > 1e-12).tolist()


def kl(q: np.ndarray, p: np.ndarray) -> float:
    """KL(q || p) in nats; where q is 0, p does not matter."""
    on = q > 0
    return float(np.sum(q[on] * (np.log(q[on]) - np.log(p[on]))))


def softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def canvases(num_codes: int, length: int) -> list[tuple[int, ...]]:
    """All (K + 1)^L canvases."""
    return list(itertools.product(range(num_codes + 1), repeat=length))


def chi_squared(counts: np.ndarray, law: np.ndarray) -> float:
    """p-value of observed counts; 0 when something impossible was seen.

    Outcomes that are expected fewer than 5 times count together.
    """
    counts, law = np.ravel(counts), np.ravel(law)
    if counts[law < 1e-12].any():
        return 0.0
    expected = law * counts.sum()
    rare = expected < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    observed, expected = observed[expected > 0.5], expected[expected > 0.5]
    if len(expected) < 2:
        return 1.0
    statistic = np.sum((observed - expected) ** 2 / expected)
    return float(chi2.sf(statistic, len(expected) - 1))
