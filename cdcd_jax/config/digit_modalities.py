"""Digits any to any: what configs of pictures, sounds, videos and captions share.

`configs/codi/digits.py` and `digits_video.py` choose modalities and what is evaluated;
here are the tokenizers, networks and budgets of those that they have in common.
"""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.config.any_to_any import any_to_any
from cdcd_jax.config.keys import experiment

BACKBONE = dict(width=64, depth=3, heads=4, mlp_ratio=2, activation="silu")
DISCRETE = dict(
    task="conditional", diffusion=dict(schedule="absorbing_linear", timesteps=100)
)
ENVIRONMENT = dict(width=64, depth=2, heads=4)
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
# a caption follows what others show more readily than they follow a caption
SEEN = dict(
    environment_scale=4.0, environment_scales=dict(text=1.5), environment_prompted=0.25
)
# of six words each is drawn after all others are known
WORDS_IN_TURN = dict(text=dict(method="random"))


def captions(size: int, length: int, **model: Any) -> dict[str, Any]:
    """Captions of so many words at most, from a vocabulary of so many tokens.

    Args:
        model: changes of their denoiser.
    """
    return dict(
        **dict(vocabulary="trained", size=size, length=length),
        tower=dict(vocabulary=size, width=64),
        diffuser=dict(**DISCRETE, model={**BACKBONE, **model}),
    )


def media(kind: str, path: str = "") -> dict[str, Any]:
    """Captioned digits as `data` of records or of a tokenizer."""
    return dict(raw="digit_media", path=path, options=dict(media=kind))


def pixels(kind: str, grid: tuple[int, ...], **model: Any) -> dict[str, Any]:
    """A modality whose tokens are levels of pixels; a digit has several captions.

    Args:
        kind: of media.
        grid: (H, W) of pictures, (F, H, W) of videos.
        model: changes of its denoiser.
    """
    tokenizer, tower = ("frames",) * 2 if len(grid) == 3 else ("palette", "pixels")
    return dict(
        data=dict(**media(kind), views=4),
        tokenizer=dict(kind=tokenizer, levels=17),
        num_codes=17,
        grid=grid,
        tower=dict(kind=tower),
        diffuser=dict(**DISCRETE, model={**BACKBONE, "mlp": "conv", **model}),
    )


def sounds(
    data: Mapping[str, Any],
    views: int,
    model: Mapping[str, Any],
    num_codes: int,
    batch_size: int,
    num_steps: int,
    backbone: Mapping[str, Any] = BACKBONE,
) -> dict[str, Any]:
    """The modality of sounds, whose tokenizer is trained first.

    Args:
        data: files, as `data` of records.
        views: of each sound.
        model: the tokenizer's, of `num_codes` codes, trained for `num_steps`.
        backbone: the denoiser's.
    """
    (stride,) = model["strides"]
    tokenizer = experiment(
        task="tokenizer",
        data=dict(**data, batch_size=batch_size),
        model=model,
        quantizer=dict(num_codes=num_codes, dim=64, commitment=0.25),
        losses=dict(l2=20.0),
        optim=dict(
            learning_rate=2e-3, warmup_steps=50, weight_decay=0.0, num_steps=num_steps
        ),
        eval=dict(at_end=True, num_samples=400, figures="labelled_sound", shown=4),
    )
    return dict(
        data=dict(**data, views=views),
        stages=dict(tokenizer=dict(mode="train", **tokenizer)),
        tokenizer=dict(kind="checkpoint", path="@tokenizer"),
        num_codes=num_codes,
        grid=(1, model["length"] // (model["patch"] * stride)),
        tower=dict(kind="codes", width=64),
        diffuser=dict(**DISCRETE, model=dict(backbone)),
    )


def melodies(**model: Any) -> dict[str, Any]:
    """Sounds that are played anew as often as pictures have captions.

    Args:
        model: changes of their denoiser.
    """
    training = dict(batch_size=32, num_steps=1000, backbone={**BACKBONE, **model})
    return sounds(media("sound"), 4, WAVES, 256, **training)


def digits_any_to_any(
    text: Mapping[str, Any],
    modalities: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, Any] | None,
    prompt_noise: float = 0.1,
    longer: tuple[int, int] = (1, 1),
) -> dict[str, Any]:
    """`any_to_any` with the budgets of these configs.

    Args:
        longer: how many times as many steps diffusers and alignments are trained.
    """
    diffusers, alignments = longer
    return any_to_any(
        text,
        modalities,
        features=32,
        prompts=dict(
            data=dict(batch_size=256),
            optim=dict(num_steps=600, learning_rate=1e-3, weight_decay=0.0),
            eval=dict(at_end=True, probe="label"),
        ),
        diffusers=dict(
            data=dict(batch_size=64),
            optim=dict(num_steps=1500 * diffusers, learning_rate=2e-3),
            model=dict(prompt_noise=prompt_noise),
        ),
        environment=environment,
        alignments=dict(
            data=dict(batch_size=64),
            optim=dict(num_steps=3000 * alignments, learning_rate=2e-3),
        ),
    )


def judged(sets: Mapping[str, Any], others: Mapping[str, str]) -> dict[str, Any]:
    """`eval` of all sets, where each output is judged by what it shows."""
    return dict(
        at_end=True,
        num_samples=360,
        figures="any_to_any",
        judge="raw",
        probe="label",
        others=dict(others),
        sets=dict(sets),
    )
