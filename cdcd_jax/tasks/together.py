"""Several outputs drawn in step, each of which sees what the others show (CoDi).

At every network evaluation all have the same share of their time. A diffuser's law is
one weighted sum of rows, null + g (prompt - null) + s (prompt beside the others -
prompt), so that guidance by prompts and by the environment have scales of their own.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import process, sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.partition import constrain
from cdcd_jax.networks.positions import plane_of
from cdcd_jax.tasks.alignment import Alignment
from cdcd_jax.tasks.drawing import Edit, Row, in_batches, logits_under, weighed


class Wish(NamedTuple):
    """One output of a draw; hashable."""

    name: str
    options: SamplingOptions  # of its sampler
    scale: float  # s, of what the others show


class Together:
    """Draws outputs of aligned diffusers."""

    def __init__(self, alignment: Alignment) -> None:
        self._alignment, self._parts = alignment, alignment.parts
        static = ("batch", "wishes", "shared")
        self._jitted = jax.jit(self.draw, static_argnames=static)

    def check(self, wishes: Sequence[Wish]) -> None:
        """Raises ValueError if these cannot be drawn in step."""
        process.check_in_step({wish.name: self._walk(wish) for wish in wishes})

    def _walk(self, wish: Wish, shared: bool = False) -> process.Walk:
        part = self._parts[wish.name]
        layout = plane_of(part.grid)
        return part.process.walk(wish.options, layout=layout, shared=shared)

    def sample(
        self,
        params: Any,
        condition: Mapping[str, np.ndarray],
        key: jax.Array,
        wishes: Sequence[Wish],
        number: int | None,
        edit: Edit,
        most: int,
    ) -> dict[str, np.ndarray]:
        """Tokens int32 [N, L] by name; see `ConditionalTask.sample`.

        Raises:
            UsageError: an edit that several outputs cannot have.
        """
        if edit._replace(shared=False) != Edit():
            raise UsageError(
                "Found an edit of several outputs that are drawn together; expected "
                "one output; set sampling.outputs to it."
            )

        def draw(condition: Any, key: jax.Array, *edited: Any, batch: int, **how: Any):
            del edited
            asked = dict(batch=batch, wishes=tuple(wishes), shared=how["shared"])
            return self._jitted(params, condition, key, **asked)

        specs = self._parts[wishes[0].name].conditions
        return in_batches(draw, specs, condition, key, number, edit, most)

    def draw(
        self,
        params: Any,
        condition: Mapping[str, jax.Array],
        key: jax.Array,
        *,
        batch: int,
        wishes: tuple[Wish, ...],
        shared: bool,
    ) -> dict[str, jax.Array]:
        """`batch` samples of each output, tokens int32 [B, L] by name.

        Args:
            params: of the whole task.
            condition: vectors of prompts and their weights, [B, ...] by name.
            key: of the noise.
        """
        names = [wish.name for wish in wishes]
        said_of = {
            wish.name: self._law(params, wish, condition, batch) for wish in wishes
        }

        def predict(x_t: dict[str, jax.Array], t: dict[str, jax.Array]) -> dict:
            shown = {
                name: self._alignment.shown(params, name, x_t[name], t[name])
                for name in names
            }
            beside = functools.partial(self._alignment.others, shown)
            return {n: said_of[n](x_t[n], t[n], beside(n)) for n in names}

        drawn = process.draw(
            {wish.name: self._walk(wish, shared) for wish in wishes},
            predict,
            process.keys_by_name(key, names),
            {name: (batch, self._parts[name].length) for name in names},
        )
        # whole on every device, so that every process can read them
        return {name: constrain(x, None, None) for name, x in drawn.x.items()}

    def _law(
        self,
        params: Any,
        wish: Wish,
        condition: Mapping[str, jax.Array],
        batch: int,
    ) -> Any:
        """(x_t, t, environment) -> logits [B, L, K] of one output."""
        part = self._parts[wish.name]
        guided = bool(condition) and wish.options.guidance_scale != 1.0
        base = Row(condition, guided or not condition)
        rows = [base, Row(condition)] if guided else [base]
        rows.append(Row(condition, not condition, environment=True))
        own = params["diffusers"][wish.name]
        said_of = logits_under(part.network, own, rows, part.length, batch)

        def law(x_t: jax.Array, t: jax.Array, environment: jax.Array) -> jax.Array:
            first, *others = said_of(x_t, t, environment)
            weights = [jnp.full(batch, wish.scale)]
            if guided:
                scale = sampler.guidance_at(wish.options, part.schedule, t)
                weights.insert(0, scale - weights[0])
            return weighed(first, zip(others, weights, strict=True))

        return law
