"""How x_0 is drawn: a sampler is a file, a line of the table below, and a test.

In reading order: `options` (what a config says of drawing), `base` (what a sampler
decides, and what it is given), `posterior` (ancestral, strided, skip: each position by
itself from p(x_s | x_t)), `remasking` (the same of a chain that masks again),
`unmasking` (what those share that unmask tokens in an order; 'random' is the order at
random), `spread`, `purity`, `confidence`, `first_hitting`, and `times` (the times that
options ask for, checked).

Another sampler is a frozen dataclass derived from `base.Sampler` or from
`unmasking.Unmasking`, under its name in `SAMPLERS`, also from outside of the package:
the table is read when a sampler is asked for.

Those of arrays of numbers have a table of their own, `GAUSSIAN_SAMPLERS`: `ddpm`,
`ddim`. What may be chosen is what the process says, `methods`.
"""

from cdcd_jax.diffusion.samplers.base import Sampler
from cdcd_jax.diffusion.samplers.confidence import Confidence
from cdcd_jax.diffusion.samplers.ddim import DDIM
from cdcd_jax.diffusion.samplers.ddpm import DDPM
from cdcd_jax.diffusion.samplers.first_hitting import FirstHitting
from cdcd_jax.diffusion.samplers.posterior import Ancestral, Skip, Strided
from cdcd_jax.diffusion.samplers.purity import Purity
from cdcd_jax.diffusion.samplers.remasking import Remasking
from cdcd_jax.diffusion.samplers.spread import Spread
from cdcd_jax.diffusion.samplers.unmasking import Random

# `sampling.method` -> the sampler
SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "strided": Strided,
    "skip": Skip,
    "random": Random,
    "spread": Spread,
    "purity": Purity,
    "confidence": Confidence,
    "first_hitting": FirstHitting,
    "remasking": Remasking,
}

# the same of arrays of numbers
GAUSSIAN_SAMPLERS: dict[str, type] = {"ddpm": DDPM, "ddim": DDIM}
