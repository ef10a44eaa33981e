"""A folder of diffusers' VQDiffusionPipeline -> a work directory and its tokenizer.

As microsoft/vq-diffusion-ithq: `vqvae`, `transformer`, `scheduler`, `text_encoder`,
`tokenizer` and `learned_classifier_free_sampling_embeddings`. The tensors are those of
`vqdiffusion.py` under other names; what no tensor tells stands in the folder's configs.
"""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdcd_jax.convert import clip, diffusers_vq, vqdiffusion
from cdcd_jax.convert.files import Converted, Tensors, read_tensors
from cdcd_jax.convert.folders import find_model
from cdcd_jax.data import bpe
from cdcd_jax.errors import InputError

OPTIONS: dict[str, Any] = {}
_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_TEXT_FILES = ("model.safetensors", "pytorch_model.bin")
_LEARNED = "learned_classifier_free_sampling_embeddings"
_PARTS = (  # the whole name's pattern -> the original's
    (r"^latent_image_embedding\.", "content_emb."),
    (r"^norm_out\.", "to_logits.0."),
    (r"^out\.", "to_logits.1."),
    (r"^transformer_blocks\.", "blocks."),
    (r"\.norm1\.", ".ln1."),
    (r"\.norm2\.", ".ln1_1."),
    (r"\.norm3\.", ".ln2."),
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".proj."),
    (r"\.ff\.net\.0\.proj\.", ".mlp.0."),
    (r"\.ff\.net\.2\.", ".mlp.2."),
)
# The curves of our schedule vq_diffusion_released, which are diffusers' defaults.
_SCHEDULE = dict(
    alpha_cum_start=0.99999,
    alpha_cum_end=0.000009,
    gamma_cum_start=0.000009,
    gamma_cum_end=0.99999,
)


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """A model of texts with its codec.

    Args:
        path: of the folder.
        options: none; heads, sizes and T stand in the folder.

    Raises:
        InputError: a part is missing, cannot be read, or is of another kind.
    """
    del options
    folder = Path(path)
    _check_tokenizer(folder / "tokenizer")
    file, config = find_model(folder / "transformer", _FILES)
    told = dict(activation_fn="geglu-approximate", attention_bias=True)
    _check(config, told, folder / "transformer")
    state = transformer_names(read_tensors(file))
    heads = config.get("num_attention_heads", 16)
    _check_schedule(folder / "scheduler", state)
    state |= _text(folder)
    side = state["transformer.transformer.content_emb.height_emb.weight"].shape[0]
    file, settings = find_model(folder / "vqvae", _FILES)
    levels = len(settings.get("block_out_channels", (0,)))
    resolution = side * 2 ** (levels - 1)
    tokenizer = diffusers_vq.convert(str(file), dict(resolution=resolution))
    chosen = dict(resolution=resolution, heads=heads, classes=0)
    return vqdiffusion.from_tensors(state, chosen, path, tokenizer)


def transformer_names(state: Mapping[str, Any]) -> Tensors:
    """Tensors of a discrete Transformer2DModel by the original's names.

    Raises:
        InputError: it has no table of positions.
    """
    found: Tensors = {}
    for name, value in state.items():
        for pattern, text in _PARTS:
            name = re.sub(pattern, text, name)
        found[f"transformer.transformer.{name}"] = value
    if "transformer.transformer.content_emb.height_emb.weight" not in found:
        raise InputError(
            "Found a transformer without 'latent_image_embedding.height_emb.weight'; "
            "expected that of a VQDiffusionPipeline. Check --input."
        )
    return found


def _text(folder: Path) -> Tensors:
    """The text tower and the learned null by the original's names."""
    file, _ = find_model(folder / "text_encoder", _TEXT_FILES)
    state = read_tensors(file)
    style = clip.Style(state)
    state = style.strip(state)
    sizes = clip.find_sizes(state, style)
    clip.check_settings(file.with_name("config.json"), sizes)
    found = {f"transformer.condition_emb.{n}": v for n, v in state.items()}
    learned = _json(folder / _LEARNED / "config.json")
    if learned.get("learnable"):
        file, _ = find_model(folder / _LEARNED, _FILES)
        null = read_tensors(file)
        if list(null) != ["embeddings"]:
            raise InputError(
                f"Found {', '.join(list(null)[:3])} in {file}; expected 'embeddings', "
                "the learned null. Download it anew."
            )
        found["transformer.empty_text_embed"] = null["embeddings"]
    return found


def _check_schedule(folder: Path, state: Mapping[str, Any]) -> None:
    config = _json(folder / "scheduler_config.json")
    times = state.get("transformer.transformer.blocks.0.ln1.emb.weight", ())
    codes = state["transformer.transformer.content_emb.emb.weight"]
    sizes = dict(num_train_timesteps=len(times), num_vec_classes=len(codes))
    _check(config, {**_SCHEDULE, **sizes}, folder)


def _check_tokenizer(folder: Path) -> None:
    """Refuses texts that are cut or padded otherwise: the model would read others."""
    fast = folder / "tokenizer.json"
    if fast.exists():
        _compare(fast, _json(fast).get("model", {}))
    path = folder / "vocab.json"
    if path.exists():
        _compare(path, dict(vocab=_json(path)))
    path = folder / "merges.txt"
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        lines = lines[lines[0].startswith("#version") :]
        _compare(path, dict(merges=[line for line in lines if line]))
    path = folder / "tokenizer_config.json"
    found = _json(path).get("pad_token", "!")
    found = found.get("content") if isinstance(found, dict) else found
    if found != "!":
        raise InputError(
            f"Found pad_token = {found!r} in {path}; expected '!', token 0, as "
            "VQ-Diffusion's. Take the tokenizer of the model's own folder."
        )


def _compare(path: Path, found: Mapping[str, Any]) -> None:
    """Refuses tokens or merges that are not CLIP's, which ours are."""
    try:
        tokens = dict(found.get("vocab", {}))
        pairs = [" ".join(p) if isinstance(p, list) else p for p in found["merges"]]
    except (TypeError, ValueError, AttributeError) as error:
        raise _other_tokenizer(path, f"something else ({error})") from error
    except KeyError:
        pairs = []
    ours = bpe.vocabulary()
    for piece in [*tokens, *ours] if tokens else ():
        if tokens.get(piece) != ours.get(piece):
            what = f"the token {tokens.get(piece)} for {piece!r}, not {ours.get(piece)}"
            raise _other_tokenizer(path, what)
    for i, (pair, our) in enumerate(itertools.zip_longest(pairs, bpe.merges())):
        if pairs and pair != our:
            raise _other_tokenizer(path, f"the pair {i}, {pair!r}, not {our!r}")


def _other_tokenizer(path: Path, what: str) -> InputError:
    return InputError(
        f"Found {what} in {path}; expected CLIP's tokens, by which prompts are cut "
        "here. Download it anew, or take a model with CLIP's own tokenizer."
    )


def _check(config: Mapping[str, Any], expected: Mapping[str, Any], place: Path) -> None:
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise InputError(
                f"Found {name} = {config[name]!r} in the config of {place}; expected "
                f"{value!r}. Take a folder as VQDiffusionPipeline saves it."
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"Found no readable {path} ({error}); expected the settings of this part "
            "of the pipeline. Download the whole folder."
        ) from error
