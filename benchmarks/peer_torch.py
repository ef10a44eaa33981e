"""The PyTorch side of `torch_peer.py`: training step, loss and sampling as cases.

Tuned as one would: fused AdamW, averages and clipping over lists of tensors, bfloat16
autocast and channels-last on a GPU, torch.compile of network and loss together, and for
sampling a step captured as a CUDA graph.
"""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peer_shapes import DROPOUT, EMA_DECAY, OPTIM, Shape
from peer_torch_loss import Dense
from peer_torch_network import Network
from peer_worker import Case, serve
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


def wait() -> None:
    """Until the device has done what was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def cast(shape: Shape) -> Any:
    """The context that runs matrix products in the shape's type."""
    if shape.dtype == "float32":
        return contextlib.nullcontext()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, getattr(torch, shape.dtype))


def device() -> torch.device:
    """Where everything runs."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_batch(shape: Shape, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [B, L] and condition."""
    tokens = torch.randint(shape.num_codes, (batch, shape.length), device=device())
    if shape.num_classes:
        return tokens, torch.randint(shape.num_classes, (batch,), device=device())
    return tokens, torch.randn(batch, *shape.sequence, device=device())


def permuted(tokens: torch.Tensor, shape: Shape, number: int) -> list[torch.Tensor]:
    """Negatives: chunks in another order, the same one for a whole batch."""
    (rows, columns), (height, width) = shape.chunks, shape.grid
    h, w = height // rows, width // columns
    index = torch.arange(shape.length).view(height, width)
    kept = index[: rows * h, : columns * w].reshape(rows, h, columns, w)
    kept = kept.transpose(1, 2).reshape(rows * columns, h * w)
    found = []
    for _ in range(number):
        order = index.flatten().clone()
        order[kept.flatten()] = kept[torch.randperm(len(kept))].flatten()
        found.append(tokens[:, order.to(tokens.device)])
    return found


class Seen(TorchDispatchMode):
    """Collects the attention kernels that run."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if "attention" in name:
            self.names.add(name.removeprefix("_scaled_dot_product_"))
        return func(*args, **(kwargs or {}))


def attention_of(network: Network, shape: Shape, batch: int) -> str:
    """Names of the attention kernels of a forward pass; 'math' if none is fused."""
    tokens, condition = random_batch(shape, batch)
    t = torch.ones(batch, dtype=torch.long, device=device())
    with torch.no_grad(), cast(shape), Seen() as seen:
        network(tokens, t, condition, t > 1)
    return ", ".join(sorted(seen.names)) or "math"


def counts(shape: Shape) -> dict[str, float]:
    """Parameters, and FLOPs of the network's forward pass of one example."""
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        network = Network(shape)
        condition = torch.zeros(1, dtype=torch.long)
        if shape.sequence:
            condition = torch.zeros(1, *shape.sequence)
        tokens, one = torch.zeros(1, shape.length, dtype=torch.long), torch.ones(1)
        with FlopCounterMode(display=False) as counter:
            network(tokens, one.long(), condition, one > 1)
    parameters = sum(p.numel() for p in network.parameters())
    return {"flops": float(counter.get_total_flops()), "parameters": parameters}


def compiled(function: Callable, wanted: bool) -> Callable:
    """The function through torch.compile if that is wanted."""
    if not wanted:
        return function
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


# -- cases -----------------------------------------------------------------------------


def step_case(shape: Shape, negatives: int, compile: bool) -> Case:
    """A whole training step on one batch that lies on the device."""
    network, dense = Network(shape).to(device()), Dense(shape).to(device())
    if shape.mlp == "conv":
        network = network.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    averages = [p.detach().clone() for p in parameters]
    groups = [
        dict(params=[p for p in parameters if p.ndim > 1]),
        dict(params=[p for p in parameters if p.ndim <= 1], weight_decay=0.0),
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=OPTIM["learning_rate"],
        betas=OPTIM["betas"],
        weight_decay=OPTIM["weight_decay"],
        fused=True,
    )
    tokens, condition = random_batch(shape, shape.batch)

    def loss_of(tokens, negative, condition):
        size = tokens.shape[0]
        u = torch.rand((), device=tokens.device) + torch.randperm(
            size, device=tokens.device
        )
        t = 1 + (u * (shape.timesteps / size)).long().clamp(max=shape.timesteps - 1)
        x_t = dense.noised(tokens, t)
        drop = torch.rand(size, device=tokens.device) < DROPOUT
        with cast(shape):
            logits = network(x_t, t, condition, drop)
        return dense(logits, x_t, tokens, negative, t)

    loss_of = compiled(loss_of, compile)

    def step() -> torch.Tensor:
        loss = loss_of(tokens, permuted(tokens, shape, negatives), condition)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, OPTIM["clip_norm"], foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(averages, [p.data for p in parameters], 1 - EMA_DECAY)
        return loss

    def run(number: int) -> None:
        for _ in range(number):
            step()
        wait()

    return Case(run, {"attention": attention_of(network, shape, shape.batch)})


