"""What a file or a folder of weights is, by its settings and the names of its tensors.

A family is a module of this package; it has `convert(path, options) -> Converted` and
the options that it takes, `OPTIONS`, with their defaults.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cdcd_jax.convert.files import INDEX, shards_of
from cdcd_jax.convert.safetensors_files import read_header
from cdcd_jax.convert.torch_files import torch_content
from cdcd_jax.errors import InputError


class Family(NamedTuple):
    """What it is, and patterns of which each is found among a file's names."""

    text: str
    patterns: tuple[str, ...]


_BOOK = r"(^|\.)quantize\.embedding"
# The first whose patterns are all found is the one.
FAMILIES = {
    "cdcd": Family(
        "whole models of CDCD: dance to music, and images",
        (r"transformer\.transformer\.", r"(^|\.)(vqvae|condition_codec_motion)\."),
    ),
    "vqdiffusion": Family(
        "whole image models of VQ-Diffusion and CDCD",
        (r"transformer\.transformer\.content_emb\.",),
    ),
    "diffusers_vqdiffusion": Family(
        "folders of diffusers' VQDiffusionPipeline", (r"/VQDiffusionPipeline$",)
    ),
    "jukebox": Family(
        "the VQ-VAE of Jukebox, transformers' too", (r"bottleneck\.level_blocks\.",)
    ),
    "clip_score": Family(
        "both towers of CLIP, for the CLIPScore",
        (r"token_embedding\.weight$", r"(^|\.)(visual|vision_model)\."),
    ),
    "clip": Family("the text tower of CLIP", (r"token_embedding\.weight$",)),
    "lpips": Family("VGG16 and the linear weights of LPIPS", (r"lin\d\.model\.",)),
    "inception": Family("Inception v3 of the FID", (r"(^|\.)Mixed_5b\.",)),
    "diffusers_vq": Family("VQModels of diffusers", (_BOOK, r"encoder\.down_blocks\.")),
    "llamagen": Family("the VQ of LlamaGen", (_BOOK, r"encoder\.conv_blocks\.")),
    "flax_vqgan": Family(
        "VQGANs in Flax' msgpack, as dalle-mini's", (r"/[^/]*\.msgpack$",)
    ),
    "ithq": Family(
        "the image codec of VQ-Diffusion's ITHQ models", (_BOOK + "(_avg)?$",)
    ),
    "taming": Family(
        "VQGANs of taming-transformers, Gumbel ones too",
        (r"(^|\.)quantize\.embed(ding)?\.", r"(^|\.)decoder\."),
    ),
}
_FOREIGN = (
    (r"(^|[._])lora_|\.lora\.", "a LoRA, changes to a model and no model"),
    (r"model\.diffusion_model\.", "a whole checkpoint of Stable Diffusion"),
    (r"down_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.", "a diffusion U-Net"),
    (r"(^|\.)quant_conv\.", "a continuous autoencoder (AutoencoderKL), without codes"),
    (r"(^|\.)model\.layers\.\d+\.self_attn\.", "a language model"),
)
_HEADS = (
    (rb"version https://git-lfs", "a git-lfs pointer; run `git lfs pull`"),
    (rb"\s*<", "a page of html or xml, as a failed download leaves"),
    (rb"\s*\{", "a file of JSON"),
    (rb"\x1f\x8b", "a gzip archive; unpack it"),
    (rb"\x89HDF", "an HDF5 file of Keras"),
    (rb"GGUF", "a GGUF file"),
    (rb"$", "an empty file"),
)
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar", ".msgpack")


def recognise(path: str) -> tuple[str, str]:
    """The family of a file or folder, and the path that its module takes.

    Raises:
        InputError: it is none of ours; the text says what it is, as far as names tell.
    """
    place = Path(path)
    if not place.is_dir():
        return _of_names(_names(place), place), path
    for name in ("model_index.json", "config.json"):
        found = _settings(place / name)
        kind = str(found.get("_class_name", ""))
        if kind == "VQModel" or any((place / p).is_dir() for p in ("vqvae", "movq")):
            whole = kind == "VQDiffusionPipeline"
            return "diffusers_vqdiffusion" if whole else "diffusers_vq", path
        if str(found.get("model_type", "")).startswith("jukebox"):
            return "jukebox", path
        if kind:
            raise InputError(
                f"Found a {kind} of diffusers in {path}; expected a "
                "VQDiffusionPipeline or a VQModel. Name another folder."
            )
    files = sorted(f for f in place.iterdir() if f.suffix in _WEIGHTS and f.is_file())
    if indices := sorted(place.glob(f"*{INDEX}")):
        files = indices[-1:]  # safetensors' comes after PyTorch's
    # the same weights are often there in two formats
    files = [f for f in files if f.suffix == ".safetensors"] or files
    if len(files) != 1:
        names = ", ".join(f.name for f in files[:5]) or "none"
        raise InputError(
            f"Found {len(files)} files of weights ({names}) in {path}; expected one, "
            "or a folder as diffusers or transformers save it. Name the file."
        )
    return _of_names(_names(files[0]), files[0]), str(files[0])


def _of_names(names: list[str], path: Path) -> str:
    text = "\n".join(names)
    has = lambda pattern: re.search(pattern, text, re.MULTILINE)
    for pattern, what in _FOREIGN[:3]:
        if has(pattern):
            raise _refused(path, what)
    for family, row in FAMILIES.items():
        if all(map(has, row.patterns)):
            return family
    for pattern, what in _FOREIGN[3:]:
        if has(pattern):
            raise _refused(path, what)
    kind = "a Lightning checkpoint" if has("^pytorch-lightning") else "tensors"
    if has("^param_groups") and has("^state(\\.|$)"):
        raise _refused(path, "the state of an optimizer, without a model")
    tensors = [n for n in names if "." in n and not n.startswith("pytorch-")] or names
    first = ", ".join(tensors[:4]) or "no names"
    raise _refused(path, f"{kind} of no family that is known here: {first}")


def _refused(path: Path, what: str) -> InputError:
    known = "; ".join(f"{name}: {row.text}" for name, row in FAMILIES.items())
    return InputError(
        f"Found {path}, which is {what}; expected one of {known}. Name another file."
    )


def _names(path: Path) -> list[str]:
    """Names of a file's tensors, those within dicts as 'dict.name'; no values."""
    if path.name.endswith(INDEX):
        return [name for shard in shards_of(path) for name in _names(shard)]
    if path.suffix == ".msgpack":
        return [f"/{path.name}"]
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(
            f"Found no readable file {path} ({error.strerror}); expected a checkpoint. "
            "Correct --input."
        ) from error
    for pattern, what in _HEADS:
        if re.match(pattern, head):
            raise _refused(path, what)
    if head[8:9] == b"{":
        return list(read_header(path)[0])
    with torch_content(path, head) as content:
        return list(_flat(content))


def _flat(content: Any, prefix: str = "", depth: int = 0) -> list[str]:
    if not isinstance(content, Mapping) or depth > 1:
        return [prefix.removesuffix(".")] if prefix else []
    return [n for k, v in content.items() for n in _flat(v, f"{prefix}{k}.", depth + 1)]


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the family's module says what is wrong with it
    return found if isinstance(found, dict) else {}
