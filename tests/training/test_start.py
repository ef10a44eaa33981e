"""What a run starts from: parts of earlier runs by their path, or alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from toy_task import Toy

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.training import program
from cdcd_jax.training.start import starting_state
from cdcd_jax.training.step import TrainState

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Nested(Toy):
    """Parameters two levels below the top."""

    def __init__(self):
        super().__init__({"model": dict(frozen=(), stop=False)})

    def init(self, key):
        del key
        part = {"network": {"w": jnp.zeros((2, 3))}}
        return {"diffusers": {"image": part, "text": part}}, {}


def run_of(workdir, params):
    """A work directory whose newest checkpoint has these averages."""
    step = jnp.ones((), jnp.int32)
    state = TrainState(step, {}, jax.tree.map(jnp.asarray, params), {}, {})
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, state)
    return str(workdir)


def start(tmp_path, **parts):
    config = tiny.settings()
    config["init_parts"] = {k.replace("__", "/"): v for k, v in parts.items()}
    task = Nested()
    params = jax.eval_shape(task.init, jax.random.key(0))[0]
    optimizer = program.make_optimizer(config["optim"], task.labels(params))
    mesh = program.place(config, task)
    with Checkpoints(tmp_path / "own") as empty:
        return starting_state(config, task, optimizer, empty, mesh)


@pytest.mark.parametrize(
    "source",
    [
        # the same path in the source, which has more beside it
        {"diffusers": {"image": {"network": {"w": WEIGHTS}}, "audio": {"w": WEIGHTS}}},
        # the source is the part alone
        {"network": {"w": WEIGHTS}},
    ],
)
def test_a_part_comes_by_its_path_or_alone(tmp_path, source):
    workdir = run_of(tmp_path / "source", source)
    state = start(tmp_path, diffusers__image=workdir)
    for params in (state.params, state.ema_params):
        np.testing.assert_array_equal(
            params["diffusers"]["image"]["network"]["w"], WEIGHTS
        )
        assert not np.any(params["diffusers"]["text"]["network"]["w"])


def test_a_part_may_be_one_array(tmp_path):
    source = {"diffusers": {"text": {"network": {"w": WEIGHTS}}}}
    workdir = run_of(tmp_path / "source", source)
    state = start(tmp_path, diffusers__text__network__w=workdir)
    np.testing.assert_array_equal(
        state.params["diffusers"]["text"]["network"]["w"], WEIGHTS
    )


def test_a_part_of_the_top_may_be_the_whole_of_a_run(tmp_path):
    part = {"network": {"w": WEIGHTS}}
    workdir = run_of(tmp_path / "source", {"image": part, "text": part})
    state = start(tmp_path, diffusers=workdir)
    np.testing.assert_array_equal(
        state.params["diffusers"]["text"]["network"]["w"], WEIGHTS
    )


def test_a_source_without_the_part_is_refused_with_both_paths(tmp_path):
    workdir = run_of(tmp_path / "source", {"other": {"w": WEIGHTS}})
    with pytest.raises(InputError) as error:
        start(tmp_path, diffusers__image=workdir)
    text = str(error.value)
    assert "'ema_params/diffusers/image'" in text
    assert "'ema_params/network/w'" in text and "init_parts" in text


def test_a_source_of_other_shapes_is_refused(tmp_path):
    workdir = run_of(
        tmp_path / "source", {"diffusers": {"image": {"network": {"w": WEIGHTS.T}}}}
    )
    with pytest.raises(InputError, match=r"float32\[3, 2\].*expected float32\[2, 3\]"):
        start(tmp_path, diffusers__image=workdir)


def test_a_source_without_checkpoints_is_named_once(tmp_path):
    with pytest.raises(InputError, match=r"^no checkpoint in"):
        start(tmp_path, diffusers__image=str(tmp_path / "nothing"))


def test_a_part_that_the_model_has_not_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"diffusers/picture.*diffusers/image"):
        start(tmp_path, diffusers__picture="anywhere")
    with pytest.raises(UsageError, match=r"init_parts names 'encoder'.*diffusers"):
        start(tmp_path, encoder="anywhere")


def test_what_only_joins_parts_starts_from_what_they_are_now(tmp_path):
    part = {"network": {"w": WEIGHTS}}
    source = run_of(tmp_path / "source", part)
    config = tiny.settings(optim=dict(num_steps=0))
    config["init_parts"] = {f"diffusers/{n}": source for n in ("image", "text")}
    task = Nested()
    params = jax.eval_shape(task.init, jax.random.key(0))[0]
    optimizer = program.make_optimizer(config["optim"], task.labels(params))
    mesh = program.place(config, task)
    with Checkpoints(tmp_path / "own") as own:
        own.save(0, program.new_state(task, optimizer, 0, mesh))
        state = starting_state(config, task, optimizer, own, mesh)
        np.testing.assert_array_equal(
            state.ema_params["diffusers"]["text"]["network"]["w"], WEIGHTS
        )
        config["optim"]["num_steps"] = 5  # a run that goes on
        state = starting_state(config, task, optimizer, own, mesh)
        assert not np.any(state.params["diffusers"]["text"]["network"]["w"])
