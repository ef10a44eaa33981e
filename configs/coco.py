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

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import captioned
from cdcd_jax.config.reference import TEXT_TO_IMAGE, reference

CLIP = {"text/tower": "runs/converted/clip"}
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
REFERENCE = reference(
    {**REMAPPED, "sample": True},
    init_parts=CLIP,
    data=dict(batch_size=32),
    model=TEXT_TO_IMAGE,
    # chunks: the reference permutes 8 strips of 4 rows
    contrastive=dict(
        level="step", negatives="intra", form="difference", weight=5e-5, chunks=(8, 1)
    ),
    optim=dict(num_steps=1_300_000, plateau=dict(patience=60_000)),  # 100 epochs
    sampling=dict(steps=80, top_p=0.85),
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
    config = captioned(
        "data/coco",
        dict(format="coco", year="2014"),
        data=dict(batch_size=128),
        optim=dict(learning_rate=2e-4, warmup_steps=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
