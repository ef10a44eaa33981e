"""The PyTorch counterpart of our 'modern' denoiser, layer by layer.

The same parameters and matrix products (the caller compares FLOPs and counts), in the
idiom that is fast there: one product for queries, keys and values, fused attention,
convolutions in channels-last layout.
"""

import math

import torch
import torch.nn.functional as F
from peer_shapes import Shape
from torch import nn


def rotary_angles(grid: tuple[int, int], size: int) -> torch.Tensor:
    """Angles [L, size / 2]; rows and columns share the pairs, (1, L) is all columns."""
    height, width = grid
    pairs = size // 2
    row_pairs = 0 if height == 1 else pairs // 2
    index = torch.arange(height * width)

    def axis(position: torch.Tensor, number: int) -> torch.Tensor:
        rate = (10.0 * max(grid)) ** (-torch.arange(number) / max(number, 1))
        return position[:, None] * rate

    parts = [axis(index // width, row_pairs), axis(index % width, pairs - row_pairs)]
    return torch.cat(parts, dim=-1)


class Attention(nn.Module):
    """Self-attention with rotary positions, or attention to a sequence."""

    def __init__(self, shape: Shape, source_width: int | None = None):
        super().__init__()
        width, self.heads = shape.width, shape.heads
        size = width // self.heads
        self.cross = source_width is not None
        if self.cross:
            self.query = nn.Linear(width, width)
            self.source = nn.Linear(source_width, 2 * width)
        else:
            self.source = nn.Linear(width, 3 * width)
            angle = rotary_angles(shape.grid, size)
            self.register_buffer("cosine", angle.cos(), persistent=False)
            self.register_buffer("sine", angle.sin(), persistent=False)
        self.query_scale = nn.Parameter(torch.ones(size))
        self.key_scale = nn.Parameter(torch.ones(size))
        self.proj = nn.Linear(width, width)

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        cosine, sine = self.cosine, self.sine
        return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)

    def forward(self, x: torch.Tensor, sequence: torch.Tensor | None) -> torch.Tensor:
        """[B, L, D] (and [B, S, C]) -> [B, L, D]."""
        source = self.source(sequence if self.cross else x)
        parts = 2 if self.cross else 3
        split = lambda a, n: a.unflatten(-1, (n, self.heads, -1)).permute(2, 0, 3, 1, 4)
        parts = split(source, parts)
        q = split(self.query(x), 1)[0] if self.cross else parts[0]
        k, v = parts[-2], parts[-1]
        size = q.shape[-1:]
        q = F.rms_norm(q.float(), size, self.query_scale, 1e-6)
        k = F.rms_norm(k.float(), size, self.key_scale, 1e-6)
        if not self.cross:
            q, k = self._rotate(q), self._rotate(k)
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.proj(out.transpose(1, 2).flatten(2))


class Convolutions(nn.Module):
    """Two 3 x 3 convolutions on the grid; [B, L, D] is channels-last as it stands."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.grid, hidden = shape.grid, shape.mlp_ratio * shape.width
        self.hidden = nn.Conv2d(shape.width, hidden, 3, padding=1)
        self.out = nn.Conv2d(hidden, shape.width, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, L, D] -> [B, L, D]."""
        x = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        x = self.out(F.gelu(self.hidden(x)))
        return x.permute(0, 2, 3, 1).flatten(1, 2)


class Block(nn.Module):
    """Branches x + (1 + gate) f(norm(x) (1 + scale) + shift)."""

    def __init__(self, shape: Shape):
        super().__init__()
        width, hidden = shape.width, shape.mlp_ratio * shape.width
        self.attention = Attention(shape)
        self.cross = Attention(shape, shape.sequence[1]) if shape.sequence else None
        self.mlp = Convolutions(shape)
        if shape.mlp == "fc":
            self.mlp = nn.Sequential(
                nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
            )
        self.modulation = nn.Linear(width, (9 if shape.sequence else 6) * width)

    def forward(
        self, x: torch.Tensor, vector: torch.Tensor, sequence: torch.Tensor | None
    ) -> torch.Tensor:
        """[B, L, D]; vector [B, D] is already activated."""
        parts = iter(self.modulation(vector)[:, None, :].split(x.shape[-1], dim=-1))

        def branch(x: torch.Tensor, module, *inputs) -> torch.Tensor:
            scale, shift, gate = next(parts), next(parts), next(parts)
            y = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
            return x + (1 + gate) * module(y, *inputs)

        x = branch(x, self.attention, None)
        if self.cross is not None:
            x = branch(x, self.cross, sequence)
        return branch(x, self.mlp)


class Network(nn.Module):
    """Tokens, time and condition -> logits float32 [B, L, K]."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.width
        self.timesteps, self.width = shape.timesteps, width
        self.tokens = nn.Embedding(shape.num_codes + 1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(shape.length, width))
        self.time = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        if shape.sequence:
            self.null = nn.Parameter(0.02 * torch.randn(shape.sequence))
        else:
            self.label = nn.Embedding(shape.num_classes + 1, width)
        self.num_classes = shape.num_classes
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.logits = nn.Linear(width, shape.num_codes)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                # what scales, shifts and gates begins at 0
                std = 0.0 if name.endswith("modulation") else 0.02
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def _time_features(self, t: torch.Tensor) -> torch.Tensor:
        half = self.width // 2
        rate = torch.exp(
            -math.log(10000.0) * torch.arange(half, device=t.device) / half
        )
        angle = (1000.0 / self.timesteps) * t[:, None].float() * rate
        return torch.cat([angle.cos(), angle.sin()], dim=-1)

    def forward(
        self,
        x_t: torch.Tensor,
        t: torch.Tensor,
        condition: torch.Tensor,
        drop: torch.Tensor,
    ) -> torch.Tensor:
        """Tokens [B, L], t [B], label [B] or sequence [B, S, C], drop bool [B]."""
        vector, sequence = self.time(self._time_features(t)), None
        if self.num_classes:
            vector = vector + self.label(condition.masked_fill(drop, self.num_classes))
        else:
            sequence = torch.where(drop[:, None, None], self.null, condition)
        vector = F.silu(vector)
        x = self.tokens(x_t) + self.positions
        for block in self.blocks:
            x = block(x, vector, sequence)
        scale, shift = self.modulation(vector)[:, None, :].chunk(2, dim=-1)
        x = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        return self.logits(x).float()
