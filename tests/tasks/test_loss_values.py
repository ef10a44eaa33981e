"""The loss of a task by brute force: importance of a time, cap, paths, critics.

A network of a table stands in for the real one, so that every term can be made again
from the explicit matrices of `brute_force`, one position of one example at a time.
"""

from typing import Any

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cdcd_jax.diffusion import objective
from cdcd_jax.networks import presence
from cdcd_jax.tasks import conditional, contrast, make_task
from cdcd_jax.tasks.contrast import Network

K, L, T, B, N = 3, 4, 4, 6, 2
CAP, WEIGHT, TEMPERATURE, AUXILIARY = 1.5, 0.7, 0.9, 0.3
MASK_WEIGHT = (1.0, 0.5)
MOMENTS = np.array([1.0, 9.0, 0.25, 30.0])  # E[L_t^2], so that p(t) is far from 1 / T
DRAW = np.random.default_rng(3)
TABLE = DRAW.normal(0, 2, (K + 1, L, K)).astype(np.float32)  # of what stands there
BY_LABEL = DRAW.normal(0, 2, (3, L, K)).astype(np.float32)  # the last is the null
TOKENS = DRAW.integers(0, K, (B, L)).astype(np.int32)
OTHERS = DRAW.integers(0, K, (B, N, L)).astype(np.int32)
LABELS = np.arange(B, dtype=np.int32) % 2


def features(x_t: Any, t: Any, condition: Any, drop: Any) -> jax.Array:
    """Logits, [B, L, K], of a network of two tables and the time."""
    label = jnp.where(drop, 2, condition["label"])
    said = jnp.asarray(TABLE)[x_t, jnp.arange(L)] + jnp.asarray(BY_LABEL)[label]
    return said * (1.0 + t[:, None, None] / T)


def made(monkeypatch: Any, **contrastive: Any) -> tuple[Any, dict[str, list]]:
    """A task with that network, and what it draws on the way."""
    settings = dict(inter_from="records", negatives="inter", num_negatives=N)
    settings |= dict(cap=CAP, weight=WEIGHT, temperature=TEMPERATURE, ramp="rising")
    task = make_task(
        tiny.settings(
            model=dict(num_codes=K, grid=(1, L), condition_dropout=0.4),
            diffusion=dict(
                schedule="vq_diffusion_paper",
                timesteps=T,
                time_sampling="importance",
                auxiliary_weight=AUXILIARY,
                auxiliary_ramp="falling",
                mask_weight=MASK_WEIGHT,
            ),
            sampling=dict(steps=T),
            contrastive={**settings, **contrastive},
        )
    )
    of_tables = Network(features, lambda _, logits: logits, {})
    monkeypatch.setattr(conditional, "bind", lambda *_: of_tables)
    drawn: dict[str, list] = {}

    def watched(where: Any, name: str, kept: str) -> None:
        real = getattr(where, name)

        def call(*args: Any) -> Any:
            drawn.setdefault(kept, []).append(real(*args))
            return drawn[kept][-1]

        monkeypatch.setattr(where, name, call)

    watched(objective, "sample_times", "time")
    watched(conditional, "sample_x_t", "x_t")
    watched(contrast, "sample_x_t", "x_t")
    watched(presence, "drawn_drop", "drop")
    return task, drawn


def divergence(
    schedule: Any, level: str, z: Any, x_t: Any, t: int, label: int, cap: float | None
) -> float:
    """d(z) of one example, nats over its positions."""
    said = (TABLE[x_t, np.arange(L)] + BY_LABEL[label]) * (1.0 + t / T)
    total = 0.0
    for k, j, logits in zip(z, x_t, said, strict=True):
        log_x_0 = np.log(bf.softmax(logits))
        q = bf.posterior(schedule, t, t - 1, j)
        log_p = np.log(np.maximum(bf.softmax(logits) @ q, 1e-300))
        if cap is not None:
            for code in {k, j} - {K}:
                log_p[code] = max(log_p[code], -cap)
        on = q[k] > 0
        step = np.sum(q[k, on] * (np.log(q[k, on]) - log_p[on]))
        nll = -log_x_0[k] if cap is None else min(-log_x_0[k], cap)
        weight = 1.0 if t == 1 else MASK_WEIGHT[0 if j == K else 1]
        total += weight * (step if level == "step" else nll)
    return total


