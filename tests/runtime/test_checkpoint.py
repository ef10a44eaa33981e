"""Saving, restoring, and every way in which a checkpoint can be broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.runtime import leaf_table
from cdcd_jax.runtime.checkpoint import Checkpoints, load_parts


@flax.struct.dataclass
class State:
    step: jax.Array
    params: dict[str, Any]
    opt_state: Any
    extra: Any


def make_state(seed: int, size: int = 16) -> State:
    params = {
        "dense": {"kernel": jax.random.normal(jax.random.key(seed), (size, 24))},
        "scale": jnp.full((5,), seed, jnp.bfloat16),
    }
    extra = (jnp.arange(7) * seed, None, jnp.zeros((0, 3)), jnp.array([True, False]))
    opt_state = optax.adamw(1e-3).init(params)
    return State(jnp.int32(seed), params, opt_state, extra)


ABSTRACT = jax.eval_shape(lambda: make_state(0))


def assert_same(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "run"
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step))
    return folder


def test_saves_restores_and_keeps_the_newest(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "a" / "b", max_to_keep=2) as checkpoints:
        assert checkpoints.restore(ABSTRACT) is None
        assert checkpoints.latest_step() is None
        assert not (tmp_path / "a").exists()
        for step in (1, 2, 3):
            assert checkpoints.save(step, make_state(step))
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
        assert checkpoints.latest_step() == 3
        assert not checkpoints.save(3, make_state(3))
        with pytest.raises(InputError, match="none newer than step 1"):
            checkpoints.save(1, make_state(1))
        step, state = checkpoints.restore(ABSTRACT)
        assert step == 3
        assert_same(state, make_state(3))
        assert_same(checkpoints.restore(ABSTRACT, step=2)[1], make_state(2))
        with pytest.raises(InputError, match=r"steps \[2, 3\].*one of step 7"):
            checkpoints.restore(ABSTRACT, step=7)


def test_a_state_may_be_donated_right_after_save(tmp_path: Path) -> None:
    overwrite = jax.jit(lambda x: jax.tree.map(jnp.negative, x), donate_argnums=0)
    state = {"a": jax.random.normal(jax.random.key(0), (700, 700))}
    expected = np.array(state["a"])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        jax.block_until_ready(overwrite(overwrite(overwrite(state))))
        restored = checkpoints.restore(
            jax.eval_shape(lambda: {"a": jnp.ones((700,) * 2)})
        )
    np.testing.assert_array_equal(restored[1]["a"], expected)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: os.truncate(path, 0), marks=pytest.mark.slow),
        pytest.param(_halve, marks=pytest.mark.slow),
        pytest.param(os.remove, marks=pytest.mark.slow),
        pytest.param(_flip, marks=pytest.mark.slow),
    ],
    ids=["empty", "half", "deleted", "flipped"],
)
def test_damage_to_any_file_never_gives_wrong_values(
    two_saved: Path, tmp_path: Path, damage: Any
) -> None:
    files = [p.relative_to(two_saved) for p in (two_saved / "2").rglob("*")]
    files = [file for file in files if (two_saved / file).is_file()]
    fell_back = 0
    for number, file in enumerate(sorted(files)):
        folder = tmp_path / str(number)
        shutil.copytree(two_saved, folder)
        damage(folder / file)
        with Checkpoints(folder) as checkpoints:
            step, state = checkpoints.restore(ABSTRACT)
            assert_same(state, make_state(step))
            assert (folder / "2.damaged").exists() == (step == 1)
            fell_back += step == 1
    assert 3 <= fell_back < len(files)


def test_a_damaged_step_is_named_kept_and_can_be_saved_again(
    two_saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    with Checkpoints(folder) as checkpoints:
        for moved in ("2.damaged", "2.damaged-2"):
            shutil.rmtree(folder / "2" / "state")
            with pytest.raises(InputError, match=r"damaged checkpoint .*/2:"):
                checkpoints.restore(ABSTRACT, step=2)
            assert checkpoints.restore(ABSTRACT)[0] == 1
            assert (folder / moved).exists()
            assert checkpoints.steps() == [1]
            assert checkpoints.save(2, make_state(2))
            checkpoints.wait()
            assert_same(checkpoints.restore(ABSTRACT)[1], make_state(2))
    assert f"{folder}/2 is damaged" in caplog.text


def test_a_reader_names_a_damaged_step_and_leaves_it(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"ema_params": {"w": jnp.full(3, step)}})
    wanted = {"w": jax.ShapeDtypeStruct((3,), jnp.int32)}
    for step, advice in ((2, r"one of the other steps \[1\]"), (1, "make it anew.$")):
        shutil.rmtree(folder / str(step) / "state")
        with pytest.raises(
            InputError, match=rf"damaged checkpoint .*/{step}:.*{advice}"
        ):
            load_parts(tmp_path, wanted, {})
        (folder / str(step)).rename(tmp_path / str(step))  # it was still there
        if step == 2:
            assert load_parts(tmp_path, wanted, {})[0] == 1


def test_all_damaged_is_an_error(two_saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    for step in ("1", "2"):
        shutil.rmtree(folder / step)
        (folder / step).mkdir()
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(InputError, match=r"only damaged .*steps 2 .*, 1 "):
            checkpoints.restore(ABSTRACT)
        assert checkpoints.restore(ABSTRACT) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            make_state(0, size=17),
            r"float32\[16, 24\] at 'params/dense/kernel'.*float32\[17, 24\]",
        ),
        (make_state(0).replace(step=jnp.float32(0)), r"int32\[\] at 'step'.*float32"),
        (make_state(0).replace(extra=()), r"int32\[7\] at 'extra/0'.*nothing"),
        (
            make_state(0).replace(extra={"new": jnp.ones(2)}),
            r"nothing at 'extra/new'.*float32\[2\]",
        ),
    ],
)
def test_another_model_is_not_damage(
    two_saved: Path, other: State, message: str
) -> None:
    with Checkpoints(two_saved) as checkpoints:
        with pytest.raises(InputError, match=message):
            checkpoints.restore(jax.eval_shape(lambda: other))
        assert checkpoints.steps() == [1, 2]


def test_a_killed_save_is_never_chosen(two_saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    unfinished = folder / "3.orbax-checkpoint-tmp"
    shutil.copytree(folder / "2", unfinished)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(ABSTRACT)[0] == 2
        assert unfinished.exists()  # a reader leaves alone what another may be writing
        checkpoints.save(4, make_state(4))
        assert not unfinished.exists()


def test_a_small_disk_is_refused_before_writing(
    two_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with Checkpoints(folder) as checkpoints:
        message = r"1 KiB free .*at least [\d.]+ MiB.*resumes from step 2"
        with pytest.raises(InputError, match=message):
            checkpoints.save(3, make_state(3))
        assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device"),
    ],
)
def test_an_error_of_the_writing_thread_surfaces(
    two_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(
        "orbax.checkpoint._src.checkpointers.async_checkpointer."
        "_background_wait_for_commit_futures",
        fail,
    )
    checkpoints = Checkpoints(folder)
    # a thread that is quick enough is heard by `save` itself
    with pytest.raises(InputError, match=r"No space left.*resumes from step 2"):
        checkpoints.save(3, make_state(3))
        checkpoints.wait()
    checkpoints.close()
    monkeypatch.undo()
    with Checkpoints(folder) as again:
        assert_same(again.restore(ABSTRACT)[1], make_state(2))
        assert again.save(3, make_state(3))
        assert_same(again.restore(ABSTRACT)[1], make_state(3))


def test_checksums_see_each_bit_and_each_place() -> None:
    def checksum(array: Any) -> int:
        return leaf_table.checksums({"x": jnp.asarray(array)})["x"]

    base = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    seen = {checksum(base), checksum(base.T), checksum(base[::-1])}
    for index in np.ndindex(base.shape):
        for bit in range(32):
            changed = base.copy()
            changed.view(np.uint32)[index] ^= np.uint32(1 << bit)
            seen.add(checksum(changed))
    assert len(seen) == 3 + 15 * 32
    assert checksum(np.float32(0.0)) != checksum(np.float32(-0.0))
    for dtype in (jnp.bfloat16, jnp.int8, jnp.bool_, jnp.complex64):
        assert checksum(jnp.zeros(3, dtype)) != checksum(jnp.ones(3, dtype))


_EIGHT_DEVICES = """
import sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.errors import InputError

