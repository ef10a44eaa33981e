"""A Jukebox-like tokenizer of music at 22,050 Hz: hops 8, 32, 128; 2,048 codes each.

    python -m cdcd_jax.main --config=configs/tokenizers/music_jukebox.py \
        --config.data.path=DIR    # wav, flac, ogg or mp3 at any depth

1.5 M parameters. Nobody has trained it to the end with this code; Jukebox's own weights
come by `python -m cdcd_jax.convert --family=jukebox` (they are for 44,100 Hz and
non-commercial use).
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
            path="data/music",
            options=dict(sample_rate=22050, length=131072, label="none", peak=0.95),
            batch_size=32,
            threads=8,
        ),
        model=dict(
            kind="vqvae1d",
            length=131072,
            sample_rate=22050,
            downs=(3, 2, 2),
            strides=(2, 2, 2),
            width=32,
            depth=4,
            multipliers=(2, 1, 1),
            dilation_growth=3,
            dtype="float32",
        ),
        quantizer=dict(num_codes=2048, dim=64, commitment=0.02),
        losses=dict(l2=1.0, spectral=1.0),
        optim=dict(
            num_steps=300_000,
            learning_rate=3e-4,
            warmup_steps=1000,
            weight_decay=0.0,
            ema_decay=0.9999,
        ),
        eval=dict(num_samples=500),
        report=dict(log_every=100, sample_every=5000, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
