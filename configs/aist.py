"""Dance-to-music on AIST++: 6 seconds as 1,033 tokens of a Jukebox VQ-VAE, contrast.

    python -m cdcd_jax.main --config=configs/aist.py --config.data.path=RECORDS
    python -m cdcd_jax.main --config=configs/aist.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --mode=plan --config=configs/aist.py --plan.topology=v5e:4x4

19 layers of width 1024 (508 M parameters), with cross-attention to the dance as 90
vectors (15 a second), which the records bring; CDCD's music setting: T = 80, ten
intra-sample negatives that permute 8 chunks of time, step-wise. Nobody has trained it
to the end with this code; docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

VARIANTS = {"": {}, "synthetic": SYNTHETIC}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'synthetic'."""
    config = experiment(
        data=dict(batch_size=64, threads=8),
        tokenizer=dict(kind="none"),
        model=dict(
            num_codes=2048,
            grid=(1, 1033),
            width=1024,
            depth=19,
            heads=16,
            conditions=dict(dance=dict(kind="array", shape=(90, 1024))),
            scan_layers=True,
            remat="full",
            dtype="bfloat16",
            head_chunk=64,
        ),
        diffusion=dict(
            schedule="vq_diffusion_released", timesteps=80, auxiliary_ramp="rising"
        ),
        contrastive=dict(
            level="step",
            negatives="intra",
            form="difference",
            weight=5e-5,
            chunks=(1, 8),
        ),
        optim=dict(num_steps=100_000, learning_rate=2e-4, warmup_steps=1000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=16, num_samples=8),
        report=dict(log_every=100, checkpoint_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
