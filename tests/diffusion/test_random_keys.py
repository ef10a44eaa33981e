"""No key is used twice while samples are drawn, and none is left unused."""

from collections.abc import Iterator
from typing import Any

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.process import keys_by_name
from cdcd_jax.diffusion.sampler import SamplingOptions, sample
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.schedule import make_schedule

K, T, B, L = 5, 4, 3, 6
SCHEDULE = make_schedule("vq_diffusion_paper", K, T)
GIVEN = jnp.arange(B * L).reshape(B, L) % K
EDIT = dict(known=(GIVEN, GIVEN > 2), start=(GIVEN, T), shared=True)


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    jax.config.update("jax_debug_key_reuse", True)
    yield
    jax.config.update("jax_debug_key_reuse", False)


def drawn(method: str, rows: int = B, **way: Any) -> Any:
    """A program that draws by logits which say nothing: key -> tokens [rows, L]."""
    options = SamplingOptions(method=method, steps=T)
    logits = lambda x_t, t: jnp.zeros((*x_t.shape, K))
    draw = lambda key: sample(
        logits, SCHEDULE, key, (rows, L), options, layout=(2, 3), **way
    )
    return bf.quick_jit(lambda key: draw(key).tokens)


@pytest.mark.parametrize("method", ["strided", "random", "spread", "first_hitting"])
def test_no_key_is_used_twice_while_editing(method: str) -> None:
    found = drawn(method, **EDIT)(jax.random.key(0))
    assert found.shape == (B, L) and int(found.max()) < K


def test_a_key_that_is_used_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As deep as the noise of a step, in the scan."""
    split = lambda key, num=2: jnp.stack([key] * num)
    monkeypatch.setattr("cdcd_jax.diffusion.samplers.base.jax.random.split", split)
    with pytest.raises(jax.errors.KeyReuseError):
        drawn("random")(jax.random.key(0))


@pytest.mark.parametrize("method", SAMPLERS)
def test_positions_rows_and_names_have_noise_of_their_own(method: str) -> None:
    """Of independent codes 1 / K of any two positions, and of any two rows, agree."""
    draw, share = drawn(method, 500), 1 / K
    keys = keys_by_name(jax.random.key(0), ["a", "b"])
    one, other = (np.asarray(draw(key)) for key in keys.values())
    pairs = [one[:, i] == one[:, j] for i in range(L) for j in range(i)]
    assert abs(np.mean(pairs) - share) < 0.03, "positions"
    assert abs(np.mean(one[1:] == one[:-1]) - share) < 0.03, "rows"
    assert abs(np.mean(one == other) - share) < 0.03, "names"
