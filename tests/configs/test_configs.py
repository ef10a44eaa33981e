"""Every config and variant: it builds at full width, and a small one of it trains."""

import functools
import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from cdcd_jax.config import files, merge, records
from cdcd_jax.errors import UsageError
from cdcd_jax.models import tokenizers
from cdcd_jax.tasks import make_task
from cdcd_jax.training import loop, program
from cdcd_jax.training.inputs import input_stream

# Variants that cannot train without weights from elsewhere.
GIVEN = ("imagenet_f16.py:perceptual", "openimages_f8.py:perceptual")


def names() -> list[str]:
    """<file>:<variant> of all configs, as --config takes them."""
    found = []
    for file in files.config_files():
        variants = getattr(module(file), "VARIANTS", ("",))
        found += [f"{file}:{name}".removesuffix(":") for name in variants]
    return sorted(found)


def module(file: str) -> Any:
    return importlib.import_module(file.removesuffix(".py").replace("/", "."))


@functools.cache
def load(name: str) -> Mapping[str, Any]:
    """The config as plain dicts."""
    file, _, variant = name.partition(":")
    return module(file).get_config(variant).to_dict()


def count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


_shapes: dict[str, Any] = {}


def shapes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters at full width, without computing them."""
    task = make_task(config)  # of every variant, while few have other parameters
    told = [config.get(key) for key in ("task", "model", "quantizer", "losses")]
    key = json.dumps([*told, config.get("diffusion", {}).get("timesteps")])
    if key not in _shapes:
        _shapes[key] = jax.eval_shape(task.init, jax.random.key(0))[0]
    return _shapes[key]


# -- full width ------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_full_width(name: str) -> None:
    config = load(name)
    params = shapes(config)
    assert count(params) > 0
    batch = program.abstract_batch(config, make_task(config))
    assert {a.shape[0] for a in jax.tree.leaves(batch)} == {
        config["data"]["batch_size"]
    }
    assert not (config["data"]["synthetic"] and config["init_parts"])
    for part in config["init_parts"]:
        found: Any = params
        for key in part.split("/"):
            found = found[key]
        assert count(found) > 0
    for stage in config["stages"].values():
        settings = {k: v for k, v in stage.items() if k not in ("mode", "on_request")}
        if stage["mode"] == "train":
            assert count(shapes(settings)) > 0
        else:
            own = records.check_config(settings)
            if "grid" in config["model"]:  # else its stages draw, and each has its own
                check_records(config, own)


def check_records(config: Mapping[str, Any], records: Mapping[str, Any]) -> None:
    """What a model wants of its records, they have."""
    assert tuple(records["grid"]) == config["model"]["grid"]
    for spec in config["model"]["conditions"].values():
        if spec["kind"] in ("text", "clip_text"):
            assert spec["shape"] == (records["text"]["length"],)
    contrast = config.get("contrastive", dict(num_negatives=0))
    wants = contrast["num_negatives"] and contrast["negatives"] != "intra"
    if wants and contrast["inter_from"] == "records":
        assert records["negatives"]["number"] >= contrast["num_negatives"]
    if config["tokenizer"]["kind"] != "none":
        both = records["tokenizer"], config["tokenizer"]
        one, other = (tokenizers.check_settings(settings) for settings in both)
        assert {**one, "batch_size": 0} == {**other, "batch_size": 0}


@pytest.mark.parametrize("name", ["coco.py", "cub200.py:reference"])
def test_frozen_towers(name: str) -> None:
    config = load(f"configs/{name}")
    labels = make_task(config).labels(shapes(config))
    assert set(jax.tree.leaves(labels["text"]["tower"])) == {"frozen"}
    assert labels["text"]["null"] == "train"
    assert set(jax.tree.leaves(labels["network"])) == {"train"}


def test_an_unknown_variant() -> None:
    with pytest.raises(UsageError, match="'reference'"):
        load("configs/ffhq.py:referense")


# The reference's transformers, counted by its modules' definitions. Ours have a null of
# the classes in each of ImageNet's 24 blocks besides.
COUNTS = {
    "cub200.py:reference": 35_798_407,
    "coco.py:reference": 35_798_407,
    "coco.py:vq_diffusion": 388_780_871,
    "imagenet.py:reference": 517_779_918 + 24 * 512,
    "ffhq.py:reference": 411_185_664,
    "aist.py:reference": 407_199_744,
    "tiktok.py:reference": 407_272_448,
}


@pytest.mark.parametrize("name", COUNTS)
def test_sizes_of_the_reference(name: str) -> None:
    found = shapes(load(f"configs/{name}"))
    assert count(found["network"]) == COUNTS[name]
    if "text" in found:
        assert count(found["text"]["tower"]) == 63_428_096
    if "motion" in found:
        # its lin1 [1024, 3328] in three parts, the genres' already multiplied
        assert count(found["motion"]["tower"]["lin1"]) == 1024 * 1024 + 1024
        assert count(found["video"]["proj"]) == 1024 * 2048
    if "genre" in found:
        assert count(found["genre"]) == 11 * 1024


# -- two steps of a small one ----------------------------------------------------------


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same experiment, two steps of which take seconds."""
    kinds = dict(tokenizer=_tokenizer, conditional=_model, mt_diffusion=_joint)
    kinds |= dict(composable=lambda config: {})
    sizes = kinds[config["task"]]
    out = merge(
        config,
        dict(
            data=dict(batch_size=4, synthetic=True),
            optim=dict(num_steps=min(2, config["optim"]["num_steps"]), warmup_steps=1),
            eval=dict(at_end=False),
            report=dict(log_every=1, sample_every=0, checkpoint_every=2),
            **sizes(config),
        ),
    )
    out |= dict(stages={}, init_parts={})
    if "conditions" in config["model"]:
        specs = config["model"]["conditions"]
        out["model"]["conditions"] = {k: _condition(v) for k, v in specs.items()}
        out["tokenizer"] = dict(kind="none")
    return out


