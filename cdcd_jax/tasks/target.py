"""What of a batch a model of tokens learns to draw."""

from collections.abc import Mapping
from typing import Any


def target_of(batch: Mapping[str, Any]) -> Any:
    """x_0 of the examples of a batch, int32 [B, L]."""
    return batch["tokens"]
