"""Which numbers a setting may have, by its dotted key, for settings of every task.

A key of `model` holds at any depth of it: for conditions, for models inside of a model,
and for the sections of those that are a whole config of their own.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from cdcd_jax.config.patterns import leaves, matches
from cdcd_jax.errors import UsageError

# What is said -> the test, and the keys that it is for. NaN passes none.
_RANGES = (
    (
        "a whole number from 0 to 2^32 - 1",
        lambda x: 0 <= x < 2**32,
        ("seed",),
    ),
    (
        "at least 1",
        lambda x: 1 <= x < math.inf,
        (
            "data.batch_size",
            *("optim.accumulate", "report.log_every", "report.checkpoint_every"),
            *("report.keep_checkpoints", "model.num_codes", "model.width"),
            *("model.depth", "model.heads", "model.mlp_ratio", "contrastive.group"),
            *("sampling.batch_size", "sampling.num_samples", "eval.num_samples"),
            *("eval.bound_samples", "model.conditions.*.queries", "model.features"),
            *("model.conditions.*.num_classes", "model.conditions.*.vocabulary"),
            *("model.patch", "model.towers.*.vocabulary", "model.towers.*.queries"),
            "model.environment.slots",
        ),
    ),
    (
        "a whole number of at least 1",
        lambda x: isinstance(x, int) and x >= 1,
        (
            *("model.modalities.*.num_classes", "model.modalities.*.num_codes"),
            *("model.modalities.*.features", "model.modalities.*.length"),
        ),
    ),
    # more than these would only fill the memory, or trace for hours
    ("at most 1,000 layers", lambda x: x <= 1000, ("model.depth",)),
    ("at most 100,000 times", lambda x: x <= 100_000, ("diffusion.timesteps",)),
    (
        "below 2^31 - 1, the numbers that a token may have",
        lambda x: x < 2**31 - 1,
        (
            *("model.num_codes", "model.conditions.*.num_classes"),
            *("model.conditions.*.vocabulary", "model.modalities.*.num_classes"),
            "model.towers.*.vocabulary",
        ),
    ),
    (
        "a finite number of at least 0",
        lambda x: 0 <= x < math.inf,
        (
            *("optim.num_steps", "model.prompt_noise"),
            *("optim.warmup_steps", "optim.weight_decay", "optim.learning_rate"),
            *("report.sample_every", "diffusion.auxiliary_weight", "model.head_chunk"),
            *("contrastive.weight", "contrastive.num_negatives", "sampling.videos"),
            *("sampling.guidance_scale", "eval.guidance_scale", "sampling.top_k"),
            *("data.threads", "sampling.order_temperature", "sampling.purity_weight"),
            *("model.channels", "model.modalities.*.loss_weight", "model.environment"),
            *("model.environment.size", "model.environment.contrast"),
            "sampling.environment_scale",
        ),
    ),
    (
        "a finite number above 0",
        lambda x: 0 < x < math.inf,
        (
            *("sampling.temperature", "contrastive.temperature", "optim.clip_norm"),
            *("model.embedding_scale", "model.modalities.*.deviation"),
            "model.environment.temperature",
        ),
    ),
    ("above 0 and at most 1", lambda x: 0 < x <= 1, ("sampling.top_p",)),
    (
        "from 0 to 1",
        lambda x: 0 <= x <= 1,
        (
            *("model.condition_dropout", "sampling.remask", "model.known"),
            *("sampling.eta", "model.environment.prompt_dropout"),
            "sampling.environment_prompted",
        ),
    ),
    (
        "at least 0 and below 1",
        lambda x: 0 <= x < 1,
        ("sampling.overlap", "optim.ema_decay", "model.modality_dropout"),
    ),
)


def check_ranges(config: Mapping[str, Any]) -> None:
    """Raises UsageError if a number of the config is out of its range."""
    found = list(leaves(config))
    for said, fits, keys in _RANGES:
        for key in keys:
            for name, value in found:
                if _is(name, key) and not (isinstance(value, Real) and fits(value)):
                    raise UsageError(
                        f"config key {name!r} is {value!r}: expected {said}; correct it"
                    )


def _is(name: str, key: str) -> bool:
    """Whether `name` is `key`, or that key of something inside of the model."""
    if not name.startswith("model."):
        return name == key
    return matches(name, f"model.**.{key.removeprefix('model.')}")
