"""Whole image models: file -> work directory -> the same logits and codes; refusals."""

import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import layouts
import numpy as np
import pytest

from cdcd_jax.config import merge, resolve_stages
from cdcd_jax.convert import clip, transformer, vqdiffusion
from cdcd_jax.convert.__main__ import main
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.tasks import make_task
from cdcd_jax.training import loop

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTES = ROOT.parent / "shared" / "notes" / "checkpoint_keys.txt"
TEXT = dict(form="selfcross", features=64)
NAMES = {"codes": "num_codes", "ratio": "mlp_ratio"}
# name -> transformer, codec, and further options of the command
CASES: dict[str, tuple[dict[str, Any], str, dict[str, int]]] = {
    "cub": (dict(TEXT, mlp="conv"), "gumbel", {}),
    "coco_learned": (dict(TEXT, ratio=4), "gumbel", {}),
    "ithq": (TEXT, "ema", {}),
    "imagenet": (
        dict(form="selfcondition", mlp="conv", table=(16, 16), classes=10),
        "nearest",
        dict(classes=10),
    ),
    "imagenet_null": (
        dict(form="selfcondition", mlp="conv", table=(16, 16), classes=11),
        "nearest",
        dict(classes=10),
    ),
    "ffhq": (dict(form="self", mlp="conv", table=(16, 16)), "nearest", {}),
}
TOKENS = np.random.default_rng(0).integers(0, 25, (4, 64)).astype(np.int32)
TIMES = np.array([1, 2, 4, 5], np.int32)
DROP = np.array([False, True, False, True])
CONDITIONS = {
    "text": np.array(
        [[28, 3, 9, 29, 0, 0], [28, 5, 29, 0, 0, 0], [28, 29, 0, 0, 0, 0]] * 2, np.int32
    )[:4],
    "label": np.array([3, 0, 9, 5], np.int32),
}


def layout_of(name: str) -> dict[str, tuple[int, ...]]:
    """The part 'model' of a case."""
    sizes, kind, _ = CASES[name]
    text = layouts.clip_text() if sizes["form"] == "selfcross" else {}
    layout = layouts.image_model(
        layouts.diffusion_transformer(**sizes), layouts.vqgan(kind=kind), text
    )
    if "learned" in name:
        layout["transformer.empty_text_embed"] = (6, 64)
    return layout


