"""The text tower of CLIP -> `networks.ClipText`, from OpenAI's or Hugging Face's files.

OpenAI: ViT-B-32.pt and its like, a TorchScript archive; also a tower inside of another
checkpoint, such as VQ-Diffusion's `transformer.condition_emb.`. Hugging Face:
model.safetensors or pytorch_model.bin of a CLIPModel, CLIPTextModel or
CLIPTextModelWithProjection. The image tower is left out. A head has 64 features and the
activation is QuickGELU, as in all of OpenAI's models.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.errors import InputError

OPTIONS: dict[str, Any] = {}
HEAD_SIZE = 64
_TOKENS = "token_embedding.weight"
# Of whole CLIP models, by the first part of the name.
_IGNORED = {
    *("visual", "vision_model", "visual_projection", "logit_scale"),
    *("input_resolution", "context_length", "vocab_size"),
}

# Where a part of a block lies: ours, OpenAI's, Hugging Face's.
_NORMS = (
    ("ln1", "ln_1", "layer_norm1"),
    ("ln2", "ln_2", "layer_norm2"),
)
_PRODUCTS = (
    ("proj", "attn.out_proj", "self_attn.out_proj"),
    ("hidden", "mlp.c_fc", "mlp.fc1"),
    ("out", "mlp.c_proj", "mlp.fc2"),
)
_QKV = ("query", "key", "value")


class Style:
    """How a file names its arrays."""

    def __init__(self, names: Mapping[str, Any] | list[str]) -> None:
        """Args: names: of a file.

        Raises:
            InputError: no text tower among them.
        """
        found = sorted(name for name in names if name.endswith(_TOKENS))
        if len(found) != 1:
            some = ", ".join(found or sorted(names)[:3])
            raise InputError(
                f"Found {len(found)} arrays named '...{_TOKENS}' ({some}); expected "
                "one, of CLIP's text tower; give OpenAI's ViT-B-32.pt or Hugging "
                "Face's model.safetensors."
            )
        self.prefix = found[0].removesuffix(_TOKENS)
        self.hugging_face = self.prefix.endswith("embeddings.")
        self.prefix = self.prefix.removesuffix("embeddings.")
        if self.hugging_face:
            self.tokens = f"embeddings.{_TOKENS}"
            self.positions = "embeddings.position_embedding.weight"
            self.blocks, self.last_norm = "encoder.layers", "final_layer_norm"
            self.projection = "text_projection.weight"
        else:
            self.tokens, self.positions = _TOKENS, "positional_embedding"
            self.blocks, self.last_norm = "transformer.resblocks", "ln_final"
            self.projection = "text_projection"

    def strip(self, state: Tensors) -> Tensors:
        """The arrays of the text tower, names without the prefix.

        Hugging Face's projection has no prefix.
        """
        out = {}
        for name, value in state.items():
            inside = name.startswith(self.prefix)
            short = name[len(self.prefix) :] if inside else name
            known = inside and short.split(".")[0] not in _IGNORED
            if known or (self.hugging_face and name == self.projection):
                out[short] = value
        out.pop("embeddings.position_ids", None)
        return out

    def norms(self, block: int) -> list[tuple[str, str]]:
        """(our name, the file's name) of a block's norms."""
        return [(n[0], self._name(block, n)) for n in _NORMS]

    def products(self, block: int) -> list[tuple[str, str]]:
        """(our name, the file's name) of a block's products but those of `qkv`."""
        return [(n[0], self._name(block, n)) for n in _PRODUCTS]

    def _name(self, block: int, names: tuple[str, str, str]) -> str:
        return f"{self.blocks}.{block}.{names[2 if self.hugging_face else 1]}"

    def qkv(self, block: int) -> list[str]:
        """Names of the products that give query, key and value: three, or one of all.

        An array is this and a dot (three) or an underscore (one), then weight or bias.
        """
        if self.hugging_face:
            start = f"{self.blocks}.{block}.self_attn"
            return [f"{start}.{part}_proj." for part in "qkv"]
        return [f"{self.blocks}.{block}.attn.in_proj_"]


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """Parameters of a `ClipText`; the config is {"task": "clip_text", "model": sizes}.

    Args:
        path: of the file. A config.json beside it, as Hugging Face has, is checked.
        options: none.

    Raises:
        InputError: the file cannot be read, or holds no whole text tower.
    """
    del options
    state = read_tensors(path, ("model", "state_dict"))
    style = Style(state)
    state = style.strip(state)
    sizes = find_sizes(state, style)
    check_tensors(state, shapes(sizes, style), f"{path} as CLIP with a text tower")
    check_settings(Path(path).with_name("config.json"), sizes)
    config = dict(task="clip_text", model=sizes)
    return Converted(config, text_params(state, style, sizes["layers"]))


def find_sizes(state: Mapping[str, np.ndarray], style: Style) -> dict[str, int]:
    """Arguments of `ClipText`, from names and shapes alone.

    Raises:
        InputError: the embeddings are missing or have another number of axes.
    """
    for name in (style.tokens, style.positions):
        shape = list(state[name].shape) if name in state else "nothing"
        if len(shape) != 2 or 0 in shape:
            raise InputError(
                f"Found {shape} under {name!r}; expected an embedding of two axes, as "
                "CLIP's text tower has; the file is partial or foreign: fetch it again."
            )
    vocabulary, width = state[style.tokens].shape
    numbers = {re.match(re.escape(style.blocks) + r"\.(\d+)\.", name) for name in state}
    projection = state.get(style.projection, np.zeros(()))
    # OpenAI's is multiplied from the right
    axis = 0 if style.hugging_face else -1
    return dict(
        vocabulary=vocabulary,
        length=len(state[style.positions]),
        width=width,
        layers=len({number[1] for number in numbers if number}),
        heads=max(1, width // HEAD_SIZE),
        projection=projection.shape[axis] if projection.ndim else 0,
    )


def shapes(sizes: Mapping[str, int], style: Style) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays of a text tower by the file's name."""
    width, projected = sizes["width"], sizes["projection"]
    out = {
        style.tokens: (sizes["vocabulary"], width),
        style.positions: (sizes["length"], width),
    }
    norms = [style.last_norm]
    for block in range(sizes["layers"]):
        norms += [name for _, name in style.norms(block)]
        qkv = style.qkv(block)
        for name in qkv:
            out[f"{name}weight"] = (3 * width // len(qkv), width)
            out[f"{name}bias"] = (3 * width // len(qkv),)
        for ours, name in style.products(block):
            wide = {"hidden": (4, 1), "out": (1, 4)}.get(ours, (1, 1))
            out[f"{name}.weight"] = (wide[0] * width, wide[1] * width)
            out[f"{name}.bias"] = (wide[0] * width,)
    for name in norms:
        out |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    if projected:
        shape = (projected, width) if style.hugging_face else (width, projected)
        out[style.projection] = shape
    return out


def text_params(
    state: Mapping[str, np.ndarray], style: Style, layers: int
) -> dict[str, Any]:
    """Parameters of a `ClipText` from arrays of the shapes of `shapes`."""

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}

    def product(name: str) -> dict[str, np.ndarray]:
        return {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}

    params: dict[str, Any] = {
        "tokens": {"embedding": state[style.tokens]},
        "positions": state[style.positions],
        "ln_final": norm(style.last_norm),
    }
    for i in range(layers):
        names = style.qkv(i)
        weight, bias = (
            np.split(np.concatenate([state[f"{name}{part}"] for name in names]), 3)
            for part in ("weight", "bias")
        )
        params[f"block_{i}"] = {
            **{ours: norm(name) for ours, name in style.norms(i)},
            **{ours: product(name) for ours, name in style.products(i)},
            **{
                ours: {"kernel": weight[j].T, "bias": bias[j]}
                for j, ours in enumerate(_QKV)
            },
        }
    if style.projection in state:
        projection = state[style.projection]
        params["projection"] = projection.T if style.hugging_face else projection
    return params


def check_settings(path: Path, sizes: Mapping[str, int]) -> None:
    """Compares what arrays do not tell with Hugging Face's config.json, if any.

    Raises:
        InputError: another activation or number of heads.
    """
    try:
        settings = json.loads(path.read_text())
        settings = settings.get("text_config") or settings
        found = dict(settings)
    except (OSError, ValueError, TypeError, AttributeError):
        return  # none, or of something else
    expected = {"hidden_act": "quick_gelu", "num_attention_heads": sizes["heads"]}
    for name, value in expected.items():
        if found.get(name, value) != value:
            raise InputError(
                f"Found {name} = {found[name]!r} in {path}; expected {value!r}, as in "
                "OpenAI's models; use weights of one of these."
            )
