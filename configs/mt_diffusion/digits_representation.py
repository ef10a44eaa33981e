"""Digits and vectors that represent them in one diffusion space: one of the other.

    ./launch/local.sh --config=configs/mt_diffusion/digits_representation.py
    ./launch/local.sh --config=configs/mt_diffusion/digits_representation.py:means

The vectors are those of an encoder that a stage of its own trains without labels: 32
features, of length 1. `means` puts the means of their classes in their places, which
say nothing of a digit but its class.

Expect each vector and each digit to lead to its own other in 99 %; 10 minutes on 2 CPU
cores, of which 1 trains the encoder (docs/mt_diffusion.md).
"""

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant
from cdcd_jax.config.small import digits_records, several_modalities

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
    plain = digits_records()
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
    records = {**plain, "represent": represent}
    stages = dict(plain=plain, encoder=encoder, records=records)
    judged = dict(num_samples=2880, figures="represented_pixels", sets=SETS)
    return ConfigDict(several_modalities(stages, dict(modalities=MODALITIES), judged))
