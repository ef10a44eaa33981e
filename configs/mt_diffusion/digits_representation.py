"""Digits and vectors that represent them in one diffusion space: one of the other.

    ./launch/local.sh --config=configs/mt_diffusion/digits_representation.py
    ./launch/local.sh --config=configs/mt_diffusion/digits_representation.py:means

The vectors are those of an encoder that a stage of its own trains without labels: 32
features, of length 1. `means` puts the means of their classes in their places, which
say nothing of a digit but its class.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant

MODALITIES = dict(
    image=dict(kind="image", field="tokens"),
    vector=dict(kind="vector", features=32, weight=0.7),
)
SETS = dict(
    image_to_vector=dict(given=("image",)),
    vector_to_image=dict(given=("vector",)),
    joint=dict(given=()),
)
# of the records: a condition whose means take the place of vectors
VARIANTS = {"": "", "means": "label"}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'means'."""
    mean_by = variant(name, VARIANTS)
    plain = dict(
        mode="pretokenize",
        seed=0,
        data=dict(raw="digits", shard_records=4096),
        tokenizer=dict(kind="palette", levels=17),
        grid=(8, 8),
    )
    encoder = dict(
        mode="train",
        **experiment(
            task="bridge",
            data=dict(path="@plain", batch_size=128),
            model=dict(
                towers=dict(image=dict(kind="pixels", grid=(8, 8), num_codes=17))
            ),
            optim=dict(num_steps=1000, learning_rate=2e-3),
            eval=dict(probe="label"),
        ),
    )
    represent = dict(vector=dict(path="@encoder", tower="", mean_by=mean_by))
    config = experiment(
        task="mt_diffusion",
        stages=dict(
            plain=plain, encoder=encoder, records={**plain, "represent": represent}
        ),
        data=dict(path="@records", batch_size=256),
        model=dict(
            num_codes=17,
            grid=(8, 8),
            patch=8,
            width=192,
            depth=3,
            heads=3,
            mlp_ratio=2,
            modalities=MODALITIES,
        ),
        diffusion=dict(schedule="cosine", timesteps=100),
        optim=dict(num_steps=5000, learning_rate=1e-3, weight_decay=0.0),
        sampling=dict(method="ddpm", steps=50, batch_size=720),
        eval=dict(
            at_end=True, num_samples=2880, figures="represented_pixels", sets=SETS
        ),
    )
    return ConfigDict(config)
