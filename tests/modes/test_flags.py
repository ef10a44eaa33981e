"""Command lines as people write them: what is meant is done, or named."""

import io
import os
import sys
from pathlib import Path

import pytest

from cdcd_jax import main
from cdcd_jax.errors import UsageError
from cdcd_jax.modes import flags, help

DIGITS = "--config=configs/digits.py"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["config=configs/digits.py"], r"did you mean --config=configs/digits\.py\?"),
        (["\u2014config=a.py"], r"did you mean --config=a\.py\?"),
        (["\u2013-mode=train"], r"did you mean --mode=train\?"),
        (["\u201c--config=a.py\u201d"], r"did you mean --config=a\.py\?"),
        (["help"], r"did you mean --help\?"),
        (["--CONFIG=a.py"], r"did you mean --config\?"),
        ([DIGITS, "--mode=TRAIN"], "did you mean train"),
        ([DIGITS, "--mode=generate", "--condition", "label=3"], "<modality>="),
        ([DIGITS, "--mode=generate", "--edit=x.png"], r"--edit\.<input"),
        ([DIGITS, "--workdir="], "names no directory"),
        ([DIGITS, "--workdir=hdfs://x/y"], "hdfs://x/y, of a kind"),
        ([DIGITS, "--workdir=file:///x"], "expected a directory"),
        ([DIGITS, "--config.optim.num_steps=1e3"], "=1e3: expected a whole number"),
        ([DIGITS, "--config.optim.learning_rate=0,1"], "=0,1: expected a number"),
        ([DIGITS, "--config.data.synthetic=yes"], "=yes: expected true or false"),
        (
            [DIGITS, "--views=two", "--mode=pretokenize"],
            "--views=two: expected a whole",
        ),
    ],
)
def test_a_slip_is_named(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        flags.parse(["cdcd_jax", *words])


def test_home_is_resolved_where_a_shell_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    words = [DIGITS, "--mode=generate", "--workdir=~/run", "--config.data.path=~/a~b"]
    found = flags.parse(
        ["cdcd_jax", *words, "--condition.text=@~/p.txt", "--edit.input=~/x.png"]
    )
    assert found.workdir == tmp_path / "run"
    assert found.config["data"]["path"] == f"{tmp_path}/a~b"
    assert found.conditions == {"text": f"@{tmp_path}/p.txt"}
    assert found.edit == {"input": f"{tmp_path}/x.png"}
    words = [DIGITS, "--mode=generate", "--condition.text=~ about 3"]
    assert flags.parse(["cdcd_jax", *words]).conditions == {"text": "~ about 3"}


def test_what_is_asked_for_may_be_the_next_word() -> None:
    assert help.answer(["--help", "optim.num_steps"]) == help.help_of("optim.num_steps")
    assert help.answer(["--list", "digits"]) == help.shown_config("digits")
    assert help.answer(["--help", "--mode=train"]) == help.SCREEN


def test_words_that_are_not_utf8_are_named() -> None:
    word = os.fsdecode(b"--workdir=/x/caf\xe9")
    with pytest.raises(UsageError, match=r"caf\\xe9 is not UTF-8"):
        flags.parse(["cdcd_jax", DIGITS, word])


def test_a_locale_of_another_encoding_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert main.main(["cdcd_jax", "--help"]) == 2
    assert "PYTHONUTF8=1" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_every_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    monkeypatch.setattr(help, "SCREEN", "caf\u00e9")
    assert main.main(["cdcd_jax", "--help"]) == 0
    sys.stdout.flush()
    assert shown.getvalue() == b"caf\\xe9\n"
