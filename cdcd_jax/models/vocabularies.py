"""The vocabulary of a trained model: beside it, or with its records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdcd_jax.data import bpe
from cdcd_jax.data.card import Card
from cdcd_jax.data.vocabulary import FILE_NAME, Vocabulary, open_vocabulary
from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts

TEXTS = ("text", "clip_text")  # kinds of conditions that are texts


def open_texts(
    name: str, spec: Mapping[str, Any], card: Card | None, workdir: Any
) -> Any:
    """What encodes and decodes texts of a modality: a vocabulary, or `data.bpe`.

    The work directory's file goes before the records; CLIP needs neither.

    Raises:
        InputError: nothing says which vocabulary it is, or the file is unusable.
    """
    if spec["kind"] == "clip_text":
        return bpe
    if workdir is not None and (files.as_path(workdir) / FILE_NAME).exists():
        return Vocabulary.load(files.as_path(workdir) / FILE_NAME)
    told = card.conditions.get(name, {}) if card else {}
    if told.get("vocabulary"):
        return open_vocabulary(told, card.directory)
    if spec["vocabulary"] == bpe.NUM_TOKENS:
        return bpe
    raise InputError(
        f"Found no vocabulary for --condition.{name}; expected {workdir}/{FILE_NAME}, "
        "which training puts there, or the records that data.path names; copy that "
        "file there, or set --config.data.path"
    )


def keep_vocabulary(data: Any, workdir: Path) -> None:
    """Copies the vocabulary of records, if they have one, beside the model.

    Args:
        data: the card of the records; of raw data, nothing is copied.
    """
    for spec in data.conditions.values() if isinstance(data, Card) else ():
        if spec.get("file") == FILE_NAME and hosts.is_main():
            open_vocabulary(spec, data.directory).save(workdir / FILE_NAME)
