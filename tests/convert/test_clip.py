"""CLIP's text tower: OpenAI's and Hugging Face's names, values, refusals."""

import json
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file

from cdcd_jax.convert import clip
from cdcd_jax.convert.__main__ import main
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.training import program
from cdcd_jax.training.start import starting_state

Shapes = dict[str, tuple[int, ...]]
SIZES = dict(vocabulary=50, length=7, width=128, layers=2, projection=16)


def _layer(name: str, out: int, into: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into) if into else (out,)
    yield f"{name}.bias", (out,)


def openai(
    vocabulary: int, length: int, width: int, layers: int, projection: int
) -> Shapes:
    shapes: Shapes = {
        "positional_embedding": (length, width),
        "text_projection": (width, projection),
        "token_embedding.weight": (vocabulary, width),
        **dict(_layer("ln_final", width, 0)),
    }
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
            **dict(_layer(f"{block}.attn.out_proj", width, width)),
            **dict(_layer(f"{block}.ln_1", width, 0)),
            **dict(_layer(f"{block}.mlp.c_fc", 4 * width, width)),
            **dict(_layer(f"{block}.mlp.c_proj", width, 4 * width)),
            **dict(_layer(f"{block}.ln_2", width, 0)),
        }
    return shapes


def hugging_face(
    vocabulary: int, length: int, width: int, layers: int, projection: int
) -> Shapes:
    text = "text_model"
    shapes: Shapes = {
        f"{text}.embeddings.token_embedding.weight": (vocabulary, width),
        f"{text}.embeddings.position_embedding.weight": (length, width),
        **dict(_layer(f"{text}.final_layer_norm", width, 0)),
        "text_projection.weight": (projection, width),
    }
    for i in range(layers):
        block = f"{text}.encoder.layers.{i}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= dict(_layer(f"{block}.self_attn.{part}", width, width))
        shapes |= {
            **dict(_layer(f"{block}.layer_norm1", width, 0)),
            **dict(_layer(f"{block}.mlp.fc1", 4 * width, width)),
            **dict(_layer(f"{block}.mlp.fc2", width, 4 * width)),
            **dict(_layer(f"{block}.layer_norm2", width, 0)),
        }
    return shapes


OPENAI_REST = {
    "visual.conv1.weight": np.ones((2, 3, 4, 4), np.float16),
    "visual.proj": np.ones((2, 2), np.float16),
    "logit_scale": np.float32(4.6)[None],
    "input_resolution": np.array([224]),
    "context_length": np.array([77]),
    "vocab_size": np.array([49408]),
}
HUGGING_FACE_REST = {
    "vision_model.post_layernorm.weight": np.ones(2, np.float32),
    "visual_projection.weight": np.ones((2, 2), np.float32),
    "logit_scale": np.float32(4.6)[None],
    "text_model.embeddings.position_ids": np.arange(7)[None],
}


def random_state(shapes: Shapes, dtype: type = np.float32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=s).astype(dtype) for name, s in shapes.items()}


