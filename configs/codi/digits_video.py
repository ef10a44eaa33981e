r"""Any of picture, caption, sound and video of a digit from any others (CoDi).

    python -m cdcd_jax.main --config=configs/codi/digits_video.py     # all stages
    M="python -m cdcd_jax.main --workdir=runs/codi/digits_video --mode=generate"
    $M --condition.text="a seven to the left" --config.sampling.outputs=video
    $M --condition.video=five.gif --config.sampling.outputs=text,sound
    $M --config.sampling.outputs=image,sound,text,video  # of one digit, whichever

As `digits.py`, with a fourth modality: videos of three frames, 8 x 8 pixels, in which a
digit goes to one of four sides. Pictures show it at a side; captions of both name the
side ("a seven on the left"), so that its words are learned from pictures. Sounds and
their captions know of none. No record holds two of picture, sound and video.

Stages are those of `digits.py` and `records_video`, `prompts_video`, `video`,
`align_video`. `three` is the same without video, to which the fourth modality was
added: run it, then this config in the same work directory, and only the four stages of
videos are trained, and all joined anew. `tiny`, without sound, is for tests.
"""

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, merge, variant
from cdcd_jax.config.any_to_any import shortened
from cdcd_jax.config.digit_modalities import (
    ENVIRONMENT,
    SEEN,
    WORDS_IN_TURN,
    captions,
    digits_any_to_any,
    judged,
    melodies,
    pixels,
)

# Of three times the tokens of a picture, and kernels over time, a step would take seven
# times as long: half of the examples, and of the alignment half of the steps.
BUDGET = dict(
    video=dict(data=dict(batch_size=32)),
    align_video=dict(data=dict(batch_size=32), optim=dict(num_steps=1500)),
)
VARIANTS = ("three", "tiny")
ROUTES = (
    *(("text", "image"), ("text", "video"), ("video", "text")),
    *(("video", "image"), ("video", "sound"), ("image", "video"), ("sound", "video")),
)


def get_config(name: str = "") -> ConfigDict:
    """name: '' or one of `VARIANTS`."""
    variant(name, dict.fromkeys(("", *VARIANTS)))
    small = dict(depth=1) if name == "tiny" else {}  # is compiled sooner
    modalities: dict[str, dict[str, Any]] = dict(
        image=pixels("placed", (8, 8), **small)
    )
    if name != "tiny":
        modalities["sound"] = melodies(**small)
    if name != "three":
        modalities["video"] = pixels("moving", (3, 8, 8), mlp_ratio=1, **small)
    # on, at, to and the sides beside the words of digits.py; eight words and an end
    text = captions(size=37, length=9, **small)
    config = digits_any_to_any(text, modalities, dict(ENVIRONMENT, **small))
    stages = config["stages"]
    stages |= {k: merge(stages[k], own) for k, own in BUDGET.items() if k in stages}
    if name == "tiny":
        towers = {f"prompts_{modality}": 4 for modality in modalities}
        config["stages"] = shortened(stages, 2, **towers)
    drawn = config["model"]["diffusers"]
    others = {k: f"@records_{k}" for k in modalities if k != "image"}
    sets = _routes(drawn) | _together(drawn, 20 if name == "tiny" else 1000)
    sampling = dict(
        steps=25,
        guidance_scale=1.5,
        prompt_weights=dict.fromkeys(drawn, -1.0),
        diffusers=WORDS_IN_TURN,
        **SEEN,
    )
    evaluation = judged(sets, others)
    if name == "tiny":
        sampling["steps"], evaluation["num_samples"] = 4, 20
    return ConfigDict(experiment(**config, sampling=sampling, eval=evaluation))


def _routes(drawn: Collection[str]) -> dict[str, Any]:
    """From one to another, for records of what is given or, of captions, drawn."""
    sets = {}
    for one, other in ROUTES:
        if {one, other} <= set(drawn):
            of = other if one == "text" else one
            records = "" if of == "image" else of
            own = dict(given=(one,), outputs=(other,), records=records)
            sets[f"{one}_to_{other}"] = own
    return sets


def _together(drawn: Collection[str], number: int) -> dict[str, Any]:
    """So many samples of no prompt: of two outputs, of all, and of a picture alone."""
    groups = [("image", "video"), ("text", "video"), tuple(sorted(drawn))]
    sets = {
        "_".join(outputs): outputs for outputs in groups if set(outputs) <= set(drawn)
    }
    sets["alone"] = ("image",)
    asked = dict(given=(), num_samples=number)
    return {called: dict(asked, outputs=outputs) for called, outputs in sets.items()}
