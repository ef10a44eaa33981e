"""Reads the command line into a config and a handful of options."""

import ast
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from cdcd_jax.config import defaults, differences, merge, unknown_key
from cdcd_jax.errors import UsageError
from cdcd_jax.networks.conditioners import full_spec
from cdcd_jax.reporting.report import as_path

MODES = ("train", "evaluate", "generate", "pretokenize", "inspect", "plan")
SAVED = "config.json"  # in a work directory
# Keys of a model's sections that neither network nor noise depends on.
_OF_TRAINING = (
    *("model.dtype", "model.condition_dropout", "model.embedding_scale"),
    *("diffusion.time_sampling", "diffusion.mask_weight"),
    *("diffusion.auxiliary_weight", "diffusion.auxiliary_ramp"),
)
EDITS = ("input", "mask", "strength", "expand", "seconds", "toward.<modality>")
_TAKEN = re.compile("guided|unguided|reconstructions|step_.*")  # names of samples


@dataclasses.dataclass(frozen=True)
class Options:
    """What a command line says."""

    given: str  # what --config named; "" for none
    config: dict[str, Any]
    workdir: pathlib.Path
    mode: str
    name: str  # of the samples that generate writes
    conditions: dict[str, str]  # modality -> text of --condition.<modality>
    edit: dict[str, str]  # name -> text of --edit.<name>
    views: int  # of each example, for records; 0: as the config says
    profile: tuple[int, int] | None  # first and last step of the trace
    plan_topology: str  # such as v5e:4x4
    plan_price: float | None  # of a chip-hour


def config_files() -> dict[str, pathlib.Path]:
    """'configs/X.py' -> where it lies: in the checkout, or installed in the package."""
    package = pathlib.Path(__file__).parents[1]
    checkout = package.parent / "configs"
    root = checkout if checkout.is_dir() else package / "configs"
    files = sorted(f for f in root.rglob("*.py") if f.name != "__init__.py")
    return {f"configs/{f.relative_to(root).as_posix()}": f for f in files}


def find_config(text: str) -> tuple[str, str]:
    """The file of `--config` and what follows its colon ("" if nothing).

    Raises:
        UsageError: no such file.
    """
    name, _, variant = text.partition(":")
    if pathlib.Path(name).is_file():
        return name, variant
    known = config_files()
    if name in known:
        return str(known[name]), variant
    raise UsageError(
        f"no config file {name!r}: give a file that exists, or one of "
        f"{', '.join(known)}"
    )


def default_workdir(config: str) -> pathlib.Path:
    """runs/<path below configs>[-<variant>]: configs/a/b.py:c -> runs/a/b-c."""
    name, _, variant = config.partition(":")
    path = pathlib.PurePath(name).with_suffix("")
    if "configs" in path.parts:
        start = path.parts.index("configs") + 1
        path = pathlib.PurePath(*path.parts[start:])
    else:
        path = pathlib.PurePath(path.name)
    return pathlib.Path("runs") / (f"{path}-{variant}" if variant else path)


def config_of(workdir: str) -> str | None:
    """The config whose runs lie in `workdir` by default; None if there is none."""
    parts = pathlib.PurePath(workdir).parts
    if len(parts) < 2 or parts[0] != "runs":
        return None
    name, _, variant = "/".join(parts[1:]).partition("-")
    file = f"configs/{name}.py"
    return (
        None if file not in config_files() else file + (f":{variant}" * bool(variant))
    )


def list_configs() -> str:
    """One line a config file: its name and the first line of its docstring."""
    lines = []
    for name, path in config_files().items():
        document = ast.get_docstring(ast.parse(path.read_text())) or ""
        lines.append(f"{name}  {document.partition(chr(10))[0]}")
    return "\n".join(lines)


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


