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

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import captioned
from cdcd_jax.config.reference import TEXT_TO_IMAGE, reference

CLIP = {"text/tower": "runs/converted/clip"}
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
REFERENCE = reference(
    {**REMAPPED, "sample": True},
    init_parts=CLIP,
    data=dict(batch_size=48),
    model=TEXT_TO_IMAGE,
    contrastive=dict(level="sample", form="difference", weight=5e-6),
    optim=dict(
        num_steps=74_000,  # 400 epochs
        learning_rate=4.5e-4,
        plateau=dict(patience=25_000),
    ),
    sampling=dict(steps=80, top_p=0.85),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC, "init_parts": {}},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    config = captioned(
        "data/cub",
        dict(format="cub", cub_split="classes"),
        data=dict(batch_size=64),
        contrastive=dict(negatives="inter", inter_from="records"),
        optim=dict(warmup_steps=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
