"""The real examples that samples are drawn for, judged by and compared with."""

import collections
import itertools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import one_pass
from cdcd_jax.data.raw_examples import raw_pass
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError
from cdcd_jax.generation.rows import are_labels, every_label, held_out_records, told
from cdcd_jax.models.decoders import SINGLE
from cdcd_jax.models.encoders import encoder_of
from cdcd_jax.models.model import Trained


def conditions_of(model: Trained, card: Card, number: int) -> dict[str, np.ndarray]:
    """Conditions of `number` samples; 'truth', tokens of their records, if any.

    Labels go through all classes; else the rows are held-out records.
    """
    if are_labels(model.conditions):
        return every_label(model.conditions, number)
    rows = held_out_records(model, card, number)
    return {**rows["condition"], "truth": rows["tokens"]}


def known_of(model: Trained, card: Card, number: int) -> dict[str, Any]:
    """What is known beside `number` samples.

    Returns:
        condition, that of `conditions_of`; sample_rate; texts, where there are such;
        of records with vectors that the model draws and somebody judges `encode`,
        tokens int32 [N, L] -> such vectors [N, F]; and of rows of records `truth`:
        condition, and all that the records hold of what the model draws, decoded as
        samples are.

    Raises:
        InputError: the encoder of the vectors is not there any more.
    """
    condition = conditions_of(model, card, number)
    known: dict[str, Any] = {"condition": condition}
    known["sample_rate"] = model.decoders.sample_rate
    for name in model.decoders.outputs if model.config["eval"]["figures"] else ():
        if "encoder" in card.conditions.get(name, {}):
            known["encode"] = encoder_of(card, name).encode
    if "truth" in condition:
        held = _recorded(model, condition.pop("truth"), condition)
        seen = {k: v for k, v in held.items() if k.split("/")[0] != SINGLE}
        known["truth"] = {**known, **seen}
    for texts in told(model, condition).texts.values():
        known["texts"] = list(texts)
    return known


def rows_told_by(condition: Mapping[str, np.ndarray]) -> int:
    """A number by which rows of conditions are recognised."""
    found = 0
    for name in sorted(condition):
        data = np.ascontiguousarray(condition[name]).tobytes()
        found = zlib.crc32(data, zlib.crc32(name.encode(), found))
    return found


def _recorded(
    model: Trained, tokens: np.ndarray, condition: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What records hold of the model's outputs, decoded."""
    fields = {**condition, SINGLE: tokens}
    outputs = model.decoders.outputs
    # an output that is a condition too lies where that one does
    names = {n: model.conditions.get(n, {}).get("field", n) for n in outputs}
    held = {name: fields[of] for name, of in names.items() if of in fields}
    return model.decoders.decode({**held, SINGLE: tokens})


def judged_splits(
    model: Trained, card: Card, batches: dict[str, Any], end: str = ""
) -> dict[str, Any]:
    """The real examples that judges are trained on and compare with, decoded.

    Where these are raw, `batches["samples"]` gets the test split's reconstructions.

    Args:
        batches: of `card`, as `evaluate` of a task takes them.
        end: of the reconstructions' name.
    """
    settings, rate = model.config["eval"], model.decoders.sample_rate
    judged = {"test": batches["test"]}
    raw = settings["judge"] == "raw"
    if not raw and settings["figures"]:
        size = model.config["data"]["batch_size"]
        judged["train"] = list(one_pass(card, "train", size))
    for batch in itertools.chain(*judged.values()):
        batch |= _recorded(model, batch["tokens"], batch["condition"])
    if raw:
        rebuilt = {**joined(batches["test"]), "sample_rate": rate}
        rebuilt = {f"reconstructed{end}": {**rebuilt, "truth": rebuilt}}
        batches["samples"] = collections.ChainMap(rebuilt, batches["samples"])
        names = {"test": settings["split"], "train": "train"}
        names = names if settings["figures"] else {"test": settings["split"]}
        judged = {k: _raw_examples(model, card, part) for k, part in names.items()}
    whole = {name: joined(part) for name, part in judged.items()}
    if not raw:
        for texts in told(model, whole["test"]["condition"]).texts.values():
            whole["test"]["texts"] = list(texts)
    return {name: {**part, "sample_rate": rate} for name, part in whole.items()}


def joined(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Batches end to end."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)


def _raw_examples(model: Trained, card: Card, split: str) -> list[dict[str, Any]]:
    """The plain examples that the records were made of, as a judge takes them.

    Raises:
        InputError: the raw data are not there any more.
    """
    if not card.config:
        raise InputError(
            f"Found records {card.directory} that do not say what they were made of; "
            "expected the raw data for eval.judge = 'raw'; set it to 'records'."
        )
    data, seed = card.config["data"], card.config["seed"]
    source = open_source(data["raw"], data["path"], data["options"], seed)
    kind, part = source.card()["media"]["kind"], source.split(split)
    batches = raw_pass(part, kind, len(part), 256)
    # as what is drawn of it is called
    name = {"image": "images", "video": "videos", "audio": "audio"}[kind]
    name = name if model.stream == SINGLE else model.stream
    return [{name: b[kind], "condition": b["condition"]} for b in batches]
