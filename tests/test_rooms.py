"""The rules of the house hold: rooms, the way of imports, what folders say and hold.

And each rule can be broken: a made-up tree that breaks it is found out.
"""

import pathlib

import house
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
RULES = (
    *(house.at_the_top, house.upward, house.module_circles, house.room_circles),
    *(house.unnamed, house.unmirrored, house.unlisted),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rules_of_the_house(rule):
    assert rule(ROOT) == []


def test_the_mathematics_needs_jax_and_numpy_only():
    # jaxtyping is for whoever checks types, and is not imported at run time
    allowed = ("jax", "numpy", "jaxtyping")
    assert house.foreign(ROOT, "diffusion", allowed) == []


@pytest.fixture
def tree(tmp_path):
    """Writes a small tree that keeps all rules, with files laid over it."""

    def write(**files):
        sound = {
            "cdcd_jax/__init__.py": "",
            "cdcd_jax/errors.py": "",
            "cdcd_jax/models/__init__.py": '"""Holds `model`."""',
            "cdcd_jax/models/model.py": "from cdcd_jax.data import card",
            "cdcd_jax/data/__init__.py": '"""Holds `card`."""',
            "cdcd_jax/data/card.py": "import numpy",
            "configs/__init__.py": "",
            "tests/models/test_model.py": "",
            "tests/data/test_card.py": "",
            "tests/golden/some.npz": "",
            "setup.cfg": "[options]\npackages =\n    cdcd_jax\n    cdcd_jax.configs\n"
            "    cdcd_jax.data\n    cdcd_jax.models\n",
        }
        for name, text in {**sound, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_sound_tree_passes(tree):
    root = tree()
    assert [rule(root) for rule in RULES] == [[]] * len(RULES)


@pytest.mark.parametrize("name", ["windows.py", "extras/x.py"])
def test_nothing_new_may_stand_at_the_top(tree, name):
    root = tree(**{f"cdcd_jax/{name}": ""})
    assert house.at_the_top(root) == [name.replace("x.py", "")]


@pytest.mark.parametrize(
    "text",
    [
        "from cdcd_jax.models.model import Model",
        "from cdcd_jax.models import model",
        "import cdcd_jax.models.model",
        "import numpy, cdcd_jax.models.model as m",
        "from ..models import model",
        "def f():\n    from cdcd_jax.models import model",
        "async def f():\n    import cdcd_jax.models.model",
        "import importlib\n"
        "f = lambda: importlib.import_module('cdcd_jax.models.model')",
        "TABLE = {'a': 'cdcd_jax.models.model'}",
        "if True:\n    import cdcd_jax.models.model",
    ],
)
def test_an_import_goes_down_however_it_is_written(tree, text):
    (found,) = house.upward(tree(**{"cdcd_jax/data/card.py": text}))
    assert found.startswith("cdcd_jax/data/card.py:")
    assert found.endswith(" imports cdcd_jax.models.model")


@pytest.mark.parametrize("text", ["import cdcd_jax", "from cdcd_jax import open"])
def test_the_handle_is_above_all_rooms_but_the_modes(tree, text):
    below = {"cdcd_jax/data/card.py": text}
    assert house.upward(tree(**below)) == [
        "cdcd_jax/data/card.py:1 imports cdcd_jax.api"
    ]
    files = {"cdcd_jax/data/card.py": "", "cdcd_jax/modes/generate.py": text}
    assert house.upward(tree(**files)) == []


def test_an_unknown_room_may_not_be_imported(tree):
    files = {"cdcd_jax/extras/x.py": "", "cdcd_jax/models/model.py": "pass"}
    files["cdcd_jax/models/model.py"] = "from cdcd_jax.extras import x"
    assert len(house.upward(tree(**files))) == 1


def test_circles_of_modules_are_found(tree):
    files = {
        "cdcd_jax/data/card.py": "from cdcd_jax.data import records",
        "cdcd_jax/data/records.py": "from cdcd_jax.data.shards import X",
        "cdcd_jax/data/shards.py": "import cdcd_jax.data.card",
    }
    names = [f"cdcd_jax.data.{name}" for name in ("card", "records", "shards")]
    assert house.module_circles(tree(**files)) == [names]
    # one that is only closed while something runs is none
    files["cdcd_jax/data/shards.py"] = "def f():\n    import cdcd_jax.data.card"
    assert house.module_circles(tree(**files)) == []


def test_circles_of_rooms_are_found_though_their_modules_have_none(tree):
    files = {
        "cdcd_jax/data/other.py": "def f():\n    import cdcd_jax.models.saved",
        "cdcd_jax/models/saved.py": "",
    }
    assert house.room_circles(tree(**files)) == [["data", "models"]]
    assert house.module_circles(tree(**files)) == []


def test_circles_are_strongly_connected_sets():
    arrows = {"a": "b", "b": "ac", "c": "d", "d": "c", "e": "a", "f": "f"}
    assert house.circles(arrows) == [["a", "b"], ["c", "d"], ["f"]]


def test_a_foreign_package_is_found_in_functions_too(tree):
    text = "import os\nimport jax.numpy\ndef f():\n    import flax.linen"
    root = tree(**{"cdcd_jax/diffusion/process.py": text})
    assert house.foreign(root, "diffusion", ("jax", "numpy")) == [
        "cdcd_jax/diffusion/process.py:4 imports flax.linen"
    ]
    root = tree(**{"cdcd_jax/diffusion/process.py": "import cdcd_jax.errors"})
    assert len(house.foreign(root, "diffusion", ("jax", "numpy"))) == 1


def test_a_file_that_its_room_does_not_name_is_found(tree):
    files = {"cdcd_jax/data/records.py": "", "cdcd_jax/data/samplers/x.py": ""}
    assert house.unnamed(tree(**files)) == [
        "cdcd_jax/data/__init__.py: records",
        "cdcd_jax/data/__init__.py: samplers",
        "cdcd_jax/data/samplers/__init__.py: x",
        "cdcd_jax/data/samplers/ has no __init__.py",
    ]


def test_tests_mirror_the_rooms(tree):
    files = {"tests/extras/test_x.py": "", "cdcd_jax/runtime/__init__.py": ""}
    assert house.unmirrored(tree(**files)) == [
        "runtime has no tests/runtime",
        "tests/extras is no room",
    ]


def test_a_name_of_two_test_files_is_found(tree):
    root = tree(**{"tests/data/test_model.py": ""})
    assert house.unmirrored(root) == ["test_model.py stands in 2 folders"]


def test_a_package_that_would_not_be_installed_is_found(tree):
    files = {"cdcd_jax/runtime/hosts.py": "", "configs/mine/__init__.py": ""}
    root = tree(**files)
    assert house.unlisted(root) == [
        "cdcd_jax.configs.mine is not in setup.cfg",
        "cdcd_jax.runtime is not in setup.cfg",
    ]
    setup = root / "setup.cfg"
    setup.write_text(setup.read_text() + "    cdcd_jax.gone\n")
    assert "cdcd_jax.gone is not there" in house.unlisted(root)
