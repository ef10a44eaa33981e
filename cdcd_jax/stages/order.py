"""Stages of a config: which run for a mode, and what to do about those that do not."""

import pathlib
from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import Config, resolve_stages, stage_of
from cdcd_jax.config.files import config_of, default_workdir
from cdcd_jax.data.card import CARD_NAME
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import SAVED
from cdcd_jax.models.tokenizers import check_config
from cdcd_jax.reporting import files


def todo(
    config: Config,
    mode: str,
    workdir: pathlib.Path,
    given: str = "",
    stage: str = "",
) -> Mapping[str, Any]:
    """The stages to run before `mode`: name -> settings, what is named @first first.

    Evaluation makes none.

    Args:
        given: what --config named, for advice.
        stage: of --stage: this one and what it needs, "" for all.

    Raises:
        UsageError: `pretokenize` of a config without records to make, or no such stage.
        InputError: a stage that this mode does not make is needed and missing.
    """
    stages = in_order(config["stages"])
    if stage:
        if stage not in stages:
            raise UsageError(
                f"Found --stage={stage}; expected a stage of this config "
                f"({', '.join(stages) or 'it has none'}); name one of them"
            )
        return {name: stages[name] for name in _before(stages, stage)}
    if mode in ("generate", "export", "plan", "inspect"):
        return {}
    if mode == "pretokenize":
        # records, and what they are made with
        chosen = [name for name, stage in stages.items() if stage["mode"] == mode]
        if not chosen:
            raise UsageError("this config has no stage that makes records: add one")
        needed = [before for name in chosen for before in _before(stages, name)]
        return {name: stages[name] for name in stages if name in needed}
    if config["data"]["synthetic"]:
        return {}
    used = [config["data"], config.get("tokenizer")]
    for name, stage in stages.items():
        if stage.get("on_request") and config["data"]["path"] == f"@{name}":
            _check_made(name, stage, workdir, given)
        elif mode == "evaluate" and any(_names(part, f"@{name}") for part in used):
            _check_kept(name, stage, workdir)
    if mode == "evaluate":
        return {}
    return {k: v for k, v in stages.items() if not v.get("on_request")}


def in_order(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Each stage after those that it names as @<stage>.

    A ConfigDict sorts its keys, so that the order in a config file is lost.

    Raises:
        UsageError: no stages, or such that name each other in a circle.
    """
    ordered: dict[str, Any] = {}
    for name, stage in stages.items():
        mode = stage.get("mode") if isinstance(stage, Mapping) else stage
        if mode not in ("train", "pretokenize"):
            raise UsageError(
                f"config key 'stages.{name}' is no stage: found mode {mode!r}, "
                "expected settings with mode = 'train' or 'pretokenize'"
            )
    for name in stages:
        for before in _before(stages, name):
            ordered[before] = stages[before]
    return ordered


def _before(
    stages: Mapping[str, Any], name: str, above: tuple[str, ...] = ()
) -> list[str]:
    """A stage and all that it needs, first things first."""
    if name in above:
        raise UsageError(
            f"the stages {' -> '.join((*above, name))} name each other in a circle: "
            "remove one of the @ paths"
        )
    found = []
    for other in stages:
        if other != name and _names(stages[name], f"@{other}"):
            found += _before(stages, other, (*above, name))
    return [*dict.fromkeys(found), name]


def _names(value: Any, path: str) -> bool:
    """Whether settings hold the path of a stage, or of what lies in it."""
    if isinstance(value, Mapping):
        return any(_names(part, path) for part in value.values())
    return stage_of(value) == path[1:]


def _check_made(
    name: str, stage: Mapping[str, Any], workdir: pathlib.Path, given: str
) -> None:
    """Raises InputError, with the commands that make them, unless records are there."""
    if (workdir / name / CARD_NAME).exists():
        return
    command = "python -m cdcd_jax.main"
    lines, tokenizer = [], stage["tokenizer"]
    if tokenizer["kind"] == "checkpoint":
        path = tokenizer["path"]
        maker = config_of(path) or "configs/tokenizers/<name>.py"
        if not pathlib.Path(path, "config.json").exists():
            lines.append(f"    {command} --config={maker} --workdir={path}")
    own = bool(given) and workdir == default_workdir(given)
    place = "" if own else f" --workdir={workdir}"
    named = given or "<its config>"
    lines.append(f"    {command} --config={named} --mode=pretokenize{place}")
    raise InputError(
        f"Found no records in {workdir / name}; expected token records of "
        f"{stage['data']['raw']} data; make them once with\n" + "\n".join(lines) + "\n"
        "or name others with --config.data.path=DIR."
    )


def _check_kept(name: str, stage: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Raises InputError unless the files of a stage are still there."""
    file = CARD_NAME if stage["mode"] == "pretokenize" else SAVED
    made = workdir / name / file
    if not made.exists():
        raise InputError(
            f"Found no {made}; expected what training made in {workdir / name}, the "
            f"stage {name!r} of its config; evaluation makes nothing anew. Bring back "
            "a copy, or train with the same config, which makes it first."
        )


def check(settings: Mapping[str, Any]) -> None:
    """Refuses settings of a stage or of a whole config at the door.

    Raises:
        UsageError: they contradict each other, or do not fit the devices.
    """
    if "task" in settings:
        Trained(settings, None).check()
    else:
        check_config(settings)


def check_files(stage: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Misses the raw files of a stage before others are made.

    Args:
        folder: of the stage; of one that was made, the files may be gone.

    Raises:
        UsageError, InputError: what the source says of them.
    """
    data = stage["data"]
    made = (folder / CARD_NAME).exists() or (folder / SAVED).exists()
    if data.get("raw") and data.get("path") and not made:
        if not files.as_path(data["path"]).exists():
            asked = data["raw"], data["path"], data["options"], stage.get("seed", 0)
            open_source(*asked)


def settings(
    stage: Mapping[str, Any], workdir: pathlib.Path, views: int
) -> dict[str, Any]:
    """The records' config of a stage; `views` other than 0 win."""
    own = {k: v for k, v in stage.items() if k not in ("mode", "on_request")}
    own = resolve_stages(own, workdir)
    if views:
        own["data"] = {**own["data"], "views": views}
    return own
