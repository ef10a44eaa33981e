"""What the configs of scikit-learn's digits have in common: records, and a small trunk.

The trunk is that of several modalities in one z, which four configs and their variants
share, so that their figures compare.
"""

from typing import Any

from cdcd_jax.config.keys import experiment


def digits_records(**options: Any) -> dict[str, Any]:
    """A stage of records of the digits, 17 grey levels; `options` of their source."""
    data: dict[str, Any] = dict(raw="digits", shard_records=4096)
    if options:
        data["options"] = options
    return dict(
        mode="pretokenize",
        seed=0,
        data=data,
        tokenizer=dict(kind="palette", levels=17),
        grid=(8, 8),
    )


def several_modalities(
    stages: dict[str, Any], model: dict[str, Any], judged: dict[str, Any]
) -> dict[str, Any]:
    """An experiment of task mt_diffusion on the stage `records` of `stages`.

    A whole digit is one token of z: pixels are told by their place in it.

    Args:
        stages: see `experiment`.
        model: `modalities`, and what else differs.
        judged: of `eval`: `num_samples` (360 digits are held out), `figures`, `sets`.
    """
    trunk = dict(num_codes=17, grid=(8, 8), patch=8)
    trunk |= dict(width=192, depth=3, heads=3, mlp_ratio=2)
    return experiment(
        task="mt_diffusion",
        stages=stages,
        data=dict(path="@records", batch_size=256),
        model={**trunk, **model},
        diffusion=dict(schedule="cosine", timesteps=100),
        optim=dict(num_steps=5000, learning_rate=1e-3, weight_decay=0.0),
        sampling=dict(method="ddpm", steps=50, batch_size=600),
        eval={"at_end": True, **judged},
    )
