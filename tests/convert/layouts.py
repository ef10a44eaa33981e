"""Names and shapes of other projects' checkpoints, and files of random tensors."""

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


def random_state(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers that keep activations near 1; norms and counts positive."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in layout.items():
        value = rng.normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1))
        if name.endswith("bias"):
            value = 0.1 * value
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.1 * value
        if "cluster_size" in name or name.startswith("lin"):
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
