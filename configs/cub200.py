r"""Text-to-image on CUB-200-2011, 256 x 256: birds as 32 x 32 tokens, told by captions.

    # once: a tokenizer, CLIP's text tower (weights from elsewhere), and the records;
    # docs/data.md says how the folder data/cub must look
    python -m cdcd_jax.main --config=configs/tokenizers/openimages_f8.py
    python -m cdcd_jax.convert --family=clip --input=FILE --output=runs/converted/clip
    python -m cdcd_jax.main --config=configs/cub200.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/cub200.py
    python -m cdcd_jax.main --config=configs/cub200.py:synthetic  # random batches

12 layers of width 384 (53 M parameters) and, frozen, CLIP's tower of 63 M, which turns
the 77 tokens of a caption into what the layers attend to. InfoNCE against ten birds
with other captions. `:reference` is CDCD's model, 18 layers of width 192 on 2,887 codes
(weights of theirs come by `python -m cdcd_jax.convert` and --config.init_from=DIR), and
its objective: T = 80, the difference of sample-wise terms, weight 5e-6. Nobody has
trained either to the end with this code.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

CLIP = {"text/tower": "runs/converted/clip"}
CODES = dict(kind="checkpoint", path="runs/tokenizers/openimages_f8")
MODEL = dict(
    init_parts=CLIP,
    model=dict(num_codes=8192, width=384, depth=12, heads=6, dtype="bfloat16"),
    diffusion=dict(schedule="absorbing_linear"),
    contrastive=dict(level="step", form="infonce", weight=0.1),
    optim=dict(num_steps=150_000, learning_rate=5e-4),
    sampling=dict(guidance_scale=2.0),
)
# converted with --remap=taming_vqvae_2887.pt
REMAPPED = dict(kind="checkpoint", path="runs/converted/openimages_f8_2887")
REFERENCE = dict(
    stages=dict(records=dict(tokenizer={**REMAPPED, "sample": True})),
    init_parts=CLIP,
    tokenizer={**REMAPPED, "sample": True},
    data=dict(batch_size=48),
    model=dict(
        form="selfcross",
        num_codes=2887,
        width=192,
        depth=18,
        heads=16,
        mlp="conv",
        mlp_ratio=2,
        activation="gelu2",
        position_grid=(32, 32),
        condition_dropout=0.0,
        scan_layers=False,
    ),
    diffusion=dict(schedule="vq_diffusion_released", time_sampling="importance"),
    contrastive=dict(level="sample", form="difference", weight=5e-6),
    optim=dict(
        num_steps=74_000,  # 400 epochs
        learning_rate=4.5e-4,
        schedule="plateau",
        plateau=dict(patience=25_000),
        clip_norm=0.5,
        ema_decay=0.9996,
    ),
    sampling=dict(method="ancestral", steps=80, top_p=0.85),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC, "init_parts": {}},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    records = dict(
        mode="pretokenize",
        on_request=True,
        seed=0,
        data=dict(
            raw="captions",
            path="data/cub",
            options=dict(format="cub", cub_split="classes", size=256),
            views=1,
            threads=16,
        ),
        tokenizer=dict(CODES, sample=False),
        grid=(32, 32),
        text=dict(vocabulary="clip", length=77, truncate=True),
        negatives=dict(number=10, rule="caption"),
    )
    config = experiment(
        stages=dict(records=records),
        data=dict(path="@records", batch_size=64, threads=8),
        tokenizer=dict(CODES, sample=False),
        model=dict(
            grid=(32, 32),
            conditions=dict(text=dict(kind="clip_text", shape=(77,), frozen=True)),
            scan_layers=True,
            remat="full",
            head_chunk=64,
        ),
        diffusion=dict(timesteps=80),
        contrastive=dict(negatives="inter", inter_from="records"),
        optim=dict(warmup_steps=1000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=64, num_samples=8),
        report=dict(log_every=100, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
