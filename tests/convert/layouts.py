"""Names and shapes of other projects' checkpoints, and files of random tensors."""

import itertools
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Layout = dict[str, tuple[int, ...]]


def _conv(name: str, out: int, into: int, size: int) -> Iterator[tuple]:
    yield f"{name}.weight", (out, into, size, size)
    yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Iterator[tuple]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _block(name: str, into: int, out: int) -> Iterator[tuple]:
    yield from _norm(f"{name}.norm1", into)
    yield from _conv(f"{name}.conv1", out, into, 3)
    yield from _norm(f"{name}.norm2", out)
    yield from _conv(f"{name}.conv2", out, out, 3)
    if into != out:
        yield from _conv(f"{name}.nin_shortcut", out, into, 1)


def _attention(name: str, width: int) -> Iterator[tuple]:
    yield from _norm(f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{name}.{part}", width, width, 1)


def _middle(name: str, width: int) -> Iterator[tuple]:
    yield from _block(f"{name}.mid.block_1", width, width)
    yield from _attention(f"{name}.mid.attn_1", width)
    yield from _block(f"{name}.mid.block_2", width, width)


def _vqgan(channels, mult, blocks, attention, latent, dim) -> Iterator[tuple]:
    last = len(mult) - 1
    yield from _conv("encoder.conv_in", channels, 3, 3)
    width = channels
    for level, m in enumerate(mult):
        for i in range(blocks):
            yield from _block(f"encoder.down.{level}.block.{i}", width, channels * m)
            width = channels * m
            if level in attention:
                yield from _attention(f"encoder.down.{level}.attn.{i}", width)
        if level != last:
            name = f"encoder.down.{level}.downsample.conv"
            yield from _conv(name, width, width, 3)
    yield from _middle("encoder", width)
    yield from _norm("encoder.norm_out", width)
    yield from _conv("encoder.conv_out", latent, width, 3)
    yield from _conv("decoder.conv_in", width, latent, 3)
    yield from _middle("decoder", width)
    for level in range(last, -1, -1):
        for i in range(blocks + 1):
            out = channels * mult[level]
            yield from _block(f"decoder.up.{level}.block.{i}", width, out)
            width = out
            if level in attention:
                yield from _attention(f"decoder.up.{level}.attn.{i}", width)
        if level:
            name = f"decoder.up.{level}.upsample.conv"
            yield from _conv(name, width, width, 3)
    yield from _norm("decoder.norm_out", width)
    yield from _conv("decoder.conv_out", 3, width, 3)
    yield from _conv("quant_conv", dim, latent, 1)
    yield from _conv("post_quant_conv", latent, dim, 1)


def vqgan(
    channels: int = 32,
    mult: tuple[int, ...] = (1, 2),
    blocks: int = 1,
    attention: tuple[int, ...] = (1,),
    latent: int = 32,
    dim: int = 16,
    codes: int = 24,
    kind: str = "nearest",
) -> Layout:
    """Of a VQGAN, `attention` by level; `kind` nearest, gumbel or ema (ithq)."""
    layout = dict(_vqgan(channels, mult, blocks, attention, latent, dim))
    if kind == "nearest":
        layout["quantize.embedding.weight"] = (codes, dim)
    elif kind == "gumbel":
        layout["quantize.proj.weight"] = (codes, dim, 1, 1)
        layout["quantize.proj.bias"] = (codes,)
        layout["quantize.embed.weight"] = (codes, dim)
    else:
        layout["quantize.embedding"] = (codes, dim)
        layout["quantize.embedding_avg"] = (codes, dim)
        layout["quantize.cluster_size"] = (codes,)
    return layout


def lpips() -> Layout:
    """Of torchvision's VGG16, without its classifier, and LPIPS's linear weights."""
    layout, into, n = {}, 3, 0
    for i, width in enumerate((64, 128, 256, 512, 512)):
        for _ in range(2 if i < 2 else 3):
            layout |= dict(_conv(f"features.{n}", width, into, 3))
            into, n = width, n + 2
        n += 1
        layout[f"lin{i}.model.1.weight"] = (1, width, 1, 1)
    return layout


def _linear(name: str, out: int, into: int) -> Iterator[tuple]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _table_norm(name: str, rows: int, width: int) -> Iterator[tuple]:
    yield f"{name}.emb.weight", (rows, width)
    yield from _linear(f"{name}.linear", 2 * width, width)


def _transformer_block(
    form, width, timesteps, mlp, ratio, features, length, classes
) -> Iterator[tuple]:
    yield from _table_norm("ln1", timesteps, width)
    if form == "selfcondition":
        yield from _table_norm("ln2", classes, width)
    else:
        yield from _norm("ln2", width)
    for name in ("attn1", "attn2") if form == "selfcross" else ("attn",):
        if name == "attn2":
            yield "attn2.mask", (1, 1, length, length)
        for part in ("key", "query", "value", "proj"):
            other = name == "attn2" and part in ("key", "value")
            yield from _linear(f"{name}.{part}", width, features if other else width)
    if form == "selfcross":
        yield from _table_norm("ln1_1", timesteps, width)
    if mlp == "conv":
        yield from _conv("mlp.conv1", ratio * width, width, 3)
        yield from _conv("mlp.conv2", width, ratio * width, 3)
    else:
        yield from _linear("mlp.0", ratio * width, width)
        yield from _linear("mlp.2", width, ratio * width)


def diffusion_transformer(
    form: str,
    codes: int = 24,
    width: int = 32,
    depth: int = 2,
    timesteps: int = 5,
    mlp: str = "fc",
    ratio: int = 2,
    table: tuple[int, int] = (8, 8),
    features: int = 0,
    length: int = 64,
    classes: int = 0,
) -> Layout:
    """Of a DiffusionTransformer, without what it is conditioned on."""
    layout = {}
    for name in ("at", "bt", "ct"):
        layout[f"log_{name}"] = (timesteps,)
        layout[f"log_cumprod_{name}"] = (timesteps + 1,)
    layout["log_1_min_ct"], layout["log_1_min_cumprod_ct"] = (
        (timesteps,),
        (timesteps + 1,),
    )
    layout["Lt_history"] = layout["Lt_count"] = (timesteps,)
    start = "transformer.content_emb"
    layout[f"{start}.emb.weight"] = (codes + 1, width)
    layout[f"{start}.height_emb.weight"] = (table[0], width)
    layout[f"{start}.width_emb.weight"] = (table[1], width)
    parts = (form, width, timesteps, mlp, ratio, features, length, classes)
    for i in range(depth):
        for name, shape in _transformer_block(*parts):
            layout[f"transformer.blocks.{i}.{name}"] = shape
    layout |= dict(_norm("transformer.to_logits.0", width))
    layout |= dict(_linear("transformer.to_logits.1", codes, width))
    return layout


def clip_text(
    vocabulary: int = 30, length: int = 6, width: int = 64, layers: int = 2
) -> Layout:
    """Of OpenAI's text tower."""
    layout = {
        "token_embedding.weight": (vocabulary, width),
        "positional_embedding": (length, width),
        "text_projection": (width, width),
    }
    for i in range(layers):
        name = f"transformer.resblocks.{i}"
        layout[f"{name}.attn.in_proj_weight"] = (3 * width, width)
        layout[f"{name}.attn.in_proj_bias"] = (3 * width,)
        layout |= dict(_linear(f"{name}.attn.out_proj", width, width))
        layout |= dict(_norm(f"{name}.ln_1", width))
        layout |= dict(_linear(f"{name}.mlp.c_fc", 4 * width, width))
        layout |= dict(_linear(f"{name}.mlp.c_proj", width, 4 * width))
        layout |= dict(_norm(f"{name}.ln_2", width))
    return layout | dict(_norm("ln_final", width))


def motion(channels: int, frames: int, widths: tuple[int, int, int]) -> Layout:
    """Of CDCD's MotionEncoder."""
    layout = dict(_linear("lin1", 800, channels))
    layout |= dict(_linear("lin2", widths[-1], 786))
    into, place = frames, 0
    for width, taps in zip((*widths, 1), (6, 4, 4, 4), strict=True):
        layout[f"model.{place}.weight"] = (width, into, taps)
        layout[f"model.{place}.bias"] = (width,)
        # the first is followed by an activation, the others by blocks
        place += 2 if place == 0 else 1
        for _ in range(4 if width != 1 else 0):
            for name, size in (("block.2", 3), ("block.4", 1), ("shortcut", 1)):
                start = f"model.{place}.{name}"
                layout[f"{start}.bias"] = (width,)
                layout[f"{start}.weight_g"] = (width, 1, 1)
                layout[f"{start}.weight_v"] = (width, width, size)
            place += 1
        into, place = width, place + 1
    return layout


def prefixed(prefix: str, layout: Mapping) -> dict:
    """The same with `prefix` before all names."""
    return {prefix + name: value for name, value in layout.items()}


def image_model(
    transformer: Layout, codec: Layout, text: Layout | None = None
) -> Layout:
    """Of an outer checkpoint of VQ-Diffusion, the part 'model'."""
    halves = {"encoder": ("enc",), "quant_conv": ("enc",), "quantize": ("enc", "dec")}
    layout = {}
    for name, shape in codec.items():
        for half in halves.get(name.split(".")[0], ("dec",)):
            layout[f"content_codec.{half}.{name}"] = shape
    layout |= prefixed("transformer.", transformer)
    return layout | prefixed("transformer.condition_emb.", text or {})


def random_state(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers that keep activations near 1; norms and counts positive."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in layout.items():
        value = rng.normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1))
        if name.endswith("bias"):
            value = 0.1 * value
        is_norm = "norm" in name or re.search(r"\.(ln\w*|to_logits\.0)\.weight$", name)
        if is_norm and name.endswith("weight"):
            value = 1 + 0.1 * value
        if name.endswith("weight_g"):
            value = 1 + 0.1 * np.tanh(value)
        if "cluster_size" in name or re.match(r"lin\d\.model", name):
            value = np.abs(value)
        state[name] = value.astype(np.float32)
    return state


