"""What a model of tokens says of held-out batches: the bound's terms, information."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion import objective, schedule
from cdcd_jax.diffusion.transition import sample_x_t
from cdcd_jax.networks.denoiser import ConditionalDenoiser
from cdcd_jax.networks.partition import constrain
from cdcd_jax.tasks import bound as held_out
from cdcd_jax.tasks.contrast import Contrast, Network

Params = Any


def bind(
    network: ConditionalDenoiser,
    params: Params,
    rngs: Mapping[str, jax.Array] | None = None,
) -> Network:
    """A network with its parameters, and streams of random numbers."""
    apply = functools.partial(network.apply, {"params": params})

    def features(x_t, t, condition, drop) -> jax.Array:
        encoded = apply(condition, drop, method="encode", rngs=rngs or {})
        return apply(x_t, t, encoded, method="features")

    def head(head_params, features) -> jax.Array:
        part = {"params": {"network": {"logits": head_params}}}
        return network.apply(part, features, method="head")

    return Network(features, head, params["network"]["logits"])


class TokenTerms:
    """The bound of a split, and the information of conditions in it."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        network: ConditionalDenoiser,
        levels: schedule.Schedule,
        contrast: Contrast,
    ) -> None:
        self._settings, self._network = settings, network
        self._levels, self._contrast = levels, contrast
        self._repeats = settings["eval"]["bound_samples"]
        self._at = jax.jit(self._bound)

    def _bound(self, params, tokens, condition, t, key, null) -> jax.Array:
        """T x the bound's term at time t of each example, nats, [B]."""
        x_t = sample_x_t(key, tokens, t, self._levels)
        drop = jnp.broadcast_to(null, tokens.shape[0])
        network = bind(self._network, params)
        features = network.features(x_t, t, condition, drop)
        tr, z = self._contrast.jumps.at(t - 1), tokens[..., None]
        score = self._contrast.scores(network, features, x_t, z, tr)
        num_codes = self._settings["model"]["num_codes"]
        kl = objective.posterior_kl(z, x_t, score, tr, num_codes)
        return constrain(self._levels.timesteps * jnp.sum(kl, axis=(1, 2)), None)

    def _term(self, params: Params) -> held_out.Term:
        return lambda tokens, condition, t, key, null=False: self._at(
            params, tokens, condition, t, key, null
        )

    def bound(
        self, params: Params, batches: Sequence[Mapping[str, Any]], key: jax.Array
    ) -> held_out.Bound:
        """The bound's terms of batches as the network sees them."""
        times = self._repeats, self._levels.timesteps
        fixed = {"prior": schedule.prior_term(self._levels)}
        return held_out.bound(self._term(params), batches, key, *times, fixed)

    def information(
        self, params: Params, batches: Sequence[Mapping[str, Any]], key: jax.Array
    ) -> dict[str, float]:
        """A bound on the mutual information, where the objective is one.

        With path 'shared' candidates share the positive's noise: no bound.
        """
        settings = self._settings["contrastive"]
        number = settings["num_negatives"]
        if settings["path"] != "parallel" or not settings["weight"] or not number:
            return {}
        return held_out.information(
            self._term(params),
            batches,
            key,
            repeats=self._repeats,
            timesteps=self._levels.timesteps,
            number=number,
            temperature=settings["temperature"],
            ratio=settings["critic"] == "ratio",
        )
