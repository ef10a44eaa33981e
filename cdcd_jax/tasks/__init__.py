"""What the training loop asks of a task, and the tasks by name.

A task is an object of pure functions:

    init(key) -> (params, extra)              extra: state that is not trained
    loss(params, extra, batch, key, step) -> (scalar, metrics, extra)
    sample(params, extra, condition, key, options) -> outputs
    evaluate(params, extra, batches, key) -> figures
    labels(params) -> tree of 'train' | 'frozen'
    describe() -> conditions and outputs; `media`, where it takes raw examples
"""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.config.ranges import check_ranges
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks.conditional import ConditionalTask
from cdcd_jax.tasks.tokenizer import TokenizerTask

TASKS = {"conditional": ConditionalTask, "tokenizer": TokenizerTask}


def make_task(config: Mapping[str, Any]) -> Any:
    """The task that `config["task"]` names.

    Raises:
        UsageError: unknown name, a number out of range, or settings that the task
            refuses.
    """
    if config["task"] not in TASKS:
        raise UsageError(
            f"task = {config['task']!r} is unknown: choose one of {', '.join(TASKS)}"
        )
    check_ranges(config)
    return TASKS[config["task"]](config)
