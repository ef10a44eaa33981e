"""A VQGAN of 256 x 256 pictures: 16 x 16 tokens of 1,024 codes (taming's f16).

    # ImageNet as tensorflow-datasets prepared it, in array_record form
    python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py \
        --config.data.path=TFDS_DIR
    # with LPIPS; its weights come from `python -m cdcd_jax.convert --family=lpips`
    python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py:perceptual

76 M parameters. `:16384` has sixteen times the codes. Nobody has trained it to the end
with this code; weights trained elsewhere come by
`python -m cdcd_jax.convert --family=taming`.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC_MEDIA, merge, variant
from cdcd_jax.config.large import PERCEPTUAL, large_vqgan

VARIANTS = {
    "": {},
    "perceptual": PERCEPTUAL,
    "16384": dict(quantizer=dict(num_codes=16384)),
    "synthetic": SYNTHETIC_MEDIA,
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'perceptual', '16384' or 'synthetic'."""
    config = large_vqgan(
        data=dict(
            raw="tfds",
            options=dict(name="imagenet2012", test="validation", size=256),
            batch_size=96,
        ),
        model=dict(channel_mult=(1, 1, 2, 2, 4), attention_resolutions=(16,)),
        quantizer=dict(num_codes=1024),
        losses={},
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
