"""What keys mean is read beside their defaults, in whatever form it stands there."""

import pytest

from cdcd_jax.config import TASK_SETTINGS, defaults
from cdcd_jax.config import meanings as module
from cdcd_jax.errors import UsageError

SOURCE = """
def settings():
    return dict(
        # of a section,
        # in two lines
        part=dict(
            plain=1,
            behind=2,  # after it
            # above it; with = and ( in it
            above=3,
            both=(4, 5),  # first
            # and then
        ),
        text="a # that is none",
        deep=dict(part=dict(key={})),  # last
        kinds=dict(kind="a", size=3),
    )
"""


def test_comments_belong_to_their_keys():
    said = dict(module.meanings(SOURCE))
    assert said == {
        "part": "of a section, in two lines",
        "part.plain": "",
        "part.behind": "after it",
        "part.above": "above it; with = and ( in it",
        "part.both": "first and then",
        "text": "",
        "deep": "",
        "deep.part": "",
        "deep.part.key": "last",
        "kinds": "",
        "kinds.kind": "",
        "kinds.size": "",
    }


def test_every_key_has_a_meaning_or_its_section_has():
    silent = []
    for where, table in module.tables().items():
        for name, key in table.items():
            section = table.get(name.rpartition(".")[0])
            if isinstance(key.default, dict) and key.default:
                continue
            if not key.meaning and not (section and section.meaning):
                silent.append(f"{where}: {name}")
    assert silent == []


def test_all_keys_with_their_defaults():
    tables = module.tables()
    for task in TASK_SETTINGS:
        for section, values in defaults(task).items():
            for name, value in values.items() if isinstance(values, dict) else ():
                of = [t for t in tables.values() if f"{section}.{name}" in t]
                assert any(t[f"{section}.{name}"].default == value for t in of)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("optim.num_steps", ("optim.num_steps = 1000", "updates of a whole run")),
        ("config.mesh.fsdp", ("mesh.fsdp = 1", "every large parameter")),
        ("learning_rate", ("optim.learning_rate = 0.001",)),  # its last part alone
        ("model.grid", ("(8, 8)", "(1, L) for sound")),
        ("eval.sweep.steps", ("samplers to compare",)),  # said of the section
        ("quantizer", ("quantizer.decay = 0.99", "task tokenizer")),
        ("data.views", ("a stage of records", "data.views = 1")),
        ("data.path", ("directory of records", "where the source's files lie")),
    ],
)
def test_a_key_is_explained(name, says):
    text = module.explain(name)
    assert all(said in text for said in says)
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("optim.lerning_rate", "optim.learning_rate"),
        ("batchsize", "data.batch_size"),
        ("optim.batch_size", "data.batch_size"),
        ("smapling.steps", "sampling.steps"),
        ("", "optim.num_steps"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong, near):
    with pytest.raises(UsageError, match=near.replace(".", r"\.")):
        module.explain(wrong)


def test_a_task_from_outside_is_read_too(monkeypatch):
    def settings():
        return dict(
            own=dict(size=7),  # how large it is
        )

    monkeypatch.setitem(TASK_SETTINGS, "mine", settings)
    assert "task mine:" in module.explain("own.size")
    assert "how large it is" in module.explain("own.size")


def test_functions_that_settings_call_are_read_at_their_place(monkeypatch):
    def part(size=1):
        return dict(
            size=size,  # how large it is
            deep=dict(part()) if size > 9 else {},  # it may call itself
        )

    def settings():
        return dict(
            whole=part(),
            opened=dict(
                own=2,  # said here
                **part(
                    size=3,  # or wide
                ),
                last=4,  # said here too
            ),
        )

    monkeypatch.setitem(TASK_SETTINGS, "mine", settings)
    table = module.tables()["task mine"]
    assert {name: (key.default, key.meaning) for name, key in table.items()} == {
        "whole": ({"size": 1, "deep": {}}, ""),
        "whole.size": (1, "how large it is"),
        "whole.deep": ({}, "it may call itself"),
        "opened": ({"own": 2, "size": 3, "deep": {}, "last": 4}, ""),
        "opened.own": (2, "said here"),
        "opened.size": (3, "how large it is or wide"),
        "opened.deep": ({}, "it may call itself"),
        "opened.last": (4, "said here too"),
    }


def test_sections_of_several_tasks_are_explained():
    text = module.explain("model.width")
    assert "task conditional:" in text and "features of a token" in text
    text = module.explain("sampling.steps")
    assert "sampling.steps = 25" in text and "network evaluations" in text
