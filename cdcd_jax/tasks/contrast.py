"""The contrastive objective around a network: which negatives, scored where and how.

The formulas live in `diffusion/`; here the settings `contrastive.*` choose among them.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion import contrastive, negatives, objective
from cdcd_jax.diffusion.schedule import Schedule
from cdcd_jax.diffusion.transition import Transition, one_step_table, sample_x_t
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.partition import by_shard, parts
from cdcd_jax.networks.positions import grid_of, length_of
from cdcd_jax.networks.presence import Drop
from cdcd_jax.tasks.contrast_settings import checked_number, come_with_records
from cdcd_jax.tasks.target import target_of


class Network(NamedTuple):
    """A network in two parts, so that logits need not exist all at once."""

    # (x_t [B, L], t [B], condition, drop) -> features [B, L, D]
    features: Callable[..., jax.Array]
    # (head_params, [B, l, D]) -> logits [B, l, K]
    head: Callable[[Any, jax.Array], jax.Array]
    head_params: Any


class Divergences(NamedTuple):
    """d(z) of N candidates at one time, nats summed over positions, [B, N]."""

    step: jax.Array
    sample: jax.Array

    def level(self, name: str) -> jax.Array:
        """d at `contrastive.level`."""
        return self.step if name == "step" else self.sample


class Contrast:
    """Negatives and contrastive terms under one set of settings.

    Args:
        config: a whole experiment.
        noise: its schedule.

    Raises:
        UsageError, ValueError: settings that contradict each other.
    """

    def __init__(self, config: Mapping[str, Any], noise: Schedule):
        self.settings = config["contrastive"]
        self.grid = grid_of(config["model"]["grid"])
        self.length = length_of(self.grid)
        self.mask_weight = tuple(config["diffusion"]["mask_weight"])
        self.chunk = config["model"]["head_chunk"]
        self.schedule = noise
        self.jumps = one_step_table(noise)
        self.number = checked_number(config)

    @property
    def from_records(self) -> int:
        """Negatives that each example of a batch must bring."""
        return self.number if come_with_records(self.settings) else 0

    @property
    def group(self) -> int:
        """Examples of a batch that are needed together."""
        return self.settings["group"] if self.from_batch else 1

    @property
    def key(self) -> str:
        """The condition that must differ for training to mean something; "" for none.

        Where there are pieces of the example itself too, it need not.
        """
        only = self.from_batch and self.settings["negatives"] == "inter"
        return self.settings["key"] if only and self.settings["weight"] else ""

    @property
    def from_batch(self) -> bool:
        """Whether negatives are found among the examples of a batch."""
        inter = self.settings["negatives"] != "intra"
        return bool(self.number and inter and not self.from_records)

    def negatives(
        self, key: jax.Array, batch: Mapping[str, Any]
    ) -> tuple[jax.Array, jax.Array]:
        """Negatives int32 [B, N, L], and which of them exist, bool [B, N].

        Inter negatives are those that the batch brings, or found among its examples.
        """
        settings, tokens = self.settings, target_of(batch)
        size, number = tokens.shape[0], self.number
        found = [jnp.zeros((size, 0, self.length), jnp.int32)]
        valid = [jnp.zeros((size, 0), bool)]
        key_intra, key_inter = jax.random.split(key)
        if number and settings["negatives"] != "inter":
            chunks = tuple(settings["chunks"])
            found.append(negatives.intra(key_intra, tokens, number, self.grid, chunks))
            valid.append(jnp.ones((size, number), bool))
        if self.from_records:
            found.append(batch["negatives"])
            valid.append(jnp.ones((size, number), bool))
        elif number and settings["negatives"] != "intra":
            name = settings["key"]
            if name not in batch["condition"]:
                raise UsageError(
                    f"Found a batch without the condition {name!r}; expected it, since "
                    f"contrastive.key = {name!r} says by it who is a negative of whom; "
                    "take another key, or negatives 'intra'."
                )
            identity = batch["condition"][name]
            drawn, exists = negatives.inter(
                key_inter, tokens, identity, number, settings["group"]
            )
            found.append(drawn)
            valid.append(exists)
        return jnp.concatenate(found, axis=1), jnp.concatenate(valid, axis=1)

    def scores(
        self,
        network: Network,
        features: jax.Array,
        x_t: jax.Array,
        z: jax.Array,
        tr: Transition,
    ) -> objective.Scores:
        """`objective.scores` of the network's logits, on each device for its tokens.

        Args:
            features: [B, L, D].
            x_t: int32 [B, L].
            z: int32 [B, L, N].
            tr: arrays [B].
        """

        def of_shard(head_params, features, x_t, z, tr):
            head = functools.partial(network.head, head_params)
            return objective.scores_of_features(head, features, x_t, z, tr, self.chunk)

        # filled up, so that every device has as many tokens
        length = x_t.shape[1]
        fill = lambda a: jnp.pad(
            a, [(0, 0), (0, -length % parts("token")), *[(0, 0)] * (a.ndim - 2)]
        )
        token = ("batch", "token")
        found = by_shard(
            of_shard,
            [(), token, token, token, ("batch",)],
            token,
            network.head_params,
            *map(fill, (features, x_t, z)),
            tr,
        )
        return jax.tree.map(lambda a: a[:, :length], found)

    def divergences(
        self,
        network: Network,
        features: jax.Array,
        z: jax.Array,
        x_t: jax.Array,
        t: jax.Array,
        own: int = 1,
    ) -> Divergences:
        """d(z) of z int32 [B, N, L].

        Args:
            network: makes logits of the features.
            features: [B, L, D], under x_t and t.
            own: how many of the first are the sample, which is not capped.
        """
        tr, num_codes = self.jumps.at(t - 1), self.schedule.num_codes
        z = jnp.moveaxis(z, 1, 2)  # [B, L, N]
        score = self.scores(network, features, x_t, z, tr)
        weight = objective.position_weights(x_t, t, num_codes, self.mask_weight)
        weight = weight[..., None]
        cap = None if self.settings["form"] == "infonce" else self.settings["cap"]

        def sums(part: slice, floor: float | None) -> tuple[jax.Array, jax.Array]:
            s = score._replace(log_p=score.log_p[..., part])
            kl = objective.posterior_kl(z[..., part], x_t, s, tr, num_codes, floor)
            log_p = s.log_p if floor is None else jnp.maximum(s.log_p, -floor)
            return jnp.sum(weight * kl, axis=1), jnp.sum(-weight * log_p, axis=1)

        cut = ((slice(0, own), None), (slice(own, z.shape[-1]), cap))
        parts = [sums(*each) for each in cut if each[0].start < each[0].stop]
        levels = zip(*parts, strict=True)
        return Divergences(*(jnp.concatenate(level, axis=-1) for level in levels))

    def scored(
        self,
        network: Network,
        shared: Divergences,
        z: jax.Array,
        x_t: jax.Array,
        t: jax.Array,
        condition: Mapping[str, jax.Array],
        drop: Drop,
        key: jax.Array,
    ) -> jax.Array:
        """d of the sample and its negatives at the chosen level, path and critic.

        Args:
            network: for passes at another x_t or without condition.
            shared: d of all of them at the sample's own x_t.
            z: int32 [B, 1 + N, L], the sample first.
            x_t, t, condition, drop: of the sample.

        Returns:
            [B, 1 + N].
        """
        level, size = self.settings["level"], z.shape[0]
        ratio = self.settings["critic"] == "ratio"
        if self.settings["path"] == "shared":
            d = shared.level(level)
            if not ratio:
                return d
            null = network.features(x_t, t, condition, jnp.ones(size, bool))
            return d - self.divergences(network, null, z, x_t, t).level(level)

        # each negative at its own x_t^j ~ q(x_t | z^j), as rows of a larger batch
        number = z.shape[1] - 1
        rows = z[:, 1:].reshape(size * number, self.length)
        repeat = lambda a: jnp.repeat(a, number, axis=0)
        t_rows = repeat(t)
        condition_rows = jax.tree.map(repeat, dict(condition))
        x_rows = sample_x_t(key, rows, t_rows, self.schedule)

        # what is missing of an example is missing of its negatives; where it has
        # nothing, they do not count
        by_name = isinstance(drop, Mapping)
        kept = jax.tree.map(repeat, drop) if by_name else jnp.full(len(rows), False)

        def others(dropped: Drop) -> jax.Array:
            out = network.features(x_rows, t_rows, condition_rows, dropped)
            d = self.divergences(network, out, rows[:, None, :], x_rows, t_rows, own=0)
            return d.level(level).reshape(size, number)

        own = shared.level(level)[:, :1]
        d = jnp.concatenate([own, others(kept)], axis=1)
        if not ratio:
            return d
        null = network.features(x_t, t, condition, jnp.ones(size, bool))
        own_null = self.divergences(network, null, z[:, :1], x_t, t).level(level)
        without = others(jnp.full(len(rows), True))
        return d - jnp.concatenate([own_null, without], axis=1)

    def term(
        self, d: jax.Array, valid: jax.Array, t: jax.Array, p_t: jax.Array
    ) -> jax.Array:
        """The contrastive term of each example, [B], nats a token of the bound."""
        settings, timesteps = self.settings, self.schedule.timesteps
        scale = 1.0 / (p_t * self.length)
        if settings["form"] == "difference":
            weight = objective.ramp(t, timesteps, settings["ramp"])
            return contrastive.difference(d[:, 1:], valid, weight, scale)
        if settings["form"] == "difference_paper":
            return contrastive.difference_paper(d[:, 0], d[:, 1:], valid, scale)
        return contrastive.infonce(
            d[:, 0],
            d[:, 1:],
            valid,
            settings["temperature"],
            timesteps,
            self.length,
            1.0 / (timesteps * p_t),
        )