def target(mesh_shape, spec, shape=(16, 8)):
    types = (AxisType.Auto,) * 2
    mesh = jax.make_mesh(mesh_shape, ("a", "b"), axis_types=types)
    sharding = NamedSharding(mesh, spec)
    return {"w": jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)}

values = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
rows = target((8, 1), P("a"))
with Checkpoints(sys.argv[1]) as c:
    c.save(1, {"w": jax.device_put(values, rows["w"].sharding)})
    for wanted in (rows, target((2, 4), P("b", "a"))):
        step, state = c.restore(wanted)
        assert state["w"].sharding == wanted["w"].sharding
        np.testing.assert_array_equal(state["w"], values)
    try:
        c.restore({"w": target((8, 1), P("a"), (15, 8))["w"]})
    except ValueError:
        assert c.steps() == [1]
"""


def test_restores_onto_other_devices(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", _EIGHT_DEVICES, str(tmp_path)],
        cwd=root,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        check=True,
        timeout=120,
    )
    with Checkpoints(tmp_path) as checkpoints:
        step, state = checkpoints.restore({"w": jnp.zeros((16, 8))})
    assert step == 1
    assert len(state["w"].devices()) == 1
    expected = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    np.testing.assert_array_equal(state["w"], expected)


def test_a_step_is_saved_anew_where_its_arrays_differ(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(0, make_state(0))
    when = os.stat(tmp_path / "0").st_mtime_ns
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.save(0, make_state(0), anew=True)
        assert os.stat(tmp_path / "0").st_mtime_ns == when
        assert not checkpoints.save(0, make_state(1))
        assert checkpoints.save(0, make_state(1), anew=True)
        # of other shapes too, as with a part more
        assert checkpoints.save(0, make_state(1, size=8), anew=True)
    with Checkpoints(tmp_path) as checkpoints:
        abstract = jax.eval_shape(lambda: make_state(0, size=8))
        step, state = checkpoints.restore(abstract)
    assert (step, int(state.step)) == (0, 1)
