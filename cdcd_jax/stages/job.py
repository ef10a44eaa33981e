"""The job that makes records: what it is, and the directory that is claimed for it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdcd_jax.config.records import check_same, given_vocabulary
from cdcd_jax.data.card import Card
from cdcd_jax.data.vocabulary import FILE_NAME
from cdcd_jax.errors import InputError
from cdcd_jax.reporting.files import write_json
from cdcd_jax.runtime import hosts

JOB_NAME = "pretokenize.json"  # while the records are being made


def made(card: Card) -> dict[str, Any]:
    """The job that a card is of."""
    sums = [spec["sha256"] for spec in card.conditions.values() if "sha256" in spec]
    tables = [split.negatives for split in card.splits.values()]
    given = given_vocabulary(card.config.get("text", {}))
    return {
        "config": card.config,
        "fingerprint": card.tokenizer.get("fingerprint"),
        "vocabulary": sums[0] if given and sums else "",
        "negatives": next((t.given for t in tables if t), ""),
        "represent": {
            name: spec["encoder"]
            for name, spec in card.conditions.items()
            if "encoder" in spec
        },
    }


def claim(workdir: Path, job: Mapping[str, Any]) -> None:
    """Makes the directory, or checks that what was begun there is this job."""
    path = workdir / JOB_NAME
    try:
        begun = json.loads(path.read_text("utf-8"))
        if not any(workdir.glob("*.arrayrecord.json")):
            begun = None  # nothing was made yet, so that nothing is lost
        else:
            check_same(begun, job, workdir, begun=True)
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        begun = None  # none, or damaged: what lies there is of an unknown job
    hosts.wait_for_all("job")
    if hosts.is_main():
        _prepare(workdir, job, fresh=begun is None)
    hosts.wait_for_all("place")


def _prepare(workdir: Path, job: Mapping[str, Any], fresh: bool) -> None:
    """The directory with the job's description, and no shards of an unknown job."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Found {workdir}, which cannot be made a directory ({error}); expected a "
            "place to write records to; choose another work directory."
        ) from error
    for old in _leftovers(workdir) if fresh else ():
        old.unlink()
    write_json(workdir / JOB_NAME, job)


def _leftovers(workdir: Path) -> list[Path]:
    """Files that an unfinished job may leave."""
    patterns = ("*.arrayrecord", "*.arrayrecord.json", "*.arrayrecord.tmp", "*.npy.tmp")
    patterns += (FILE_NAME, f"{FILE_NAME}.tmp")
    return [path for pattern in patterns for path in workdir.glob(pattern)]


def tidy(workdir: Path) -> None:
    """Removes what only unfinished records need."""
    for path in (*workdir.glob("*.arrayrecord.json"), workdir / JOB_NAME):
        path.unlink(missing_ok=True)
