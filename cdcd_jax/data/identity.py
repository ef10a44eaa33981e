"""Which records these are, told by what they hold and never by where they lie.

A run keeps the identity of the records that it began with, and goes on with the same
ones alone: a network has learned what class 3 and token 17 mean there.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cdcd_jax.data.card import Card

# What a condition's numbers mean; what else is said of one follows from the shards.
_MEANING = (
    *("kind", "num_classes", "names", "vocabulary", "num_tokens", "sha256"),
    *("levels", "grid", "encoder", "mean_by"),
)
_SHOWN = 3  # classes that a message names


def identity(card: Card) -> dict[str, Any]:
    """The records of a card, as JSON has them.

    Returns:
      name, num_codes and grid; `tokenizer`, its fingerprint; `conditions`, what their
      numbers mean; `splits`, of each the number of records and the sha256 of all of its
      shards' and of its negatives'; and `digest`, the sha256 of all this but the name.
    """
    parts = {
        "num_codes": card.num_codes,
        "grid": list(card.grid),
        "tokenizer": card.tokenizer.get("fingerprint"),
        "conditions": {
            name: {key: spec[key] for key in _MEANING if key in spec}
            for name, spec in card.conditions.items()
        },
        "splits": {
            name: {
                "num_records": split.num_records,
                "shards": _sha256([shard.sha256 for shard in split.shards]),
                "negatives": split.negatives.sha256 if split.negatives else None,
            }
            for name, split in card.splits.items()
        },
    }
    found = {"name": card.name, "digest": _sha256(parts), **parts}
    return json.loads(json.dumps(found))


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def other_meaning(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What the new records' numbers mean otherwise: codes, classes, words, vectors.

    Args:
      old, new: of `identity`. A condition that only one has is no difference here.
    """
    found = [
        f"{key} ({old[key]} there, {new[key]} now)"
        for key in ("num_codes", "grid", "tokenizer")
        if old[key] != new[key]
    ]
    for name in sorted(set(old["conditions"]) & set(new["conditions"])):
        was, now = old["conditions"][name], new["conditions"][name]
        for key in _MEANING:
            one, other = was.get(key), now.get(key)
            if one == other:
                continue
            if key == "names" and one and other:
                found.append(_classes(name, one, other))
            else:
                found.append(f"{key} of {name} ({one} there, {other} now)")
    return found


def other_records(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """All that differs between two identities, what weighs most first."""
    if old["digest"] == new["digest"]:
        return []
    found = other_meaning(old, new)
    for part in ("conditions", "splits"):
        one, other = sorted(old[part]), sorted(new[part])
        if one != other:
            found.append(f"{part} ({', '.join(one)} there, {', '.join(other)} now)")
    for name in sorted(set(old["splits"]) & set(new["splits"])):
        was, now = old["splits"][name], new["splits"][name]
        if was["num_records"] != now["num_records"]:
            was, now = was["num_records"], now["num_records"]
            found.append(f"the split {name} ({was} records there, {now} now)")
        elif was["shards"] != now["shards"]:
            found.append(f"what the {now['num_records']} records of {name} hold")
        elif was["negatives"] != now["negatives"]:
            found.append(f"the table of negatives of {name}")
    return found


def _classes(name: str, old: list[str], new: list[str]) -> str:
    """The first classes of another name; their order is their numbers."""
    both = enumerate(zip(old, new, strict=False))
    pairs = [(i, was, now) for i, (was, now) in both if was != now]
    told = [f"{i} was {was!r} and is {now!r}" for i, was, now in pairs[:_SHOWN]]
    if len(pairs) > _SHOWN:
        told.append(f"and {len(pairs) - _SHOWN} more")
    if len(old) != len(new):
        told.append(f"{len(old)} names there, {len(new)} now")
    return f"classes of {name} ({', '.join(told)})"
