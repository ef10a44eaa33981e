"""Settings of how a model is computed, changed wherever they stand."""

import tiny

from cdcd_jax.config.switches import with_attention, with_switches

NESTED = {
    "seed": 0,
    "attention": "of the config, not of a model",
    "model": {
        "attention": "auto",
        "diffusers": {
            "image": {"model": {"attention": "turns", "remat": "full"}},
            "text": {"kind": "label"},
        },
        # a modality may have any name
        "conditions": {"attention": {"kind": "label"}},
    },
}


def test_attention_is_set_at_any_depth():
    found = with_attention(NESTED, "xla")
    model = found["model"]
    assert model["attention"] == "xla" and found["attention"] == NESTED["attention"]
    image = model["diffusers"]["image"]["model"]
    assert image == {"attention": "xla", "remat": "full"}
    assert model["diffusers"]["text"] == {"kind": "label"}
    assert model["conditions"] == NESTED["model"]["conditions"]
    assert NESTED["model"]["attention"] == "auto"


def test_a_switch_may_depend_on_what_stands_there():
    found = with_switches(NESTED, attention=str.upper, head_chunk=0)["model"]
    assert found["attention"] == "AUTO" and "head_chunk" not in found
    assert found["diffusers"]["image"]["model"]["attention"] == "TURNS"


def test_a_config_without_the_key_stays():
    config = tiny.settings()
    assert with_switches(config, nothing=1) == config