def contrastive_term(form: str, d: np.ndarray, counts: bool, t: int, p: float) -> float:
    """Of one example, from d of it and its negatives."""
    others = d[1:].mean() if counts else 0.0
    if form == "difference":
        return -(1 + (t - 1) / T) / (p * L) * others
    if form == "difference_paper":
        return (d[0] - others) / (p * L)
    advantage = np.exp((d[0] - d[1:]) * T / L / TEMPERATURE) * counts
    return np.log1p(advantage.sum()) / (T * p)


@pytest.mark.parametrize(
    ("form", "level", "path", "critic"),
    [
        ("difference", "step", "shared", "conditional"),
        ("difference", "sample", "parallel", "conditional"),
        ("difference_paper", "sample", "shared", "conditional"),
        ("infonce", "step", "parallel", "ratio"),
        ("infonce", "sample", "shared", "ratio"),
    ],
)
def test_the_loss_is_that_of_explicit_matrices(
    form: str, level: str, path: str, critic: str, monkeypatch: Any
) -> None:
    switches = dict(form=form, level=level, path=path, critic=critic)
    task, drawn = made(monkeypatch, **switches)
    history = objective.TimeHistory(jnp.asarray(MOMENTS), jnp.full(T, 11.0))
    batch = {"tokens": TOKENS, "condition": {"label": LABELS}, "negatives": OTHERS}

    @bf.quick_jit
    def run(key: jax.Array) -> Any:
        drawn.clear()
        loss, metrics, _ = task.loss({}, {"time_history": history}, batch, key, 0)
        return loss, metrics, drawn

    loss, metrics, found = jax.device_get(run(jax.random.key(3)))
    (t, p), drop = found["time"][0], found["drop"][0]
    weight = np.sqrt(MOMENTS)
    weight[0] = weight[1]
    np.testing.assert_allclose(p, (weight / weight.sum())[t - 1], rtol=1e-3)
    assert len(set(t)) > 2 and 0 < drop.sum() < B  # both are of use below

    x_t = found["x_t"][0]
    every = np.concatenate([TOKENS[:, None], OTHERS], axis=1)
    own = np.repeat(x_t[:, None], 1 + N, axis=1)
    if path == "parallel":
        own[:, 1:] = found["x_t"][1].reshape(B, N, L)
    bound, auxiliary, terms, won = [], [], [], []
    for i in range(B):
        label = 2 if drop[i] else LABELS[i]

        def d(j: int, level: str, label: int, i: int = i) -> float:
            capped = j and form != "infonce"
            args = every[i, j], own[i, j], int(t[i]), label
            cap = CAP if capped else None
            return divergence(task.schedule, level, *args, cap)

        scale = 1 / (p[i] * L)
        bound.append(scale * d(0, "step", label))
        ramp = 2 - (t[i] - 1) / T
        auxiliary.append(AUXILIARY * ramp * scale * d(0, "sample", label))
        scores = np.array([d(j, level, label) for j in range(1 + N)])
        if critic == "ratio":
            scores -= [d(j, level, 2) for j in range(1 + N)]
        terms.append(contrastive_term(form, scores, not drop[i], int(t[i]), p[i]))
        won += [] if drop[i] else [scores[0] < scores[1:].min()]
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
    close(metrics["bound"], np.mean(bound))
    close(metrics["auxiliary"], np.mean(auxiliary))
    close(metrics["contrastive"], np.mean(terms))
    close(metrics["nce_accuracy"], np.mean(won))
    close(loss, np.mean(bound) + np.mean(auxiliary) + WEIGHT * np.mean(terms))
