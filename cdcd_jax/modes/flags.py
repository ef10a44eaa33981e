"""Reads the command line into a config and a handful of options."""

import dataclasses
import functools
import importlib.util
import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from cdcd_jax.config import defaults, merge, unknown_key
from cdcd_jax.config.files import default_workdir
from cdcd_jax.data.card import CARD_NAME
from cdcd_jax.data.names import shown
from cdcd_jax.errors import UsageError
from cdcd_jax.models.saved import SAVED, config_dict
from cdcd_jax.modes.help import FLAGS, did_you_mean, unknown_flag, unknown_word
from cdcd_jax.modes.table import MODES
from cdcd_jax.reporting.files import as_path

OF_A_MODEL = ("generate", "evaluate", "export")  # modes, whose config is at hand
EDITS = ("input", "mask", "strength", "expand", "seconds", "toward.<modality>")
# what Python says of a value -> what should stand there
_EXPECTED = {
    "invalid literal for int()": "a whole number in digits, such as 1500",
    "could not convert string to float": "a number, such as 0.001 or 1e-3",
    "Non-boolean argument": "true or false",
}
_TAKEN = "guided|unguided|reconstructions|step_.*"  # names of samples


@dataclasses.dataclass(frozen=True)
class Options:
    """What a command line says."""

    given: str  # what --config named; "" for none
    config: dict[str, Any]
    workdir: pathlib.Path
    mode: str
    name: str  # of the samples that generate writes
    stage: str  # the last one to run; "" for the config itself
    conditions: dict[str, str]  # modality -> text of --condition.<modality>
    edit: dict[str, str]  # name -> text of --edit.<name>
    views: int  # of each example, for records; 0: as the config says
    profile: tuple[int, int] | None  # first and last step of the trace
    output: str  # of an export; "" for <workdir>/export
    licence: str  # of exported weights
    plan_topology: str  # such as v5e:4x4
    plan_price: float | None  # of a chip-hour


def _take_named(argv: Sequence[str], kind: str) -> tuple[list[str], dict[str, str]]:
    """Splits off --<kind>.<name>=text (or the text as the next word)."""
    rest, named = [], {}
    words, expected = iter(argv), dict(condition="modality").get(kind, "name")
    for word in words:
        if not word.startswith(f"--{kind}."):
            rest.append(word)
            continue
        name, equals, text = word.removeprefix(f"--{kind}.").partition("=")
        text = text if equals else next(words, "")
        if not name or not text:
            raise UsageError(f"{word}: expected --{kind}.<{expected}>=<value>")
        if name in named:
            raise UsageError(f"--{kind}.{name} is given twice: leave one out")
        named[name] = text
    return rest, named


