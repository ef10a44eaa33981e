"""All records that a model is judged on: those of `data.path`, and `eval.others`.

Modalities that never stand together lie in records of their own. Each set of samples is
drawn for the records that its `records` names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cdcd_jax.data.card import Card
from cdcd_jax.data.sources import known_split
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation.sets import DrawnSet
from cdcd_jax.models.decoders import SINGLE
from cdcd_jax.models.model import Trained


class Side(NamedTuple):
    """A model before records, and their card."""

    model: Trained
    card: Card


def sides_of(model: Trained, card: Card) -> dict[str, Side]:
    """By what `records` of a set names them; those of `data.path` are "".

    Args:
        card: of the records of `data.path`.

    Raises:
        UsageError: a modality that the model does not have, or a split that its records
            have not.
        InputError: missing, damaged or unlike records.
    """
    sides = {"": Side(model, card)}
    for name, path in model.config["eval"].get("others", {}).items():
        if name not in model.conditions:
            raise UsageError(
                f"Found eval.others with {name!r}; expected modalities "
                f"({', '.join(model.conditions)}), each with the records whose tokens "
                "are of it; correct it."
            )
        other = model.before(path, name)
        sides[name] = Side(other, other.open_records())
        _ = other.decoders  # made with what made the records
        known_split(
            model.config["eval"]["split"], tuple(sides[name].card.splits), "eval.others"
        )
    return sides


def check_given(sets: Sequence[DrawnSet], sides: Mapping[str, Side]) -> None:
    """Raises UsageError for a set that is given what its records do not hold."""
    for part in sets:
        if part.records not in sides:
            known = [repr(name) for name in sides]
            raise UsageError(
                f"Found eval.sets.{part.name}.records = {part.records!r}; expected one "
                f"of {', '.join(known)}, which eval.others names; correct it"
            )
        model, card = sides[part.records]
        held = {SINGLE, *card.conditions}
        fields = {n: s.get("field", n) for n, s in model.conditions.items()}
        for key in ("given", "swapped"):
            for name in getattr(part, key) or ():
                if fields[name] not in held:
                    raise UsageError(
                        f"Found eval.sets.{part.name}.{key} with {name!r}, which the "
                        f"records {card.directory} do not hold; expected some of "
                        f"{', '.join(n for n, f in fields.items() if f in held)}; "
                        "correct it, or name others with eval.others and the set's "
                        "`records`"
                    )


def told(config: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """By what an evaluation's data are recognised.

    Args:
        data: a card, or a raw source.
    """
    if isinstance(data, Card):
        shards = {
            name: [shard.sha256 for shard in split.shards]
            for name, split in data.splits.items()
        }
        return {"tokenizer": data.tokenizer.get("fingerprint"), "shards": shards}
    return {key: config["data"][key] for key in ("raw", "path", "options")}


def all_told(sides: Mapping[str, Side]) -> dict[str, Any]:
    """The same of all records; of one alone as `told` says it."""
    found = {name: told(*_of(side)) for name, side in sides.items()}
    first = found.pop("")
    return {**first, "others": found} if found else first


def _of(side: Side) -> tuple[Mapping[str, Any], Card]:
    return side.model.config, side.card
