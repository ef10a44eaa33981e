r"""Dance-to-music on AIST++: 6 seconds as 1,033 tokens of a Jukebox-like tokenizer.

    # once: a tokenizer of just that length, and the records; docs/data.md says how the
    # folder data/aist must look (the segments of D2M-GAN with their I3D features)
    python -m cdcd_jax.main --config=configs/tokenizers/music_jukebox.py \
        --workdir=runs/tokenizers/music_6s --config.data.path=data/aist/audio_s6 \
        --config.model.length=132224 --config.data.options.length=132224
    python -m cdcd_jax.main --config=configs/aist.py --mode=pretokenize
    python -m cdcd_jax.main --config=configs/aist.py
    python -m cdcd_jax.main --config=configs/aist.py:synthetic  # random batches
    # what a TPU slice makes of it; no TPU is needed
    python -m cdcd_jax.main --mode=plan --config=configs/aist.py --plan.topology=v5e:4x4

19 layers of width 1024 (550 M parameters with the encoders). A trained encoder of the
motion keeps its time: each token gets the features of its instant, and all 90 (15 a
second) can be attended to, with those of the video; the genre joins the time step.
InfoNCE against ten permutations of 8 chunks of time (rhythm) and ten pieces of other
genres. `:reference` is CDCD's model (all of the dance in one vector; weights of theirs
come by `python -m cdcd_jax.convert` and --config.init_from=DIR) and its objective:
T = 80, the difference of step-wise terms, ten permutations, weight 5e-5; its encoder of
the motion is trained here, which the reference's code does not do. Nobody has trained
either to the end with this code; docs/scale.md says what a step takes.
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, merge, variant
from cdcd_jax.config.large import large_experiment, large_records
from cdcd_jax.config.reference import DANCE_TO_MUSIC, VIDEO, reference

GENRES = ("BR", "PO", "LO", "MH", "LH", "HO", "WA", "KR", "JS", "JB")
GENRE = dict(kind="label", num_classes=10, names=GENRES)
MODEL = dict(
    data=dict(batch_size=64),
    model=dict(
        conditions=dict(
            motion=dict(kind="motion", shape=(360, 219), frame_rate=60, attend=True),
            video=dict(kind="features", shape=(1, 2048)),
            genre=GENRE,
        ),
        scan_layers=True,
        dtype="bfloat16",
    ),
    diffusion=dict(schedule="absorbing_linear"),
    contrastive=dict(negatives="both", inter_from="records", form="infonce"),
    optim=dict(num_steps=100_000),
)
REFERENCE = reference(
    # converted with --length=132224
    dict(kind="checkpoint", path="runs/converted/jukebox_6s", level=2),
    data=dict(batch_size=16),
    model=dict(
        **DANCE_TO_MUSIC,
        position_grid=(1, 1033),
        conditions=dict(
            motion=dict(kind="reference_motion", shape=(360, 219), size=1024),
            video=VIDEO,
            genre={**GENRE, "sequence": 1024},
        ),
    ),
    contrastive=dict(negatives="intra", form="difference", weight=5e-5),
    optim=dict(num_steps=16_000, plateau=dict(patience=60_000)),  # 100 epochs
    sampling=dict(steps=80, top_p=0.86),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC, "data": dict(batch_size=64, synthetic=True)},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    records = large_records(
        "aist",
        "data/aist",
        dict(layout="segments", seconds=6, video=True),
        tokenizer=dict(kind="checkpoint", path="runs/tokenizers/music_6s", level=2),
        grid=(1, 1033),
        negatives=dict(number=10, rule="genre", file=""),
    )
    config = large_experiment(
        records,
        model=dict(num_codes=2048, width=1024, depth=19, heads=16),
        diffusion=dict(timesteps=80, auxiliary_ramp="rising"),
        contrastive=dict(level="step", weight=0.1, chunks=(1, 8)),
        optim=dict(learning_rate=2e-4, warmup_steps=1000),
        sampling=dict(batch_size=16),
        report=dict(checkpoint_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
