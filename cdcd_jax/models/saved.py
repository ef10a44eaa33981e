"""The config that a work directory keeps beside its model."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import defaults, differences, merge
from cdcd_jax.config.files import run_config
from cdcd_jax.errors import UsageError
from cdcd_jax.reporting.files import as_path
from cdcd_jax.tasks.settings import missing_null

SAVED = "config.json"  # in a work directory
# Keys of a model's sections that neither network nor noise depends on.
_OF_TRAINING = (
    *("model.dtype", "model.condition_dropout", "model.embedding_scale"),
    "model.null_trained",
    *("diffusion.time_sampling", "diffusion.mask_weight"),
    *("diffusion.auxiliary_weight", "diffusion.auxiliary_ramp"),
)


def config_dict(text: str) -> Any:
    """The ConfigDict that `--config` names: of a file of `configs/`, or a saved one.

    Raises:
        UsageError: no such file or variant, or a file that is not a config.
    """
    if text.rpartition("/")[2] != SAVED:
        return run_config(text)
    from ml_collections import ConfigDict

    return ConfigDict(saved_config(as_path(text).parent))


def load_config(text: str) -> dict[str, Any]:
    """The same as plain nested dicts."""
    return config_dict(text).to_dict()


def saved_config(workdir: Any) -> dict[str, Any]:
    """The config of a model that was trained or converted, with today's defaults.

    Args:
        workdir: local, or etils' path of a URL.

    Raises:
        UsageError: its `config.json` cannot be read, or is no config.
    """
    path = workdir / SAVED

    def tuples(value: Any) -> Any:  # which are lists in json
        if isinstance(value, dict):
            return {k: tuples(v) for k, v in value.items()}
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    try:
        saved = tuples(dict(json.loads(path.read_text("utf-8"))))
        for key in ("mode", "on_request"):  # a stage's own, none of its config
            saved.pop(key, None)
        return merge(defaults(saved.get("task", "conditional")), saved)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"cannot read {path} ({error}): bring back the file, or name the config "
            "with --config"
        ) from None


def check_model(config: Mapping[str, Any], workdir: Any) -> None:
    """Refuses settings of another model than the one that a work directory holds.

    Raises:
        UsageError: they differ from its `config.json`, if that can be read, in what
            makes the network or the noise.
    """
    if not (workdir / SAVED).exists():
        return
    try:
        saved = saved_config(workdir)
    except UsageError as error:
        print(f"warning: {error}; going on with --config", file=sys.stderr)
        return
    fault = missing_null(saved["model"])
    if fault and not missing_null({**config["model"], "null_trained": False}):
        raise UsageError(
            f"Found model.condition_dropout = {config['model']['condition_dropout']}, "
            f"but in the run that {workdir} holds {fault}; expected what it was "
            "trained with. Leave it out, or train with it in another --workdir"
        )
    if found := differences(_of_model(saved), _of_model(config)):
        raise UsageError(
            f"{workdir} holds a model of other settings, which differ in "
            f"{'; '.join(found)}. Use the model as it was made: leave these settings "
            "out, or choose its --config or another --workdir"
        )


def _of_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the network and the noise, with all defaults, as json has it."""
    from cdcd_jax.networks.conditioners import full_spec  # which takes a second

    sections = {k: dict(config.get(k, {})) for k in ("model", "quantizer", "diffusion")}
    for key in _OF_TRAINING:
        section, _, name = key.partition(".")
        sections[section].pop(name, None)
    conditions = sections["model"].get("conditions", {})
    sections["model"]["conditions"] = {
        name: {**full_spec(name, spec), "frozen": None, "names": None}
        for name, spec in conditions.items()
    }
    return json.loads(json.dumps({**sections, "task": config["task"]}))
