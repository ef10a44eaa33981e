"""Class-to-image on scikit-learn's 1,797 real handwritten digits, 17 grey levels.

    ./launch/local.sh                                       # with contrast
    ./launch/local.sh --config=configs/digits.py:vanilla    # without

Expect 99 % of unguided and of guided samples in their class, 1.72 bits per token and a
Fréchet distance of 0.7; 6 minutes on 2 CPU cores, of which 4 train (docs/results.md).
"""

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, merge, variant
from cdcd_jax.config.small import digits_records

VARIANTS = {
    "": {},
    "vanilla": dict(contrastive=dict(weight=0.0)),
}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'vanilla'."""
    config = experiment(
        stages=dict(records=digits_records()),
        data=dict(path="@records", batch_size=64),
        model=dict(
            num_codes=17,
            grid=(8, 8),
            width=48,
            depth=4,
            heads=3,
            mlp="conv",
            mlp_ratio=2,
            activation="silu",
            conditions=dict(label=dict(kind="label", num_classes=10)),
        ),
        diffusion=dict(schedule="absorbing_linear", timesteps=100),
        contrastive=dict(weight=0.1, level="step", negatives="inter", form="infonce"),
        optim=dict(num_steps=1500, learning_rate=2e-3),
        eval=dict(at_end=True, guidance_scale=1.25, figures="labelled_pixels"),
        report=dict(sample_every=500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
