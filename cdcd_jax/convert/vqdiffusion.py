"""Whole image models of VQ-Diffusion and CDCD -> a work directory and its tokenizer.

Text to image (CUB, COCO, ITHQ), classes (ImageNet) and no condition (FFHQ) are told
apart by the names of the tensors, and sizes read off their shapes. The averaged
transformer is taken where a file has one. CDCD's dances are in `cdcd.py`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax.convert import clip, ithq, taming
from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.convert.transformer import (
    Sizes,
    check_options,
    denoiser_params,
    find_sizes,
    shapes,
)
from cdcd_jax.data import bpe
from cdcd_jax.diffusion import objective
from cdcd_jax.errors import InputError
from cdcd_jax.networks.clip_text import ClipText

OPTIONS = dict(
    resolution=256,  # height in pixels of the images that it makes
    heads=16,  # of the transformer's attention
    classes=1000,  # of a model of classes; one more row in its tables is the null
)
# Schedules (which hold infinities), statistics of the loss, a second copy of the codec.
_UNUSED = (
    r"(^|\.)(log_(1_min_)?(cumprod_)?[abc]t|Lt_(history|count))$"
    r"|^(ema|(model\.)?transformer)\.vqvae\."
)
_FAMILIES = (  # what only files of the family have in their names
    (r"^(model\.)?(vqvae|condition_codec_motion)\.", "cdcd"),
    (r"^(model\.)?content_codec\.", "vqdiffusion"),
    (r"^(first_stage_model\.)?quantize\.(embedding|embed)\.", "taming"),
    (r"^(model\.)?quantize\.embedding$", "ithq"),
    (r"(^|\.)bottleneck\.level_blocks\.", "jukebox"),
    (r"(^|\.)token_embedding\.", "clip"),
)
# Names of a codec -> those of taming's files; both halves hold the codebook.
_CODEC = {
    "enc.encoder.": "encoder.",
    "enc.quant_conv.": "quant_conv.",
    "enc.quantize.": "quantize.",
    "dec.decoder.": "decoder.",
    "dec.post_quant_conv.": "post_quant_conv.",
}
_TEXT = ("transformer.condition_emb.", "transformer.empty_text_embed")
_KINDS = {
    "self": "a model without condition",
    "selfcondition": "a model of classes",
    "selfcross": "a model of texts",
}


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """A checkpoint of VQ-Diffusion: 'model', maybe 'ema', and what training left.

    Args:
        path: of the file. In safetensors the names begin with 'model.' and 'ema.', or
            are those of 'model' alone.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
        UsageError: options that do not fit the sizes.
    """
    return from_tensors(read_model(path), options, path)


def read_model(path: str) -> Tensors:
    """All tensors under the names of 'model', those of 'ema' in their place.

    Raises:
        InputError: the file cannot be read, or no model of this kind is in it.
    """
    state = read_tensors(path, ("state_dict",), ("model", "ema"), _UNUSED, _newest)
    averaged = {f"transformer.{n}": v for n, v in under(state, "ema.").items()}
    model = {**(under(state, "model.") or state), **averaged}
    if not any(name.startswith("transformer.transformer.") for name in model):
        raise InputError(
            f"Found {path} without 'transformer.transformer.content_emb.emb.weight'; "
            f"expected a whole model of VQ-Diffusion or CDCD. {_advice(state)}"
        )
    return model


def _newest(names: Collection[str]) -> list[str]:
    """All but those of 'model' that 'ema' has an average of."""
    averaged = {f"model.transformer.{n}" for n in under(dict.fromkeys(names), "ema.")}
    return [name for name in names if name not in averaged]


def under(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What begins with `prefix`, without it."""
    n = len(prefix)
    return {name[n:]: v for name, v in state.items() if name.startswith(prefix)}


def _advice(names: Mapping[str, Any]) -> str:
    for pattern, family in _FAMILIES:
        if any(re.search(pattern, name) for name in names):
            return f"Its names are those of --family={family}: use that."
    return "Check --family and --input."


def from_tensors(
    state: Tensors,
    options: Mapping[str, Any],
    path: str,
    tokenizer: Converted | None = None,
) -> Converted:
    """A model of images and its codec.

    Args:
        state: as `read_model` gives it.
        options: as OPTIONS.
        path: of the errors' texts.
        tokenizer: the codec, where it does not lie in `state`.
    """
    if any(name.startswith(("vqvae.", "condition_codec_motion.")) for name in state):
        raise InputError(
            f"Found {path} with a codec of music or a dance encoder; expected a codec "
            "of images ('content_codec.'). Use --family=cdcd."
        )
    sizes = find_sizes(under(state, "transformer.transformer."), path)
    check_options(sizes, options)
    tokenizer = tokenizer or _tokenizer(state, options["resolution"], path)
    grid = _grid(state, sizes, tokenizer, path)
    params, conditions, parts = {}, {}, ("content_codec.",)
    if sizes.form == "selfcross":
        params["text"], conditions["text"] = text_part(state, path)
        parts += _TEXT
    if sizes.form == "selfcondition":
        conditions["label"] = dict(kind="label", num_classes=options["classes"])
    what = f"{path} as {_KINDS[sizes.form]}"
    rows = state.get("transformer.transformer.blocks.0.ln2.emb.weight", np.zeros(0))
    null = "transformer.empty_text_embed" in state
    null = null or len(rows) == options["classes"] + 1
    params["network"] = network_params(state, sizes, options, parts, what)
    table = () if sizes.table == grid else sizes.table
    model = dict(grid=grid, heads=options["heads"], position_grid=table)
    return Converted(
        make_config(sizes, {**model, "conditions": conditions}, "falling", null),
        params,
        initial_extra(sizes),
        tokenizer,
    )


