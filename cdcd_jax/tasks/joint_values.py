"""What of its modalities an example shows: their values, masks, and what is known.

All of it is drawn from a step's key, on the device.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.process import keys_by_name
from cdcd_jax.tasks.modalities import STREAM, Modality


def values_of(
    modalities: Mapping[str, Modality], batch: Mapping[str, Any], key: jax.Array
) -> dict[str, jax.Array]:
    """x_i of a batch by name, [B, ...]; masked pictures with -1 where they are hidden.

    Of each masked picture the share of hidden pixels is drawn, evenly from 0 to 1 and
    in one of eleven all of them, and then each pixel by itself.
    """
    found, keys = {}, keys_by_name(key, modalities)
    for name, one in modalities.items():
        here = batch if one.field == STREAM else batch["condition"]
        x = found[name] = jnp.asarray(here[one.field])
        if one.kind == "masked_image":
            key_share, key_each = jax.random.split(keys[name])
            share = 1.1 * jax.random.uniform(key_share, (len(x), 1))
            hidden = jax.random.uniform(key_each, x.shape) < share
            found[name] = jnp.where(hidden, -1, x)
    return found


def known_subsets(modalities: Mapping[str, Modality]) -> tuple[list[str], int]:
    """What may be known, and how many subsets of it are shown, with the empty one.

    One alone where there is nothing to know beside what is drawn.
    """
    names = [name for name, one in modalities.items() if one.given]
    return names, 2 ** len(names) - (1 if len(names) == len(modalities) else 0)


def drawn_known(
    key: jax.Array, modalities: Mapping[str, Modality], share: float, rows: int
) -> dict[str, jax.Array]:
    """Which modalities of each example are known to the network: bool [B] by name.

    Of a share of the examples some are, every subset of those that may be given as
    likely; never none of them, and never all modalities there are.
    """
    names, subsets = known_subsets(modalities)
    if subsets < 2:
        return dict.fromkeys(names, jnp.zeros(rows, bool))
    key_some, key_which = jax.random.split(key)
    some = jax.random.bernoulli(key_some, share, (rows,))
    which = jax.random.randint(key_which, (rows,), 1, subsets)
    return {n: some & ((which >> i) & 1 == 1) for i, n in enumerate(names)}
