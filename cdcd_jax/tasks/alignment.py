"""Diffusers that see each other's states: how they learn to, in pairs (CoDi, stage 3).

Of an example of two modalities both are noised to the same share u of their times. An
encoder of each (`networks.environment`) shows what it sees of its own x_t, and the
diffuser of the *other* one sees that, by an attention of each block and by the vector
that scales all of them. Diffusers and prompts stay as they are, but for these: with the
encoders they alone are trained, by the diffusers' own losses and by a contrast of what
each shows with the mean prompt of the example. (Tang et al., NeurIPS 2023, section 3.4,
who contrast what both show with each other. Two encoders that know the time can agree
on that alone; prompts do not know it, and they lie in one space before the first step,
those of modalities which were never paired too. In the paper's code each diffuser sees
what it shows itself, which tells it nothing.)
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.contrastive import symmetric_infonce
from cdcd_jax.diffusion.objective import stratified_times
from cdcd_jax.diffusion.process import keys_by_name
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.encoded import Environment
from cdcd_jax.networks.environment import EnvironmentEncoder
from cdcd_jax.networks.presence import drawn_drop
from cdcd_jax.networks.towers import unit

_FINE = 2**16  # shares u of a time
# By what a diffuser sees an environment, as the network calls it: an attention of each
# block, and what adds it to the vector of all blocks.
_WAYS = dict(attention="attn3", vector="environment")


class Alignment:
    """The encoders of what diffusers show, and the loss by which they learn.

    Attributes:
        encoders: modality -> `EnvironmentEncoder`; {} of a model without.
        trained: modalities whose encoder and attention are trained.

    Raises:
        UsageError: settings that contradict each other.
    """

    def __init__(self, config: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        own = config["model"]["environment"]
        self.settings, self.parts = own, parts
        self.trained = tuple(own["trained"])
        self.encoders: dict[str, EnvironmentEncoder] = {}
        if not own["size"]:
            if self.trained:
                raise UsageError(
                    f"Found model.environment.trained = {self.trained} with "
                    "model.environment.size = 0; expected a number of features, by "
                    "which diffusers see each other; set it, or train none."
                )
            return
        self._check(config["model"]["features"])
        for name, part in parts.items():
            self.encoders[name] = EnvironmentEncoder(
                num_codes=part.num_codes,
                grid=part.grid,
                timesteps=part.process.timesteps,
                features=own["size"],
                **{k: own[k] for k in ("slots", "width", "depth", "heads")},
            )

    def _check(self, features: int) -> None:
        """Raises UsageError for diffusers that cannot see each other."""
        if self.settings["size"] != features:
            raise UsageError(
                f"Found model.environment.size = {self.settings['size']}; expected "
                f"model.features = {features}, since what diffusers show lies in the "
                "space of prompts; set one to the other."
            )
        for name, part in self.parts.items():
            found = part.settings["model"].get("environment", 0)
            if found != self.settings["size"]:
                raise UsageError(
                    f"Found model.diffusers.{name} of task {part.settings['task']!r} "
                    f"with an environment of {found} features; expected "
                    f"{self.settings['size']}, as model.environment.size says, "
                    "of task 'conditional', which alone has one; set "
                    f"model.diffusers.{name}.model.environment, also where it was "
                    "trained."
                )
        for key, known in (("trained", self.parts), ("ways", _WAYS)):
            unknown = [name for name in self.settings[key] if name not in known]
            if unknown:
                raise UsageError(
                    f"Found model.environment.{key} with {unknown[0]!r}; expected some "
                    f"of {', '.join(known)}; correct it."
                )
        if self.trained and not self.settings["ways"]:
            raise UsageError(
                "Found model.environment.ways = () with model.environment.trained = "
                f"{self.trained}; expected one or more of {', '.join(_WAYS)}, by which "
                "diffusers see each other; name some, or train none."
            )

    @property
    def given(self) -> list[str]:
        """The modalities whose encoders come from elsewhere."""
        return [name for name in self.encoders if name not in self.trained]

    def labels(self, params: Any) -> dict[str, str]:
        """By path, what is trained: see `labels_by_prefix`."""
        found = {f"environments/{name}": "train" for name in self.trained}
        for name, way in itertools.product(self.trained, self.settings["ways"]):
            for part, own in params["diffusers"][name]["network"].items():
                path = f"diffusers/{name}/network/{part}"
                if part == _WAYS[way]:
                    found[path] = "train"
                elif part.startswith("blocks") and _WAYS[way] in own:
                    found[f"{path}/{_WAYS[way]}"] = "train"
        return found

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Parameters of the encoders, by modality."""
        keys = keys_by_name(key, self.encoders)
        return {
            name: encoder.init(
                keys[name],
                jnp.zeros((1, self.parts[name].length), jnp.int32),
                jnp.ones(1, jnp.int32),
            )["params"]
            for name, encoder in self.encoders.items()
        }

    def shown(self, params: Any, name: str, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Slots [B, S, E] of a state int32 [B, L] at t int32 [B]."""
        own = {"params": params["environments"][name]}
        return self.encoders[name].apply(own, x_t, t)

    def others(self, shown: Mapping[str, jax.Array], name: str) -> jax.Array:
        """What the diffuser of `name` sees: the mean of what all others show.

        Its numbers are of the size of 1, as those that a network takes are.
        """
        seen = [slots for other, slots in shown.items() if other != name]
        mean = sum(seen[1:], start=seen[0]) / len(seen)
        return mean * math.sqrt(mean.shape[-1])

    def loss(
        self,
        params: Any,
        x_0: Mapping[str, jax.Array],
        vectors: Mapping[str, jax.Array],
        key: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The losses of the diffusers beside each other, and the contrast.

        Args:
            params: of the whole task.
            x_0: tokens int32 [B, L] by modality, of two or more.
            vectors: prompts [B, F] by modality, of the same examples.

        Returns:
            scalar loss, metrics (scalars).
        """
        size = len(next(iter(x_0.values())))
        key_u, key_drop, key_x = jax.random.split(key, 3)
        u = stratified_times(key_u, size, _FINE) / _FINE
        keys = keys_by_name(key_x, x_0)
        x_t, t, shown = {}, {}, {}
        for name, x in x_0.items():
            process = self.parts[name].process
            t[name] = jnp.ceil(u * process.timesteps).astype(jnp.int32)
            x_t[name] = process.noised(keys[name], x, t[name])
            shown[name] = self.shown(params, name, x_t[name], t[name])
        metrics = {}
        for name, x in x_0.items():
            part, own = self.parts[name], params["diffusers"][name]
            given = key_drop, part.conditions, vectors, self.settings["prompt_dropout"]
            drop = drawn_drop(*given, size)
            apply = lambda *args, method, own=own, part=part: part.network.apply(
                {"params": own}, *args, method=method
            )
            encoded = apply(vectors, drop, method="encode")
            beside = Environment(self.others(shown, name))
            said = apply(x_t[name], t[name], encoded, beside, method="denoise")
            terms = part.process.terms(said, x, x_t[name], t[name])
            metrics[name] = jnp.mean(terms.training) / part.length
        metrics["contrast"] = self._contrast(x_0, shown, vectors)
        loss = sum(metrics[name] for name in x_0)
        return loss + self.settings["contrast"] * metrics["contrast"], metrics

    def _contrast(
        self,
        x_0: Mapping[str, jax.Array],
        shown: Mapping[str, jax.Array],
        vectors: Mapping[str, jax.Array],
    ) -> jax.Array:
        """InfoNCE of each slot and the mean prompt of its example, and their distance.

        The contrast alone would let what one modality shows lie beside what another
        does, since it asks for no more than that its own prompt is the nearest.
        """
        scale = 1 / self.settings["temperature"]
        meant = unit(sum(vectors[name] for name in x_0))
        terms = []
        for name, slots in shown.items():
            same = _equal(x_0[name])  # of the very same nothing else can be shown
            for i in range(slots.shape[1]):
                slot = slots[:, i]
                found = symmetric_infonce(slot, meant, scale, same)
                apart = scale * (1 - jnp.sum(slot * meant, axis=-1))
                terms.append(jnp.mean(found + apart))
        return jnp.mean(jnp.stack(terms))


def _equal(x: jax.Array) -> jax.Array:
    """Which examples [B, L] are the very same, bool [B, B]."""
    return jnp.all(x[:, None] == x[None], axis=-1)
