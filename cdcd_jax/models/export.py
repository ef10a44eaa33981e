"""A model as it is passed on: a directory that needs nothing else and opens like a run.

It holds the weights (`runtime.exported`), the config, vocabulary and classes that the
model knows, the tokenizers that it draws by, each in a folder of its own, and a card.
Left out are records, checkpoints and all paths of the machine it was made on.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from cdcd_jax.config import defaults
from cdcd_jax.data.vocabulary import FILE_NAME
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.model import Trained
from cdcd_jax.models.run_records import KEPT, kept_records
from cdcd_jax.models.saved import SAVED
from cdcd_jax.reporting import files
from cdcd_jax.reporting.model_card import model_card
from cdcd_jax.runtime.checkpoint import load_all
from cdcd_jax.runtime.exported import WEIGHTS, weights_file
from cdcd_jax.tasks.tokenizer import OWN_PARTS

CARD = "README.md"
_FIGURES = "evaluation.json"
# What the training of a model names, and whoever uses it has not.
_OF_ITS_RUN = ("stages", "init_from", "init_parts", "mode", "on_request")


def export(model: Trained, directory: str | os.PathLike, licence: str = "") -> Path:
    """Writes a model to be passed on; the directory appears whole or not at all.

    Args:
        model: trained or converted.
        directory: local; not there yet, or empty.
        licence: of the weights, as hubs call it ('cc-by-4.0'); "" where none was
            chosen, which the card says.

    Returns:
        the directory.

    Raises:
        UsageError: a directory that holds something, or a URL.
        InputError: no checkpoint, a damaged one, or a tokenizer that is gone.
    """
    if files.is_url(directory):
        raise UsageError(
            f"Found {os.fspath(directory)}; expected a local directory for an export; "
            "name one, and copy it from there."
        )
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f"Found {directory} with something in it; expected no such directory, or "
            "an empty one, so that nothing is lost; remove it, or name another with "
            "--output=DIR."
        )
    if jax.process_count() > 1:
        raise UsageError(
            f"Found {jax.process_count()} processes; expected one for an export; run "
            "it on one machine that sees the work directory."
        )
    step = model.step
    making = directory.absolute().parent / f".{directory.absolute().name}.tmp"
    shutil.rmtree(making, ignore_errors=True)  # of an export that was stopped
    try:
        size = _write(model.workdir, _apart(model.config), making)
        told = model.description, model.conditions, model.config, size
        figures = files.read_json(model.workdir / _FIGURES) or {}
        kept = kept_records(model.workdir) or {}
        card = model_card(
            directory.absolute().name, step, *told, kept, figures, licence
        )
        files.write_text(making / CARD, card)
        if figures:
            files.write_json(making / _FIGURES, figures)
        if directory.exists():
            directory.rmdir()
        making.rename(directory)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return directory


def _apart(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without paths of their machine, but for those of tokenizers."""
    default = defaults(config.get("task", "conditional"))
    own = {k: v for k, v in config.items() if k not in _OF_ITS_RUN}
    for section, keys in (("data", ("path",)), ("eval", ("features", "others"))):
        for key in keys:
            if key in own.get(section, {}):
                own[section] = {**own[section], key: default[section][key]}
    return own


def _write(source: Any, config: Mapping[str, Any], directory: Path) -> int:
    """Weights, config and what the model knows; tokenizers in folders below.

    Returns:
        how many numbers were learned, of all together.
    """
    names: dict[str, str] = {}
    keeps = lambda name: config.get("task") != "tokenizer" or name in OWN_PARTS
    step, state = load_all(source, keeps)
    with files.atomically(directory / WEIGHTS) as file:
        file.write(weights_file(step, state))
    total = sum(leaf.size for leaf in jax.tree.leaves(state["ema_params"]))
    files.write_json(directory / SAVED, _with_names(config, names))
    for name in (FILE_NAME, KEPT):
        if (files.as_path(source) / name).exists():
            text = (files.as_path(source) / name).read_text("utf-8")
            files.write_text(directory / name, text)
    for path, name in names.items():
        own = files.read_json(files.as_path(path) / SAVED)
        if not isinstance(own, dict):
            raise InputError(
                f"Found no settings in {path}; expected the work directory of the "
                "tokenizer that the model draws by; bring it back."
            )
        total += _write(path, _apart(own), directory / name)
    return total


def _with_names(value: Any, names: dict[str, str]) -> Any:
    """Settings with "@<folder>" for each tokenizer's path, which `names` collects."""
    if not isinstance(value, Mapping):
        return value
    if value.get("kind") == "checkpoint" and "path" in value:
        path = str(value["path"])
        number = len(names) + 1
        names.setdefault(path, f"tokenizer_{number}" if names else "tokenizer")
        return {**value, "path": f"@{names[path]}"}
    return {k: _with_names(v, names) for k, v in value.items()}
