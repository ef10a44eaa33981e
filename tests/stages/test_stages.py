"""Stages: their order, what runs for a mode, circles."""

import pytest

from cdcd_jax.config import experiment
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.stages import order as stages


def config(**more):
    """Records that need a tokenizer, which a ConfigDict would put behind them."""
    records = dict(
        mode="pretokenize", tokenizer=dict(kind="checkpoint", path="@tokenizer")
    )
    return experiment(
        stages=dict(a_part=dict(mode="train"), records=records, **more),
        data=dict(path="@records"),
    )


def names(config, mode, tmp_path):
    return list(stages.todo(config, mode, tmp_path, "configs/x.py"))


def test_what_is_named_comes_first(tmp_path):
    found = names(config(tokenizer=dict(mode="train")), "train", tmp_path)
    assert found.index("tokenizer") < found.index("records") and len(found) == 3
    # making records takes what they are made with, and no more
    found = names(config(tokenizer=dict(mode="train")), "pretokenize", tmp_path)
    assert found == ["tokenizer", "records"]
    assert names(config(tokenizer=dict(mode="train")), "generate", tmp_path) == []


def test_a_file_of_a_stage_makes_it_come_first(tmp_path):
    text = dict(vocabulary="@z_first/text-vocabulary.json")
    # a stage whose name begins like another's is another
    more = dict(
        a_second=dict(mode="pretokenize", text=text),
        z_first=dict(mode="pretokenize"),
        z=dict(mode="train", init_from="@a_second"),
        tokenizer=dict(mode="train"),
    )
    found = names(config(**more), "train", tmp_path)
    assert found.index("z_first") < found.index("a_second") < found.index("z")
    settings = stages.settings(more["a_second"], tmp_path, 0)
    path = str(tmp_path / "z_first" / "text-vocabulary.json")
    assert settings["text"]["vocabulary"] == path


def test_evaluation_makes_nothing_and_says_what_is_missing(tmp_path):
    first = config(tokenizer=dict(mode="train"))
    first["tokenizer"] = dict(kind="checkpoint", path="@tokenizer")
    for name, file in (("tokenizer", "config.json"), ("records", "dataset.json")):
        with pytest.raises(InputError, match=f"the stage '{name}'"):
            names(first, "evaluate", tmp_path)
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    assert names(first, "evaluate", tmp_path) == []  # a_part is not needed
    assert len(names(first, "train", tmp_path)) == 3


@pytest.mark.parametrize("stage", [5, {}, dict(mode="generate")])
def test_what_is_no_stage_is_refused(stage, tmp_path):
    for mode in ("train", "generate"):
        with pytest.raises(UsageError, match=r"stages\.x"):
            names(config(x=stage), mode, tmp_path)


def test_circles_are_refused(tmp_path):
    circle = config(tokenizer=dict(mode="train", init_from="@records"))
    with pytest.raises(UsageError, match="circle"):
        names(circle, "train", tmp_path)


def test_random_batches_need_no_stage(tmp_path):
    synthetic = config(tokenizer=dict(mode="train"))
    synthetic["data"]["synthetic"] = True
    assert names(synthetic, "train", tmp_path) == []


def test_a_config_without_records_makes_none(tmp_path):
    with pytest.raises(UsageError, match="no stage that makes records"):
        names(experiment(), "pretokenize", tmp_path)


def test_a_stage_alone_is_made_with_what_it_needs(tmp_path):
    whole = config(tokenizer=dict(mode="train"), z_later=dict(mode="train"))
    only = lambda stage, mode="train": list(
        stages.todo(whole, mode, tmp_path, stage=stage)
    )
    assert only("records") == ["tokenizer", "records"]
    assert only("tokenizer") == only("tokenizer", "pretokenize") == ["tokenizer"]
    assert only("z_later") == ["z_later"]
    with pytest.raises(UsageError, match=r"--stage=nothing; expected .*a_part"):
        only("nothing")
    with pytest.raises(UsageError, match="it has none"):
        stages.todo(experiment(), "train", tmp_path, stage="records")


def test_advice_where_nobody_named_the_config(tmp_path):
    """As from Python, of records that are made on request alone."""
    records = dict(
        mode="pretokenize",
        on_request=True,
        data=dict(raw="image_folder"),
        tokenizer=dict(kind="checkpoint", path="elsewhere"),
    )
    whole = experiment(stages=dict(records=records), data=dict(path="@records"))
    for given, named in (("", "<its config>"), ("configs/x.py", "configs/x.py")):
        with pytest.raises(InputError, match=f"--config={named} --mode=pretokenize"):
            stages.todo(whole, "train", tmp_path, given)
