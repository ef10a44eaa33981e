r"""A tokenizer of spoken digits at 8 kHz: 50 tokens of 512 codes a second.

    python -m cdcd_jax.main --config=configs/tokenizers/spoken_digits.py \
        --config.data.path=DIR    # DIR/<digit>_<speaker>_<i>.wav

Made for the Free Spoken Digit Dataset (CC BY-SA 4.0): recordings 0 to 4 of each digit
and speaker are the test split. A code stands for two log-mel spectra, 20 ms; phases are
found when a sound is played, so that what comes out sounds alike and has another wave.
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
                amplitude=False,
            ),
            batch_size=64,
        ),
        model=dict(
            kind="vqvae1d",
            length=5120,
            sample_rate=8000,
            patch=80,
            bands=32,
            window=256,
            downs=(1,),
            strides=(2,),
            width=96,
            depth=2,
            multipliers=(1,),
            dilation_growth=3,
            dtype="float32",
        ),
        quantizer=dict(num_codes=512, dim=64, commitment=0.25),
        losses=dict(l2=20.0),
        optim=dict(
            num_steps=1500, learning_rate=2e-3, warmup_steps=50, weight_decay=0.0
        ),
        eval=dict(num_samples=300, figures="labelled_sound", shown=16),
        report=dict(sample_every=500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
