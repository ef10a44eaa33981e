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

from cdcd_jax.config import SYNTHETIC_MEDIA, experiment, merge, variant

VARIANTS = {
    "": {},
    "perceptual": dict(
        init_parts=dict(perceptual="runs/converted/lpips"),
        losses=dict(perceptual=1.0, pyramid=0.0),
    ),
    "16384": dict(quantizer=dict(num_codes=16384)),
    "synthetic": SYNTHETIC_MEDIA,
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'perceptual', '16384' or 'synthetic'."""
    config = experiment(
        task="tokenizer",
        data=dict(
            raw="tfds",
            options=dict(name="imagenet2012", test="validation", size=256),
            batch_size=96,
            threads=16,
        ),
        model=dict(
            resolution=256,
            channels=128,
            channel_mult=(1, 1, 2, 2, 4),
            num_res_blocks=2,
            attention_resolutions=(16,),
            latent_channels=256,
            dtype="bfloat16",
        ),
        quantizer=dict(num_codes=1024, dim=256),
        losses=dict(
            l1=1.0, l2=0.0, pyramid=1.0, adversarial=0.8, adversarial_start=50_000
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
