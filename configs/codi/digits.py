r"""Any of picture, caption and sound of a digit from any others (CoDi), by one model.

    python -m cdcd_jax.main --config=configs/codi/digits.py           # all stages
    python -m cdcd_jax.main --config=configs/codi/digits.py --stage=sound  # up to one
    M="python -m cdcd_jax.main --workdir=runs/codi/digits --mode=generate"
    $M --condition.text="a seven" --config.sampling.outputs=image
    $M --condition.image=three.png --config.sampling.outputs=sound

Records are pairs: pictures with captions, sounds (melodies, one for each digit) with
captions. Prompts are aligned by the captions; each modality has a diffuser of its own,
trained on one kind of pair; no record holds a picture and a sound.

Stages: `tokenizer` of sounds; `records_image`, `records_sound`; `prompts_image`, and
`prompts_sound` by the same text tower; the diffusers `image`, `text` and `sound`; last
of all they are joined. `text_image` leaves sounds out; `gaussian` draws the picture by
continuous diffusion; `tiny` is for tests.
"""

import itertools
from typing import Any

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, merge, variant

FEATURES, WORDS, LENGTH = 32, 30, 6  # of prompts, and of captions
CODES, SOUND = 256, (1, 24)  # of a sound's tokens
TOWERS = dict(
    text=dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, width=64),
    image=dict(kind="pixels", grid=(8, 8), num_codes=17),
    sound=dict(kind="codes", grid=SOUND, num_codes=CODES, width=64),
)
BACKBONE = dict(width=64, depth=3, heads=4, mlp_ratio=2, activation="silu")
PALETTE = dict(kind="palette", levels=17)
ABSORBING = dict(schedule="absorbing_linear", timesteps=100)
DIFFUSERS: dict[str, Any] = dict(
    image=dict(
        task="conditional",
        diffusion=ABSORBING,
        tokenizer=PALETTE,
        model=dict(**BACKBONE, mlp="conv", num_codes=17, grid=(8, 8)),
    ),
    text=dict(
        task="conditional",
        diffusion=ABSORBING,
        tokenizer=dict(kind="none"),
        model=dict(**BACKBONE, target="text", num_codes=WORDS, grid=(1, LENGTH)),
    ),
    sound=dict(
        task="conditional",
        diffusion=ABSORBING,
        tokenizer=dict(kind="checkpoint", path="@tokenizer"),
        model=dict(**BACKBONE, num_codes=CODES, grid=SOUND),
    ),
)
# the modalities of the records that a diffuser is trained on
PAIRS = dict(image="image", text="image", sound="sound")
GAUSSIAN = dict(
    task="mt_diffusion",
    diffusion=dict(schedule="cosine", timesteps=100),
    tokenizer=PALETTE,
    model=dict(
        **{**BACKBONE, "width": 192, "heads": 3},
        num_codes=17,
        grid=(8, 8),
        patch=8,
        modalities=dict(picture=dict(kind="image", field="tokens")),
    ),
)
WEIGHTS = (0, 25, 40, 50, 60, 75, 100)  # percent of the text, beside a picture
TINY_STEPS = dict(tokenizer=20, prompts_image=4, prompts_sound=4)


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'text_image', 'gaussian' or 'tiny'."""
    variant(name, dict.fromkeys(("", "text_image", "gaussian", "tiny")))
    diffusers = dict(DIFFUSERS)
    if name == "gaussian":
        diffusers["image"] = GAUSSIAN
    if name == "text_image":
        del diffusers["sound"]
    stages: dict[str, Any] = dict(
        records_image=_records("image", PALETTE, (8, 8), "trained", WORDS),
        prompts_image=_prompts("image", {}),
    )
    if "sound" in diffusers:
        own = "@records_image/text-vocabulary.json"
        stages = dict(
            tokenizer=_tokenizer(),
            **stages,
            records_sound=_records(
                "sound", DIFFUSERS["sound"]["tokenizer"], SOUND, own, 0
            ),
            # captions mean what they meant with pictures
            prompts_sound=_prompts("sound", {"towers/text": "@prompts_image"}),
        )
    for one, spec in diffusers.items():
        stages[one] = _diffuser(one, spec)
    if name == "tiny":
        stages = {stage: _tiny(stage, own) for stage, own in stages.items()}
    parts = {
        f"prompts/{one}": _tower(one) for one in TOWERS if one in {*diffusers, "text"}
    }
    parts |= {f"diffusers/{one}": dict(path=f"@{one}", part="") for one in diffusers}
    config = experiment(
        task="composable",
        stages=stages,
        data=dict(path="@records_image"),
        init_parts=parts,
        model=dict(
            features=FEATURES,
            stream="image",
            prompts={one: TOWERS[one] for one in diffusers},
            diffusers=diffusers,
        ),
        optim=dict(num_steps=0),
        sampling=dict(
            steps=25, guidance_scale=1.5, prompt_weights=dict.fromkeys(diffusers, -1.0)
        ),
        eval=_eval(tuple(diffusers)),
    )
    return ConfigDict(config)


def _eval(modalities: tuple[str, ...]) -> dict[str, Any]:
    """All routes from one to one, and prompts that agree and disagree.

    Sounds are given from records of their own.
    """
    sets: dict[str, Any] = {
        f"{one}_to_{other}": dict(given=(one,), outputs=(other,), **_of(one))
        for one, other in itertools.permutations(modalities, 2)
    }
    if "sound" in modalities:
        both = dict(given=("text", "image"), outputs=("sound",))
        sets["both_to_sound"] = both
        for share in WEIGHTS:
            weights = dict(text=share / 100, image=1 - share / 100)
            sets[f"mixed_{share}"] = dict(
                both, swapped=("text",), prompt_weights=weights
            )
    others = {"sound": "@records_sound"} if "sound" in modalities else {}
    return dict(
        at_end=True,
        num_samples=360,
        figures="any_to_any",
        judge="raw",
        probe="label",
        others=others,
        sets=sets,
    )


def _of(modality: str) -> dict[str, str]:
    return dict(records=modality) if modality == "sound" else {}


def _tower(modality: str) -> dict[str, str]:
    """Where the tower of a modality was trained."""
    stage = "prompts_sound" if modality == "sound" else "prompts_image"
    return dict(path=f"@{stage}", part=f"towers/{modality}")


def _source(media: str) -> dict[str, Any]:
    return dict(raw="digit_media", path="", options=dict(media=media))


def _records(
    media: str, tokenizer: Any, grid: Any, vocabulary: str, size: int
) -> dict[str, Any]:
    return dict(
        mode="pretokenize",
        seed=0,
        # a digit under several captions
        data=dict(**_source(media), views=4 if media == "image" else 1),
        tokenizer=tokenizer,
        grid=grid,
        text=dict(vocabulary=vocabulary, size=size, length=LENGTH),
    )


def _tokenizer() -> dict[str, Any]:
    """Sounds of 6,144 samples at 8 kHz as 24 codes, one in 256 samples."""
    return dict(
        mode="train",
        **experiment(
            task="tokenizer",
            data=dict(**_source("sound"), batch_size=32),
            model=dict(
                kind="vqvae1d",
                length=6144,
                sample_rate=8000,
                patch=64,
                downs=(1,),
                strides=(4,),
                width=64,
                depth=2,
                multipliers=(1,),
                dilation_growth=3,
                dtype="float32",
            ),
            quantizer=dict(num_codes=CODES, dim=64, commitment=0.25),
            losses=dict(l2=20.0),
            optim=dict(
                num_steps=1000, learning_rate=2e-3, warmup_steps=50, weight_decay=0.0
            ),
            eval=dict(at_end=True, num_samples=400, figures="labelled_sound", shown=4),
        ),
    )


def _prompts(modality: str, parts: dict[str, str]) -> dict[str, Any]:
    """The towers of text and of a modality; text's is frozen where it comes from."""
    text = dict(TOWERS["text"], field="text", frozen=bool(parts))
    return dict(
        mode="train",
        **experiment(
            task="bridge",
            data=dict(path=f"@records_{modality}", batch_size=256),
            init_parts=parts,
            model=dict(
                towers={"text": text, modality: TOWERS[modality]},
                features=FEATURES,
                same="text",
            ),
            optim=dict(num_steps=600, learning_rate=1e-3, weight_decay=0.0),
            eval=dict(at_end=True, probe="label"),
        ),
    )


def _diffuser(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A run of its own, prompted by text, by what it draws, or by both."""
    pair = PAIRS[name]
    prompt = dict(kind="prompt", features=FEATURES, frozen=True)
    conditions = {
        "text": dict(prompt, encoder=TOWERS["text"]),
        pair: dict(prompt, encoder=TOWERS[pair], field="tokens"),
    }
    return dict(
        mode="train",
        **experiment(
            task=spec["task"],
            tokenizer=spec["tokenizer"],
            data=dict(path=f"@records_{pair}", batch_size=64),
            init_parts={f"{one}/tower": _tower(one) for one in conditions},
            model=dict(**spec["model"], conditions=conditions, prompt_noise=0.1),
            diffusion=spec["diffusion"],
            optim=dict(num_steps=1500, learning_rate=2e-3),
        ),
    )


def _tiny(stage: str, own: dict[str, Any]) -> dict[str, Any]:
    """Too small to learn anything."""
    if own["mode"] == "pretokenize":
        return own
    steps = TINY_STEPS.get(stage, 2)
    return merge(own, dict(optim=dict(num_steps=steps, warmup_steps=1)))
