"""What a model of several modalities is trained by, and its bound: on arrays.

    L = ||prediction of z's values||^2 + sum_i lambda_i l_i(head_i(z_t, t), x_i)

with t, noise, what is known and what is left out of z drawn from one key.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.data.fields import condition_of
from cdcd_jax.diffusion import objective
from cdcd_jax.diffusion.gaussian import Gaussian
from cdcd_jax.diffusion.predictions import Predicted
from cdcd_jax.networks import presence
from cdcd_jax.networks.joint import ENCODER, VALUES, JointDenoiser
from cdcd_jax.networks.partition import constrain
from cdcd_jax.networks.prompt_conditioners import NOISE
from cdcd_jax.tasks.joint_values import drawn_known, values_of
from cdcd_jax.tasks.modalities import Modality

Batch = Mapping[str, Any]
Params = Any


@dataclasses.dataclass(frozen=True, eq=False)
class JointObjective:
    """What does not change from step to step.

    Attributes:
        network, gaussian, modalities: of the model.
        own: descriptions of its conditions that are no modalities.
        units: tokens of an example of the records, in which nats are counted.
        known, modality_dropout, condition_dropout: shares, see `config.mt_diffusion`.
    """

    network: JointDenoiser
    gaussian: Gaussian
    modalities: Mapping[str, Modality]
    own: Mapping[str, Mapping[str, Any]]
    units: int
    known: float
    modality_dropout: float
    condition_dropout: float

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch and its parts, scalars.

        A head learns nothing from an example whose modality the network was given.
        """
        keys = jax.random.split(key, 6)
        x = values_of(self.modalities, batch, keys[0])
        size = len(next(iter(x.values())))
        t = objective.stratified_times(keys[1], size, self.gaussian.timesteps)
        known = drawn_known(keys[2], self.modalities, self.known, size)
        codes, gone = self.codes(params, x, keys[3])
        encoded = self._encoded(params, batch, x, known, gone, keys[4])
        apply = functools.partial(self.network.apply, {"params": params})
        z_t = self._noised(keys[5], codes, t)
        said = values = apply(z_t, t, encoded, method="said")
        still = self._stopped(params)
        if still is not params:
            # the same numbers, of which these codes learn nothing
            codes, _ = self.codes(still, x, jax.random.clone(keys[3]))
            z_t = self._noised(jax.random.clone(keys[5]), codes, t)
            again = z_t, t, encoded
            values = self.network.apply({"params": still}, *again, method="said")
        terms = self.gaussian.terms(self._predicted(still, values), codes, z_t, t)
        size_of_z = int(np.prod(z_t.shape[1:]))
        # the bound in nats a token of the records, T times a step as everywhere
        each = self.units if self.gaussian.loss == "bound" else size_of_z
        metrics = {VALUES: jnp.mean(terms.training) / each}
        loss = metrics[VALUES]
        for name, of_head in apply(said, x, method="losses").items():
            learns = jnp.where(known.get(name, False), 0.0, 1.0)
            metrics[f"of_{name}"] = jnp.mean(learns * of_head)
            loss += self.modalities[name].loss_weight * metrics[f"of_{name}"]
        metrics["prior_kl"] = self.gaussian.prior_distance(codes)
        return loss, metrics

    def prior(self, params: Params, batch: Batch) -> jax.Array:
        """How far z at T is from its prior, a mean, in nats a dimension."""
        key = jax.random.key(0)
        x = values_of(self.modalities, batch, key)
        codes, _ = self.codes(params, x, key, dropout=0.0)
        return self.gaussian.prior_distance(codes)

    def _stopped(self, params: Params) -> Params:
        """The same, without a gradient of the codes that heads alone teach."""
        alone = [n for n, one in self.modalities.items() if one.gradient == "stop"]
        names = {ENCODER.format(name) for name in alone} & set(params)
        if not names:
            return params
        return {**params, **{n: jax.lax.stop_gradient(params[n]) for n in names}}

    def codes(
        self,
        params: Params,
        x: Mapping[str, jax.Array],
        key: jax.Array,
        dropout: Any = None,
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """E_i(x_i), [B, L, C] by name, 0 of what is left out of z, and which that is.

        At least one modality is left in.
        """
        apply = functools.partial(self.network.apply, {"params": params})
        codes = {name: apply(name, x[name], method="code") for name in self.modalities}
        rate = self.modality_dropout if dropout is None else dropout
        if not rate:
            return codes, {}
        rows = len(next(iter(codes.values())))
        key_out, key_kept = jax.random.split(key)
        out = jax.random.bernoulli(key_out, rate, (len(codes), rows))
        kept = jax.random.randint(key_kept, (rows,), 0, len(codes))
        out &= kept != jnp.arange(len(codes))[:, None]
        gone = dict(zip(codes, out, strict=True))
        return {
            name: jnp.where(gone[name][:, None, None], 0.0, code)
            for name, code in codes.items()
        }, gone

    def _encoded(
        self,
        params: Params,
        batch: Batch,
        x: Mapping[str, jax.Array],
        known: Mapping[str, jax.Array],
        gone: Mapping[str, jax.Array],
        key: jax.Array | None,
    ) -> Any:
        """What the network is given: conditions, what is known, what is absent."""
        rows, rate = len(next(iter(x.values()))), self.condition_dropout
        given = presence.taken(self.own, condition_of(batch, self.own))
        drop: Any = jnp.zeros(rows, bool)
        blur = {}
        if key is not None:
            # a key that nothing else is drawn from
            blur = {NOISE: jax.random.fold_in(key, 1)} if self.network.blurs else {}
            drop = presence.drawn_drop(key, self.own, given, rate, rows)
        if not isinstance(drop, Mapping):
            drop = dict.fromkeys(self.own, drop)
        seen = [name for name in self.network.conditions if name not in self.own]
        given |= {name: x[name] for name in seen}
        drop |= {name: ~known[name] for name in seen}
        apply = functools.partial(self.network.apply, {"params": params})
        if not drop:
            drop = jnp.zeros(rows, bool)
        encoded = apply(given, drop, method="encode", rngs=blur)
        return apply(encoded, gone, method="told_absent") if gone else encoded

    def _noised(
        self, key: jax.Array, codes: Mapping[str, jax.Array], t: jax.Array
    ) -> jax.Array:
        """z_t of these codes; equal keys make equal noise."""
        return constrain(self.gaussian.noised(key, codes, t), "batch", "length", None)

    def _predicted(self, params: Params, said: Mapping[str, jax.Array]) -> Predicted:
        """What the process is told; of constant weights z's head alone, which is exact.

        Where weights change, how z moves is said by the heads of the modalities.
        """
        if self.gaussian.aggregation.constant:
            return Predicted(said[VALUES], None)
        return self.network.apply({"params": params}, said, method="predicted")

    def bound(
        self, params: Params, batch: Batch, t: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        """The bound's parts at t, nats [B]; `denoising` times T."""
        key_x, key = jax.random.split(key)
        x = values_of(self.modalities, batch, key_x)
        hidden = [n for n, one in self.modalities.items() if not one.is_drawn]
        x |= {name: jnp.full_like(x[name], -1) for name in hidden}
        rows = len(t)
        known = {name: jnp.full(rows, name in hidden) for name in self.modalities}
        codes, _ = self.codes(params, x, key, dropout=0.0)
        encoded = self._encoded(params, batch, x, known, {}, None)
        apply = functools.partial(self.network.apply, {"params": params})
        z_t = self._noised(key, codes, t)
        said = apply(z_t, t, encoded, method="said")
        reading = self.gaussian.read(self._predicted(params, said), z_t, t)
        nats = lambda name: apply(name, said[name], x[name], method="nats")
        first = self.gaussian.primary
        # a head that is not trained tells nothing
        trained = [n for n, one in self.modalities.items() if one.loss_weight]
        others = [nats(n) for n in trained if n not in (first, *hidden)]
        if self.modalities[first].discrete:
            decoded = nats(first)
        else:
            # z's own head, which at t = 1 is far finer than that of the picture
            plain = self.gaussian.read(Predicted(said[VALUES], None), z_t, t)
            decoded = self.gaussian.decoded(plain, codes, t)
        found = dict(
            denoising=self.gaussian.timesteps
            * self.gaussian.denoised(reading, codes, z_t, t),
            reconstruction=decoded,
            others=sum(others, jnp.zeros(rows)),
            prior=self.gaussian.prior_term(codes),
        )
        return {name: constrain(a, None) for name, a in found.items()}
