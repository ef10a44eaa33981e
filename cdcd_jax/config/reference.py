"""What the configs of CDCD's and VQ-Diffusion's models have in common.

Numbers are those of the references' own configs, where a config file says nothing
else: the optimizer of all of their trainings, and what their models of a kind share.
"""

from collections.abc import Mapping
from typing import Any

_SHARED: dict[str, Any] = dict(
    model=dict(activation="gelu2"),
    diffusion=dict(schedule="vq_diffusion_released", time_sampling="importance"),
    optim=dict(schedule="plateau", clip_norm=0.5, ema_decay=0.9996),
    sampling=dict(method="ancestral"),
)

# A model of 32 x 32 tokens of 2,887 codes under CLIP's features of a text.
TEXT_TO_IMAGE: dict[str, Any] = dict(
    form="selfcross",
    num_codes=2887,
    width=192,
    depth=18,
    heads=16,
    mlp="conv",
    mlp_ratio=2,
    position_grid=(32, 32),
    condition_dropout=0.0,
    scan_layers=False,
)

# A model of music under a dance, all of which it squeezes into one vector.
DANCE_TO_MUSIC: dict[str, Any] = dict(
    form="selfcross",
    width=1024,
    depth=19,
    heads=16,
    join="add",
    condition_dropout=0.0,
)
VIDEO: dict[str, Any] = dict(
    kind="features", shape=(1, 2048), size=1024, positions=False, bias=False
)


def reference(tokenizer: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """The changes that make a reference's training of a config.

    Args:
        tokenizer: whose tokens it takes, in its records too.
        sections: what is its own, section by section.
    """
    changes = dict(
        stages=dict(records=dict(tokenizer=tokenizer)), tokenizer=tokenizer, **sections
    )
    for name, shared in _SHARED.items():
        changes[name] = {**shared, **changes.get(name, {})}
    return changes
