"""The bound of a model on examples that somebody names, without any samples."""

from collections.abc import Iterable, Mapping
from typing import Any

from cdcd_jax.errors import UsageError
from cdcd_jax.generation.rows import draw_key
from cdcd_jax.models.model import Trained
from cdcd_jax.runtime import sharding
from cdcd_jax.tasks import bound as held_out


def bound(
    model: Trained, batches: Iterable[Mapping[str, Any]] | str | None = None
) -> dict[str, float]:
    """Bits per token of the newest weights, with what is known of their error.

    Args:
        model: the model.
        batches: of tokens int32 [B, L] and condition {modality: [B, ...]}; or a split
            of the model's records, None for `eval.split`.

    Raises:
        UsageError: a task that has none, such as a tokenizer.
        InputError: no checkpoint, or unusable records.
    """
    model = model.at_newest()
    if not hasattr(model.task, "bound"):
        raise UsageError(
            f"Found {model.workdir}, which holds a {model.config['task']}; expected a "
            "model of tokens, which alone has a bound; open one, or take .evaluate()"
        )
    if batches is None or isinstance(batches, str):
        from cdcd_jax.data.pipeline import one_pass  # which takes a second

        card = model.open_records()
        split = batches or model.config["eval"]["split"]
        batches = one_pass(card, split, model.config["data"]["batch_size"])
    _, params, _ = model.weights
    key = draw_key(model.config, "evaluate")
    with sharding.use(model.mesh):
        found = model.task.bound(params, list(batches), key)
    return held_out.figures(found)
