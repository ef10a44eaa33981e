"""What a training takes of the memory, known before anything is made."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from cdcd_jax.errors import UsageError
from cdcd_jax.planning.plan_report import size
from cdcd_jax.runtime import memory
from cdcd_jax.training.program import abstract_batch, abstract_state

# Against a step that is too large.
_REMEDIES = {
    "data.batch_size": "a smaller data.batch_size",
    "optim.accumulate": "a larger optim.accumulate (the same batch in more parts)",
    "model.remat": "model.remat=full",
    "model.head_chunk": "model.head_chunk=16 (codes of so many tokens at once)",
    "model.width": "a smaller model.width",
    "model.depth": "a smaller model.depth",
    "mesh.fsdp": "mesh.fsdp on several devices",
}


def remedies(config: Mapping[str, Any]) -> list[str]:
    """What takes less memory, of the settings that this run has."""
    parts = {key: key.split(".") for key in _REMEDIES}
    return [
        _REMEDIES[key] for key, (room, name) in parts.items() if name in config[room]
    ]


class Needs(NamedTuple):
    """Bytes on one device, and what it has; 0 where that is unknown."""

    params: int
    rest: int  # of the state: the optimizer's statistics, averages, what is not trained
    gradients: int
    batch: int
    limit: int

    @property
    def least(self) -> int:
        """What a step takes at least: activations come on top."""
        return self.params + self.rest + self.gradients + self.batch

    def told(self) -> str:
        """One line."""
        parts = [
            f"parameters {size(self.params)}",
            f"optimizer and average {size(self.rest)}",
            f"a batch {size(self.batch)}",
        ]
        there = f" of {size(self.limit)}" if self.limit else ""
        return f"memory: {', '.join(parts)}{there}"


def needs(config: Mapping[str, Any], task: Any, optimizer: Any, mesh: Mesh) -> Needs:
    """What a training takes on each device; computes and allocates nothing."""
    state = abstract_state(task, optimizer, mesh)
    params = memory.bytes_of(state.params)
    labels = task.labels(jax.eval_shape(task.init, jax.random.key(0))[0])
    trained = jax.tree.map(
        lambda leaf, label: None if label == "frozen" else leaf, state.params, labels
    )
    local = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return Needs(
        params=params,
        rest=memory.bytes_of(state) - params,
        gradients=memory.bytes_of(trained),
        batch=memory.bytes_of(abstract_batch(config, task, mesh)),
        limit=min(map(memory.of_a_device, local), default=0),
    )


def check(config: Mapping[str, Any], task: Any, optimizer: Any, mesh: Mesh) -> Needs:
    """The needs.

    Raises:
        UsageError: the state, its gradients and a batch alone are more than there is.
    """
    found = needs(config, task, optimizer, mesh)
    if found.limit and found.least > found.limit:
        raise UsageError(
            f"Found a training that takes at least {size(found.least)} a device "
            f"(parameters {size(found.params)}, gradients "
            f"{size(found.gradients)}, optimizer and average "
            f"{size(found.rest)}, a batch of {config['data']['batch_size']} "
            f"{size(found.batch)}); expected at most the "
            f"{size(found.limit)} that are free. Take {', '.join(remedies(config))}"
        )
    return found
