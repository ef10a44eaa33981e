"""A batch of samples of several modalities in one z, some of which may be known.

What is known comes into the draw in one of three ways (`sampling.known`):

    context       the network sees it clean, as a condition: what it was trained for
    guidance      the heads say how likely it is, and z is moved along the gradient of
                  that: eps - s sqrt(1 - alpha_bar_t) grad_z log p(x_known | z_t), as
                  classifier guidance does (Dhariwal and Nichol 2021), with the scale s
                  = `sampling.guidance_scale`
    substitution  its code takes the place of the predicted one in the sum

The last step reads the heads instead of moving z once more.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion import predictions, process
from cdcd_jax.diffusion.aggregation import aggregate, rowwise
from cdcd_jax.diffusion.gaussian import Gaussian
from cdcd_jax.diffusion.predictions import Predicted
from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.networks.joint import JointDenoiser
from cdcd_jax.networks.partition import constrain
from cdcd_jax.tasks.drawing import guided_rows, mixed, said_under, summed
from cdcd_jax.tasks.modalities import STREAM, Modality

KNOWN = ("context", "guidance", "substitution")
Z = "z"  # the name of the walk


@dataclasses.dataclass(frozen=True, eq=False)
class Drawing:
    """What does not change from batch to batch.

    Attributes:
        network: of the modalities.
        gaussian: the process of z.
        modalities: by name.
        primary: the modality that is what the others leave of z, where they are all of
            finitely many codes; else every modality is what its head says.
    """

    network: JointDenoiser
    gaussian: Gaussian
    modalities: Mapping[str, Modality]
    primary: str

    def draw(
        self,
        params: Any,
        condition: Mapping[str, jax.Array],
        key: jax.Array,
        known: tuple[jax.Array, jax.Array] | None = None,
        start: jax.Array | None = None,
        toward: tuple[Mapping[str, jax.Array], jax.Array] | None = None,
        scales: Mapping[str, jax.Array] | None = None,
        *,
        batch: int,
        options: GaussianOptions,
        time: int = 0,
        shared: bool = False,
    ) -> dict[str, jax.Array]:
        """`batch` samples of every modality, [B, ...] by name.

        Args:
            params: of the network.
            condition: what is given, of modalities and of other conditions.
            key: of the noise.
            known, start, toward, scales, time, shared: see `Edit`, of the picture whose
                field is the records' tokens.
            batch: B.
            options: see `GaussianOptions`.
        """
        step = _Step(self, params, condition, known, toward, scales, options, batch)
        begun = None if start is None else (self._begun(step, start), time)
        walk = self.gaussian.walk(options, begun, shared=shared)
        walk, last = walk.without_last()[0], int(walk.times[-1])
        drawn = process.draw(
            {Z: walk},
            lambda z, t: {Z: step.predict(z[Z], t[Z])[0]},
            {Z: key},
            {Z: (batch, *self.network.space)},
        )
        found = self._outputs(step, drawn.x[Z], last)
        # whole on every device, so that every process can read them
        return jax.tree.map(lambda a: constrain(a, *[None] * a.ndim), found)

    def _begun(self, step: "_Step", start: jax.Array) -> dict[str, jax.Array]:
        """Codes of a start: of the picture, of what is given, and 0 of the rest."""
        codes = {**step.codes, self.stream: step.code(self.stream, start)}
        none = jnp.zeros((len(start), *self.network.space))
        return {name: codes.get(name, none) for name in self.modalities}

    def known_pixels(
        self, condition: Mapping[str, jax.Array], known: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """A picture that is known in part, as a masked picture and as known pixels.

        Whichever is given stands for the other: the network is to see what is known,
        and that is to come out as it is.
        """
        masks = [
            name
            for name, one in self.modalities.items()
            if one.kind == "masked_image" and one.field == STREAM and self.stream
        ]
        for name in masks:
            if known is None and name in condition:
                x = condition[name]
                known = jnp.maximum(x, 0), x >= 0
        if known is not None:
            hidden = jnp.where(known[1], known[0], -1)
            condition = {**dict.fromkeys(masks, hidden), **condition}
        return dict(condition), known

    @property
    def stream(self) -> str:
        """The modality that is the records' own tokens; "" for none."""
        of_it = [name for name, one in self.modalities.items() if one.is_stream]
        return of_it[0] if of_it else ""

    def _outputs(self, step: "_Step", z: jax.Array, last: int) -> dict[str, jax.Array]:
        """What is read at the last time that is visited."""
        t = jnp.full(len(z), last)
        predicted, said = step.predict(z, t)
        weights = self.gaussian.weights(t)
        primary = self.primary
        if primary and not self.gaussian.aggregation.weights[primary][last]:
            primary = ""  # it is no part of this z
        found = {}
        for name in self.modalities:
            if name in step.given:
                found[name] = step.given[name]
            elif name in said and name != primary:
                found[name] = step.apply("drawn", name, said[name])
        if primary and primary not in found:
            others = {n: step.code(n, x) for n, x in found.items()} | step.codes
            rest = self.gaussian.read(predicted, z, t).clean - _sum(others, weights)
            rest = rest / rowwise(weights[primary], rest)
            found[primary] = step.apply("drawn", primary, rest)
        if step.pixels is not None:
            tokens, stands = step.pixels
            own = self.stream
            found[own] = jnp.where(stands, tokens, found[own])
        return found


