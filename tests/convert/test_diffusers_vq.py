"""diffusers' VQModel: its names as taming's, in either spelling of attention."""

import re

import layouts
import numpy as np
import pytest

from cdcd_jax.convert import diffusers_vq

NEW = dict(q="to_q", k="to_k", v="to_v", proj_out="to_out.0")
OLD = dict(q="query", k="key", v="value", proj_out="proj_attn")
_NAMES = (
    (r"encoder\.down\.", "encoder.down_blocks."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.block\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


def of_diffusers(state: dict, spelling: dict, levels: int) -> dict:
    """A VQGAN's tensors by taming's name as diffusers calls them."""
    found = {}
    for name, value in state.items():
        for pattern, text in _NAMES:
            name = re.sub(pattern, text, name)
        name = re.sub(
            r"decoder\.up\.(\d+)",
            lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}",
            name,
        )
        part = re.search(r"(attentions\.\d+)\.(\w+)\.(\w+)", name)
        if part and part[2] in spelling:
            name = name.replace(f".{part[2]}.", f".{spelling[part[2]]}.")
            value = value[..., 0, 0] if part[3] == "weight" else value
        elif part:
            name = name.replace(".norm.", ".group_norm.")
        found[name] = value
    return found


@pytest.mark.parametrize("spelling", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("mult", [(1,), (1, 2), (1, 1, 2)])
def test_names(spelling: dict, mult: tuple) -> None:
    layout = layouts.vqgan(mult=mult, attention=(len(mult) - 1,))
    state = layouts.random_state(layout)
    other = of_diffusers(state, spelling, len(mult))
    assert {n for n in state if n in other} == {
        n for n in state if re.search("conv_(in|out)|quant", n)
    }
    found = diffusers_vq.vqmodel_names(other)
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_name_that_it_does_not_have_stays() -> None:
    other = {"encoder.x.weight": np.zeros(1), "loss.y": np.zeros(1)}
    assert diffusers_vq.vqmodel_names(other).keys() == other.keys()
