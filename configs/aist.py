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

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

GENRES = ("BR", "PO", "LO", "MH", "LH", "HO", "WA", "KR", "JS", "JB")
GENRE = dict(kind="label", num_classes=10, names=GENRES)
CODES = dict(kind="checkpoint", path="runs/tokenizers/music_6s", level=2)
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
# converted with --length=132224
CONVERTED = dict(kind="checkpoint", path="runs/converted/jukebox_6s", level=2)
REFERENCE = dict(
    stages=dict(records=dict(tokenizer=CONVERTED)),
    tokenizer=CONVERTED,
    data=dict(batch_size=16),
    model=dict(
        form="selfcross",
        activation="gelu2",
        position_grid=(1, 1033),
        conditions=dict(
            motion=dict(kind="reference_motion", shape=(360, 219), size=1024),
            video=dict(
                kind="features",
                shape=(1, 2048),
                size=1024,
                positions=False,
                bias=False,
            ),
            genre={**GENRE, "sequence": 1024},
        ),
        join="add",
        condition_dropout=0.0,
    ),
    diffusion=dict(schedule="vq_diffusion_released", time_sampling="importance"),
    contrastive=dict(negatives="intra", form="difference", weight=5e-5),
    optim=dict(
        num_steps=16_000,  # 100 epochs
        schedule="plateau",
        plateau=dict(patience=60_000),
        clip_norm=0.5,
        ema_decay=0.9996,
    ),
    sampling=dict(method="ancestral", steps=80, top_p=0.86),
)
VARIANTS = {
    "": MODEL,
    "reference": REFERENCE,
    "synthetic": {**MODEL, **SYNTHETIC, "data": dict(batch_size=64, synthetic=True)},
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'reference' or 'synthetic'."""
    records = dict(
        mode="pretokenize",
        on_request=True,
        seed=0,
        data=dict(
            raw="aist",
            path="data/aist",
            options=dict(layout="segments", seconds=6, video=True),
            views=1,
            threads=16,
        ),
        tokenizer=CODES,
        grid=(1, 1033),
        negatives=dict(number=10, rule="genre"),
    )
    config = experiment(
        stages=dict(records=records),
        data=dict(path="@records", threads=8),
        tokenizer=CODES,
        model=dict(
            num_codes=2048,
            grid=(1, 1033),
            width=1024,
            depth=19,
            heads=16,
            remat="full",
            head_chunk=64,
        ),
        diffusion=dict(timesteps=80, auxiliary_ramp="rising"),
        contrastive=dict(level="step", weight=0.1, chunks=(1, 8)),
        optim=dict(learning_rate=2e-4, warmup_steps=1000),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=16, num_samples=8),
        report=dict(log_every=100, checkpoint_every=1000),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
