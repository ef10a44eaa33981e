"""Records what the libraries' classes of tokenizers compute.

    python tests/golden/make_vqmodels.py diffusers llamagen
    python tests/golden/make_vqmodels.py jukebox

The first needs torch and diffusers (made with 2.13.0 and 0.42.1), the second
transformers before 5 (made with 4.38.2), which still has JukeboxVQVAE. LlamaGen is no
package: `LlamaGen` below has the names, sizes and order of its published code. Weights
and pictures come from `tests/named_weights.py`, so that only shapes and results are
stored. All on a CPU.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from named_weights import pictures, quiet, random_state  # noqa: E402


def fill(module: nn.Module) -> np.ndarray:
    """Gives a module random weights; their shapes as JSON."""
    shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
    state = {name: torch.tensor(v) for name, v in quiet(random_state(shapes)).items()}
    module.load_state_dict(state)
    module.eval()
    return np.array(json.dumps(shapes))


def images() -> torch.Tensor:
    return torch.tensor(pictures(2, 16, 16)).permute(0, 3, 1, 2) / 127.5 - 1


def pixels(y: torch.Tensor) -> np.ndarray:
    """[B, H, W, C] in [0, 255], not rounded."""
    return ((y.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()


def diffusers() -> dict[str, np.ndarray]:
    """VQModels: with attention everywhere, and as amused's with other groups."""
    from diffusers import VQModel

    kinds = dict(
        attention=dict(
            down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
            up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
            block_out_channels=(32, 64),
            layers_per_block=2,
            latent_channels=4,
            num_vq_embeddings=24,
        ),
        plain=dict(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=6,
            vq_embed_dim=3,
            num_vq_embeddings=24,
            mid_block_add_attention=False,
            lookup_from_codebook=True,
        ),
    )
    arrays = {}
    for kind, settings in kinds.items():
        net = VQModel(**settings)
        arrays[f"{kind}/shapes"] = fill(net)
        config = {k: v for k, v in net.config.items() if k[:1] != "_"}
        config = {"_class_name": "VQModel", **config}
        arrays[f"{kind}/config"] = np.array(json.dumps(config))
        with torch.no_grad():
            z = net.encode(images()).latents
            _, _, (_, _, codes) = net.quantize(z)
            y = net.decode(z).sample
        arrays[f"{kind}/codes"] = codes.reshape(2, -1).numpy()
        arrays[f"{kind}/pixels"] = pixels(y)
    return arrays


class Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(32, n, eps=1e-6) for n in (into, out))
        self.conv1 = nn.Conv2d(into, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(into, out, 1) if into != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if self.nin_shortcut else x)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (
            nn.Conv2d(width, width, 1) for _ in range(4)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = (part(y).flatten(2) for part in (self.q, self.k, self.v))
        weights = torch.softmax(q.mT @ k / q.shape[1] ** 0.5, dim=-1)
        return x + self.proj_out((v @ weights.mT).view_as(x))


class Resample(nn.Module):
    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(width, width, 3, *((1, 1) if up else (2, 0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if self.up else x
        return self.conv(x if self.up else F.pad(x, (0, 1, 0, 1)))


class Half(nn.Module):
    """Encoder, or with `up` the decoder, whose levels begin with the coarsest."""

    def __init__(
        self, channels: int, mult: tuple, blocks: int, latent: int, up: bool
    ) -> None:
        super().__init__()
        last, order = len(mult) - 1, list(range(len(mult)))
        coarsest = channels * mult[-1]
        self.up, width = up, coarsest if up else channels
        self.conv_in = nn.Conv2d(latent if up else 3, width, 3, padding=1)
        middle = [Block(coarsest, coarsest), Attention(coarsest)]
        self.mid = nn.ModuleList([*middle, Block(coarsest, coarsest)])
        self.conv_blocks = nn.ModuleList()
        for level in reversed(order) if up else order:
            part, out = nn.Module(), channels * mult[level]
            part.res = nn.ModuleList()
            for _ in range(blocks + up):
                part.res.append(Block(width, out))
                width = out
            number = (blocks + up) * (level == last)
            part.attn = nn.ModuleList(Attention(out) for _ in range(number))
            if level != (0 if up else last):
                name = "upsample" if up else "downsample"
                setattr(part, name, Resample(width, up))
            self.conv_blocks.append(part)
        self.norm_out = nn.GroupNorm(32, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, 3 if up else latent, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_in(x)
        x = self._middle(x) if self.up else x
        for part in self.conv_blocks:
            for i, block in enumerate(part.res):
                x = block(x)
                x = part.attn[i](x) if len(part.attn) else x
            for name in ("upsample", "downsample"):
                x = getattr(part, name)(x) if hasattr(part, name) else x
        x = x if self.up else self._middle(x)
        return self.conv_out(F.silu(self.norm_out(x)))

    def _middle(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.mid:
            x = part(x)
        return x


class LlamaGen(nn.Module):
    def __init__(
        self, channels=128, mult=(1, 1, 2, 2, 4), latent=256, codes=16384, dim=8
    ) -> None:
        super().__init__()
        self.encoder = Half(channels, mult, 2, latent, up=False)
        self.decoder = Half(channels, mult, 2, latent, up=True)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(codes, dim)
        self.quantize.register_buffer("codebook_used", torch.zeros(65536))
        self.quant_conv = nn.Conv2d(latent, dim, 1)
        self.post_quant_conv = nn.Conv2d(dim, latent, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = F.normalize(self.quant_conv(self.encoder(x)).permute(0, 2, 3, 1), dim=-1)
        book = F.normalize(self.quantize.embedding.weight, dim=-1)
        codes = torch.cdist(z.flatten(1, 2), book[None]).argmin(-1)
        z_q = book[codes].view_as(z).permute(0, 3, 1, 2)
        return codes, self.decoder(self.post_quant_conv(z_q))


def llamagen() -> dict[str, np.ndarray]:
    """A small one, and all names and shapes of ds16 and ds8 as published."""
    arrays = {}
    for name, mult in dict(ds16=(1, 1, 2, 2, 4), ds8=(1, 2, 2, 4)).items():
        with torch.device("meta"):
            state = LlamaGen(mult=mult).state_dict()
        shapes = {name: list(value.shape) for name, value in state.items()}
        arrays[f"{name}/shapes"] = np.array(json.dumps(shapes))
    net = LlamaGen(32, (1, 1, 2), 8, 24, 4)
    arrays["small/shapes"] = fill(net)
    with torch.no_grad():
        codes, y = net(images())
    return arrays | {"small/codes": codes.numpy(), "small/pixels": pixels(y)}


def jukebox() -> dict[str, np.ndarray]:
    """A small one of two levels: names, codes and waves."""
    from transformers import JukeboxVQVAE, JukeboxVQVAEConfig

    config = JukeboxVQVAEConfig(
        levels=2,
        res_downs_t=(2, 1),
        res_strides_t=(2, 2),
        multipliers=(2, 1),
        hop_fraction=(0.5, 0.5),
        res_conv_width=8,
        res_conv_depth=2,
        embed_dim=8,
        nb_discrete_codes=32,
        sample_length=512,
    )
    net = JukeboxVQVAE(config)
    arrays = {"shapes": fill(net), "config": np.array(json.dumps(config.to_dict()))}
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(512) * rng.uniform(0, 0.5, (2, 1))) * 0.5
    wave = (wave + rng.normal(0, 0.1, wave.shape)).astype(np.float32)
    with torch.no_grad():
        codes = net.encode(torch.tensor(wave)[..., None])
        for level, part in enumerate(codes):
            arrays[f"codes/{level}"] = part.numpy()
            heard = net.decode([part], start_level=level, end_level=level + 1)
            arrays[f"wave/{level}"] = heard[..., 0].numpy()
    return arrays | {"wave": wave}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        np.savez_compressed(HERE / f"vq_{name}.npz", **globals()[name]())
