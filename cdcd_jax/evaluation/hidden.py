"""Pixels that are hidden from a model which is to restore them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import UsageError

UNKNOWN = -1  # a token that is not known


@dataclasses.dataclass(frozen=True)
class Hidden:
    """A share of the pixels of a picture, each hidden or not by itself.

    What is hidden at one share is hidden at every larger one, and all samples of a
    record have the same pixels hidden.

    Attributes:
        share: of the pixels, 0 to 1.
        names: of the conditions, all of one picture, that they are hidden in.
        channels: C of a pixel, which is hidden as a whole.
        seed: of the run.
    """

    share: float
    names: tuple[str, ...]
    channels: int
    seed: int

    def of(self, condition: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which pixels are hidden, bool [N, H * W * C], in whole pictures [N, ...].

        Equal pictures one behind the other are samples of one record.
        """
        tokens = condition[self.names[0]]
        places = tokens.shape[1] // self.channels
        changes = np.any(tokens[1:] != tokens[:-1], axis=1)
        record = np.concatenate([[0], np.cumsum(changes)])
        rng = np.random.default_rng(self.seed)
        drawn = rng.random((record[-1] + 1, places)) < self.share
        return np.repeat(drawn[record], self.channels, axis=1)

    def over(self, condition: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The conditions with what is hidden unknown."""
        hidden = self.of(condition)
        masked = {
            name: np.where(hidden, np.int32(UNKNOWN), condition[name])
            for name in self.names
        }
        return {**condition, **masked}


def hidden_of(
    name: str, wish: Mapping[str, Any], conditions: Mapping[str, Any], seed: int
) -> Hidden | None:
    """What the set `name` hides; None where it does not say.

    Args:
        wish: settings of the set; `hidden` is the share.
        conditions: of the task's `describe()`; those that may be unknown in part say
            masked=True and have a `grid`, (H, W) or (H, W, C).

    Raises:
        UsageError: no share, or nothing that can be hidden.
    """
    if "hidden" not in wish:
        return None
    share = wish["hidden"]
    known = not isinstance(share, bool) and isinstance(share, int | float)
    if not known or not 0 <= share <= 1:
        raise UsageError(
            f"Found eval.sets.{name}.hidden = {share!r}; expected a share of the "
            "pixels, 0 to 1; correct it"
        )
    masked = [key for key, spec in conditions.items() if spec.get("masked")]
    names = [key for key in masked if key in wish.get("given", masked)]
    if not names:
        raise UsageError(
            f"Found eval.sets.{name}.hidden = {share} for a set that gets "
            f"{', '.join(wish.get('given', conditions)) or 'nothing'}; expected a "
            f"masked picture ({', '.join(masked) or 'which this model does not take'}) "
            f"in eval.sets.{name}.given; name it, or leave hidden out"
        )
    channels = (*conditions[names[0]]["grid"], 1)[2]
    return Hidden(float(share), tuple(names), channels, seed)
