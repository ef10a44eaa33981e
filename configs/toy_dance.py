r"""Dance-to-music on synthetic dances of six genres: 4 s of sound as 250 tokens.

    python -m cdcd_jax.main --config=configs/toy_dance.py             # all stages
    python -m cdcd_jax.main --config=configs/toy_dance.py:vanilla     # no contrast
    python -m cdcd_jax.main --config=configs/toy_dance.py --mode=generate \
        --condition.motion=FILE.npy --condition.genre=waltz

Stages: a tokenizer of sound at 8 kHz, records with motion, genre and, for evaluation,
beats and tempo, then the model, whose encoder of motion is trained with it. The tempi
of the test split lie in bands that training never sees. Expect an F1 of onsets and
beats of 0.99, tempo and genre right in all of 200 dances, in 16 minutes on 2 CPU cores
(docs/results.md).
"""

from ml_collections import ConfigDict

from cdcd_jax.config import SYNTHETIC, experiment, merge, variant

GENRES = ("house", "rock", "waltz", "reggae", "latin", "electro")
VARIANTS = {
    "": {},
    "vanilla": dict(contrastive=dict(weight=0.0)),
    "synthetic": SYNTHETIC,
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'vanilla' or 'synthetic'."""
    source = dict(raw="toy_dance", path="", options={})
    tokenizer = dict(
        mode="train",
        **experiment(
            task="tokenizer",
            data=dict(**source, batch_size=8),
            model=dict(
                kind="vqvae1d",
                length=32000,
                sample_rate=8000,
                patch=32,
                downs=(2,),
                strides=(2,),
                width=128,
                depth=3,
                multipliers=(1,),
                dilation_growth=3,
                dtype="float32",
            ),
            quantizer=dict(num_codes=512, dim=64, commitment=0.25),
            losses=dict(l2=20.0, spectral=0.1, log_spectral=0.1),
            optim=dict(
                num_steps=1200, learning_rate=1e-3, warmup_steps=100, weight_decay=0.0
            ),
            eval=dict(num_samples=50, shown=8),
        ),
    )
    records = dict(
        mode="pretokenize",
        seed=0,
        data=dict(**source, views=1),
        tokenizer=dict(kind="checkpoint", path="@tokenizer"),
        grid=(1, 250),
        negatives=dict(number=10, rule="track"),
    )
    config = experiment(
        stages=dict(tokenizer=tokenizer, records=records),
        data=dict(path="@records", batch_size=16),
        tokenizer=dict(kind="checkpoint", path="@tokenizer"),
        model=dict(
            num_codes=512,
            grid=(1, 250),
            width=96,
            depth=4,
            heads=4,
            mlp="fc",
            mlp_ratio=3,
            activation="silu",
            conditions=dict(
                motion=dict(kind="motion", shape=(240, 219), frame_rate=60),
                genre=dict(kind="label", num_classes=6, names=GENRES),
            ),
        ),
        diffusion=dict(
            schedule="absorbing_linear", timesteps=100, auxiliary_ramp="rising"
        ),
        contrastive=dict(
            weight=0.1,
            level="step",
            negatives="intra",
            form="infonce",
            chunks=(1, 8),
            key="genre",
            inter_from="records",
        ),
        optim=dict(num_steps=1500, learning_rate=1e-3),
        sampling=dict(steps=25, guidance_scale=1.5, batch_size=50),
        eval=dict(
            at_end=True,
            num_samples=200,
            guidance_scale=1.5,
            bound_samples=4,
            figures="danced_music",
        ),
        report=dict(sample_every=0),
    )
    return ConfigDict(merge(config, variant(name, VARIANTS)))
