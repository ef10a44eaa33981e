"""Digits and the same digits with hidden pixels: restored, or drawn from nothing.

    ./launch/local.sh --config=configs/mt_diffusion/digits_masked.py

In training every pixel is hidden by itself, with a share that is drawn from 0 to 1.

Expect the mean of eight restored digits to have 0.55 to 0.75 of the nearest training
digit's error; 10 minutes on one CPU core, less on 2 (docs/mt_diffusion.md).
"""

from ml_collections import ConfigDict

from cdcd_jax.config import variant
from cdcd_jax.config.small import digits_records, several_modalities

PERCENT = (10, 25, 50, 75, 100)


def get_config(name: str = "") -> ConfigDict:
    """name: '', there is no other."""
    variant(name, {"": None})
    modalities = dict(
        image=dict(kind="image", field="tokens", given=False),
        masked=dict(kind="masked_image", field="tokens", weight=0.5, loss_weight=0.1),
    )
    sets = {
        f"masked_{percent}": dict(given=("masked",), hidden=percent / 100)
        for percent in PERCENT
    }
    judged = dict(num_samples=2880, figures="masked_pixels", sets=sets)
    stages = dict(records=digits_records())
    return ConfigDict(several_modalities(stages, dict(modalities=modalities), judged))
