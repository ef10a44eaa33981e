r"""Class-to-image on CIFAR-10: 32 x 32 photographs as 8 x 8 tokens of 1,024 codes.

    # once, the tokenizer; photographs lie in DIR/train/<class>/*.jpg
    python -m cdcd_jax.main --config=configs/tokenizers/cifar10.py \
        --config.data.path=DIR
    python -m cdcd_jax.main --config=configs/cifar10.py \
        --config.stages.records.data.path=DIR
    python -m cdcd_jax.main --config=configs/cifar10.py:vanilla ...    # no contrast
    python -m cdcd_jax.main --config=configs/cifar10.py:large ...      # for a GPU

The judge of classes is a small network trained on the real photographs; distances are
taken in its features. Within a CPU's budget expect 31 % of guided samples in their
class, where the tokenizer alone leaves 61 % of real ones (docs/results.md): 9 minutes
of training on one core, 7 of sampling and judging. Nobody has run `large`.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

VARIANTS = {
    "": {},
    "vanilla": dict(contrastive=dict(weight=0.0)),
    "large": dict(
        data=dict(batch_size=256, threads=8),
        model=dict(width=384, depth=12, heads=6, dtype="bfloat16"),
        optim=dict(num_steps=100_000, learning_rate=5e-4, warmup_steps=1000),
        eval=dict(num_samples=10_000),
        report=dict(sample_every=10_000, checkpoint_every=5000),
    ),
    "synthetic": SYNTHETIC,
}
CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'vanilla', 'large' or 'synthetic'."""
    tokenizer = dict(kind="checkpoint", path="runs/tokenizers/cifar10")
    records = dict(
        mode="pretokenize",
        seed=0,
        data=dict(
            raw="image_folder",
            path="data/cifar10",
            options=dict(size=32, test_fraction=0.02),
        ),
        tokenizer=tokenizer,
        grid=(8, 8),
    )
    config = experiment(
        stages=dict(records=records),
        data=dict(path="@records", batch_size=32),
        tokenizer=tokenizer,
        model=dict(
            num_codes=1024,
            grid=(8, 8),
            width=128,
            depth=5,
            heads=4,
            mlp="fc",
            mlp_ratio=3,
            activation="silu",
            conditions=dict(label=dict(kind="label", num_classes=10, names=CLASSES)),
        ),
        diffusion=dict(schedule="absorbing_linear", timesteps=100),
        contrastive=dict(
            weight=0.1, level="step", negatives="inter", form="infonce", group=32
        ),
        optim=dict(num_steps=2000, learning_rate=1.2e-3),
        sampling=dict(steps=25, guidance_scale=2.0),
        eval=dict(
            at_end=True,
            num_samples=1000,
            guidance_scale=2.0,
            bound_samples=2,
            figures="labelled_pictures",
            judge="raw",
        ),
        report=dict(sample_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
