r"""Class-to-image on ImageNet 256 x 256: 16 x 16 tokens of a VQGAN, contrast as CDCD.

    # once, the tokenizer and the records; ImageNet lies in ~/tensorflow_datasets (or
    # TFDS_DATA_DIR) as tensorflow-datasets prepared it in array_record form
    python -m cdcd_jax.main --config=configs/tokenizers/imagenet_f16.py
    python -m cdcd_jax.main --config=configs/imagenet.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/imagenet.py
    python -m cdcd_jax.main --config=configs/imagenet.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --mode=plan --plan.topology=v5e:4x4 \
        --config=configs/imagenet.py

24 layers of width 512 with 3 x 3 convolutions (519 M parameters), CDCD's ImageNet
setting: T = 80, ten intra-sample negatives, step-wise. `:full` is for a tokenizer of
16,384 codes, converted into runs/converted/vqgan_imagenet_f16_16384. Nobody has trained
it to the end with this code; docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

CONVERTED = dict(kind="checkpoint", path="runs/converted/vqgan_imagenet_f16_16384")
FULL = dict(
    stages=dict(records=dict(tokenizer=CONVERTED)),
    tokenizer=CONVERTED,
    model=dict(num_codes=16384, head_chunk=8),
)
VARIANTS = {
    "": {},
    "synthetic": SYNTHETIC,
    "full": FULL,
    "full_synthetic": {**FULL, **SYNTHETIC},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'synthetic', 'full' or 'full_synthetic'."""
    tokenizer = dict(kind="checkpoint", path="runs/tokenizers/imagenet_f16")
    records = dict(
        mode="pretokenize",
        on_request=True,
        seed=0,
        data=dict(
            raw="tfds",
            path="",
            options=dict(name="imagenet2012", test="validation", size=256),
            views=1,
            threads=16,
        ),
        tokenizer=tokenizer,
        grid=(16, 16),
    )
    config = experiment(
        stages=dict(records=records),
        data=dict(path="@records", batch_size=256, threads=8),
        tokenizer=tokenizer,
        model=dict(
            num_codes=1024,
            grid=(16, 16),
            width=512,
            depth=24,
            heads=8,
            mlp="conv",
            mlp_ratio=4,
            conditions=dict(label=dict(kind="label", num_classes=1000)),
            scan_layers=True,
            remat="full",
            dtype="bfloat16",
            head_chunk=64,
        ),
        diffusion=dict(
            schedule="vq_diffusion_released", timesteps=80, auxiliary_weight=1e-3
        ),
        contrastive=dict(
            level="step", negatives="intra", form="difference", weight=5e-5
        ),
        optim=dict(num_steps=500_000, learning_rate=4.5e-4, warmup_steps=5000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=64, num_samples=8),
        report=dict(log_every=100, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