def _model(config: Mapping[str, Any]) -> dict[str, Any]:
    model = config["model"]
    grid = (1, 19) if model["grid"][0] == 1 else (8, 8)
    table = tuple(
        2 * side if whole > full else side
        for whole, full, side in zip(
            model["position_grid"], model["grid"], grid, strict=False
        )
    )
    return dict(
        model=dict(
            num_codes=16,
            grid=grid,
            position_grid=table,
            width=16,
            depth=1,
            heads=2,
            remat="none",  # compiles in half the time
            dtype="float32",
            mlp_ratio=1,
            head_chunk=min(model["head_chunk"], 8) if grid == (8, 8) else 0,
        ),
        diffusion=dict(timesteps=8),
        contrastive=dict(
            num_negatives=min(config["contrastive"]["num_negatives"], 2), group=4
        ),
        sampling=dict(
            steps=8 if config["sampling"]["method"] == "ancestral" else 4, batch_size=4
        ),
    )


def _joint(config: Mapping[str, Any]) -> dict[str, Any]:
    """Pictures stay as large as they are, since modalities are made for them."""
    return dict(
        model=dict(width=16, depth=1, heads=2, mlp_ratio=1),
        diffusion=dict(timesteps=8),
        sampling=dict(steps=4, batch_size=4),
    )


# Of each kind of condition; a key that a config leaves away stays away.
_CONDITIONS: dict[str, dict[str, Any]] = dict(
    label=dict(num_classes=3, names=("a", "b", "c"), sequence=16),
    array=dict(shape=(3, 6)),
    features=dict(shape=(1, 6), size=16),
    text=dict(shape=(5,), vocabulary=9, size=16, depth=1, heads=2),
    clip_text=dict(shape=(5,), vocabulary=9, size=16, depth=1, heads=2),
    motion=dict(shape=(16, 5), depth=1),
    reference_motion=dict(shape=(16, 5), widths=(4, 4, 8), size=16),
)


def _condition(spec: Mapping[str, Any]) -> dict[str, Any]:
    sizes = _CONDITIONS[spec["kind"]]
    always = spec["kind"] in ("clip_text", "reference_motion")
    return {**spec, **{k: v for k, v in sizes.items() if always or k in spec}}


def _tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    model = config["model"]
    if model["kind"] == "vqvae1d":
        hop = model.get("patch", 1) * math.prod(
            s**d for s, d in zip(model["strides"], model["downs"], strict=True)
        )
        sizes = dict(length=hop * max(2, 4096 // hop), width=8, depth=1)
    else:
        side = 2 ** len(model["channel_mult"]) * model["patch"]
        sizes = dict(resolution=side, channels=8, num_res_blocks=1, latent_channels=8)
        sizes["attention_resolutions"] = (2,) * bool(model["attention_resolutions"])
    return dict(
        model=sizes,
        quantizer=dict(num_codes=16, dim=4),
        losses=dict(adversarial_start=1),
    )


# What no other test trains: one of each file, and the reference's music and text.
STEPPED = [
    *(f"configs/{n}.py" for n in "aist coco cub200 ffhq tiktok".split()),
    *(f"configs/tokenizers/{n}.py" for n in ("music_jukebox", "openimages_f8")),
    "configs/mt_diffusion/digits_joint.py",
    "configs/aist.py:reference",
    "configs/coco.py:reference",
]


def distinct() -> list[str]:
    """Of variants that are the same when small, one."""
    found: dict[str, str] = {}
    for name in names():
        found.setdefault(json.dumps(small(load(name)), sort_keys=True), name)
    return [name for name in found.values() if not name.endswith(GIVEN)]


@pytest.mark.parametrize("name", distinct())
def test_loss(name: str) -> None:
    config = small(load(name))
    task = make_task(config)
    batch = program.abstract_batch(config, task)
    key, step = jax.random.key(0), np.int32(0)
    params, extra = jax.eval_shape(task.init, key)
    loss, _, after = jax.eval_shape(task.loss, params, extra, batch, key, step)
    assert loss.shape == () and loss.dtype == np.float32
    assert jax.tree.structure(after) == jax.tree.structure(extra)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPED)
def test_two_steps(name: str, tmp_path: Path) -> None:
    config = small(load(name))
    loop.train(config, tmp_path, input_stream(config), lambda *_: {})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [1, 2]
    assert np.isfinite([row["loss"] for row in rows]).all()
