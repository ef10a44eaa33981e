"""Digits and the same digits with hidden pixels: restored, or drawn from nothing.

    ./launch/local.sh --config=configs/mt_diffusion/digits_masked.py

In training every pixel is hidden by itself, with a share that is drawn from 0 to 1.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant

PERCENT = (10, 25, 50, 75, 100)


def get_config(name: str = "") -> ConfigDict:
    """name: '', there is no other."""
    variant(name, {"": None})
    records = dict(
        mode="pretokenize",
        seed=0,
        data=dict(raw="digits", shard_records=4096),
        tokenizer=dict(kind="palette", levels=17),
        grid=(8, 8),
    )
    modalities = dict(
        image=dict(kind="image", field="tokens", given=False),
        masked=dict(kind="masked_image", field="tokens", weight=0.5, loss_weight=0.1),
    )
    sets = {
        f"masked_{percent}": dict(given=("masked",), hidden=percent / 100)
        for percent in PERCENT
    }
    config = experiment(
        task="mt_diffusion",
        stages=dict(records=records),
        data=dict(path="@records", batch_size=256),
        model=dict(
            num_codes=17,
            grid=(8, 8),
            patch=8,
            width=192,
            depth=3,
            heads=3,
            mlp_ratio=2,
            modalities=modalities,
        ),
        diffusion=dict(schedule="cosine", timesteps=100),
        optim=dict(num_steps=5000, learning_rate=1e-3, weight_decay=0.0),
        sampling=dict(method="ddpm", steps=50, batch_size=720),
        eval=dict(at_end=True, num_samples=2880, figures="masked_pixels", sets=sets),
    )
    return ConfigDict(config)
