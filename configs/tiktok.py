r"""Dance-to-music on TikTok videos: 2 seconds as 344 tokens of a Jukebox-like codec.

    # once: a tokenizer of just that length, and the records; docs/data.md says how the
    # folder data/tiktok must look (the segments of D2M-GAN with their I3D features)
    python -m cdcd_jax.main --config=configs/tokenizers/music_jukebox.py \
        --workdir=runs/tokenizers/music_2s --config.data.path=data/tiktok/audio_s2 \
        --config.model.length=44032 --config.data.options.length=44032
    python -m cdcd_jax.main --config=configs/tiktok.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/tiktok.py
    python -m cdcd_jax.main --config=configs/tiktok.py:synthetic  # random batches

12 layers of width 512 (92 M parameters with the encoders), less than for AIST++, of
which this set has a quarter. A trained encoder of the motion (25 joints, 30 frames a
second) keeps its time: each token gets the features of its instant, and all 30 can be
attended to, with those of the video. InfoNCE against ten permutations of 8 chunks of
time (rhythm) and ten pieces of other songs. `:reference` is CDCD's model of 19 layers
of width 1024 (all of the dance in one vector; weights of theirs come by
`python -m cdcd_jax.convert` and --config.init_from=DIR) and its objective: T = 100, the
difference of step-wise terms, ten permutations, weight 5e-5; its encoder of the motion
is trained here, which the reference's code does not do. Nobody has trained either to
the end with this code.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import large_experiment, large_records
from cdcd_jax.config.reference import DANCE_TO_MUSIC, VIDEO, reference

MODEL = dict(
    data=dict(batch_size=64),
    model=dict(
        width=512,
        depth=12,
        heads=8,
        conditions=dict(
            # keypoints in pixels, of dancers of any size
            motion=dict(
                kind="motion",
                shape=(60, 75),
                frame_rate=30,
                strides=(2,),
                attend=True,
                normalize=True,
            ),
            video=dict(kind="features", shape=(1, 2048)),
        ),
        scan_layers=True,
        dtype="bfloat16",
    ),
    diffusion=dict(schedule="absorbing_linear"),
    contrastive=dict(negatives="both", inter_from="records", form="infonce"),
    optim=dict(num_steps=50_000, learning_rate=5e-4),
)
REFERENCE = reference(
    # converted with --length=44032
    dict(kind="checkpoint", path="runs/converted/jukebox_2s", level=2),
    data=dict(batch_size=96),
    model=dict(
        **DANCE_TO_MUSIC,
        position_grid=(1, 344),
        conditions=dict(
            motion=dict(
                kind="reference_motion",
                shape=(60, 75),
                frame_rate=30,
                widths=(256, 512, 1024),
                size=1024,
            ),
            video=VIDEO,
        ),
    ),
    contrastive=dict(negatives="intra", form="difference", weight=5e-5),
    optim=dict(
        num_steps=2500,  # 100 epochs
        learning_rate=2e-4,
        plateau=dict(patience=60_000),
    ),
    sampling=dict(steps=100, top_p=0.86),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC, "data": dict(batch_size=64, synthetic=True)},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    records = large_records(
        "tiktok",
        "data/tiktok",
        dict(video=True),
        tokenizer=dict(kind="checkpoint", path="runs/tokenizers/music_2s", level=2),
        grid=(1, 344),
        negatives=dict(number=10, rule="track", file=""),
    )
    config = large_experiment(
        records,
        model=dict(num_codes=2048),
        diffusion=dict(timesteps=100, auxiliary_ramp="rising"),
        contrastive=dict(level="step", weight=0.1, chunks=(1, 8)),
        optim=dict(warmup_steps=1000),
        report=dict(checkpoint_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
