"""A tokenizer of 32 x 32 photographs: 8 x 8 tokens of 1,024 codes, for two CPU cores.

    python -m cdcd_jax.main --config=configs/tokenizers/cifar10.py \
        --config.data.path=DIR    # DIR/train/<class>/*.jpg

Squares and a pyramid of differences; no adversary, no weights from elsewhere.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC_MEDIA, experiment, merge, variant

VARIANTS = {"": {}, "synthetic": SYNTHETIC_MEDIA}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'synthetic'."""
    config = experiment(
        task="tokenizer",
        data=dict(
            raw="image_folder",
            path="data/cifar10",
            options=dict(size=32, test_fraction=0.02),
            batch_size=32,
        ),
        model=dict(
            resolution=32,
            patch=2,
            channels=48,
            channel_mult=(1, 2),
            num_res_blocks=1,
            latent_channels=96,
        ),
        quantizer=dict(num_codes=1024, dim=64),
        losses=dict(l2=1.0, pyramid=0.1),
        optim=dict(
            num_steps=5000, learning_rate=1e-3, warmup_steps=200, weight_decay=0.0
        ),
        eval=dict(num_samples=1000),
        report=dict(sample_every=2000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
