"""The model shapes that `torch_peer.py` compares, as plain data for both sides."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Shape:
    """A network, its tokens and its condition (a label, or a sequence [S, C])."""

    width: int
    depth: int
    heads: int
    mlp: str
    grid: tuple[int, int]
    num_codes: int
    batch: int
    num_classes: int = 0
    sequence: tuple[int, int] | None = None
    chunks: tuple[int, int] = (2, 2)
    dtype: str = "float32"
    mlp_ratio: int = 4
    timesteps: int = 80
    weight: float = 5e-5  # of the negatives against the bound

    @property
    def length(self) -> int:
        """L."""
        return math.prod(self.grid)


SHAPES = {
    # of the size of a GPU
    "aist": Shape(
        *(1024, 19, 16, "fc", (1, 1033), 2048, 16),
        sequence=(90, 1024),
        chunks=(1, 8),
        dtype="bfloat16",
    ),
    "imagenet": Shape(
        *(512, 24, 8, "conv", (16, 16), 974, 64), num_classes=1000, dtype="bfloat16"
    ),
    # heads of 12 features, which cuDNN's attention refuses
    "cub": Shape(
        *(192, 18, 16, "fc", (32, 32), 2887, 16), sequence=(77, 512), dtype="bfloat16"
    ),
    # of the size of a CPU
    "fc": Shape(*(256, 6, 8, "fc", (16, 16), 974, 8), num_classes=1000),
    "conv": Shape(*(256, 6, 8, "conv", (16, 16), 974, 8), num_classes=1000),
    "music": Shape(
        *(256, 4, 16, "fc", (1, 344), 2048, 2), sequence=(1, 1024), chunks=(1, 8)
    ),
    # to check and to try; the terms weigh alike
    "tiny": Shape(
        *(32, 1, 4, "fc", (4, 4), 33, 4), num_classes=10, timesteps=10, weight=0.5
    ),
    "tiny_conv": Shape(
        *(32, 1, 4, "conv", (4, 4), 33, 4), num_classes=10, timesteps=10, weight=0.5
    ),
    "tiny_cross": Shape(
        *(32, 1, 4, "fc", (1, 17), 33, 4),
        sequence=(3, 8),
        chunks=(1, 4),
        timesteps=10,
        weight=0.5,
    ),
}

AUXILIARY_WEIGHT = 5e-4
SCHEDULE = "vq_diffusion_released"
OPTIM = dict(learning_rate=2e-4, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0)
EMA_DECAY = 0.999
DROPOUT = 0.1  # of the condition


def sections(shape: Shape, negatives: int, steps: int | None = None) -> dict[str, Any]:
    """The sections of our config that describe the same experiment."""
    condition = dict(text=dict(kind="array", shape=shape.sequence))
    if shape.num_classes:
        condition = dict(label=dict(kind="label", num_classes=shape.num_classes))
    return dict(
        data=dict(batch_size=shape.batch),
        tokenizer=dict(kind="none"),
        model=dict(
            form="modern",
            num_codes=shape.num_codes,
            grid=shape.grid,
            width=shape.width,
            depth=shape.depth,
            heads=shape.heads,
            mlp=shape.mlp,
            mlp_ratio=shape.mlp_ratio,
            conditions=condition,
            condition_dropout=DROPOUT,
            dtype=shape.dtype,
            scan_layers=True,  # as the large configs
        ),
        diffusion=dict(
            schedule=SCHEDULE,
            timesteps=shape.timesteps,
            auxiliary_weight=AUXILIARY_WEIGHT,
        ),
        contrastive=dict(
            weight=shape.weight if negatives else 0.0,
            num_negatives=negatives,
            negatives="intra",
            form="difference",
            chunks=shape.chunks,
        ),
        optim=dict(OPTIM, ema_decay=EMA_DECAY, schedule="constant", warmup_steps=1),
        sampling=dict(steps=steps or shape.timesteps),
    )
