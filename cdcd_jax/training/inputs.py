"""The stream of batches that a config names, and the check of its first one."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from cdcd_jax.data.fields import check_batch
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.tasks import make_task


def input_stream(
    config: Mapping[str, Any],
) -> Callable[[int, np.ndarray], Iterator[Any]]:
    """(start step, rows) -> batches of the config's data, or of random numbers.

    Raises:
        InputError: missing, damaged or unlike data.
    """
    data, seed = config["data"], config["seed"]
    description = make_task(config).describe()
    if data["synthetic"]:

        def batches(step: int, rows: np.ndarray) -> Iterator[Any]:
            return synthetic_batches(description, rows, seed, step)
    else:
        # here, so that random batches need no grain
        from cdcd_jax.data import pipeline

        examples = pipeline.open_training(config, description)

        def batches(step: int, rows: np.ndarray) -> Iterator[Any]:
            return pipeline.training_batches(
                examples,
                batch_size=data["batch_size"],
                seed=seed,
                start_step=step,
                threads=data["threads"],
                rows=rows,
            )

    if not data["reuse_batch"]:
        return batches
    return lambda step, rows: (b for b in itertools.repeat(next(batches(0, rows))))


def checked(stream: Iterator[Any], fields: Mapping[str, Any]) -> Iterator[Any]:
    """The stream, whose first batch is taken now and must have the task's fields.

    Raises:
        InputError: a field that lacks or differs.
    """
    first = next(stream)
    check_batch(first, fields)
    return itertools.chain([first], stream)


def check_first(task: Any, params: Any, batch: Any) -> None:
    """What a task has to say of the first batch; see `tasks.Task`.

    Raises:
        UsageError: the settings do not fit the data.
    """
    check = getattr(task, "check_first", None)
    if check is not None:
        check(params, batch)
