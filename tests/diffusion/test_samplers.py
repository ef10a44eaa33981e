"""The table of samplers: what each reads, and how somebody adds one of their own."""

import dataclasses
import json

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.config import defaults
from cdcd_jax.diffusion import grids, guidance
from cdcd_jax.diffusion.sampler import SamplingOptions, sample, time_grid
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.samplers.base import built
from cdcd_jax.diffusion.samplers.unmasking import Unmasking
from cdcd_jax.diffusion.schedule import CURVES, make_schedule

B, K, L, T = 3, 4, 6, 8


def flat(x_t: jax.Array, t: jax.Array) -> jax.Array:
    """Logits that say nothing."""
    return jnp.zeros((*x_t.shape, K))


@dataclasses.dataclass(frozen=True)
class FromOneEnd(Unmasking):
    """The first masked tokens of a row come first, or the last."""

    first: bool = True

    def ranked(self, log_p, tokens, order, share) -> jax.Array:
        """See `Unmasking.ranked`."""
        place = jnp.broadcast_to(jnp.arange(float(L)), tokens.shape)
        return -place if self.first else place


@pytest.mark.parametrize("first", [True, False])
def test_a_sampler_from_outside(monkeypatch, first: bool) -> None:
    """A class and a line; its name is one that options, errors and grids know."""
    monkeypatch.setitem(SAMPLERS, "one_end", FromOneEnd)

    @dataclasses.dataclass(frozen=True)
    class Options(SamplingOptions):
        first: bool = True

    options = Options.of({"method": "one_end", "steps": 3}, first=first)
    levels = bf.schedule_of("absorbing_linear", K, T)
    run = lambda key: sample(flat, levels, key, (B, L), options, canvases=True)
    canvases = np.asarray(jax.jit(run)(jax.random.key(0)).canvases)
    shown = (canvases < K).all(1)
    hidden = [shown[i] if first else shown[i][::-1] for i in range(3)]
    for row, number in zip(hidden, (2, 4, 6), strict=True):
        np.testing.assert_array_equal(row, np.arange(L) < number)
    with pytest.raises(ValueError, match="remasking, one_end"):
        time_grid(SamplingOptions("other_end"), levels)
    with pytest.raises(ValueError, match="goes by masks"):
        time_grid(options, bf.schedule_of("uniform", K, T))


def test_a_grid_a_guidance_and_a_schedule_from_outside(monkeypatch) -> None:
    early = lambda share, start, steps: np.append(start - np.arange(steps), 0)
    monkeypatch.setitem(grids.GRIDS, "early", early)
    monkeypatch.setitem(guidance.GUIDANCE, "squared", lambda share: share**2)
    line = lambda timesteps: (
        1.0 - np.arange(1, timesteps + 1) / timesteps,
        np.zeros(timesteps),
    )
    monkeypatch.setitem(CURVES, "line", line)
    levels = make_schedule("line", K, T)
    options = SamplingOptions(
        "random", 3, grid="early", guidance_schedule="squared", guidance_scale=3.0
    )
    np.testing.assert_array_equal(time_grid(options, levels), [8, 7, 6, 0])
    scale = guidance.guidance_at(options, levels, jnp.array([8, 4, 0]))
    np.testing.assert_allclose(scale, [3.0, 1.5, 1.0])
    drawn = sample(flat, levels, jax.random.key(0), (B, L), options)
    assert int(drawn.tokens.max()) < K
    with pytest.raises(ValueError, match="absorbing_cosine, uniform, line"):
        make_schedule("other", K, T)


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_sampler_has_the_options_that_it_reads(method: str) -> None:
    """Frozen and hashable; their defaults are those of the config."""
    own = {"confidence": ["order_temperature"], "purity": ["purity_weight"]}
    own["remasking"] = ["remask"]
    fields = dataclasses.fields(SAMPLERS[method])
    assert [field.name for field in fields] == own.get(method, [])
    settings = defaults()["sampling"]
    for field in fields:
        assert field.default == settings[field.name]
        options = SamplingOptions.of(settings, method=method, **{field.name: 0.25})
        assert getattr(built(SAMPLERS[method], options), field.name) == 0.25
    sampler = built(SAMPLERS[method], SamplingOptions())
    assert hash(sampler) == hash(SAMPLERS[method]())
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.anything = 1


def test_options_are_the_flat_section_of_the_config() -> None:
    """What stands in the settings of drawn parts, which outlive an update."""
    options = SamplingOptions.of(defaults()["sampling"], steps=7)
    assert hash(options) == hash(SamplingOptions(steps=7))
    assert json.loads(json.dumps(options.told())) == {
        "method": "strided",
        "steps": 7,
        "grid": "uniform",
        "times": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "guidance_scale": 1.0,
        "guidance_schedule": "constant",
        "order_temperature": 1.0,
        "purity_weight": 0.0,
        "remask": 0.1,
    }