class _Step:
    """One evaluation: the network under what is known, and what z makes of it."""

    def __init__(
        self,
        drawing: Drawing,
        params: Any,
        condition: Mapping[str, jax.Array],
        known: tuple[jax.Array, jax.Array] | None,
        toward: tuple[Mapping[str, jax.Array], jax.Array] | None,
        scales: Mapping[str, jax.Array] | None,
        options: GaussianOptions,
        batch: int,
    ) -> None:
        self.drawing, self.params = drawing, params
        self.how = options.known
        network = drawing.network
        condition, self.pixels = drawing.known_pixels(condition, known)
        self.given = {n: condition[n] for n in drawing.modalities if n in condition}
        self.codes = {n: self.code(n, x) for n, x in self.given.items()}
        for name in self.given if toward is not None else ():
            if name in toward[0]:  # the nearer end, and a code on the way
                end, far = toward[0][name], rowwise(toward[1], self.codes[name])
                way = self.code(name, end) - self.codes[name]
                self.codes[name] = self.codes[name] + far * way
                near = rowwise(toward[1] <= 0.5, end)
                self.given[name] = jnp.where(near, self.given[name], end)
        # how much each says of the others through its head
        scale = lambda n: options.guidance_scale if scales is None else scales.get(n, 0)
        self.slopes = {n: scale(n) for n in self.given if self.how == "guidance"}
        seen = lambda given: {
            name: a
            for name, a in given.items()
            if self.how == "context" or name not in drawing.modalities
        }
        ends = [seen(condition)] + ([] if toward is None else [seen(toward[0])])
        guided = scales is not None or options.guidance_scale != 1.0
        guided = guided and any(ends)  # else the null is all there is
        by_name = seen(scales) if guided and scales is not None else None
        rows = guided_rows(ends, network.conditions, by_name, guided)
        like = jax.ShapeDtypeStruct((batch, *network.space), jnp.float32)
        self.said_of = said_under(network, params, rows, like, "said")
        self.toward = None if toward is None else toward[1]
        self.scales = None
        if guided:
            wanted = [options.guidance_scale] if scales is None else by_name.values()
            self.scales = [jnp.broadcast_to(own, batch) for own in wanted]

    def apply(self, method: str, *args: Any) -> Any:
        """A method of the network."""
        return self.drawing.network.apply({"params": self.params}, *args, method=method)

    def code(self, name: str, x: jax.Array) -> jax.Array:
        """E_i(x_i)."""
        return self.apply("code", name, x)

    def said(self, z: jax.Array, t: jax.Array) -> dict[str, jax.Array]:
        """What the heads say of z, after guidance by conditions."""
        rows = self.said_of(z, t)
        if len(rows) > 1:  # of probabilities, their logarithms are weighed
            rows = [self.apply("normalised", row) for row in rows]
        return mixed(rows, self.toward, self.scales, summed)

    def predict(self, z: jax.Array, t: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        """What the process is told, and what the heads said."""
        if self.slopes:

            def likely(z: jax.Array) -> tuple[jax.Array, Any]:
                said = self.said(z, t)
                nats = [
                    scale * self.apply("nats", name, said[name], self.given[name])
                    for name, scale in self.slopes.items()
                ]
                return -jnp.sum(sum(nats)), said

            slope, said = jax.grad(likely, has_aux=True)(z)
        else:
            slope, said = None, self.said(z, t)
        predicted, gaussian = self.apply("predicted", said), self.drawing.gaussian
        clean, noise, codes = gaussian.read(predicted, z, t)
        level, weights = gaussian.levels.at(t), gaussian.weights(t)
        if codes is not None and self.given:
            codes = {**codes, **self.codes}
        if slope is not None:
            noise = noise - rowwise(level.noise, z) * slope
            clean = predictions.split("noise", noise, z, level)[0]
        elif self.how == "substitution" and self.given:
            clean = aggregate(codes, weights)
        if self.pixels is not None:
            clean = self._standing(clean, codes, weights)
        noise = (z - rowwise(level.signal, z) * clean) / rowwise(level.noise, z)
        values = predictions.join(gaussian.prediction, clean, noise, level)
        return Predicted(values, codes), said

    def _standing(
        self, clean: jax.Array, codes: Any, weights: Mapping[str, jax.Array]
    ) -> jax.Array:
        """z without noise, where pixels are known: they, and what is said of the rest.

        So the known part of a sample stands at every step.
        """
        tokens, stands = self.pixels
        own = self.drawing.stream
        codes = {**(codes or {}), own: self.code(own, tokens)}
        there = self.apply("cut", own, stands)
        return jnp.where(there, aggregate(codes, weights), clean)


def _sum(codes: Mapping[str, jax.Array], weights: Mapping[str, jax.Array]) -> Any:
    """sum_i W^i E_i(x_i) of some modalities; 0 of none."""
    own = {name: weights[name] for name in codes}
    return aggregate(codes, own) if codes else 0.0
