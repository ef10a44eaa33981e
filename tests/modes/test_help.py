"""Help on one screen, by key and by flag; the nearest of what is not there; configs."""

import configparser
import importlib
import os
import pathlib

import pytest
import tiny

from cdcd_jax.config import files
from cdcd_jax.errors import UsageError
from cdcd_jax.modes import flags
from cdcd_jax.modes import help as module
from cdcd_jax.modes.table import MODES

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("word", ["--help", "-h", "-help"])
def test_help_fits_on_a_screen(word, capsys):
    assert tiny.run("--config=configs/digits.py", word) == (0, "")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    text = " ".join(lines)
    assert all(mode in text for mode in MODES)
    assert text.count("python -m cdcd_jax.main --") >= 4  # examples
    names = [name.partition("<")[0].partition(".")[0] for name in module.FLAGS]
    assert all(f"--{name}" in text for name in names)


def test_every_flag_is_known_to_help():
    values = flags._define(flags.ConfigDict(), ["x"])
    own = {name for name in values if not name.startswith("config")}
    assert own <= set(module.FLAGS) and {"mode", "workdir"} <= own


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mode", "pretokenize"),
        ("--workdir", "runs/X"),
        ("condition", "docs/generate.md"),
        ("edit", "generate"),
        ("plan.price", "chip-hour"),
        ("optim.num_steps", "= 1000"),
        ("--config.optim.num_steps", "= 1000"),
    ],
)
def test_help_of_a_flag_or_a_key(name, says):
    assert says in module.answer([f"--help={name}"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--mode=evalute"], "did you mean evaluate?"),
        (["--mode=pretokenise"], "did you mean pretokenize?"),
        (["--mode=qqq"], "choose one of train, evaluate"),
        (["--wrokdir=x"], "did you mean --workdir?"),
        (["--conditions=3"], "did you mean --condition?"),
        (["--optim.num_steps=3"], "--config.optim.num_steps"),
        (["--num_steps=3"], "did you mean --config.optim.num_steps?"),
        (["--batch_size", "3"], "--config.data.batch_size"),
        (["--zzzz=3"], "unknown flag --zzzz (--help names all)"),
        (["evaluate"], "did you mean --mode=evaluate?"),
        (["configs/cub200.py:synthetic"], "--config=configs/cub200.py:synthetic?"),
        (["more"], "flags begin with --"),
        (["--help=zzzz"], "Found no config key 'zzzz'"),
        (["--list=digit"], "did you mean configs/digits.py"),
    ],
)
def test_what_is_not_there_names_the_nearest(argv, says):
    code, text = tiny.run("--config=configs/digits.py", *argv)
    assert code == 2 and says in text and "Traceback" not in text


def test_alarms_of_xla_are_asked_for(monkeypatch):
    """Its alarm of slow compiles is logged as an error, which level 3 leaves out."""
    for before, after in ((None, "3"), ("0", "0")):
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        if before is not None:
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
        assert tiny.run("--mode=qqq")[0] == 2
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == after


def test_a_config_that_is_not_there_names_the_nearest():
    code, text = tiny.run("--config=configs/digit.py")
    assert code == 2 and "did you mean configs/digits.py?" in text


def test_configs_are_listed_in_a_line_each():
    lines = module.answer(["--list"]).splitlines()
    assert len(lines) == len(files.config_files())
    assert all(len(line) <= 80 and len(line.split("  ", 1)[1]) > 10 for line in lines)


@pytest.mark.parametrize(
    "name", ["digits", "digits.py", "configs/digits.py", "configs/digits.py:vanilla"]
)
def test_a_config_is_shown(name):
    text = module.answer([f"--list={name}"])
    assert text == (ROOT / "configs/digits.py").read_text().rstrip()


def test_configs_are_shown_where_they_are_installed(tmp_path, monkeypatch):
    """As in a wheel: configs lie inside of the package, none beside it."""
    package = tmp_path / "site-packages" / "cdcd_jax"
    (package / "config").mkdir(parents=True)
    (package / "configs" / "tokenizers").mkdir(parents=True)
    (package / "configs" / "tokenizers" / "mine.py").write_text('"""Mine."""\n')
    monkeypatch.setattr(files, "__file__", str(package / "config" / "files.py"))
    assert module.answer(["--list"]) == "configs/tokenizers/mine.py  Mine."
    for name in ("mine", "tokenizers/mine"):
        assert module.answer([f"--list={name}"]) == '"""Mine."""'
    with pytest.raises(UsageError, match=r"did you mean configs/tokenizers/mine\.py"):
        module.shown_config("tokenizers/mime")


def test_the_console_command_is_main():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    command = dict(line.split(" = ") for line in scripts if line)
    module_name, _, function = command["cdcd_jax"].partition(":")
    found = getattr(importlib.import_module(module_name), function)
    from cdcd_jax import main

    assert found is main.main


def test_packages_of_the_wheel_are_all():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    rooms = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "cdcd_jax").rglob("__init__.py")
    }
    assert rooms <= named
    extras = setup["options.extras_require"]
    assert extras["tensorboard"] == "tensorboard"
    assert "\ntensorboard\n" not in setup["options"]["install_requires"]


@pytest.mark.parametrize(
    ("path", "workdir"),
    [
        ("runs/digits/records", "runs/inspect/digits"),
        ("/data/birds", "runs/inspect/birds"),
        ("../x/records/", "runs/inspect/x"),
        ("records", "runs/inspect/records"),
    ],
)
def test_records_that_are_looked_at_have_a_place_of_their_own(path, workdir):
    options = flags.parse(["x", "--mode=inspect", f"--config.data.path={path}"])
    assert str(options.workdir) == workdir
