"""The transformer's arrays: what a table of classes has for no class."""

import layouts
import numpy as np
import pytest

from cdcd_jax.convert.transformer import denoiser_params


@pytest.mark.parametrize("rows", [10, 11])
def test_a_table_without_a_null_gets_the_mean_of_all_classes(rows: int) -> None:
    """As the reference falls back to; where a null stands after the 10, it stays."""
    layout = layouts.diffusion_transformer("selfcondition", classes=rows)
    state = layouts.random_state(layout)
    state = {name.removeprefix("transformer."): v for name, v in state.items()}
    params = denoiser_params(state, "selfcondition", 2, 4, classes=10)
    for i in range(2):
        table = state[f"blocks.{i}.ln2.emb.weight"]
        null = table.mean(0) if rows == 10 else table[10]
        found = params[f"blocks_{i}"]["ln2"]["emb"]["embedding"]
        assert found.shape == (11, 32)
        np.testing.assert_array_equal(found[:10], table[:10])
        np.testing.assert_allclose(found[10], null, rtol=1e-6)