def loss_case(shape: Shape, negatives: int, compile: bool) -> Case:
    """Loss and its gradient with respect to the logits."""
    dense = Dense(shape).to(device())
    tokens, _ = random_batch(shape, shape.batch)
    t = torch.linspace(1, shape.timesteps, shape.batch, device=device()).long()
    x_t, negative = dense.noised(tokens, t), permuted(tokens, shape, negatives)
    logits = torch.randn(*tokens.shape, shape.num_codes, device=device())
    logits.requires_grad_()
    loss_of = compiled(dense, compile)

    def run(number: int) -> None:
        for _ in range(number):
            torch.autograd.grad(loss_of(logits, x_t, tokens, negative, t), logits)
        wait()

    return Case(run, {})


def sample_case(
    shape: Shape, batch: int, steps: int, compile: bool, graph: bool
) -> Case:
    """A batch of samples: a Python loop over steps, or over replays of a graph."""
    times = np.floor(shape.timesteps * np.arange(steps + 1) / steps + 0.5).astype(int)
    network = Network(shape).to(device()).eval()
    if shape.mlp == "conv":
        network = network.to(memory_format=torch.channels_last)
    dense = Dense(shape, times).to(device())
    _, condition = random_batch(shape, batch)
    drop = torch.zeros(batch, dtype=torch.bool, device=device())
    times = torch.from_numpy(times).to(device())

    def step_of(x, index):
        with cast(shape):
            logits = network(x, times[index], condition, drop)
        return dense.draw(logits, x, index)

    step_of = compiled(step_of, compile)
    # one tensor a step, made beforehand
    indices = [torch.full((batch,), i, device=device()) for i in range(steps, 0, -1)]
    start = torch.full((batch, shape.length), shape.num_codes, device=device())
    replay = captured(step_of, start, indices) if graph else None

    @torch.no_grad()
    def run(number: int) -> None:
        for _ in range(number):
            if replay:
                replay()
                continue
            x = start
            for index in indices:
                x = step_of(x, index)
        wait()

    return Case(run, {"attention": attention_of(network, shape, batch)})


@torch.no_grad()
def captured(
    step_of: Callable, start: torch.Tensor, indices: list[torch.Tensor]
) -> Callable[[], None]:
    """One step as a CUDA graph; the result runs it for each index."""
    x, index = start.clone(), indices[0].clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            x.copy_(step_of(x, index))
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x.copy_(step_of(x, index))

    def replay() -> None:
        x.copy_(start)
        for i in indices:
            index.copy_(i)
            graph.replay()

    return replay


# -- questions -------------------------------------------------------------------------


def given_loss(shape: Shape, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loss and gradient for given logits, x_t, z [B, 1 + N, L] and t."""
    names = ("logits", "x_t", "z", "t")
    logits, *rest = (torch.from_numpy(arrays[name]).to(device()) for name in names)
    x_t, z, t = (a.long() for a in rest)
    logits.requires_grad_()
    dense = Dense(shape).to(device())
    loss = dense(logits, x_t, z[:, 0], list(z[:, 1:].unbind(1)), t)
    (gradient,) = torch.autograd.grad(loss, logits)
    return {"loss": loss.detach().cpu().numpy(), "gradient": gradient.cpu().numpy()}


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "torch_device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch_threads": torch.get_num_threads(),
    }


def peak_memory() -> int | None:
    """Most bytes on the device since the last call; None on a CPU."""
    if not torch.cuda.is_available():
        return None
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def main(connection: Any, threads: int) -> None:
    """The process."""
    warnings.filterwarnings("ignore", module="torch")
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    serve(
        connection,
        {"step": step_case, "loss": loss_case, "sample": sample_case},
        {
            "given_loss": given_loss,
            "counts": counts,
            "machine": machine,
            "peak_memory": peak_memory,
        },
    )
