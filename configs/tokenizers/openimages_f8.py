"""A Gumbel VQGAN of 256 x 256 pictures: 32 x 32 tokens of 8,192 codes (taming's f8).

    python -m cdcd_jax.main --config=configs/tokenizers/openimages_f8.py \
        --config.data.path=DIR    # pictures at any depth, DIR/train and DIR/test

69 M parameters. Nobody has trained it to the end with this code; weights trained
elsewhere come by `python -m cdcd_jax.convert --family=taming`.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC_MEDIA, experiment, merge, variant

VARIANTS = {
    "": {},
    "perceptual": dict(
        init_parts=dict(perceptual="runs/converted/lpips"),
        losses=dict(perceptual=1.0, pyramid=0.0),
    ),
    "synthetic": SYNTHETIC_MEDIA,
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'perceptual' or 'synthetic'."""
    config = experiment(
        task="tokenizer",
        data=dict(
            raw="image_folder",
            path="data/openimages",
            options=dict(size=256, labels=False, test_fraction=0.01),
            batch_size=64,
            threads=16,
        ),
        model=dict(
            resolution=256,
            channels=128,
            channel_mult=(1, 1, 2, 4),
            num_res_blocks=2,
            attention_resolutions=(32,),
            latent_channels=256,
            dtype="bfloat16",
        ),
        quantizer=dict(kind="gumbel", num_codes=8192, dim=256, update="gradient"),
        losses=dict(
            l1=1.0,
            l2=0.0,
            pyramid=1.0,
            adversarial=0.8,
            adversarial_start=50_000,
            kl=1e-8,
        ),
        optim=dict(
            num_steps=500_000,
            learning_rate=1e-4,
            warmup_steps=5000,
            betas=(0.5, 0.9),
            weight_decay=0.0,
            ema_decay=0.9999,
        ),
        eval=dict(num_samples=5000),
        report=dict(log_every=100, sample_every=5000, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
