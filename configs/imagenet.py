r"""Class-to-image on ImageNet 256 x 256: pictures as 16 x 16 tokens of a VQGAN.

    # once, the tokenizer and the records; ImageNet lies in ~/tensorflow_datasets (or
    # TFDS_DATA_DIR) as tensorflow-datasets prepared it in array_record form
    python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py
    python -m cdcd_jax.main --config=configs/imagenet.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/imagenet.py
    python -m cdcd_jax.main --config=configs/imagenet.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --mode=plan --plan.topology=v5e:4x4 \
        --config=configs/imagenet.py

24 layers of width 512 with 3 x 3 convolutions (519 M parameters), InfoNCE against ten
pictures of other classes. `:full` is for a tokenizer of 16,384 codes, converted into
runs/converted/vqgan_imagenet_f16_16384. `:reference` is CDCD's model on 974 of these
codes (weights of theirs come by `python -m cdcd_jax.convert` and
--config.init_from=DIR) and its objective: T = 80, the difference of step-wise terms,
ten negatives within the picture, weight 5e-5. Nobody has trained any of them to the end
with this code; docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import large_experiment, large_records
from cdcd_jax.config.reference import reference

CONVERTED = dict(kind="checkpoint", path="runs/converted/vqgan_imagenet_f16_16384")
MODEL = dict(
    model=dict(heads=8, dtype="bfloat16", scan_layers=True),
    diffusion=dict(schedule="absorbing_linear"),
    contrastive=dict(
        level="step",
        negatives="inter",
        inter_from="records",
        form="infonce",
        weight=0.1,
    ),
)
FULL = {
    **MODEL,
    "stages": dict(records=dict(tokenizer=CONVERTED)),
    "tokenizer": CONVERTED,
    "model": {**MODEL["model"], "num_codes": 16384, "head_chunk": 8},
}
REFERENCE = reference(
    # converted with --remap=taming_vqvae_974.pt
    dict(kind="checkpoint", path="runs/converted/vqgan_imagenet_f16_974"),
    data=dict(batch_size=192),
    model=dict(
        form="selfcondition",
        num_codes=974,
        heads=16,
        position_grid=(32, 32),  # twice the tokens' grid, of which 8 rows are used
        condition_dropout=0.0,
    ),
    # chunks: the reference permutes 8 strips of 2 rows
    contrastive=dict(
        level="step", negatives="intra", form="difference", weight=5e-5, chunks=(8, 1)
    ),
    optim=dict(num_steps=670_000, plateau=dict(patience=100_000)),  # 100 epochs
    sampling=dict(steps=80, top_p=0.869),
)
VARIANTS = {
    "": MODEL,
    "full": FULL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC},
    "full_synthetic": {**FULL, **SYNTHETIC},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'full', 'reference', 'synthetic' or 'full_synthetic'."""
    records = large_records(
        "tfds",
        "",
        dict(name="imagenet2012", test="validation", size=256),
        tokenizer=dict(kind="checkpoint", path="runs/tokenizers/imagenet_f16"),
        grid=(16, 16),
        negatives=dict(number=10, rule="label"),
    )
    config = large_experiment(
        records,
        data=dict(batch_size=256),
        model=dict(
            num_codes=1024,
            width=512,
            depth=24,
            mlp="conv",
            mlp_ratio=4,
            conditions=dict(label=dict(kind="label", num_classes=1000)),
        ),
        diffusion=dict(timesteps=80, auxiliary_weight=1e-3),
        optim=dict(num_steps=500_000, learning_rate=4.5e-4, warmup_steps=5000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
