"""Parity with CDCD: every term of the loss, and the task that puts them together.

What is compared, and where it lies, `cdcd_golden` says.
"""

import types

import cdcd_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cdcd_golden import Golden, T
from cdcd_losses import MODES, Mode, loss_terms, settings_of

from cdcd_jax.diffusion import objective
from cdcd_jax.tasks import make_task


@pytest.fixture(scope="module", params=cdcd_golden.NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return cdcd_golden.read(request.param)


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
    said = lambda *args, **kwargs: golden.logits
    task.network = types.SimpleNamespace(apply=said, blurs=False)
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
