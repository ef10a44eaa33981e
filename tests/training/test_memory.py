"""What a training takes of the memory, and what is refused before it begins."""

import jax
import pytest
import tiny

from cdcd_jax.config import experiment
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.runtime import memory as there
from cdcd_jax.stages.run import run_stages
from cdcd_jax.training import memory
from cdcd_jax.training.program import build, new_state, place


def needs_of(config):
    task, optimizer = build(config)
    return memory.needs(config, task, optimizer, place(config, task))


def test_they_are_what_a_state_and_a_batch_take():
    config = tiny.settings()
    task, optimizer = build(config)
    mesh = place(config, task)
    state = new_state(task, optimizer, 0, mesh)
    size = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    found = memory.needs(config, task, optimizer, mesh)
    assert found.params == found.gradients == size(state.params)
    assert found.params + found.rest == size(state)
    assert found.batch == size(tiny.batch(16))
    assert found.limit > 2**20
    assert "a batch" in found.told()


@pytest.mark.parametrize(
    "changes",
    [
        dict(model=dict(width=10**7, heads=10**5)),
        dict(data=dict(batch_size=10**12), contrastive=dict(weight=0.0)),
        dict(model=dict(num_codes=2 * 10**9), contrastive=dict(weight=0.0)),
        dict(model=dict(depth=24, width=2**15, heads=2**8)),
    ],
    ids=["width", "batch", "codes", "depth"],
)
def test_what_cannot_be_is_refused_before_anything_is_made(changes, tmp_path):
    changes = dict(changes)
    data = dict(synthetic=True, **changes.pop("data", {}))
    config = tiny.settings(data=data, **changes)
    with pytest.raises(UsageError, match=r"at least .*iB a device .*data\.batch_size"):
        run_stages(config, tmp_path / "run", "train")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 4.00 TiB for an array"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory, 5 bytes"),
    ],
)
def test_memory_that_runs_out_says_what_to_change(error):
    with (
        pytest.raises(InputError, match=r"Memory ran out .*data\.batch_size.*remat"),
        there.explained(*memory.remedies(tiny.settings())),
    ):
        raise error


def test_a_run_is_told_of_settings_that_it_has():
    codec = experiment(task="tokenizer", model=dict(kind="vqvae1d"))
    assert "model.head_chunk" not in " ".join(memory.remedies(codec))
    assert "data.batch_size" in " ".join(memory.remedies(codec))


def test_other_errors_stay():
    with pytest.raises(jax.errors.JaxRuntimeError), there.explained("x"):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_a_container_has_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(there, "_CGROUP", tmp_path)
    machine = there.of_the_host()
    (tmp_path / "memory.max").write_text("max\n")
    assert there.of_the_host() > machine / 2
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert there.of_the_host() == 3000000