def _take_edits(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Splits off --edit.<name>, of which names are those of `EDITS`."""
    rest, edit = _take_named(argv, "edit")
    for name in edit:
        if name not in EDITS[:-1] and not re.fullmatch(r"toward\..+", name):
            raise UsageError(f"unknown --edit.{name}: choose one of {', '.join(EDITS)}")
    return rest, edit


def _from_workdir(words: Sequence[str]) -> str | None:
    """`<workdir>/config.json` where a trained model is to be used; otherwise None."""
    told = {"mode": "", "workdir": ""}
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, equals, text = word.partition("=")
        if name.lstrip("-") in told and name.startswith("-"):
            told[name.lstrip("-")] = text if equals else following
    if told["mode"] not in OF_A_MODEL or not told["workdir"]:
        return None
    path = as_path(told["workdir"]) / SAVED
    return str(path) if path.exists() else None


def _at_home(words: Sequence[str]) -> list[str]:
    """The words with ~ of --<flag>=~/... resolved, which shells leave as it is."""
    out = []
    for word in words:
        flag, equals, text = word.partition("=")
        mark = "@" * (text[:1] == "@")
        if flag.startswith("-") and re.match(r"@?~(/|$)", text):
            text = mark + os.path.expanduser(text.removeprefix(mark))
        out.append(flag + equals + text)
    return out


def _explain(error: Exception, config: ConfigDict, argv: Sequence[str]) -> str:
    """One sentence for what ml_collections or absl found wrong."""
    for word in argv:
        parts = word.lstrip("-").partition("=")[0].split(".")
        section, path = config, ""
        for part in parts[1:] if parts[0] == "config" else ():
            if not isinstance(section, ConfigDict) or part not in section:
                known = section if isinstance(section, ConfigDict) else {}
                return unknown_key(path + part, known, path)
            section, path = section[part], f"{path}{part}."
    if isinstance(error, flags.UnrecognizedFlagError):
        return unknown_flag(error.flagname)
    for found, expected in _EXPECTED.items():
        if found in str(error):
            return f"{str(error).partition(':')[0]}: expected {expected}; correct it"
    return f"{error} (try --help)"


def _define(config: ConfigDict, argv: Sequence[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=values, sys_argv=list(argv)
    )
    define = functools.partial(_defined, values)
    define(flags.DEFINE_string, "workdir", None)
    define(flags.DEFINE_string, "mode", "train")
    define(flags.DEFINE_string, "stage", "")
    define(flags.DEFINE_string, "name", "user")
    define(flags.DEFINE_integer, "views", 0)
    define(flags.DEFINE_string, "profile", "")
    define(flags.DEFINE_string, "output", "")
    define(flags.DEFINE_string, "licence", "")
    define(flags.DEFINE_string, "plan.topology", "")
    define(flags.DEFINE_float, "plan.price", None)
    return values


def _defined(values: flags.FlagValues, define: Any, name: str, default: Any) -> None:
    define(name, default, FLAGS[name], flag_values=values)


def _take_file(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """Splits off --config=<file> (or the file as the next word)."""
    rest, given = [], None
    words = iter(argv)
    for word in words:
        name, equals, text = word.partition("=")
        if name in ("--config", "-config"):
            given = text if equals else next(words, "")
        else:
            rest.append(word)
    return rest, given


def parse_range(text: str) -> tuple[int, int] | None:
    """'from:to' of `--profile`, None for ''.

    Raises:
        UsageError: not two step numbers in order.
    """
    if not text:
        return None
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UsageError(
            f"--profile={text}: expected from:to, two step numbers such as 10:15"
        )
    return int(first), int(last)


def _check_name(name: str) -> None:
    """Raises UsageError unless samples of this name get a folder of their own."""
    from cdcd_jax.reporting.samples import name_fault  # which imports jax

    if expected := name_fault(name, _TAKEN):
        raise UsageError(f"--name={name[:60]!r}: expected {expected}")


def _default_workdir(
    given: str | None, mode: str, config: dict[str, Any]
) -> pathlib.Path:
    """runs/<config>; of records that are looked at alone, runs/inspect/<their name>."""
    if given is not None:
        return default_workdir(given)
    parts = pathlib.PurePath(config["data"]["path"]).parts[-2:]
    names = [part for part in parts if part not in ("/", "..", "records")]
    return pathlib.Path("runs") / mode / (names[-1] if names else "records")


def parse(argv: Sequence[str]) -> Options:
    """The options of a command line (program name first).

    Raises:
        UsageError: anything that cannot be understood.
    """
    if odd := [shown(word) for word in argv if shown(word) != word]:
        raise UsageError(
            f"{odd[0]} is not UTF-8, as configs and records keep names: rename it, or "
            "name it by a link"
        )
    words, conditions = _take_named(_at_home(argv), "condition")
    words, edit = _take_edits(words)
    words, given = _take_file(words)
    given = _from_workdir(words) if given is None else given
    config = ConfigDict(defaults()) if given is None else config_dict(given)
    try:
        values = _define(config, words)
        left = values(words)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(_explain(error, config, words)) from None
    if left:
        raise UsageError(unknown_word(left[0], MODES))
    if values.workdir == "":
        raise UsageError(
            "--workdir= names no directory (an unset variable of the shell?): name "
            "one, or leave it out for runs/<config>"
        )
    if values.mode not in MODES:
        near = did_you_mean(values.mode, MODES) or ":"
        raise UsageError(
            f"unknown --mode={values.mode}{near} choose one of {', '.join(MODES)}"
        )
    # finished records tell in their card how they were made
    own = values.mode == "pretokenize" and values.workdir
    own = own and (as_path(values.workdir) / CARD_NAME).exists()
    own = own and not any(word.startswith("--config.") for word in words)
    if given is None and values.mode != "inspect" and not own:
        advice = "give one, e.g. --config=configs/digits.py"
        if values.mode in OF_A_MODEL and values.workdir:
            advice += f"; {values.workdir} holds no {SAVED}, which could stand for it"
        raise UsageError(f"no --config: {advice}")
    for name in ("output", "licence"):
        if values[name].value and values.mode != "export":
            raise UsageError(f"--{name} is for --mode=export alone: leave it out")
    if values.views and values.mode != "pretokenize":
        raise UsageError(f"--views={values.views} is for --mode=pretokenize alone")
    if values.stage and values.mode not in ("train", "pretokenize"):
        raise UsageError(
            f"--stage={values.stage} is for --mode=train and pretokenize: leave it "
            f"out, or name the stage's directory with --workdir"
        )
    if values.views < 0:
        raise UsageError(f"--views={values.views}: expected 1 or more")
    if values.mode == "generate":
        _check_name(values.name)
    elif conditions or edit or values["name"].present:
        named = [f"condition.{n}" for n in conditions] + [f"edit.{n}" for n in edit]
        flag = min(named, default="name")
        raise UsageError(f"--{flag} is for --mode=generate alone: leave it out")
    config = config.to_dict()
    config = merge(defaults(config.get("task", "conditional")), config)
    if (values.workdir or "").startswith("gs://") and not importlib.util.find_spec(
        "gcsfs"
    ):
        raise UsageError(
            f"--workdir={values.workdir} needs gcsfs: pip install cdcd_jax[gcs]"
        )
    workdir = values.workdir or _default_workdir(given, values.mode, config)
    workdir = as_path(workdir)
    flags.FLAGS.mark_as_parsed()  # grain reads absl flags of its own
    return Options(
        given=given or "",
        config=config,
        workdir=workdir,
        mode=values.mode,
        name=values.name,
        stage=values.stage,
        conditions=conditions,
        edit=edit,
        views=values.views,
        profile=parse_range(values.profile),
        output=values.output,
        licence=values.licence,
        plan_topology=values["plan.topology"].value,
        plan_price=values["plan.price"].value,
    )
