r"""Any of picture, caption and sound of a digit from any others (CoDi), by one model.

    python -m cdcd_jax.main --config=configs/codi/digits.py           # all stages
    python -m cdcd_jax.main --config=configs/codi/digits.py --stage=sound  # up to one
    M="python -m cdcd_jax.main --workdir=runs/codi/digits --mode=generate"
    $M --condition.text="a seven" --config.sampling.outputs=image
    $M --condition.image=three.png --config.sampling.outputs=sound
    $M --config.sampling.outputs=image,sound,text  # of one digit, whichever

    python -m cdcd_jax.main --config=configs/codi/digits.py:spoken \
        --config.stages.tokenizer.data.path=DIR   # DIR/<digit>_<speaker>_<i>.wav

Records are pairs: pictures with captions, sounds (melodies, one for each digit) with
captions. Prompts are aligned by the captions; each modality has a diffuser of its own,
trained on one kind of pair; no record holds a picture and a sound. Then each learns to
see what captions show, and captions what pictures do, so that what is drawn together is
of one digit.

Stages: `tokenizer` of sounds; `records_image`, `records_sound`; `prompts_image`, and
`prompts_sound` by the same text tower; the diffusers `image`, `sound` and `text`;
`align_image` and `align_sound`, by which they see each other; last of all they are
joined. With `spoken` sounds are recordings, those of the Free Spoken Digit Dataset (CC
BY-SA 4.0) for instance; `text_image` leaves sounds out; `gaussian` draws the picture by
continuous diffusion, and nothing together; `unaligned` is the control, in which sounds
have captions of another space and no diffuser sees another; `tiny` is for tests.

Expect, in 20 minutes on 2 cores: what is drawn shows the digit that was meant in 93 to
100 % of 360 held-out inputs, whichever modality it is drawn from. All figures are in
docs/codi.md.
"""

import itertools
from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant
from cdcd_jax.config.any_to_any import any_to_any, shortened

BACKBONE = dict(width=64, depth=3, heads=4, mlp_ratio=2, activation="silu")
DISCRETE = dict(
    task="conditional", diffusion=dict(schedule="absorbing_linear", timesteps=100)
)
GAUSSIAN = dict(
    task="mt_diffusion",
    diffusion=dict(schedule="cosine", timesteps=100),
    model=dict(
        **{**BACKBONE, "width": 192, "heads": 3},
        patch=8,
        modalities=dict(picture=dict(kind="image", field="tokens")),
    ),
)
TEXT = dict(
    **dict(vocabulary="trained", size=30, length=6),
    tower=dict(vocabulary=30, width=64),
    diffuser=dict(**DISCRETE, model=BACKBONE),
)
WAVES = dict(  # 24 codes, one in 256 samples
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
)
SPECTRA = dict(  # 32 codes, one for two spectra of 256 samples
    WAVES, length=5120, patch=80, bands=32, window=256, strides=(2,), width=96
)


