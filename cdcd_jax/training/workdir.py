"""A work directory belongs to one config: it is claimed before training starts."""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cdcd_jax.config import differences, joined, moved_along, with_defaults
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts
from cdcd_jax.training.optimizer import learning_rate


def claim_workdir(
    config: Mapping[str, Any], workdir: pathlib.Path, moved: Sequence[str] = ()
) -> None:
    """Writes `config.json`, or checks that the run there is this one.

    The settings of a run that never saved anything are replaced, and those of one that
    only joins parts of other runs by those of another such one.

    Args:
        config: a whole experiment.
        workdir: the run's.
        moved: keys that may differ beside those of any run that goes on: paths of what
            was found to hold the same.

    Raises:
        UsageError: the directory holds the run of another config.
    """
    path = workdir / "config.json"
    text = path.read_bytes() if path.exists() else b""
    # a machine that went down may leave it empty
    if text.strip(b"\0 \n") or (path.exists() and has_begun(workdir)):
        try:
            old = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"Found a bad {path} ({error}); expected the settings of that run; "
                "bring back a copy, or choose another --workdir."
            ) from error
        # as json has it: tuples are lists there
        new = json.loads(json.dumps(config))
        # the stages that it names may have moved with it
        whole = moved_along(with_defaults(old), new, str(workdir.parent))
        found = differences(whole, new, also=moved)
        kept = has_begun(workdir) and not (joined(whole) and joined(new))
        if found and (kept or not {"task", "optim"} <= set(old)):
            raise UsageError(
                f"{workdir} holds a run of another config, which differs in "
                f"{'; '.join(found)}. Choose another --workdir, or the same settings "
                "to continue that run; nothing was changed"
            )
        if not found and "optim" in old:
            _tell_rate(whole["optim"], config["optim"], workdir)
        if found and hosts.is_main():
            what = "joined other parts" if has_begun(workdir) else "saved no checkpoint"
            print(
                f"{workdir} holds the settings of a run that {what}; "
                f"they are replaced: {'; '.join(found)}",
                file=sys.stderr,
            )
    hosts.wait_for_all("config")
    if hosts.is_main():
        workdir.mkdir(parents=True, exist_ok=True)
        files.write_json(path, config)


def _tell_rate(
    old: Mapping[str, Any], new: Mapping[str, Any], workdir: pathlib.Path
) -> None:
    """Says it where a run that goes on would jump to another learning rate."""
    step = max(_steps(workdir), default=0)
    before, after = (float(learning_rate(optim)(step)) for optim in (old, new))
    if step and abs(after - before) > 1e-3 * new["learning_rate"]:
        hosts.say(
            f"the learning rate jumps from {before:.2g} to {after:.2g} after step "
            f"{step}, since its {new['schedule']} is stretched from {old['num_steps']} "
            f"to {new['num_steps']} steps. Without a jump: the final optim.num_steps "
            "from the beginning, optim.schedule=constant, or another --workdir with "
            f"--config.init_from={workdir}"
        )


def _steps(workdir: pathlib.Path) -> list[int]:
    """Of the checkpoints that are there, sound or damaged."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    numbers = [n.partition(".")[0] for n in names if "-tmp" not in n]
    return [int(number) for number in numbers if number.isdigit()]


def has_begun(workdir: pathlib.Path) -> bool:
    """Whether a run has saved something there, sound or damaged, that may be used."""
    return bool(_steps(workdir))
