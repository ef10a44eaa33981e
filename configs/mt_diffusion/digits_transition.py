"""Pairs of digits in one diffusion space: either picture from the other, or both.

    ./launch/local.sh --config=configs/mt_diffusion/digits_transition.py:invert
    ./launch/local.sh --config=configs/mt_diffusion/digits_transition.py:outline

`invert` (the default): light and dark exchanged and turned over the diagonal, which
leaves nothing open. `outline`: the rim of the strokes, of which there are many digits.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant

# variant -> what a pair is, and the name of its second picture
PAIRS = {"invert": ("invert", "target"), "outline": ("outline", "outline")}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'invert', or 'outline'."""
    pair, second = variant(name, {"": PAIRS["invert"], **PAIRS})
    records = dict(
        mode="pretokenize",
        seed=0,
        data=dict(raw="digits", options=dict(pair=pair), shard_records=4096),
        tokenizer=dict(kind="palette", levels=17),
        grid=(8, 8),
    )
    modalities = {
        "image": dict(kind="image", field="tokens", weight=0.7),
        second: dict(kind="image", weight=0.7),
    }
    sets = dict(
        forward=dict(given=("image",), outputs=(second,)),
        backward=dict(given=(second,), outputs=("tokens",)),
        pair=dict(given=()),
    )
    config = experiment(
        task="mt_diffusion",
        stages=dict(records=records),
        data=dict(path="@records", batch_size=256),
        model=dict(
            num_codes=17,
            grid=(8, 8),
            patch=8,
            width=192,
            depth=3,
            heads=3,
            mlp_ratio=2,
            modalities=modalities,
        ),
        diffusion=dict(schedule="cosine", timesteps=100),
        optim=dict(num_steps=5000, learning_rate=1e-3, weight_decay=0.0),
        sampling=dict(method="ddpm", steps=50, batch_size=720),
        eval=dict(at_end=True, num_samples=2880, figures="paired_pixels", sets=sets),
    )
    return ConfigDict(config)
