"""FLOPs of single instructions: matrix products, convolutions, custom kernels."""

import math
import re

from cdcd_jax.planning.hlo_text import Instruction, Shape, integers

MATMUL_TARGETS = ("gemm", "matmul")  # of cuBLAS custom calls
# Fused attention on TPUs: how many products of L x S x C each kernel does.
SPLASH_PRODUCTS = {"splash_mha_fwd": 2, "splash_mha_dq": 3, "splash_mha_dkv": 4}
KERNEL_TARGETS = ("tpu_custom_call", "fmha", "triton", "mosaic", "conv")


def product_flops(i: Instruction, operands: list[tuple[Shape, ...]]) -> float | None:
    """Of one run, 2 per multiply-add; None for a kernel whose text does not say."""
    if i.opcode == "dot":
        return 2.0 * i.shapes[0].size * _over(operands, i, "lhs_contracting_dims")
    if i.opcode == "convolution":
        return convolution_flops(i, operands[1][0])
    if i.opcode != "custom-call":
        return 0.0
    if any(word in i.target for word in MATMUL_TARGETS):
        found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', i.attributes)
        if found:
            dims = integers(found.group(1).replace('"', ""))
            lhs = operands[0][0].dims
            return 2.0 * i.shapes[0].size * math.prod(lhs[d] for d in dims)
    if any(name in i.op_name for name in SPLASH_PRODUCTS):
        return _splash_flops(i, operands)
    said = re.search(r'"flops":\s*"?(\d+)', i.attributes)
    if said:
        return float(said.group(1))
    known = not any(word in i.target.lower() for word in KERNEL_TARGETS)
    return 0.0 if known else None


def _splash_flops(i: Instruction, operands: list[tuple[Shape, ...]]) -> float:
    """Of queries [..., L, C] and keys [..., S, C], the first large operands."""
    q, k, *_ = (o[0] for o in operands if len(o[0].dims) > 2 and o[0].dims[-1] > 1)
    products = max(n for name, n in SPLASH_PRODUCTS.items() if name in i.op_name)
    return 2.0 * products * q.size * k.dims[-2]


def _over(operands: list[tuple[Shape, ...]], i: Instruction, key: str) -> int:
    return math.prod(operands[0][0].dims[d] for d in i.numbers(key))


def convolution_flops(i: Instruction, kernel: Shape) -> float:
    """2 x multiply-adds; products with padding or with the zeros of dilation are none.

    TPU programs write batched matrix products as convolutions in which most of the
    window falls on such zeros.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", i.attributes)
    if labels is None:
        return 0.0
    _, rhs, out = labels.groups()
    window = _window(i, sum(c.isdigit() for c in rhs))
    outputs = dict(zip(out, i.shapes[0].dims, strict=True))
    kernels = dict(zip(rhs, kernel.dims, strict=True))
    pairs = 1
    for n, settings in enumerate(window):
        pairs *= _valid_pairs(outputs[str(n)], kernels[str(n)], **settings)
    return 2.0 * outputs["b"] * outputs["f"] * kernels["i"] * pairs


def _window(i: Instruction, rank: int) -> list[dict[str, int]]:
    found = re.search(r"window={([^}]*)}", i.attributes)
    given = dict(p.split("=") for p in found.group(1).split()) if found else {}
    column = lambda key: given[key].split("x") if key in given else [None] * rank
    keys = zip(
        column("stride"),
        column("pad"),
        column("lhs_dilate"),
        column("rhs_dilate"),
        strict=True,
    )
    return [
        dict(
            stride=int(stride or 1),
            low=int((pad or "0").split("_")[0]),
            high=int((pad or "0_0").split("_")[1]),
            lhs_dilate=int(lhs or 1),
            rhs_dilate=int(rhs or 1),
        )
        for stride, pad, lhs, rhs in keys
    ]


def _valid_pairs(
    output: int,
    kernel: int,
    stride: int,
    low: int,
    high: int,
    lhs_dilate: int,
    rhs_dilate: int,
) -> int:
    """(output, kernel) positions along one axis whose input is an element."""
    reach = (kernel - 1) * rhs_dilate + 1
    extent = (output - 1) * stride + reach - low - high  # of the dilated input
    return sum(
        0 <= at < extent and at % lhs_dilate == 0
        for o in range(output)
        for k in range(kernel)
        for at in (o * stride + k * rhs_dilate - low,)
    )
