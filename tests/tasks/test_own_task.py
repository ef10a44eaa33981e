"""A task from outside the package: entered into the table, it is served as ours are."""

import itertools
import json

import numpy as np
import pytest
import tiny
from toy_task import PRODUCT, SIZE, Toy

from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.errors import InputError
from cdcd_jax.modes import plan
from cdcd_jax.tasks import TASKS, make_task
from cdcd_jax.training import loop
from cdcd_jax.training.inputs import input_stream


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(TASKS, "toy", Toy)
    config = tiny.settings(data=dict(synthetic=True), optim=dict(num_steps=4))
    return {**config, "task": "toy", "model": dict(frozen=["middle"], stop=False)}


def rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return list(map(json.loads, lines))


def test_it_trains_on_random_batches(config, tmp_path):
    loop.train(config, tmp_path, input_stream(config), lambda *args: {})
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    last = found[-1]
    assert last["size"] == last["loss"] < found[0]["loss"]
    assert last["tokens_per_second"] == pytest.approx(3 * last["examples_per_second"])
    flops = last["tflops_per_second"] * last["step_seconds"] * 1e12
    assert flops == pytest.approx(16 * 7 * PRODUCT)


def test_a_batch_without_its_field_is_refused_before_anything_is_compiled(
    config, tmp_path
):
    stream = lambda step, rows: ({"y": np.zeros((16, SIZE))} for _ in itertools.count())
    with pytest.raises(InputError, match=r"without 'x' \(there: y\)"):
        loop.train(config, tmp_path, stream, lambda *args: {})
    assert not list(tmp_path.rglob("metrics.jsonl"))
    assert not list(tmp_path.rglob("checkpoints/*"))


def test_ours_describe_what_they_take_and_give():
    ours = make_task(tiny.settings()).describe()
    (batch,) = itertools.islice(synthetic_batches(ours, np.arange(2)), 1)
    assert list(batch) == ["tokens", "condition"]
    assert ours["units"] == 64 and ours["outputs"]["tokens"] == dict(
        kind="tokens", shape=(64,), num_codes=17, grid=(8, 8)
    )


@pytest.mark.parametrize(
    ("named", "programs"), [("toy", ["train"]), ("conditional", ["train", "sample"])]
)
def test_plan_plans_what_a_task_has(config, monkeypatch, capsys, named, programs):
    import jax

    from cdcd_jax.planning import chips

    jobs = {}

    def measured(job, mesh, chip, price):
        jobs[len(jobs)] = job
        memory = dict(arguments=1, temporaries=1, total=2)
        return dict(memory=memory, memory_available=chip.memory, fits=True)

    monkeypatch.setattr(plan, "use_cpu", lambda: None)
    monkeypatch.setattr(
        plan, "open_topology", lambda text: (chips.find("v5e"), jax.devices()[:1])
    )
    monkeypatch.setattr(plan, "measure", measured)
    monkeypatch.setattr(plan, "_version", lambda package: "none")
    if named != "toy":
        config = tiny.settings()
    found = plan.plan(config, "v5e:1x1")
    assert [n for n in ("train", "sample") if n in found] == programs
    assert capsys.readouterr().out.splitlines()[-1] == "fits"
    train = jobs[0]
    assert train.tokens == 16 * (3 if named == "toy" else 64)
    if named == "toy":
        assert train.model_flops == 16 * 7 * PRODUCT
    else:
        drawing = jobs[1]
        assert drawing.tokens == 20 * 64 and drawing.model_flops > 0
        assert "while" in drawing.lower().as_text()
