"""A Gumbel VQGAN of 256 x 256 pictures: 32 x 32 tokens of 8,192 codes (taming's f8).

    python -m cdcd_jax.main --config=configs/tokenizers/openimages_f8.py \
        --config.data.path=DIR    # pictures at any depth, DIR/train and DIR/test

69 M parameters. Nobody has trained it to the end with this code; weights trained
elsewhere come by `python -m cdcd_jax.convert --family=taming`.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC_MEDIA, merge, variant
from cdcd_jax.config.large import PERCEPTUAL, large_vqgan

VARIANTS = {"": {}, "perceptual": PERCEPTUAL, "synthetic": SYNTHETIC_MEDIA}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'perceptual' or 'synthetic'."""
    config = large_vqgan(
        data=dict(
            raw="image_folder",
            path="data/openimages",
            options=dict(size=256, labels=False, test_fraction=0.01),
            batch_size=64,
        ),
        model=dict(channel_mult=(1, 1, 2, 4), attention_resolutions=(32,)),
        quantizer=dict(kind="gumbel", num_codes=8192, update="gradient"),
        losses=dict(kl=1e-8),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
