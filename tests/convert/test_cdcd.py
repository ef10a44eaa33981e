"""CDCD's models of music: file -> work directory -> the same logits; refusals."""

import pathlib
import re
from typing import Any

import jax
import layouts
import numpy as np
import pytest
from test_vqdiffusion import make_state, restored

from cdcd_jax.config import resolve_stages
from cdcd_jax.convert import cdcd, jukebox, transformer
from cdcd_jax.convert.__main__ import main
from cdcd_jax.convert.vqdiffusion import under
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded
from cdcd_jax.networks.reference_motion import ReferenceEncoder

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTES = ROOT.parent / "shared" / "notes" / "checkpoint_keys.txt"
CODEC = jukebox.Sizes(
    downs=(1, 1, 1),
    strides=(2, 2, 2),
    widths=(8, 4, 4),
    depths=(2, 1, 1),
    code_dim=3,
    num_codes=24,
)
WIDTHS, VIDEO, GENRE, LENGTH = (8, 12, 16), 9, 5, 20
CHANNELS = {"aist": (36, 7), "tiktok": (6, 4)}  # frames and channels of a dance


def layout_of(name: str) -> dict[str, tuple[int, ...]]:
    """The part 'model'."""
    inner = layouts.diffusion_transformer(
        "selfcross", features=16, table=(1, LENGTH), length=LENGTH
    )
    inner |= {"lin1.weight": (16, 16 + VIDEO + GENRE), "lin1.bias": (16,)}
    if name == "aist":
        inner["condition_emb.genre_embed.weight"] = (10, GENRE)
    else:
        inner |= {"lin2.weight": (16, 16 + VIDEO), "lin2.bias": (16,)}
    codec = jukebox.shapes(CODEC)
    frames, channels = CHANNELS[name]
    motion = layouts.motion(channels, frames, WIDTHS)
    return {
        **layouts.prefixed("vqvae.", codec),
        **layouts.prefixed("condition_codec_motion.", motion),
        **layouts.prefixed("transformer.", inner),
        **layouts.prefixed("transformer.vqvae.", codec),
    }


def convert(tmp_path: pathlib.Path, state: dict, **options: object) -> int:
    layouts.write(tmp_path / "a.safetensors", state)
    given = dict(
        family="cdcd",
        input=tmp_path / "a.safetensors",
        output=tmp_path / "out",
        heads=4,
        sample_rate=26,  # so that 20 codes of 8 samples are 6 s
    )
    return main([f"--{k}={v}" for k, v in {**given, **options}.items()])


def conditions(name: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    normal = lambda *shape: random.normal(size=shape).astype(np.float32)
    found = {"motion": normal(3, *CHANNELS[name]), "video": normal(3, 1, VIDEO)}
    return found | ({"genre": np.array([0, 9, 4], np.int32)} if name == "aist" else {})


def token(state: dict, condition: dict, drop: np.ndarray) -> np.ndarray:
    """What the reference attends to, [B, 1, D], as its code computes it."""
    encoder = ReferenceEncoder(WIDTHS)
    params = cdcd.motion_params(under(state, "condition_codec_motion."), "state")
    parts = [
        jax.jit(encoder.apply)({"params": params}, condition["motion"]),
        condition["video"],
    ]
    parts = [np.where(drop[:, None, None], 0.0, part) for part in parts]
    if "genre" in condition:
        table = state["transformer.condition_emb.genre_embed.weight"]
        table = np.concatenate([table, table.mean(0, keepdims=True)])
        parts.append(table[np.where(drop, 10, condition["genre"])][:, None])
    name = "transformer.lin1" if "genre" in condition else "transformer.lin2"
    joined = np.concatenate(parts, axis=-1)
    return joined @ state[f"{name}.weight"].T + state[f"{name}.bias"]


@pytest.mark.parametrize(
    "name", ["aist", pytest.param("tiktok", marks=pytest.mark.slow)]
)
def test_logits_after_a_round_trip(tmp_path: pathlib.Path, name: str) -> None:
    layout = layout_of(name)
    state = make_state(layout)
    inner = {n: v for n, v in state.items() if n.startswith("transformer.")}
    averaged = layouts.prefixed("ema.", under(inner, "transformer."))
    other = {n: v + 1 for n, v in inner.items()}
    whole = {**layouts.prefixed("model.", {**state, **other}), **averaged}
    assert convert(tmp_path, whole) == 0

    task, params, _ = restored(tmp_path / "out")
    condition = conditions(name)
    assert set(task.conditions) == set(condition)
    # 36 frames in 6 s, 6 in 6 s
    assert task.conditions["motion"]["frame_rate"] == CHANNELS[name][0] // 6
    random = np.random.default_rng(1)
    x, t = random.integers(0, 25, (3, LENGTH)), np.array([1, 3, 5])
    drop = np.array([False, True, False])
    ours = jax.jit(task.network.apply)({"params": params}, x, t, condition, drop)
    network = Denoiser(
        **dict(form="selfcross", num_codes=24, grid=(1, LENGTH), width=32, depth=2),
        **dict(heads=4, mlp="fc", mlp_ratio=2, activation="gelu2", timesteps=5),
    )
    tensors = under(state, "transformer.transformer.")
    direct = transformer.denoiser_params(tensors, "selfcross", 2, 4)
    encoded = Encoded(sequence=token(state, condition, drop))
    expected = jax.jit(network.apply)({"params": direct}, x, t, encoded)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)
    told = resolve_stages(task.settings["tokenizer"], tmp_path / "out")
    tokenizer = open_tokenizer(told, task.grid)
    assert tokenizer.num_codes == 24 and tokenizer.level == 2
    assert tokenizer.task.settings["model"]["length"] == 8 * LENGTH


