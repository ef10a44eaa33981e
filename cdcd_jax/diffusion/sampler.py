"""One sampler of codes: from the prior, or from given tokens, back to 0.

Network-agnostic: it takes a function tokens_to_logits(x_t, t). `sample` is the case of
one walk of `process.draw`, the one `lax.scan`, and meant to stand inside one `jit`.
What else there is to drawing, from options to guidance, has its names here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax

from cdcd_jax.diffusion.guidance import guidance_at, guide, truncate
from cdcd_jax.diffusion.mask_replace import MakeNoise, MaskReplace
from cdcd_jax.diffusion.process import draw
from cdcd_jax.diffusion.samplers.base import Noise, gumbel_noise
from cdcd_jax.diffusion.samplers.options import SamplingOptions
from cdcd_jax.diffusion.samplers.times import mask_note, time_grid
from cdcd_jax.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Int, PRNGKeyArray

__all__ = [
    "Noise",
    "Sample",
    "SamplingOptions",
    "TokensToLogits",
    "guidance_at",
    "guide",
    "gumbel_noise",
    "mask_note",
    "sample",
    "time_grid",
    "truncate",
]

# x_t int32 [B, L], t int32 [B] -> logits float [B, L, K]
TokensToLogits = Callable[[jax.Array, jax.Array], jax.Array]
ONE = "tokens"  # the name of the walk


class Sample(NamedTuple):
    """What the sampler returns."""

    tokens: jax.Array  # int32 [B, L], codes only
    canvases: jax.Array | None  # int32 [S, B, L] x_s after each step, or None


def sample(
    tokens_to_logits: TokensToLogits,
    schedule: Schedule,
    key: PRNGKeyArray,
    shape: tuple[int, int],
    options: SamplingOptions,
    *,
    known: tuple[Int[Array, "B L"], Bool[Array, "B L"]] | None = None,
    start: tuple[Int[Array, "B L"], int] | None = None,
    layout: tuple[int, int] | None = None,
    shared: bool = False,
    canvases: bool = False,
    noise: MakeNoise = gumbel_noise,
) -> Sample:
    """Draws x_0 along a grid of times.

    Args:
        tokens_to_logits: of p_theta(x_0 | x_t).
        schedule: noise levels.
        key: random key.
        shape: (B, L).
        options: see `SamplingOptions`.
        known: tokens int32 [B, L] and bool [B, L]; where true, the token stands from
            the first step on and is returned unchanged (completion, inpainting).
        start, layout, shared, noise: see `MaskReplace.walk`.
        canvases: also return every intermediate x_s.

    Raises:
        ValueError: see `time_grid`.
    """
    walk = MaskReplace(schedule).walk(
        options, start, layout=layout, shared=shared, noise=noise
    )
    drawn = draw(
        {ONE: walk},
        lambda x_t, t: {ONE: tokens_to_logits(x_t[ONE], t[ONE])},
        {ONE: key},
        {ONE: shape},
        known=None if known is None else {ONE: known},
        canvases=canvases,
    )
    return Sample(drawn.x[ONE], drawn.canvases and drawn.canvases[ONE])
