"""Settings that say how a model is computed, not what it is; at any depth."""

from collections.abc import Mapping
from typing import Any


def with_switches(config: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """`config` with these keys changed wherever they stand below `model`.

    Args:
        changes: key -> its value, or a function of the one that stands there. A key
            that stands nowhere is left away; a section of that name is none.
    """

    def changed(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: changed(name, inner) for name, inner in value.items()}
        if key not in changes:
            return value
        change = changes[key]
        return change(value) if callable(change) else change

    return {**config, "model": changed("", config["model"])}


def with_attention(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`config` with this implementation of attention in every network of the model."""
    return with_switches(config, attention=name)
