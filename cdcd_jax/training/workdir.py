"""A work directory belongs to one config: it is claimed before training starts."""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cdcd_jax.config import differences, with_defaults
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts


def claim_workdir(
    config: Mapping[str, Any], workdir: pathlib.Path, moved: Sequence[str] = ()
) -> None:
    """Writes `config.json`, or checks that the run there is this one.

    The settings of a run that never saved anything are replaced.

    Args:
        config: a whole experiment.
        workdir: the run's.
        moved: keys that may differ beside those of any run that goes on: paths of what
            was found to hold the same.

    Raises:
        UsageError: the directory holds the run of another config.
    """
    path = workdir / "config.json"
    if path.exists():
        try:
            old = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"Found a bad {path} ({error}); expected the settings of that run; "
                "bring back a copy, or choose another --workdir."
            ) from error
        # as json has it: tuples are lists there
        new = json.loads(json.dumps(config))
        found = differences(with_defaults(old), new, also=moved)
        if found and (has_begun(workdir) or not {"task", "optim"} <= set(old)):
            raise UsageError(
                f"{workdir} holds a run of another config, which differs in "
                f"{'; '.join(found)}. Choose another --workdir, or the same settings "
                "to continue that run; nothing was changed"
            )
        if found and hosts.is_main():
            print(
                f"{workdir} holds the settings of a run that saved no checkpoint; "
                f"they are replaced: {'; '.join(found)}",
                file=sys.stderr,
            )
    hosts.wait_for_all("config")
    if hosts.is_main():
        workdir.mkdir(parents=True, exist_ok=True)
        files.write_json(path, config)


def has_begun(workdir: pathlib.Path) -> bool:
    """Whether a run has saved something there, sound or damaged, that may be used."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return any(
        name.partition(".")[0].isdigit() and "-tmp" not in name for name in names
    )
