"""Whose a work directory is: until something is saved, settings may be corrected."""

import json

import pytest
import tiny

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.training.workdir import claim_workdir, has_begun

OLD, NEW = tiny.settings(), tiny.settings(data=dict(batch_size=32), seed=7)


def kept(workdir):
    return json.loads((workdir / "config.json").read_text())


def test_settings_of_a_run_that_never_began_are_replaced(tmp_path, capsys):
    claim_workdir(OLD, tmp_path / "stage")
    claim_workdir(OLD, tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    claim_workdir(NEW, tmp_path)
    assert kept(tmp_path) == json.loads(json.dumps(NEW))
    assert "data.batch_size" in capsys.readouterr().err
    assert kept(tmp_path / "stage") == json.loads(json.dumps(OLD))  # stages stay
    claim_workdir(NEW, tmp_path)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\0\0\0", "\n"])
def test_settings_that_a_crash_left_empty_are_replaced(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a bad .*config\.json"):
        claim_workdir(NEW, tmp_path)
    (tmp_path / "checkpoints" / "5").rmdir()
    claim_workdir(NEW, tmp_path)
    assert kept(tmp_path) == json.loads(json.dumps(NEW))


@pytest.mark.parametrize(
    ("name", "begun"),
    [
        ("0", True),  # of a converter
        ("500", True),
        ("500.damaged", True),  # a copy may be brought back
        ("500.damaged-2", True),
        ("500.orbax-checkpoint-tmp-17", False),  # a save that was killed
        ("descriptor", False),
    ],
)
def test_what_counts_as_begun(tmp_path, name, begun):
    claim_workdir(OLD, tmp_path)
    (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert has_begun(tmp_path) == begun
    if not begun:
        claim_workdir(NEW, tmp_path)
        return
    with pytest.raises(UsageError, match=r"data\.batch_size"):
        claim_workdir(NEW, tmp_path)
    assert kept(tmp_path) == json.loads(json.dumps(OLD))


def test_stages_may_move_together(tmp_path):
    """What a stage started from lies beside it, wherever both are now."""

    def of(place, stage):
        parts = {"text/tower": dict(path=f"{place}/{stage}", part="towers/text")}
        parts |= {"image/tower": f"{place}/{stage}"}
        return {**OLD, "init_parts": parts}

    run = tmp_path / "run" / "image"
    claim_workdir(of("/elsewhere/run", "prompts"), run)
    (run / "checkpoints" / "5").mkdir(parents=True)
    here = of(tmp_path / "run", "prompts")
    claim_workdir(json.loads(json.dumps(here, default=str)), run)
    with pytest.raises(UsageError, match=r"init_parts\.text/tower\.path"):
        claim_workdir(of(tmp_path / "run", "others"), run)
    with pytest.raises(UsageError, match=r"init_parts\.image/tower "):
        claim_workdir(of("/third/run", "prompts"), run)


@pytest.mark.parametrize("text", ['{"model_type": "clip"}', "{}", "{", "[1]"])
def test_a_config_of_somebody_else_is_not_overwritten(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError):
        claim_workdir(NEW, tmp_path)
    assert (tmp_path / "config.json").read_text() == text


@pytest.mark.parametrize(
    ("schedule", "steps", "says"),
    [("cosine", 40, True), ("cosine", 20, False), ("constant", 40, False)],
)
def test_a_learning_rate_that_jumps_is_told(schedule, steps, says, tmp_path, capsys):
    optim = dict(num_steps=20, warmup_steps=5, schedule=schedule)
    claim_workdir(tiny.settings(optim=optim), tmp_path)
    (tmp_path / "checkpoints" / "20").mkdir(parents=True)
    claim_workdir(tiny.settings(optim={**optim, "num_steps": steps}), tmp_path)
    text = " ".join(capsys.readouterr().err.split())
    assert ("the learning rate jumps from 0 to 0.00061 after step 20" in text) == says
    if says:
        assert "from 20 to 40 steps" in text and "optim.schedule=constant" in text


def test_settings_of_a_run_that_joins_parts_are_replaced(tmp_path, capsys):
    none = dict(optim=dict(num_steps=0))
    one = tiny.settings(**none, init_parts=dict(a="runs/a"))
    two = tiny.settings(**none, init_parts=dict(a="runs/a", b="runs/b"))
    (tmp_path / "checkpoints" / "0").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps(one))
    claim_workdir(two, tmp_path)
    assert kept(tmp_path) == json.loads(json.dumps(two))
    told = " ".join(capsys.readouterr().err.split())
    assert "a run that joined other parts; they are replaced: init_parts.b" in told
    # what trains keeps its directory, and so does what no parts tell
    for other in (NEW, tiny.settings(**none)):
        with pytest.raises(UsageError, match=r"init_parts\.a"):
            claim_workdir(other, tmp_path)
