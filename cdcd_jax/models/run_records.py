"""The identity of the records that a run was begun with, kept in its work directory.

`records.json` is written before the first step, whole or not at all, and stays as it is
once there is a checkpoint. Runs of earlier versions have none and take it up when they
go on.
"""

import sys
from collections.abc import Mapping
from typing import Any

from cdcd_jax.data.card import Card
from cdcd_jax.data.identity import identity, other_meaning, other_records
from cdcd_jax.data.vocabulary import FILE_NAME, Vocabulary
from cdcd_jax.errors import InputError
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts
from cdcd_jax.runtime.checkpoint import newest_step

KEPT = "records.json"


def kept_records(workdir: Any) -> dict[str, Any] | None:
    """The identity that a run keeps; None where it keeps none, or learned nothing yet.

    Raises:
        InputError: the file is damaged.
    """
    path = files.as_path(workdir) / KEPT
    if not path.exists() or newest_step(workdir) is None:
        return None
    kept = files.read_json(path)
    parts = ("digest", "num_codes", "grid", "tokenizer", "conditions", "splits")
    if isinstance(kept, dict) and all(part in kept for part in parts):
        return kept
    raise InputError(
        f"Found a bad {path}; expected the digest of the records that the run there is "
        "of; bring back a copy, or delete it if the records are still the same: it is "
        "made anew when the run goes on."
    )


def check_records(card: Card, workdir: Any) -> dict[str, Any] | None:
    """Refuses to go on with other records than those a run was begun with.

    Returns:
        what the directory keeps of records with the same content; None if there is
        nothing, or no checkpoint that was made with it.

    Raises:
        InputError: the records differ.
    """
    step = newest_step(workdir)
    if step is None:
        return None
    kept = kept_records(workdir)
    found = other_records(kept, identity(card)) if kept else []
    found = found or _other_vocabulary(card, workdir)
    if not found:
        return kept
    anew = ""
    if kept and not other_meaning(kept, identity(card)):
        anew = (
            f", or, where the change is meant and what was learned shall go on, delete "
            f"{files.as_path(workdir) / KEPT}"
        )
    raise InputError(
        f"Found other records in {card.directory} than those that the run in {workdir} "
        f"has learned from in {step} steps; they differ in {'; '.join(found)}. "
        "Expected the same content, wherever it lies: bring those records back (name "
        "their place with --config.data.path=DIR), or begin another run on these with "
        "another --workdir, which may take the parameters along "
        f"(--config.init_from={workdir}){anew}. Nothing was changed."
    )


def _other_vocabulary(card: Card, workdir: Any) -> list[str]:
    """The same of runs of earlier versions, which keep a copy of their vocabulary."""
    own = vocabulary_digest(workdir)
    return [
        f"the vocabulary of {name}"
        for name, spec in card.conditions.items()
        if own and spec.get("file") == FILE_NAME and spec.get("sha256") != own
    ]


def vocabulary_digest(workdir: Any) -> str:
    """sha256 of the trained vocabulary beside a model; "" where there is none."""
    path = files.as_path(workdir) / FILE_NAME
    return Vocabulary.load(path).sha256 if path.exists() else ""


def keep_records(card: Card, workdir: Any, kept: Mapping[str, Any] | None) -> None:
    """Writes the identity of a run's records, unless it is `kept` already."""
    if kept is None and hosts.is_main():
        files.write_json(files.as_path(workdir) / KEPT, identity(card))


def check_meaning(card: Card, workdir: Any) -> None:
    """Refuses records that a trained model cannot be judged on or asked with.

    Raises:
        InputError: their codes, classes or words mean something else than what the
            model has learned.
    """
    kept = kept_records(workdir)
    if kept is None:
        return
    found = other_meaning(kept, identity(card))
    if found:
        raise InputError(
            f"Found records in {card.directory} whose numbers mean something else than "
            f"what the model in {workdir} has learned; they differ in "
            f"{'; '.join(found)}. Expected the same codes, classes and words: name "
            "records that have them with --config.data.path=DIR, or make them again as "
            "they were."
        )
    if (differ := other_records(kept, identity(card))) and hosts.is_main():
        print(
            f"note: {card.directory} holds other records than those that the model in "
            f"{workdir} was trained with: {'; '.join(differ)}",
            file=sys.stderr,
        )
