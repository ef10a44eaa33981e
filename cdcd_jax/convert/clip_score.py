"""Both towers of CLIP -> `metrics.ClipScore`, from OpenAI's or Hugging Face's files.

OpenAI: ViT-B-32.pt and its like, a TorchScript archive. Hugging Face: model.safetensors
or pytorch_model.bin of a CLIPModel. Towers with residual networks (RN50) are refused. A
head has 64 features and the activation is QuickGELU, as in all of OpenAI's models.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.convert import clip
from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.errors import InputError

OPTIONS: dict[str, Any] = {}
SCALE = "logit_scale"


@dataclass(frozen=True)
class Names:
    """How a file names the arrays of the image tower.

    Attributes:
        starts: how all of their names begin.
        patches, first_token, positions, projection: of single arrays.
        first_norm, last_norm: of norms, without weight or bias.
        blocks: how those of the blocks begin.
    """

    starts: tuple[str, ...]
    patches: str
    first_token: str
    positions: str
    first_norm: str
    last_norm: str
    projection: str
    blocks: str


OPENAI = Names(
    starts=("visual.",),
    patches="visual.conv1.weight",
    first_token="visual.class_embedding",
    positions="visual.positional_embedding",
    first_norm="visual.ln_pre",
    last_norm="visual.ln_post",
    projection="visual.proj",
    blocks="visual.transformer.resblocks",
)
HUGGING_FACE = Names(
    starts=("vision_model.", "visual_projection."),
    patches="vision_model.embeddings.patch_embedding.weight",
    first_token="vision_model.embeddings.class_embedding",
    positions="vision_model.embeddings.position_embedding.weight",
    first_norm="vision_model.pre_layrnorm",
    last_norm="vision_model.post_layernorm",
    projection="visual_projection.weight",
    blocks="vision_model.encoder.layers",
)


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """Parameters of a `ClipText`, a `ClipImage` and the scale of their products.

    The config is {"task": "clip_score", "text": sizes, "image": sizes}; `params` has
    "text", "image" and "logit_scale", the logarithm that the file holds.

    Args:
        path: of the file. A config.json beside it, as Hugging Face has, is checked.
        options: none.

    Raises:
        InputError: the file cannot be read, or does not hold two whole towers.
    """
    del options
    state = read_tensors(path, ("model", "state_dict"))
    style = clip.Style(state)
    text = style.strip(state)
    text_sizes = clip.find_sizes(text, style)
    names = HUGGING_FACE if style.hugging_face else OPENAI
    image = {n: v for n, v in state.items() if n.startswith(names.starts)}
    image.pop("vision_model.embeddings.position_ids", None)
    image_sizes = find_sizes(image, names, path)
    if SCALE in state:  # a number, or an array of one
        image[SCALE] = np.squeeze(state[SCALE])
    expected = clip.shapes(text_sizes, style)
    check_tensors(text, expected, f"{path} as CLIP with a text tower")
    expected = shapes(image_sizes, names)
    check_tensors(image, expected, f"{path} as CLIP with an image tower")
    if text_sizes["projection"] != image_sizes["projection"]:
        raise InputError(
            f"Found projections to {text_sizes['projection']} features of texts and to "
            f"{image_sizes['projection']} of pictures in {path}; expected as many of "
            "both. Give the file of a whole CLIP model."
        )
    settings = Path(path).with_name("config.json")
    clip.check_settings(settings, text_sizes)
    clip.check_settings(settings, image_sizes, "vision_config")
    params = {
        "text": clip.text_params(text, style, text_sizes["layers"]),
        "image": image_params(image, names, image_sizes["layers"]),
        SCALE: image[SCALE],
    }
    config = dict(task="clip_score", text=text_sizes, image=image_sizes)
    return Converted(config, params)


def find_sizes(state: Tensors, names: Names, path: str) -> dict[str, int]:
    """Arguments of `ClipImage`, from names and shapes alone.

    Raises:
        InputError: no vision transformer, or not of square pictures.
    """
    axes = {names.patches: 4, names.positions: 2, names.projection: 2}
    for name, number in axes.items():
        shape = list(state[name].shape) if name in state else "nothing"
        if name not in state or len(shape) != number or 0 in shape:
            raise InputError(
                f"Found {shape} under {name!r} in {path}; expected an array of "
                f"{number} axes, as CLIP's vision transformers have. Give the whole "
                "file of one of them, such as ViT-B-32.pt."
            )
    width, patch = state[names.patches].shape[0], state[names.patches].shape[-1]
    places = len(state[names.positions]) - 1
    side = math.isqrt(places)
    if side**2 != places or not side:
        raise InputError(
            f"Found {places} places of patches in {path}; expected a square number. "
            "Give the file of one of CLIP's own models."
        )
    hugging_face = names is HUGGING_FACE
    return dict(
        resolution=patch * side,
        patch=patch,
        width=width,
        layers=clip.Blocks(names.blocks, hugging_face).count(state),
        heads=max(1, width // clip.HEAD_SIZE),
        projection=state[names.projection].shape[0 if hugging_face else 1],
    )


def shapes(sizes: Mapping[str, int], names: Names) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays of an image tower, and of the scale, by the file's name."""
    width, patch, projected = sizes["width"], sizes["patch"], sizes["projection"]
    hugging_face = names is HUGGING_FACE
    blocks = clip.Blocks(names.blocks, hugging_face)
    out = {
        SCALE: (),
        names.patches: (width, 3, patch, patch),
        names.first_token: (width,),
        names.positions: (1 + (sizes["resolution"] // patch) ** 2, width),
        names.projection: (projected, width) if hugging_face else (width, projected),
        **blocks.shapes(width, sizes["layers"]),
    }
    for name in (names.first_norm, names.last_norm):
        out |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return out


def image_params(
    state: Mapping[str, np.ndarray], names: Names, layers: int
) -> dict[str, Any]:
    """Parameters of a `ClipImage` from arrays of the shapes of `shapes`."""
    hugging_face = names is HUGGING_FACE
    projection = state[names.projection]
    return {
        "patches": {"kernel": state[names.patches].transpose(2, 3, 1, 0)},
        "class": state[names.first_token],
        "positions": state[names.positions],
        "ln_first": clip.norm(state, names.first_norm),
        "ln_final": clip.norm(state, names.last_norm),
        "projection": projection.T if hugging_face else projection,
        **clip.Blocks(names.blocks, hugging_face).params(state, layers),
    }
