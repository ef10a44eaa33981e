r"""Text-to-image on MSCOCO 2014, 256 x 256: pictures as 32 x 32 tokens, and captions.

    # once: a tokenizer, CLIP's text tower (weights from elsewhere), and the records;
    # docs/data.md says how the folder data/coco must look
    python -m cdcd_jax.main --config=configs/tokenizers/openimages_f8.py
    python -m cdcd_jax.convert --family=clip --input=FILE --output=runs/converted/clip
    python -m cdcd_jax.main --config=configs/coco.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/coco.py
    python -m cdcd_jax.main --config=configs/coco.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --config=configs/coco.py --mode=plan --plan.topology=v5e:4x4

19 layers of width 1024 (501 M parameters) and, frozen, CLIP's tower of 63 M, which
turns the 77 tokens of a caption into what the layers attend to. InfoNCE against ten
pictures with other captions. `:reference` is CDCD's model, 18 layers of width 192 on
2,887 codes, and its objective: T = 80, the difference of step-wise terms, ten
negatives within the picture, weight 5e-5. `:vq_diffusion` is VQ-Diffusion-B, 19 layers
of width 1024, T = 100, without contrast. Weights of theirs come by
`python -m cdcd_jax.convert` and --config.init_from=DIR. Nobody has trained any of them
to the end with this code; docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

CLIP = {"text/tower": "runs/converted/clip"}
CODES = dict(kind="checkpoint", path="runs/tokenizers/openimages_f8")
MODEL = dict(
    init_parts=CLIP,
    model=dict(num_codes=8192, width=1024, depth=19, heads=16, dtype="bfloat16"),
    diffusion=dict(schedule="absorbing_linear"),
    contrastive=dict(
        level="step",
        negatives="inter",
        inter_from="records",
        form="infonce",
        weight=0.1,
    ),
    optim=dict(num_steps=300_000),
    sampling=dict(guidance_scale=2.0),
)
# converted with --remap=taming_vqvae_2887.pt
REMAPPED = dict(kind="checkpoint", path="runs/converted/openimages_f8_2887")
REFERENCE = dict(
    stages=dict(records=dict(tokenizer={**REMAPPED, "sample": True})),
    init_parts=CLIP,
    tokenizer={**REMAPPED, "sample": True},
    data=dict(batch_size=32),
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
    # chunks: the reference permutes 8 strips of 4 rows
    contrastive=dict(
        level="step", negatives="intra", form="difference", weight=5e-5, chunks=(8, 1)
    ),
    optim=dict(
        num_steps=1_300_000,  # 100 epochs
        schedule="plateau",
        plateau=dict(patience=60_000),
        clip_norm=0.5,
        ema_decay=0.9996,
    ),
    sampling=dict(method="ancestral", steps=80, top_p=0.85),
)
BASE = dict(
    model=dict(width=1024, depth=19, heads=16, mlp="fc", mlp_ratio=4),
    diffusion=dict(timesteps=100),
    contrastive=dict(weight=0.0, num_negatives=0),
    sampling=dict(steps=100),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "vq_diffusion": {
        **REFERENCE,
        **{section: {**REFERENCE[section], **BASE[section]} for section in BASE},
    },
    "synthetic": {**MODEL, **SYNTHETIC, "init_parts": {}},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference', 'vq_diffusion' or 'synthetic'."""
    records = dict(
        mode="pretokenize",
        on_request=True,
        seed=0,
        data=dict(
            raw="captions",
            path="data/coco",
            options=dict(format="coco", year="2014", size=256),
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
        data=dict(path="@records", batch_size=128, threads=8),
        tokenizer=dict(CODES, sample=False),
        model=dict(
            grid=(32, 32),
            conditions=dict(text=dict(kind="clip_text", shape=(77,), frozen=True)),
            scan_layers=True,
            remat="full",
            head_chunk=64,
        ),
        diffusion=dict(timesteps=80),
        optim=dict(learning_rate=2e-4, warmup_steps=1000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=64, num_samples=8),
        report=dict(log_every=100, checkpoint_every=2500),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