def network_params(
    state: Tensors,
    sizes: Sizes,
    options: Mapping[str, Any],
    parts: tuple[str, ...],
    what: str,
) -> dict[str, Any]:
    """Parameters of the `Denoiser`.

    Args:
        state: as `read_model` gives it.
        sizes: of the transformer.
        options: heads and classes.
        parts: how names begin that others have read.
        what: of the error's text.

    Raises:
        InputError: other tensors than those of `parts` and of the transformer.
    """
    prefix = "transformer.transformer."
    rest = {n: v for n, v in state.items() if not n.startswith(parts)}
    rest = {n: v for n, v in rest.items() if not n.endswith(".attn2.mask")}
    check_tensors(rest, {prefix + n: s for n, s in shapes(sizes).items()}, what)
    tensors = under(rest, prefix)
    heads, classes = options["heads"], options["classes"]
    return denoiser_params(tensors, sizes.form, sizes.depth, heads, classes)


def make_config(
    sizes: Sizes, model: Mapping[str, Any], ramp: str, null: bool
) -> dict[str, Any]:
    """Sections of the task's config, with the reference's way to sample.

    Args:
        sizes: of the transformer.
        model: what the section `model` has beside them.
        ramp: of the auxiliary term.
        null: whether it has learned one, without which guidance means nothing.
    """
    known = dict(condition_dropout=0.1 if null else 0.0, null_trained=null)
    steps, names = sizes.timesteps, list(model["conditions"])
    return dict(
        task="conditional",
        model={**sizes.model, **model, **known},
        diffusion=dict(
            schedule="vq_diffusion_released", timesteps=steps, auxiliary_ramp=ramp
        ),
        contrastive=dict(num_negatives=0, **(dict(key=names[-1]) if names else {})),
        sampling=dict(method="ancestral", steps=steps, top_p=0.86),
    )


def initial_extra(sizes: Sizes) -> dict[str, Any]:
    """State of the task beside the parameters, as at the start of training."""
    return {"time_history": objective.init_time_history(sizes.timesteps)}


def text_part(state: Tensors, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and description of the condition 'text': CLIP's tower and its null.

    The null is the learned one, else what the tower makes of the empty text.

    Raises:
        InputError: tensors are missing, unexpected or of another shape.
    """
    found = under(state, "transformer.condition_emb.")
    style = clip.Style(found)
    sizes = clip.find_sizes(found, style)
    expected = clip.shapes(sizes, style)
    learned = state.get("transformer.empty_text_embed")
    if learned is not None:
        found["empty_text_embed"] = learned
        expected["empty_text_embed"] = (sizes["length"], sizes["width"])
    check_tensors(found, expected, f"{path} with CLIP's text tower")
    tower = clip.text_params(found, style, sizes["layers"])
    null = _empty_text(tower, sizes) if learned is None else learned
    spec = dict(
        kind="clip_text",
        shape=(sizes["length"],),
        vocabulary=sizes["vocabulary"],
        size=sizes["width"],
        depth=sizes["layers"],
        heads=sizes["heads"],
        projection=sizes["projection"],
        normalize=True,
        frozen=True,
    )
    return {"tower": tower, "null": null}, spec


def _empty_text(tower: Mapping[str, Any], sizes: Mapping[str, int]) -> np.ndarray:
    """Features [S, D] of the empty text, a start and an end."""
    tokens = np.zeros((1, sizes["length"]), np.int32)
    tokens[0, :2] = (
        sizes["vocabulary"] - bpe.NUM_TOKENS + np.array([bpe.START, bpe.END])
    )
    network = ClipText(**sizes, normalize=True)
    sequence, _ = jax.jit(network.apply)({"params": tower}, tokens)
    return np.asarray(sequence[0])


def _tokenizer(state: Tensors, resolution: int, path: str) -> Converted:
    """The codec inside of the file."""
    found = under(state, "content_codec.")
    codec: Tensors = {}
    for name, value in found.items():
        prefix = next((p for p in _CODEC if name.startswith(p)), "")
        if prefix:
            codec[_CODEC[prefix] + name[len(prefix) :]] = value
        elif not name.startswith("dec.quantize."):
            codec[f"content_codec.{name}"] = value  # which no codec has
    for name, value in under(found, "dec.quantize.").items():
        if not np.array_equal(value, codec.get(f"quantize.{name}", value)):
            raise InputError(
                f"Found two different tensors 'quantize.{name}' in the codec of {path};"
                " expected the decoder's to be the encoder's. Get the file anew."
            )
    what = f"{path}, its codec,"
    if ithq.CODEBOOK in codec:
        return ithq.from_tensors(codec, resolution, what)
    return taming.from_tensors(codec, resolution, what)


def _grid(
    state: Tensors, sizes: Sizes, tokenizer: Converted, path: str
) -> tuple[int, int]:
    """Rows and columns of tokens, as the codec makes them of such an image."""
    model = tokenizer.config["model"]
    side = model["resolution"] // 2 ** (len(model["channel_mult"]) - 1)
    mask = state.get("transformer.transformer.blocks.0.attn2.mask")
    length = mask.shape[-1] if mask is not None else side * side
    if length != side * side or length > np.prod(sizes.table):
        raise InputError(
            f"Found {path}, a model of {length} tokens with {sizes.table[0]} x "
            f"{sizes.table[1]} positions, and a codec that makes {side} x {side} of "
            f"{model['resolution']} pixels; expected one number. Set --resolution."
        )
    return side, side