def as_hugging_face(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """OpenAI's arrays by Hugging Face's names."""
    text = "text_model"
    out = {
        f"{text}.embeddings.token_embedding.weight": state["token_embedding.weight"],
        f"{text}.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_projection.weight": np.ascontiguousarray(state["text_projection"].T),
    }
    names = {
        "ln_final": "final_layer_norm",
        "transformer.resblocks": "encoder.layers",
        "attn.out_proj": "self_attn.out_proj",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "c_fc": "fc1",
        "c_proj": "fc2",
    }
    for name, value in state.items():
        for old, new in names.items():
            name = name.replace(old, new)
        if "in_proj" in name:
            block, kind = name.split("attn.in_proj_")
            for part, third in zip("qkv", np.split(value, 3), strict=True):
                out[f"{text}.{block}self_attn.{part}_proj.{kind}"] = third
        elif "embedding" not in name and name != "text_projection":
            out[f"{text}.{name}"] = value
    return out


def written(folder: pathlib.Path, state: dict[str, np.ndarray]) -> str:
    path = folder / "model.safetensors"
    save_file(state, path)
    return str(path)


@pytest.mark.parametrize("layout", [openai, hugging_face])
def test_layout_of_vit_b_32(layout) -> None:
    sizes = dict(vocabulary=49408, length=77, width=512, layers=12, projection=512)
    shapes = layout(**sizes)
    state = {n: np.broadcast_to(np.float32(0), s) for n, s in shapes.items()}
    style = clip.Style(state)
    state = style.strip(state)
    found = clip.find_sizes(state, style)
    assert found == {**sizes, "heads": 8}
    assert clip.shapes(found, style) == {n: a.shape for n, a in state.items()}
    assert len(state) == (149 if layout is openai else 197)
    assert sum(np.prod(s) for s in shapes.values()) == 63_428_096


def test_both_files_give_the_same_params(tmp_path: pathlib.Path) -> None:
    state = random_state(openai(**SIZES), np.float16)
    ours = clip.convert(written(tmp_path, state | OPENAI_REST), {})
    other = as_hugging_face(state)
    assert {n: a.shape for n, a in other.items()} == hugging_face(**SIZES)
    theirs = clip.convert(written(tmp_path, other | HUGGING_FACE_REST), {})
    assert ours.config == theirs.config
    assert ours.config == dict(task="clip_text", model=SIZES | {"heads": 2})
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
    network = ClipText(**ours.config["model"])
    tokens = np.zeros((1, 7), np.int32)
    expected = jax.eval_shape(network.init, jax.random.key(0), tokens)["params"]
    shapes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    assert shapes(ours.params) == shapes(expected)


def test_tower_inside_of_another_checkpoint(tmp_path: pathlib.Path) -> None:
    state = random_state(openai(**SIZES))
    alone = clip.convert(written(tmp_path, state), {})
    inside = {f"transformer.condition_emb.{n}": a for n, a in state.items()}
    inside["transformer.lin1.weight"] = np.ones((2, 2), np.float32)
    found = clip.convert(written(tmp_path, inside), {})
    jax.tree.map(np.testing.assert_array_equal, alone.params, found.params)


def test_without_projection(tmp_path: pathlib.Path) -> None:
    """A CLIPTextModel as transformers 5 keeps it: no projection, no prefix."""
    state = random_state(hugging_face(**SIZES))
    del state["text_projection.weight"]
    state = {n.removeprefix("text_model."): a for n, a in state.items()}
    found = clip.convert(written(tmp_path, state), {})
    assert found.config["model"]["projection"] == 0
    assert "projection" not in found.params


BLOCK = "transformer.resblocks.1"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("token_embedding.weight", None, "Found 0 arrays named"),
        ("more.token_embedding.weight", np.zeros((2, 2)), "Found 2 arrays named"),
        ("token_embedding.weight", np.zeros(3), "two axes"),
        ("positional_embedding", None, "nothing under 'positional_embedding'"),
        ("text_projection", np.zeros(()), r"1 of another shape|1 unexpected"),
        (f"{BLOCK}.ln_2.bias", None, r"1 missing .*resblocks.1.ln_2.bias"),
        (f"{BLOCK}.attn.in_proj_bias", np.zeros(5), r"\[5\] instead of \[384\]"),
        ("transformer.resblocks.9.ln_1.bias", np.zeros(128), "missing .*resblocks.2"),
        ("ln_extra.weight", np.zeros(128), "1 unexpected .*ln_extra"),
    ],
)
def test_foreign_and_partial_files(
    tmp_path: pathlib.Path, name: str, value: np.ndarray | None, message: str
) -> None:
    state = random_state(openai(**SIZES)) | {name: value}
    if value is None:
        del state[name]
    else:
        state[name] = np.asarray(value, np.float32)
    with pytest.raises(InputError, match=message) as error:
        clip.convert(written(tmp_path, state), {})
    assert "expected" in str(error.value)


def test_settings_beside_the_file(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, random_state(hugging_face(**SIZES)))
    settings = tmp_path / "config.json"
    good = {"hidden_act": "quick_gelu", "num_attention_heads": 2}
    for content in (good, {"text_config": good}, {"task": "tokenizer"}, [1], {}):
        settings.write_text(json.dumps(content))
        clip.convert(path, {})
    for key, value in (("hidden_act", "gelu"), ("num_attention_heads", 8)):
        settings.write_text(json.dumps({"text_config": {**good, key: value}}))
        with pytest.raises(InputError, match=key):
            clip.convert(path, {})


@pytest.mark.slow
def test_the_tower_of_a_model_that_trains(tmp_path: pathlib.Path) -> None:
    """init_parts puts a converted tower where a model has its own."""
    path = written(tmp_path, random_state(openai(**SIZES)))
    flags = ["--family=clip", f"--input={path}", f"--output={tmp_path / 'clip'}"]
    assert main(flags) == 0
    config = tiny.settings(contrastive=dict(key="text"))
    text = dict(kind="clip_text", shape=(7,), vocabulary=50, size=128, depth=2, heads=2)
    text |= dict(projection=16, frozen=True)
    config["model"] |= dict(conditions=dict(text=text), form="modern")

    def start(**changes: object) -> tuple:
        settings = {**config, **changes}
        task, optimizer = program.build(settings)
        with Checkpoints(tmp_path / "empty") as empty:
            place = program.place(settings, task)
            return task, starting_state(settings, task, optimizer, empty, place)

    task, state = start(init_parts={"text/tower": str(tmp_path / "clip")})
    expected = clip.convert(path, {}).params
    for params in (state.params, state.ema_params):
        assert tiny.max_difference(params["text"]["tower"], expected) == 0
    assert "null" in state.params["text"]
    assert set(jax.tree.leaves(task.labels(state.params)["text"]["tower"])) == {
        "frozen"
    }
    with pytest.raises(UsageError, match="init_parts names 'txt'"):
        start(init_parts={"txt/tower": str(tmp_path / "clip")})
    config["model"]["conditions"]["text"] = dict(text, size=64, heads=1)
    with pytest.raises(InputError, match=r"tower|shape"):
        start(init_parts={"text/tower": str(tmp_path / "clip")})