def empty_state(layout: Layout) -> dict[str, np.ndarray]:
    """Zeros of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), s) for name, s in layout.items()}


def write(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """A safetensors file of the state."""
    save_file(dict(state), path)
    return path


def write_torch(path: Path, content: Mapping) -> Path:
    """A file as PyTorch writes dicts of float32 tensors, also within dicts."""
    text = lambda word: b"X" + struct.pack("<I", len(word)) + word.encode()
    number = lambda n: b"J" + struct.pack("<i", n)
    numbers = lambda values: b"(" + b"".join(map(number, values)) + b"t"
    count = itertools.count()

    def pickled(value: Mapping | np.ndarray) -> bytes:
        if isinstance(value, Mapping):
            rows = (text(str(name)) + pickled(row) for name, row in value.items())
            return b"}(" + b"".join(rows) + b"u"
        value, key = np.ascontiguousarray(value, np.float32), str(next(count))
        archive.writestr(f"archive/data/{key}", value.tobytes())
        steps = [step // value.itemsize for step in value.strides]
        out = b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
        out += number(value.size) + b"tQ" + number(0)
        out += numbers(value.shape) + numbers(steps)
        return out + b"\x89ccollections\nOrderedDict\n)RtR"

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled(content) + b".")
        archive.writestr("archive/version", "3\n")
    return path