def _sounds(
    data: dict[str, Any],
    views: int,
    model: dict[str, Any],
    num_codes: int,
    **training: Any,
) -> dict[str, Any]:
    """The modality of sounds, whose tokenizer is trained first."""
    (stride,) = model["strides"]
    tokenizer = experiment(
        task="tokenizer",
        data=dict(**data, batch_size=training.pop("batch_size")),
        model=model,
        quantizer=dict(num_codes=num_codes, dim=64, commitment=0.25),
        losses=dict(l2=20.0),
        optim=dict(learning_rate=2e-3, warmup_steps=50, weight_decay=0.0, **training),
        eval=dict(at_end=True, num_samples=400, figures="labelled_sound", shown=4),
    )
    return dict(
        data=dict(**data, views=views),
        stages=dict(tokenizer=dict(mode="train", **tokenizer)),
        tokenizer=dict(kind="checkpoint", path="@tokenizer"),
        num_codes=num_codes,
        grid=(1, model["length"] // (model["patch"] * stride)),
        tower=dict(kind="codes", width=64),
        diffuser=dict(**DISCRETE, model=BACKBONE),
    )


def _media(media: str, path: str = "") -> dict[str, Any]:
    return dict(raw="digit_media", path=path, options=dict(media=media))


MODALITIES: dict[str, dict[str, Any]] = dict(
    image=dict(
        data=dict(**_media("image"), views=4),  # a digit under several captions
        tokenizer=dict(kind="palette", levels=17),
        num_codes=17,
        grid=(8, 8),
        tower=dict(kind="pixels"),
        diffuser=dict(**DISCRETE, model=dict(**BACKBONE, mlp="conv")),
    ),
    # melodies are played anew, as often as pictures have captions
    sound=_sounds(_media("sound"), 4, WAVES, 256, num_steps=1000, batch_size=32),
)
SPOKEN = _sounds(
    _media("spoken", "data/spoken_digits/recordings"),
    *(8, SPECTRA, 512),  # views that begin elsewhere, since recordings are few
    **dict(num_steps=1500, batch_size=64),
)
ENVIRONMENT = dict(size=64, slots=4, width=64, depth=2, heads=4)
VARIANTS = ("spoken", "text_image", "gaussian", "unaligned", "tiny")
WEIGHTS = (0, 25, 40, 50, 60, 75, 100)  # percent of the text, beside a picture


def get_config(name: str = "") -> ConfigDict:
    """name: '' or one of `VARIANTS`."""
    variant(name, dict.fromkeys(("", *VARIANTS)))
    modalities = dict(MODALITIES)
    if name == "gaussian":
        modalities["image"] = dict(modalities["image"], diffuser=GAUSSIAN)
    if name == "spoken":
        modalities["sound"] = SPOKEN
    if name == "text_image":
        del modalities["sound"]
    config = any_to_any(
        TEXT,
        modalities,
        features=32,
        prompts=dict(
            data=dict(batch_size=256),
            optim=dict(num_steps=600, learning_rate=1e-3, weight_decay=0.0),
            eval=dict(at_end=True, probe="label"),
        ),
        diffusers=dict(
            data=dict(batch_size=64),
            optim=dict(num_steps=1500, learning_rate=2e-3),
            # recordings come less near to what their captions say
            model=dict(prompt_noise=0.5 if name == "spoken" else 0.1),
        ),
        environment=None if name in ("gaussian", "unaligned") else ENVIRONMENT,
        alignments=dict(
            data=dict(batch_size=64), optim=dict(num_steps=3000, learning_rate=2e-3)
        ),
    )
    if name == "spoken":  # recordings are few
        config["stages"]["prompts_sound"]["views"]["swap"] = 0.2
    if name == "unaligned":  # sounds' captions have a tower of their own
        towers = config["stages"]["prompts_sound"]
        towers["init_parts"], towers["model"]["towers"]["text"]["frozen"] = {}, False
        towers["seed"] = 1  # from the same start towers would come to nearly the same
        own = dict(path="@prompts_sound", part="towers/text")
        config["stages"]["sound"]["init_parts"]["text/tower"] = own
    if name == "tiny":
        steps = dict(tokenizer=20, prompts_image=4, prompts_sound=4)
        config["stages"] = shortened(config["stages"], 2, **steps)
    drawn = config["model"]["diffusers"]
    weights = dict.fromkeys(drawn, -1.0)
    sampling = dict(
        steps=25,
        guidance_scale=2.0 if name == "spoken" else 1.5,
        prompt_weights=weights,
        # of six words each is drawn after all others are known
        diffusers=dict(text=dict(method="random")),
    )
    judged = _eval(drawn)
    if "environment" in config["model"]:
        judged["sets"] |= _together(drawn, 20 if name == "tiny" else 1000)
    if name == "tiny":
        sampling["steps"], judged["num_samples"] = 4, 20
    whole = ConfigDict(experiment(**config, sampling=sampling, eval=judged))
    if name == "spoken":  # one flag says where the recordings lie
        stages = whole.stages
        stages.records_sound.data.path = stages.tokenizer.data.get_ref("path")
    return whole


def _eval(drawn: Collection[str]) -> dict[str, Any]:
    """All routes from one to one, and prompts that agree and that disagree.

    A sound stands in no record with a picture: where it is given, records of its own
    are judged.
    """
    sets: dict[str, Any] = {
        f"{one}_to_{other}": dict(
            given=(one,), outputs=(other,), records="sound" if one == "sound" else ""
        )
        for one, other in itertools.permutations(drawn, 2)
    }
    if "sound" in drawn:
        both = dict(given=("text", "image"), outputs=("sound",))
        sets["text_image_to_sound"] = both
        sets["text_sound_to_image"] = dict(
            given=("text", "sound"), outputs=("image",), records="sound"
        )
        for share in WEIGHTS:
            weights = dict(text=share / 100, image=1 - share / 100)
            sets[f"mixed_{share}"] = dict(
                both, swapped=("text",), prompt_weights=weights
            )
    return dict(
        at_end=True,
        num_samples=360,
        figures="any_to_any",
        judge="raw",
        probe="label",
        others=dict(sound="@records_sound") if "sound" in drawn else {},
        sets=sets,
    )


def _together(drawn: Collection[str], number: int) -> dict[str, Any]:
    """Outputs that see each other, of no prompt and of captions; a picture by itself.

    Args:
        number: of samples of no prompt.
    """
    sets: dict[str, Any] = {
        "_".join(outputs): dict(given=(), outputs=outputs, num_samples=number)
        for size in range(2, len(drawn) + 1)
        for outputs in itertools.combinations(drawn, size)
    }
    sets["alone"] = dict(given=(), outputs=("image",), num_samples=number)
    if "sound" in drawn:
        outputs = ("image", "sound")
        sets["text_to_image_sound"] = dict(given=("text",), outputs=outputs)
    return sets
