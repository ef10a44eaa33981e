"""Small experiments of tokenizers, of digits and of sound, and what is made of one."""

from pathlib import Path

from cdcd_jax.config import experiment
from cdcd_jax.models.tokenizers import open_tokenizer

IMAGE = dict(
    task="tokenizer",
    data=dict(raw="digits", batch_size=8),
    model=dict(
        resolution=8,
        image_channels=1,
        channels=8,
        channel_mult=(1,),
        patch=2,
        num_res_blocks=0,
        latent_channels=8,
    ),
    quantizer=dict(num_codes=16, dim=4),
    optim=dict(num_steps=4, warmup_steps=1, learning_rate=3e-3, weight_decay=0.0),
    eval=dict(num_samples=40, shown=8),
    report=dict(log_every=1),
)
SOUND = dict(
    IMAGE,
    data=dict(synthetic=True, batch_size=4),
    model=dict(
        kind="vqvae1d",
        length=512,
        sample_rate=8000,
        downs=(1, 1),
        strides=(4, 2),
        width=8,
        depth=1,
        multipliers=(1, 1),
    ),
    losses=dict(spectral=1.0),
    eval=dict(at_end=False),
)


def settings(base=IMAGE, **changes):
    """A tokenizer experiment with sections laid over the small one."""
    sections = {k: {**base.get(k, {}), **v} for k, v in changes.items()}
    return experiment(**{**base, **sections})


def write_config(path, config) -> Path:
    """A config file; returns it."""
    path.write_text(
        "from ml_collections import ConfigDict\n"
        f"get_config = lambda variant: ConfigDict({config!r})\n"
    )
    return path


def open_digits(workdir, **more):
    return open_tokenizer(
        {"kind": "checkpoint", "path": str(workdir), "batch_size": 16, **more}, (4, 4)
    )


def records_config(workdir, **more):
    tokenizer = dict(kind="checkpoint", path=str(workdir))
    return dict(
        data=dict(raw="digits", shard_records=100),
        tokenizer=tokenizer,
        grid=(4, 4),
        batch_size=16,
        **more,
    )