@pytest.mark.parametrize(
    "name, timesteps, length",
    [("AIST 6s (T=80", 80, 1033), ("TikTok 2s (T=100", 100, 344)],
)
def test_published_layouts(name: str, timesteps: int, length: int) -> None:
    """Names and shapes as the module definitions have them; sizes read off these."""
    layout = layouts.diffusion_transformer(
        "selfcross",
        **dict(codes=2048, width=1024, depth=19, timesteps=timesteps, ratio=4),
        **dict(table=(1, length), features=1024, length=length),
    )
    layout |= {"lin1.weight": (1024, 3328), "lin1.bias": (1024,)}
    if "AIST" in name:
        layout["condition_emb.genre_embed.weight"] = (10, 256)
    else:
        layout |= {"lin2.weight": (1024, 3072), "lin2.bias": (1024,)}
    if NOTES.exists():  # blocks after the first are left out there
        part = NOTES.read_text().split(f"## DiffusionTransformer d2m {name}")[1]
        part = part.split("\n## ")[0]
        rows = re.findall(r"^(\S+) \(([\d, ]*)\)$", part, re.MULTILINE)
        listed = {n: tuple(int(d) for d in re.findall(r"\d+", s)) for n, s in rows}
        first = {n: s for n, s in layout.items() if not re.search(r"blocks\.[1-9]", n)}
        assert listed == first
        assert len(layout) == int(re.search(r"tensors=(\d+)", part)[1])
    state = layouts.empty_state(layout)
    found = transformer.find_sizes(under(state, "transformer."), "file")
    assert (found.table, found.features, found.timesteps) == (
        (1, length),
        1024,
        timesteps,
    )


LAST = "condition_codec_motion.model.19.bias"


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("aist", lambda s: s.pop(LAST), "dance encoder, .* 1 missing .model.19.bias"),
        (
            "aist",
            lambda s: s.update({"condition_codec_motion.extra": np.zeros(2)}),
            "1 unexpected .extra",
        ),
        ("aist", lambda s: s.pop("transformer.lin1.bias"), "its transformer.lin1"),
        ("tiktok", lambda s: s.pop("transformer.lin2.bias"), "its transformer.lin2"),
        (
            "aist",
            lambda s: s.pop("transformer.condition_emb.genre_embed.weight"),
            "dance, video and .of lin1. genre",
        ),
        (
            "aist",
            lambda s: s.pop("vqvae.decoders.0.out.bias"),
            "its codec, .* 1 missing .decoders.0.out.bias",
        ),
        ("aist", lambda s: s.update({"transformer.x": np.zeros(2)}), "1 unexpected"),
    ],
)
def test_refusals(
    tmp_path: pathlib.Path, capsys, name: str, spoil: Any, message: str
) -> None:
    state = make_state(layout_of(name))
    spoil(state)
    assert convert(tmp_path, state) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "; expected" in err
    assert re.search(message, err), err
    assert not (tmp_path / "out").exists()


def test_bad_usage(tmp_path: pathlib.Path, capsys) -> None:
    state = make_state(layout_of("aist"))
    assert convert(tmp_path, state, level=3) == 2
    assert "--level=3" in capsys.readouterr().err
    layouts.write(tmp_path / "a.safetensors", state)
    argv = [f"--input={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'out'}"]
    assert main(["--family=vqdiffusion", *argv]) == 1
    assert "Use --family=cdcd" in capsys.readouterr().err
