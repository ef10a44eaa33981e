"""CLIPScore against Hugging Face's CLIPModel (golden/make_features.py); its files."""

import json
import pathlib

import jax
import named_weights
import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert import clip_score as family
from cdcd_jax.convert.__main__ import main
from cdcd_jax.errors import InputError
from cdcd_jax.metrics.clip_score import FACTOR, Clip, clip_score, prepare
from cdcd_jax.networks.clip_image import ClipImage
from cdcd_jax.networks.clip_text import ClipText

EXTRACT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "features.npz"
IMAGES = named_weights.pictures(3, 50, 41)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(EXTRACT) as arrays:
        return {n[5:]: arrays[n] for n in arrays.files if n.startswith("clip/")}


@pytest.fixture(scope="module")
def state(golden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return named_weights.random_state(json.loads(str(golden["shapes"])))


def converted(folder: pathlib.Path, state: dict) -> family.Converted:
    path = folder / "model.safetensors"
    save_file({n: np.ascontiguousarray(v) for n, v in state.items()}, path)
    return family.convert(str(path), {})


OPENAI = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
    "self_attn.q_proj.": "attn.in_proj_",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "fc1": "c_fc",
    "fc2": "c_proj",
}


def as_openai(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hugging Face's arrays by OpenAI's names, with what else such a file has."""
    out = {n: np.array(7) for n in ("input_resolution", "context_length", "vocab_size")}
    for name, value in state.items():
        if "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            parts = [name.replace("q_proj", f"{part}_proj") for part in "qkv"]
            value = np.concatenate([state[part] for part in parts])
        if name in ("visual_projection.weight", "text_projection.weight"):
            value = value.T
        for old, new in OPENAI.items():
            name = name.replace(old, new)
        out[name] = value
    return out


def clip_of(found: family.Converted) -> Clip:
    return Clip(found.config["text"], found.config["image"], found.params)


def test_equals_hugging_face(tmp_path: pathlib.Path, golden: dict, state: dict) -> None:
    clip = clip_of(converted(tmp_path, state))
    images = clip.image_features(IMAGES)
    texts = clip.token_features(golden["tokens"])
    np.testing.assert_allclose(images, golden["image"], atol=1e-5)
    np.testing.assert_allclose(texts, golden["text"], atol=1e-5)
    np.testing.assert_allclose(images @ texts.T, golden["cosines"], atol=1e-5)
    score = clip_score(np.diag(images @ texts.T))
    pairs = np.diag(golden["cosines"])
    assert np.sort(pairs)[1] > 0.1 and pairs.min() < -0.1  # of both signs
    assert score == pytest.approx(100 * pairs[pairs > 0].sum() / 3, rel=1e-4)


def test_prepares_as_torchvision(golden: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(prepare(IMAGES, 32), golden["pixels"], atol=1e-6)
    grey = IMAGES[..., :1]
    three = np.repeat(grey, 3, -1)
    np.testing.assert_array_equal(prepare(grey, 32), prepare(three, 32))


def test_both_files_give_the_same_params(tmp_path: pathlib.Path, state: dict) -> None:
    ours = converted(tmp_path, as_openai(state))
    theirs = converted(tmp_path, state)
    assert ours.config == theirs.config
    assert ours.config["image"] == dict(
        resolution=32, patch=8, width=192, layers=2, heads=3, projection=24
    )
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_shapes_of_vit_b_32() -> None:
    """151.3 million parameters, as the published model has."""
    init = jax.eval_shape(
        ClipImage().init, jax.random.key(0), np.zeros((1, 224, 224, 3), np.float32)
    )
    tokens = np.zeros((1, 77), np.int32)
    text = jax.eval_shape(ClipText().init, jax.random.key(0), tokens)
    total = sum(a.size for a in jax.tree.leaves((init, text)))
    assert total + 1 == 151_277_313
    sizes = dict(resolution=224, patch=32, width=768, layers=12, projection=512)
    shapes = family.shapes(sizes, family.OPENAI)
    assert len(shapes) == 152 + 1
    assert sum(np.prod(s) for s in shapes.values()) == 87_849_216 + 1


BLOCK = "visual.transformer.resblocks.1"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("visual.class_embedding", None, "1 missing .visual.class_embedding"),
        ("visual.conv1.weight", None, "nothing under 'visual.conv1.weight'"),
        ("visual.conv1.weight", np.zeros((192, 3, 8, 7)), "1 of another shape"),
        ("visual.positional_embedding", np.zeros((18, 192)), "17 places of patches"),
        ("visual.positional_embedding", np.zeros(18), r"\[18\] under 'visual.posit"),
        ("visual.proj", np.zeros((192, 25)), "to 24 features of texts and to 25"),
        ("logit_scale", None, "1 missing .logit_scale"),
        ("logit_scale", np.zeros(2), r"logit_scale \[2\] instead of \[\]"),
        (f"{BLOCK}.attn.in_proj_bias", None, f"1 missing .{BLOCK}.attn.in_proj_bias"),
        ("visual.layer1.0.conv1.weight", np.zeros(3), "1 unexpected .visual.layer1"),
        ("ln_final.bias", None, "1 missing .ln_final.bias"),
    ],
)
def test_foreign_and_partial_files(
    tmp_path: pathlib.Path,
    state: dict,
    name: str,
    value: np.ndarray | None,
    message: str,
) -> None:
    state = as_openai(state) | {name: value}
    if value is None:
        del state[name]
    else:
        state[name] = np.asarray(value, np.float32)
    with pytest.raises(InputError, match=message):
        converted(tmp_path, state)


def test_settings_beside_the_file(tmp_path: pathlib.Path, state: dict) -> None:
    settings = tmp_path / "config.json"
    good = dict(hidden_act="quick_gelu", num_attention_heads=3)
    settings.write_text(json.dumps(dict(text_config={}, vision_config=good)))
    converted(tmp_path, state)
    for key, value in (("hidden_act", "gelu"), ("num_attention_heads", 16)):
        told = dict(text_config={}, vision_config={**good, key: value})
        settings.write_text(json.dumps(told))
        with pytest.raises(InputError, match=key):
            converted(tmp_path, state)


def test_the_score_of_pairs() -> None:
    assert clip_score(np.array([0.25, -0.5, 0.35])) == pytest.approx(FACTOR * 0.2)
    sizes = dict(width=64, layers=1, heads=1, projection=4)
    image = ClipImage(resolution=16, patch=8, **sizes)
    text = ClipText(**sizes)
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
    init = lambda net, x: jax.tree.map(
        draw, jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    )
    params = dict(
        image=init(image, np.zeros((1, 16, 16, 3), np.float32)),
        text=init(text, np.zeros((1, 77), np.int32)),
    )
    clip = Clip(sizes, dict(resolution=16, patch=8, **sizes), params)
    texts = ["a frog", "", "a much longer text " * 40]
    cosines = clip.cosines(IMAGES, texts)
    assert cosines.shape == (3,) and np.abs(cosines).max() <= 1 + 1e-6
    # the order of rows and their number change nothing
    again = clip.cosines(np.tile(IMAGES, (30, 1, 1, 1))[::-1], (texts * 30)[::-1])
    np.testing.assert_allclose(again[:3], cosines[::-1], atol=1e-6)
    assert len(again) == 90
    with pytest.raises(ValueError, match="3 pictures for 2 texts"):
        clip.cosines(IMAGES, texts[:2])


@pytest.mark.slow
def test_through_a_work_directory(tmp_path: pathlib.Path, state: dict) -> None:
    save_file(state, tmp_path / "a.safetensors")
    flags = [f"--input={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'out'}"]
    assert main(["--family=clip_score", *flags]) == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["task"] == "clip_score"
