"""Models of one to five modalities that are small enough for tests, and their batches.

Pictures of 4 x 4 pixels of 5 levels in patches of 2 x 2: z is 4 tokens of 4 numbers.
"""

import functools
from typing import Any

import jax
import numpy as np

from cdcd_jax.config import experiment, merge
from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.networks.joint import ENCODER
from cdcd_jax.tasks import make_task

T, LEVELS, CLASSES, PIXELS, FEATURES = 8, 5, 3, 16, 6
WORDS, LENGTH = 7, 4  # of a caption
MODALITIES = dict(
    image=dict(kind="image", field="tokens"),
    label=dict(kind="label", num_classes=CLASSES, weight=0.7, loss_weight=0.3),
    vector=dict(kind="vector", features=FEATURES, weight=0.5),
    target=dict(kind="image", weight=0.8),
    caption=dict(kind="tokens", num_codes=WORDS, length=LENGTH, weight=0.6),
    holes=dict(kind="masked_image", field="tokens", weight=0.5),
)
SETTINGS = dict(
    task="mt_diffusion",
    data=dict(batch_size=8),
    tokenizer=dict(kind="none"),
    model=dict(
        num_codes=LEVELS,
        grid=(4, 4),
        patch=2,
        width=16,
        depth=1,
        heads=2,
        mlp_ratio=2,
    ),
    diffusion=dict(timesteps=T),
    optim=dict(num_steps=2, warmup_steps=1),
    sampling=dict(steps=4, batch_size=6),
    eval=dict(at_end=False, bound_samples=2),
    report=dict(log_every=1, checkpoint_every=2),
)


def chosen(*names: str, **changes: Any) -> dict[str, Any]:
    """`model.modalities` of these names; changes of some of them, by name."""
    return {name: {**MODALITIES[name], **changes.get(name, {})} for name in names}


def settings(modalities: Any, **changes: Any) -> dict[str, Any]:
    """A whole experiment of these modalities, with sections laid over the tiny one."""
    config = merge(experiment(**SETTINGS), changes)
    config["model"]["modalities"] = dict(modalities)
    return config


def batch(size: int = 8, seed: int = 0) -> dict[str, Any]:
    """Random values of all of them."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=(size, FEATURES)).astype(np.float32)
    whole = lambda high, *shape: rng.integers(0, high, (size, *shape), dtype=np.int32)
    return {
        "tokens": whole(LEVELS, PIXELS),
        "condition": dict(
            label=np.arange(size, dtype=np.int32) % CLASSES,
            vector=vector / np.linalg.norm(vector, axis=1, keepdims=True),
            target=whole(LEVELS, PIXELS),
            caption=whole(WORDS, LENGTH),
            style=whole(2),  # an ordinary condition of some models
        ),
    }


def values(size: int = 8, seed: int = 0) -> dict[str, Any]:
    """The same by modality, as a model is given them."""
    found = batch(size, seed)
    return {**found["condition"], "image": found["tokens"], "holes": found["tokens"]}


def made(config: dict[str, Any], size: float = 0.3) -> tuple[Any, Any]:
    """A task, and random parameters, which is quicker than to compile their start."""
    task, rng = make_task(config), np.random.default_rng(7)

    def leaf(path: Any, spec: Any) -> np.ndarray:
        whole = path[0].key.startswith(ENCODER.format(""))
        draw = rng.standard_normal(spec.shape) * (1.0 if whole else size)
        return draw.astype(spec.dtype)

    shapes = jax.eval_shape(task.init, jax.random.key(0))[0]
    return task, jax.tree_util.tree_map_with_path(leaf, shapes)


@functools.cache
def of(*names: str) -> tuple[Any, Any]:
    """The same of some of `MODALITIES`; made once."""
    return made(settings(chosen(*names)))


def options(task: Any, **changes: Any) -> GaussianOptions:
    """Those of a task's config, with changes."""
    return GaussianOptions.of(task.settings["sampling"], **changes)
