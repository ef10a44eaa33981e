"""A Python call for samples: its keywords sorted out, samples drawn, files written."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import merge
from cdcd_jax.errors import UsageError
from cdcd_jax.generation import generate
from cdcd_jax.generation.asked import divided
from cdcd_jax.generation.samples import Samples
from cdcd_jax.models.model import Trained
from cdcd_jax.reporting import files


def drawn(
    model: Trained,
    asked: Mapping[str, Any],
    condition: Mapping[str, Any],
    edit: Mapping[str, Any],
    number: int | None,
    seed: int | None,
    name: str,
    directory: Any,
) -> Samples:
    """What `Model.sample` and `Model.edit` give.

    Args:
        model: the model.
        asked: keywords, conditions and options of sampling.
        condition: modality -> value, as they were given apart.
        edit: name -> what --edit.<name> would say.
        number: of each row of the conditions; None for `sampling.num_samples`.
        seed: of the draw; None for that of the config.
        name: of the samples.
        directory: gets the files; None for none.

    Raises:
        UsageError: a name or a value that cannot be, or a task that draws nothing.
        InputError: no sound checkpoint, or files that cannot be used.
    """
    if not model.description["outputs"]:
        raise UsageError(
            f"Found {model.workdir}, a run of task = {model.config['task']!r}, which "
            "draws nothing: it gives vectors of examples; expected a model that draws "
            "samples; open one, or take cdcd_jax.models.encoders.open_encoder"
        )
    config, is_tokenizer = model.config, "media" in model.description
    sampling = config.get("sampling", {})
    given, options = divided(asked, condition, model.conditions, sampling)
    if is_tokenizer and (number is not None or options):
        raise UsageError(
            f"Found {model.workdir}, which holds a tokenizer; expected no options: "
            "it rebuilds eval.shown held-out examples; open it with "
            "eval=dict(shown=...), or use .tokenizer"
        )
    if number is not None:
        options = {**options, "num_samples": number}
    if seed is not None:
        config = merge(config, {"seed": seed})
    if options:
        config = generate.sampling_of(config, model.task, options)
    place = None if directory is None else files.as_path(directory)
    samples = generate.generate(model, config, given, name, edit, place)
    if place is None:
        return samples
    began = time.perf_counter()
    samples.save(place, config.get("sampling", {}).get("videos", 0))
    seconds = samples.seconds + time.perf_counter() - began
    return dataclasses.replace(samples, seconds=seconds)
