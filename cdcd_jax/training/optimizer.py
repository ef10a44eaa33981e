"""The optimizer that a config describes: AdamW, its schedules, its clipping."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from cdcd_jax.errors import UsageError


def learning_rate(optim: Mapping[str, Any]) -> optax.Schedule:
    """Linear warm-up, then cosine to 0, or constant (also under a plateau rule).

    Raises:
        UsageError: unknown `optim.schedule`.
    """
    peak, warmup = optim["learning_rate"], optim["warmup_steps"]
    if optim["schedule"] == "cosine":
        decay = optax.cosine_decay_schedule(peak, max(optim["num_steps"] - warmup, 1))
    elif optim["schedule"] in ("constant", "plateau"):
        decay = optax.constant_schedule(peak)
    else:
        raise UsageError(
            f"optim.schedule = {optim['schedule']!r} is unknown: choose one of cosine, "
            "plateau, constant"
        )
    rise = optax.linear_schedule(0.0, peak, max(warmup, 1))
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(
    optim: Mapping[str, Any], labels: Any
) -> optax.GradientTransformationExtraArgs:
    """AdamW with clipping for what is labelled 'train'; 'frozen' stays as it is.

    A 'discriminator' gets the same with statistics and a norm of its own.
    """
    parts = [
        optax.clip_by_global_norm(optim["clip_norm"]),
        optax.adamw(
            learning_rate(optim),
            *optim["betas"],
            weight_decay=optim["weight_decay"],
            mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
        ),
    ]
    if optim["schedule"] == "plateau":
        plateau = optim["plateau"]
        rule = optax.contrib.reduce_on_plateau(
            factor=plateau["factor"],
            patience=plateau["patience"],
            rtol=plateau["threshold"],
        )
        parts.append(rule)
    rules = {"train": optax.chain(*parts), "frozen": optax.set_to_zero()}
    if "discriminator" in jax.tree.leaves(labels):
        rules["discriminator"] = optax.chain(*parts)
    return optax.with_extra_args_support(optax.multi_transform(rules, labels))