def load_config(text: str) -> ConfigDict:
    """Runs `get_config(variant)` of the file that `--config=<file>[:variant]` names.

    A `config.json` of a work directory is taken as it is.

    Raises:
        UsageError: no such file or variant, or a file that is not a config.
    """
    if text.rpartition("/")[2] == SAVED:
        return _saved_config(as_path(text))
    file, variant = find_config(text)
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file: give a config such as X.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UsageError(f"config {file} has no function get_config(variant)")
        config = module.get_config(variant)
    except UsageError:
        raise
    except Exception as error:  # whatever the file does
        raise UsageError(
            f"config {file} cannot be run ({type(error).__name__}: {error}): mend it"
        ) from error
    if not isinstance(config, ConfigDict):
        raise UsageError(
            f"config {file}: get_config gave a {type(config).__name__}, expected a "
            "ConfigDict; wrap it: ConfigDict(experiment(...))"
        )
    return config


def _saved_config(path: Any) -> ConfigDict:
    """The config of a model that was trained or converted, with today's defaults."""

    def tuples(value: Any) -> Any:  # which are lists in json
        if isinstance(value, dict):
            return {k: tuples(v) for k, v in value.items()}
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    try:
        saved = tuples(dict(json.loads(path.read_text())))
        for key in ("mode", "on_request"):  # a stage's own, none of its config
            saved.pop(key, None)
        return ConfigDict(merge(defaults(saved.get("task", "conditional")), saved))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"cannot read {path} ({error}): bring back the file, or name the config "
            "with --config"
        ) from None


def check_model(config: Mapping[str, Any], workdir: Any) -> None:
    """Refuses settings of another model than the one that a work directory holds.

    Raises:
        UsageError: they differ from its `config.json`, if that can be read, in what
            makes the network or the noise.
    """
    if not (workdir / SAVED).exists():
        return
    try:
        saved = _saved_config(workdir / SAVED).to_dict()
    except UsageError as error:
        print(f"warning: {error}; going on with --config", file=sys.stderr)
        return
    if found := differences(_of_model(saved), _of_model(config)):
        raise UsageError(
            f"{workdir} holds a model of other settings, which differ in "
            f"{'; '.join(found)}. Use the model as it was made: leave these settings "
            "out, or choose its --config or another --workdir"
        )


def _of_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the network and the noise, with all defaults, as json has it."""
    sections = {k: dict(config.get(k, {})) for k in ("model", "quantizer", "diffusion")}
    for key in _OF_TRAINING:
        section, _, name = key.partition(".")
        sections[section].pop(name, None)
    conditions = sections["model"].get("conditions", {})
    sections["model"]["conditions"] = {
        name: {**full_spec(name, spec), "frozen": None, "names": None}
        for name, spec in conditions.items()
    }
    return json.loads(json.dumps({**sections, "task": config["task"]}))


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
    flags.DEFINE_enum("mode", "train", MODES, "what to do", flag_values=values)
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
    if not name.isprintable() or len(name.encode()) > 200:
        expected = "printable characters, at most 200 bytes of them"
    elif not name or name.startswith(".") or pathlib.PurePath(name).name != name:
        expected = "a name of a folder, no path and no dot in front"
    elif _TAKEN.fullmatch(name):
        expected = "another name than those that training and evaluation use"
    else:
        return
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
    config = ConfigDict(defaults()) if given is None else load_config(given)
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
    if given is None and values.mode != "inspect":
        advice = "give one, e.g. --config=configs/digits.py"
        if values.mode in ("generate", "evaluate") and values.workdir:
            advice += f"; {values.workdir} holds no {SAVED}, which could stand for it"
        raise UsageError(f"no --config: {advice}")
    if values.views and values.mode != "pretokenize":
        raise UsageError(f"--views={values.views} is for --mode=pretokenize alone")
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
        conditions=conditions,
        edit=edit,
        views=values.views,
        profile=parse_range(values.profile),
        plan_topology=values["plan.topology"].value,
        plan_price=values["plan.price"].value,
    )
