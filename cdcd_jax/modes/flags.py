"""Reads the command line into a config and a handful of options."""

import dataclasses
import importlib.util
import itertools
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from cdcd_jax.config import defaults, merge, unknown_key
from cdcd_jax.config.files import default_workdir, list_configs
from cdcd_jax.data.card import CARD_NAME
from cdcd_jax.errors import UsageError
from cdcd_jax.models.saved import SAVED, config_dict
from cdcd_jax.modes.table import MODES
from cdcd_jax.reporting.files import as_path

EDITS = ("input", "mask", "strength", "expand", "seconds", "toward.<modality>")
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
    if told["mode"] not in ("generate", "evaluate") or not told["workdir"]:
        return None
    path = as_path(told["workdir"]) / SAVED
    return str(path) if path.exists() else None


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
    return f"{error} (try --help)"


def _define(config: ConfigDict, argv: Sequence[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=values, sys_argv=list(argv)
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "default runs/X[-variant]; to generate and to evaluate, a model's own "
        "config.json serves where --config is left out",
        flag_values=values,
    )
    flags.DEFINE_enum("mode", "train", list(MODES), "what to do", flag_values=values)
    flags.DEFINE_string(
        "stage", "", "make this stage and what it needs, then stop", flag_values=values
    )
    flags.DEFINE_string("name", "user", "of generated samples", flag_values=values)
    flags.DEFINE_integer(
        "views", 0, "views of each training example in records", flag_values=values
    )
    flags.DEFINE_string(
        "profile", "", "from:to, steps to write a trace of", flag_values=values
    )
    flags.DEFINE_string(
        "plan.topology", "", "what to plan for, e.g. v5e:4x4", flag_values=values
    )
    flags.DEFINE_float(
        "plan.price", None, "of a chip-hour, for the plan's cost", flag_values=values
    )
    flags.DEFINE_bool("list", False, "list the configs", flag_values=values)
    flags.DEFINE_bool("help", False, "this text", short_name="h", flag_values=values)
    return values


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


def parse(argv: Sequence[str]) -> Options | None:
    """The options of a command line (program name first); None if it asked for help.

    Raises:
        UsageError: anything that cannot be understood.
    """
    words, conditions = _take_named(argv, "condition")
    words, edit = _take_edits(words)
    words, given = _take_file(words)
    given = _from_workdir(words) if given is None else given
    config = ConfigDict(defaults()) if given is None else config_dict(given)
    try:
        values = _define(config, words)
        left = values(words)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(_explain(error, config, words)) from None
    if values.help:
        print(sys.modules["__main__"].__doc__ or "", values.get_help(), sep="\n")
        return None
    if values.list:
        print(list_configs())
        return None
    if left:
        raise UsageError(f"unknown argument {left[0]!r}: flags begin with --")
    # finished records tell in their card how they were made
    own = values.mode == "pretokenize" and values.workdir
    own = own and (as_path(values.workdir) / CARD_NAME).exists()
    own = own and not any(word.startswith("--config.") for word in words)
    if given is None and values.mode != "inspect" and not own:
        advice = "give one, e.g. --config=configs/digits.py"
        if values.mode in ("generate", "evaluate") and values.workdir:
            advice += f"; {values.workdir} holds no {SAVED}, which could stand for it"
        raise UsageError(f"no --config: {advice}")
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
    workdir = as_path(values.workdir or default_workdir(given or "inspect"))
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
        plan_topology=values["plan.topology"].value,
        plan_price=values["plan.price"].value,
    )
