"""Text-to-image on MSCOCO 256 x 256: 32 x 32 tokens of a VQGAN, contrast as CDCD.

    python -m cdcd_jax.main --config=configs/coco.py --config.data.path=RECORDS
    python -m cdcd_jax.main --config=configs/coco.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --config=configs/coco.py --mode=plan --plan.topology=v5e:4x4

19 layers of width 1024 (490 M parameters), with cross-attention to the 77 x 512
features of a CLIP text tower, which the records bring; CDCD's COCO setting: T = 80, ten
intra-sample negatives, step-wise. Nobody has trained it to the end with this code;
docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

VARIANTS = {"": {}, "synthetic": SYNTHETIC}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'synthetic'."""
    config = experiment(
        data=dict(batch_size=128, threads=8),
        tokenizer=dict(kind="none"),
        model=dict(
            num_codes=2887,
            grid=(32, 32),
            width=1024,
            depth=19,
            heads=16,
            conditions=dict(text=dict(kind="array", shape=(77, 512))),
            scan_layers=True,
            remat="full",
            dtype="bfloat16",
            head_chunk=64,
        ),
        diffusion=dict(schedule="vq_diffusion_released", timesteps=80),
        contrastive=dict(
            level="step", negatives="intra", form="difference", weight=5e-5
        ),
        optim=dict(num_steps=300_000, learning_rate=2e-4, warmup_steps=1000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=64, num_samples=8),
        report=dict(log_every=100, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