def make_state(layout: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors, with the infinities of real files and equal codebooks."""
    state = layouts.random_state(layout, seed)
    for name in state:
        if "log_cumprod" in name:
            state[name][-1] = -np.inf
        if ".dec.quantize." in name:
            state[name] = state[name.replace(".dec.", ".enc.")]
    return state


def convert(tmp_path: pathlib.Path, state: dict, **options: object) -> int:
    layouts.write(tmp_path / "a.safetensors", state)
    given = dict(
        family="vqdiffusion",
        input=tmp_path / "a.safetensors",
        output=tmp_path / "out",
        resolution=16,
        heads=4,
    )
    return main([f"--{k}={v}" for k, v in {**given, **options}.items()])


def restored(workdir: pathlib.Path) -> tuple[Any, Any, Any]:
    """The task of a work directory, its parameters and its extra."""
    task = make_task(json.loads((workdir / "config.json").read_text()))
    wanted = jax.eval_shape(task.init, jax.random.key(0))
    return task, *load_parts(workdir, *wanted)[1:]


def direct_logits(name: str, state: dict[str, np.ndarray]) -> jax.Array:
    """Of `TOKENS`, without config, conditioners or task."""
    sizes, _, _ = CASES[name]
    form, classes = sizes["form"], sizes.get("classes", 0)
    settings = {NAMES.get(k, k): v for k, v in sizes.items()}
    table = settings.pop("table", None)
    settings = {k: v for k, v in settings.items() if k not in ("features", "classes")}
    network = Denoiser(
        **{
            **dict(num_codes=24, grid=(8, 8), width=32, depth=2, heads=4, timesteps=5),
            **dict(mlp="fc", mlp_ratio=2, activation="gelu2"),
            **settings,
            **dict(position_grid=table, num_classes=10),
        }
    )
    inner = vqdiffusion.under(state, "transformer.transformer.")
    params = transformer.denoiser_params(inner, form, 2, 4, 10)
    encoded = Encoded()
    if form == "selfcross":
        encoded = Encoded(sequence=direct_text(state))
    if classes:
        encoded = Encoded(label=jnp.where(DROP, 10, CONDITIONS["label"]))
    return jax.jit(network.apply)({"params": params}, TOKENS, TIMES, encoded)


def direct_text(state: dict[str, np.ndarray]) -> jax.Array:
    found = vqdiffusion.under(state, "transformer.condition_emb.")
    style = clip.Style(found)
    params = clip.text_params(found, style, 2)
    tower = ClipText(30, 6, 64, 2, 1, 64, normalize=True)
    tokens = np.concatenate([CONDITIONS["text"], [[28, 29, 0, 0, 0, 0]]])
    features, _ = jax.jit(tower.apply)({"params": params}, tokens)
    null = state.get("transformer.empty_text_embed", features[-1])
    return jnp.where(DROP[:, None, None], null, features[:4])


SLOW = ("cub", "coco_learned", "ithq", "imagenet_null", "ffhq")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES]
)
def test_logits_after_a_round_trip(tmp_path: pathlib.Path, name: str) -> None:
    layout = layout_of(name)
    state = make_state(layout)
    # the model's own transformer is another one than the average, which is taken
    inner = layouts.prefixed("ema.", vqdiffusion.under(state, "transformer."))
    other = {n: v for n, v in make_state(layout, 1).items() if "transformer." in n}
    model = layouts.prefixed("model.", {**state, **other})
    assert convert(tmp_path, {**model, **inner}, **CASES[name][2]) == 0

    task, params, _ = restored(tmp_path / "out")
    condition = {k: CONDITIONS[k] for k in task.conditions}
    ours = jax.jit(task.network.apply)(
        {"params": params}, TOKENS, TIMES, condition, DROP
    )
    assert ours.shape == (4, 64, 24) and np.std(ours) > 0.1
    np.testing.assert_allclose(ours, direct_logits(name, state), rtol=0, atol=2e-5)
    settings = task.settings
    assert settings["sampling"]["steps"] == settings["diffusion"]["timesteps"] == 5
    # the tokenizer is found by the config, wherever it is moved, and has as many codes
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    tokenizer = resolve_stages(settings["tokenizer"], moved)
    assert open_tokenizer(tokenizer, task.grid).num_codes == task.num_codes


@pytest.mark.slow
def test_going_on_with_contrast(tmp_path: pathlib.Path) -> None:
    """Two steps from the converted weights; the text encoder stays as it is."""
    state = make_state(layout_of("coco_learned"))
    assert convert(tmp_path, state) == 0
    converted = json.loads((tmp_path / "out" / "config.json").read_text())
    config = merge(
        converted,
        dict(
            init_from=str(tmp_path / "out"),
            data=dict(synthetic=True, batch_size=4),
            contrastive=dict(num_negatives=2, weight=0.1, group=4),
            optim=dict(num_steps=2, warmup_steps=0),
            report=dict(log_every=1),
        ),
    )
    describe = make_task(config).describe()
    batches = lambda step, rows: synthetic_batches(describe, rows, 0, step)
    loop.train(config, tmp_path / "run", batches, lambda *args: {})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "contrastive" in json.loads(lines[-1])
    before, after = (
        restored(tmp_path / "out")[1],
        load_parts(tmp_path / "run", restored(tmp_path / "out")[1], {})[1],
    )
    jax.tree.map(
        np.testing.assert_array_equal, before["text"]["tower"], after["text"]["tower"]
    )
    assert np.abs(before["network"]["rows"] - after["network"]["rows"]).max() > 0


@pytest.mark.slow
def test_weights_alone(tmp_path: pathlib.Path) -> None:
    """Names of 'model' without prefix and without an average."""
    state = make_state(layout_of("ffhq"))
    assert convert(tmp_path, state) == 0
    _, params, _ = restored(tmp_path / "out")
    np.testing.assert_array_equal(
        params["network"]["rows"],
        state["transformer.transformer.content_emb.height_emb.weight"],
    )


def test_fewer_codes_need_a_table(tmp_path: pathlib.Path, capsys) -> None:
    sizes, kind, _ = CASES["ffhq"]
    layout = layouts.image_model(
        layouts.diffusion_transformer(**sizes, codes=9), layouts.vqgan(kind=kind)
    )
    state = make_state(layout)
    assert convert(tmp_path, state) == 1
    assert "a model of 9 codes with a codec of 24" in capsys.readouterr().err
    table = tmp_path / "table.json"
    table.write_text(json.dumps([0, 1, 2, 3, 4, 5, 6, 7, 7] + 15 * [0]))
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path, state, remap=table) == 0
    task, _, extra = restored(tmp_path / "out" / "tokenizer")
    assert task.num_codes == 9 and extra["remap"]["back"].tolist()[7:] == [7, 0]


PUBLISHED = {
    "S text (CDCD CUB/COCO T=80)": dict(
        TEXT, codes=2887, width=192, depth=18, timesteps=80, mlp="conv", ratio=2
    ),
    "B text (VQ-Diffusion COCO T=100, learnable_cf)": dict(
        TEXT, codes=2887, width=1024, depth=19, timesteps=100, ratio=4
    ),
    "ImageNet (T=80 CDCD)": dict(
        form="selfcondition",
        **dict(codes=974, width=512, depth=24, timesteps=80, mlp="conv", ratio=4),
        classes=1000,
    ),
    "FFHQ": dict(
        form="self",
        **dict(codes=1024, width=512, depth=20, timesteps=100, mlp="conv", ratio=4),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts(name: str) -> None:
    """Names and shapes as the module definitions have them; sizes read off these."""
    sizes = PUBLISHED[name] | dict(table=(32, 32), length=1024)
    text = sizes["form"] == "selfcross"
    sizes |= dict(features=512) if text else {}
    layout = layouts.diffusion_transformer(**sizes)
    if text:
        tower = layouts.clip_text(49408, 77, 512, 12)
        layout |= layouts.prefixed("condition_emb.", tower)
    if "learnable" in name:
        layout["empty_text_embed"] = (77, 512)
    if NOTES.exists():  # blocks after the first are left out there
        part = NOTES.read_text().split(f"## DiffusionTransformer {name}")[1]
        part = part.split("\n## ")[0]
        rows = re.findall(r"^(\S+) \(([\d, ]*)\)$", part, re.MULTILINE)
        listed = {n: tuple(int(d) for d in re.findall(r"\d+", s)) for n, s in rows}
        first = {n: s for n, s in layout.items() if not re.search(r"blocks\.[1-9]", n)}
        assert listed == first
        assert len(layout) == int(re.search(r"tensors=(\d+)", part)[1])
    inner = vqdiffusion.under(layouts.empty_state(layout), "transformer.")
    found = transformer.find_sizes(inner, "file")
    expected = {NAMES.get(k, k): v for k, v in PUBLISHED[name].items()}
    expected.pop("classes", None)
    assert {**expected, "features": 512 * text}.items() <= vars(found).items()
    masks = {n for n in inner if n.endswith("attn2.mask")}
    assert transformer.shapes(found) == {
        n: v.shape for n, v in inner.items() if n not in masks
    }


def without(name: str):
    return lambda state: state.pop(name)


CONTENT = "transformer.transformer.content_emb.emb.weight"


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("ffhq", without(CONTENT), "1 missing .*content_emb.emb"),
        ("ffhq", lambda s: s.update(extra=np.zeros(3)), "1 unexpected .extra"),
        (
            "ffhq",
            lambda s: s.update({CONTENT: np.zeros((25, 31), np.float32)}),
            r"of another shape .*\[25, 31\] instead of \[25, 32\]",
        ),
        (
            "ffhq",
            without("transformer.transformer.to_logits.1.weight"),
            "no .to_logits.1.weight",
        ),
        (
            "cub",
            without("transformer.condition_emb.ln_final.bias"),
            "CLIP's text tower, .* 1 missing .ln_final.bias",
        ),
        (
            "cub",
            without("content_codec.dec.decoder.conv_in.bias"),
            "codec,.* 1 missing .decoder.conv_in.bias",
        ),
        (
            "cub",
            lambda s: s.update({"content_codec.mean": np.zeros(3, np.float32)}),
            "1 unexpected .content_codec.mean",
        ),
        (
            "ffhq",
            lambda s: s.update(
                {"content_codec.dec.quantize.embedding.weight": np.ones((24, 16))}
            ),
            "two different tensors 'quantize.embedding.weight'",
        ),
        (
            "ffhq",
            lambda s: s.update({"vqvae.bottleneck.level_blocks.0.k": np.zeros((3, 3))}),
            "Use --family=cdcd",
        ),
        (
            "cub",
            lambda s: s.update(
                {
                    f"transformer.transformer.blocks.{i}.attn2.mask": np.zeros(
                        (1, 1, 16, 16), np.float32
                    )
                    for i in range(2)
                }
            ),
            "a model of 16 tokens .*8 x 8",
        ),
    ],
)
def test_refusals(
    tmp_path: pathlib.Path, capsys, name: str, spoil: Any, message: str
) -> None:
    state = make_state(layout_of(name))
    spoil(state)
    assert convert(tmp_path, state, **CASES[name][2]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "; expected" in err
    assert re.search(message, err), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "layout, family",
    [
        (layouts.vqgan(), "taming"),
        (layouts.vqgan(kind="ema"), "ithq"),
        (layouts.clip_text(), "clip"),
        ({"bottleneck.level_blocks.0.k": (3, 3)}, "jukebox"),
        ({"a": (3,)}, ""),
    ],
)
def test_files_of_other_families(
    tmp_path: pathlib.Path, capsys, layout: dict, family: str
) -> None:
    assert convert(tmp_path, layouts.random_state(layout)) == 1
    err = capsys.readouterr().err
    assert (f"--family={family}: use that" if family else "Check --family") in err


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("ffhq", dict(heads=5), "--heads=5"),
        ("imagenet", dict(classes=12), "--classes=12"),
    ],
)
def test_bad_usage(
    tmp_path: pathlib.Path, capsys, name: str, options: dict, message: str
) -> None:
    state = make_state(layout_of(name))
    assert convert(tmp_path, state, **options) == 2
    assert message in capsys.readouterr().err
