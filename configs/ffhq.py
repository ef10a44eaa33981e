r"""Faces of FFHQ, 256 x 256, without a condition: 16 x 16 tokens of a VQGAN.

    # once, the tokenizer and the records; data/ffhq holds pictures at any depth
    python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py
    python -m cdcd_jax.main --config=configs/ffhq.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/ffhq.py
    python -m cdcd_jax.main --config=configs/ffhq.py:synthetic  # random batches

16 layers of width 512 with 3 x 3 convolutions (346 M parameters). There is nothing to
contrast with. `:reference` is VQ-Diffusion's model of 20 layers (weights of theirs come
by `python -m cdcd_jax.convert` and --config.init_from=DIR) with its objective, T = 100.
Nobody has trained either to the end with this code.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import large_experiment, large_records
from cdcd_jax.config.reference import reference

MODEL = dict(
    model=dict(depth=16, heads=8, dtype="bfloat16", scan_layers=True),
    diffusion=dict(schedule="absorbing_linear"),
    optim=dict(num_steps=150_000),
)
REFERENCE = reference(
    dict(kind="checkpoint", path="runs/converted/vqgan_ffhq_f16_1024"),
    model=dict(
        form="self",
        depth=20,
        heads=16,
        position_grid=(32, 32),  # twice the tokens' grid, of which 8 rows are used
    ),
    optim=dict(
        num_steps=82_000,  # 300 epochs
        plateau=dict(patience=5000),
        ema_decay=0.999,
    ),
    sampling=dict(steps=100, top_p=0.85),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    records = large_records(
        "image_folder",
        "data/ffhq",
        dict(size=256, labels=False, test_fraction=0.01),
        views=2,
        tokenizer=dict(kind="checkpoint", path="runs/tokenizers/imagenet_f16"),
        grid=(16, 16),
    )
    config = large_experiment(
        records,
        data=dict(batch_size=256),
        model=dict(
            num_codes=1024,
            width=512,
            mlp="conv",
            mlp_ratio=4,
            conditions={},
            condition_dropout=0.0,
        ),
        diffusion=dict(timesteps=100, auxiliary_weight=1e-3),
        contrastive=dict(weight=0.0, num_negatives=0),
        optim=dict(learning_rate=4.5e-4, warmup_steps=2000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
