"""The text tower of CLIP -> `networks.ClipText`, from OpenAI's or Hugging Face's files.

OpenAI: ViT-B-32.pt and its like, a TorchScript archive; also a tower inside of another
checkpoint, such as VQ-Diffusion's `transformer.condition_emb.`. Hugging Face:
model.safetensors or pytorch_model.bin of a CLIPModel, CLIPTextModel or
CLIPTextModelWithProjection. The image tower is left out (`convert.clip_score` has
both). A head has 64 features and the activation is QuickGELU, as in all of OpenAI's
models.
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


class Blocks:
    """How a file names the arrays of a tower's blocks, which both towers have alike."""

    def __init__(self, start: str, hugging_face: bool) -> None:
        """Args: start: of the blocks' names; hugging_face: or OpenAI's."""
        self.start, self.hugging_face = start, hugging_face

    def count(self, names: Mapping[str, Any]) -> int:
        """How many blocks have a name."""
        numbers = {re.match(re.escape(self.start) + r"\.(\d+)\.", n) for n in names}
        return len({number[1] for number in numbers if number})

    def shapes(self, width: int, layers: int) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays of the blocks by the file's name."""
        out: dict[str, tuple[int, ...]] = {}
        for block in range(layers):
            qkv = self._qkv(block)
            for name in qkv:
                out[f"{name}weight"] = (3 * width // len(qkv), width)
                out[f"{name}bias"] = (3 * width // len(qkv),)
            for ours, name in self._named(block, _PRODUCTS):
                wide = {"hidden": (4, 1), "out": (1, 4)}.get(ours, (1, 1))
                out[f"{name}.weight"] = (wide[0] * width, wide[1] * width)
                out[f"{name}.bias"] = (wide[0] * width,)
            for _, name in self._named(block, _NORMS):
                out |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
        return out

    def params(self, state: Mapping[str, np.ndarray], layers: int) -> dict[str, Any]:
        """Our parameters of the blocks from arrays of these shapes."""
        params: dict[str, Any] = {}
        for i in range(layers):
            weight, bias = (
                np.split(np.concatenate([state[f"{n}{part}"] for n in self._qkv(i)]), 3)
                for part in ("weight", "bias")
            )
            params[f"block_{i}"] = {
                **{ours: norm(state, name) for ours, name in self._named(i, _NORMS)},
                **{
                    ours: {
                        "kernel": state[f"{name}.weight"].T,
                        "bias": state[f"{name}.bias"],
                    }
                    for ours, name in self._named(i, _PRODUCTS)
                },
                **{
                    ours: {"kernel": weight[j].T, "bias": bias[j]}
                    for j, ours in enumerate(_QKV)
                },
            }
        return params

    def _named(self, block: int, parts: tuple) -> list[tuple[str, str]]:
        """(our name, the file's name) of parts of a block."""
        place = 2 if self.hugging_face else 1
        return [(names[0], f"{self.start}.{block}.{names[place]}") for names in parts]

    def _qkv(self, block: int) -> list[str]:
        """Names of the products that give query, key and value: three, or one of all.

        An array is this, then weight or bias.
        """
        if self.hugging_face:
            start = f"{self.start}.{block}.self_attn"
            return [f"{start}.{part}_proj." for part in "qkv"]
        return [f"{self.start}.{block}.attn.in_proj_"]


def norm(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Our parameters of a layer norm."""
    return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}


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
            blocks, self.last_norm = "encoder.layers", "final_layer_norm"
            self.projection = "text_projection.weight"
        else:
            self.tokens, self.positions = _TOKENS, "positional_embedding"
            blocks, self.last_norm = "transformer.resblocks", "ln_final"
            self.projection = "text_projection"
        self.blocks = Blocks(blocks, self.hugging_face)

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
    projection = state.get(style.projection, np.zeros(()))
    # OpenAI's is multiplied from the right
    axis = 0 if style.hugging_face else -1
    return dict(
        vocabulary=vocabulary,
        length=len(state[style.positions]),
        width=width,
        layers=style.blocks.count(state),
        heads=max(1, width // HEAD_SIZE),
        projection=projection.shape[axis] if projection.ndim else 0,
    )


def shapes(sizes: Mapping[str, int], style: Style) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays of a text tower by the file's name."""
    width, projected = sizes["width"], sizes["projection"]
    out = {
        style.tokens: (sizes["vocabulary"], width),
        style.positions: (sizes["length"], width),
        f"{style.last_norm}.weight": (width,),
        f"{style.last_norm}.bias": (width,),
        **style.blocks.shapes(width, sizes["layers"]),
    }
    if projected:
        shape = (projected, width) if style.hugging_face else (width, projected)
        out[style.projection] = shape
    return out


def text_params(
    state: Mapping[str, np.ndarray], style: Style, layers: int
) -> dict[str, Any]:
    """Parameters of a `ClipText` from arrays of the shapes of `shapes`."""
    params: dict[str, Any] = {
        "tokens": {"embedding": state[style.tokens]},
        "positions": state[style.positions],
        "ln_final": norm(state, style.last_norm),
        **style.blocks.params(state, layers),
    }
    if style.projection in state:
        projection = state[style.projection]
        params["projection"] = projection.T if style.hugging_face else projection
    return params


def check_settings(
    path: Path, sizes: Mapping[str, int], part: str = "text_config"
) -> None:
    """Compares what arrays do not tell with Hugging Face's config.json, if any.

    Args:
        path: of that file.
        sizes: of a tower.
        part: the tower's; a file of one tower has none.

    Raises:
        InputError: another activation or number of heads.
    """
    try:
        settings = json.loads(path.read_text("utf-8"))
        settings = settings.get(part) or settings
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
