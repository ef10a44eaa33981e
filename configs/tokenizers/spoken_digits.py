r"""A tokenizer of spoken digits at 8 kHz: 500 tokens of 1,024 codes a second.

    python -m cdcd_jax.main --config=configs/tokenizers/spoken_digits.py \
        --config.data.path=DIR    # DIR/<digit>_<speaker>_<i>.wav

Made for the Free Spoken Digit Dataset (CC BY-SA 4.0): recordings 0 to 4 of each digit
and speaker are the test split.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC_MEDIA, experiment, merge, variant

VARIANTS = {"": {}, "synthetic": SYNTHETIC_MEDIA}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'synthetic'."""
    config = experiment(
        task="tokenizer",
        data=dict(
            raw="audio_folder",
            path="data/spoken_digits/recordings",
            options=dict(
                sample_rate=8000,
                length=5120,
                label="pattern",
                pattern=r"(?P<label>\d)_\w+_(?P<group>\d+)",
                split="group",
                test_groups=("0", "1", "2", "3", "4"),
                peak=0.95,
            ),
            batch_size=16,
        ),
        model=dict(
            kind="vqvae1d",
            length=5120,
            sample_rate=8000,
            downs=(2,),
            strides=(4,),
            width=48,
            depth=2,
            multipliers=(1,),
            dilation_growth=3,
            dtype="float32",
        ),
        quantizer=dict(num_codes=1024, dim=64, commitment=0.25),
        losses=dict(l2=20.0, spectral=0.1, log_spectral=0.1),
        optim=dict(
            num_steps=3000, learning_rate=1e-3, warmup_steps=200, weight_decay=0.0
        ),
        eval=dict(num_samples=300, figures="labelled_sound", shown=16),
        report=dict(sample_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
