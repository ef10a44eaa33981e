"""What --help and --list answer: one screen, a key, a flag, the configs, one of them.

Nothing heavy is imported here, so that an answer comes at once.
"""

import difflib
import itertools
from collections.abc import Iterable, Sequence

from cdcd_jax.config.files import config_files, list_configs
from cdcd_jax.errors import UsageError

SCREEN = """\
python -m cdcd_jax.main --config=FILE[:VARIANT] [--mode=MODE] [flags]
  (or: cdcd_jax ...; a flag's value may also follow as the next word)

modes  train (the default: makes what is missing, trains, evaluates), evaluate,
       generate, export (a model to pass on), pretokenize (records alone),
       inspect (records), plan
flags  --workdir=DIR      where all lies; runs/<config> by default
       --config.KEY=VALUE any setting, such as --config.optim.num_steps=3000
       --stage=NAME       that stage and what it needs, then stop
       --condition.<modality>=...  --edit.<name>=...  --name=NAME    generate
       --views=N (pretokenize)   --profile=FROM:TO (train)
       --output=DIR  --licence=NAME  (export)
       --plan.topology=v5e:4x4  --plan.price=...  (plan)
more   --help=KEY or --help=FLAG   meaning and default: --help=optim.num_steps
       --list   the configs;   --list=NAME   one of them, as a start of your own

  python -m cdcd_jax.main --config=configs/digits.py
  python -m cdcd_jax.main --workdir=runs/digits --mode=evaluate
  python -m cdcd_jax.main --workdir=runs/digits --mode=generate \\
      --condition.label=3,8
  python -m cdcd_jax.main --mode=inspect --config.data.path=runs/digits/records
pages: docs/data.md (own pictures), docs/generate.md, docs/metrics.md"""

# flag -> its meaning; of them the command line is made too
FLAGS = {
    "config": "a config file and its variant, such as configs/digits.py:vanilla; "
    "--config.KEY=VALUE changes a setting",
    "workdir": "default runs/X[-variant]; to generate, evaluate and export, a model's "
    "own config.json serves where --config is left out",
    "mode": "what to do: train (the default), evaluate, generate, pretokenize, "
    "export, inspect or plan",
    "stage": "make this stage and what it needs, then stop",
    "name": "of generated samples, which lie in <workdir>/samples/NAME; default user",
    "views": "views of each training example in records; default as the config says",
    "output": "where an export goes; default <workdir>/export",
    "licence": "of the exported weights, as hubs call it, e.g. cc-by-4.0",
    "profile": "from:to, steps to write a trace of",
    "plan.topology": "what to plan for, e.g. v5e:4x4",
    "plan.price": "of a chip-hour, for the plan's cost",
    "list": "the configs; --list=NAME shows one of them",
    "help": "one screen; --help=KEY says what a key or a flag is",
    "condition.<modality>": "what to generate under, see docs/generate.md",
    "edit.<input|mask|strength|expand|seconds|toward.<modality>>": "of --mode=generate",
}


def answer(words: Sequence[str]) -> str | None:
    """The text that a command line asks for by --help or --list; None for none.

    Raises:
        UsageError: help of what is not there.
    """
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, _, text = word.partition("=")
        text = text or following * (not following.startswith("-"))
        if name in ("--help", "-help", "-h", "--h"):
            return help_of(text) if text else SCREEN
        if name in ("--list", "-list"):
            return shown_config(text) if text else list_configs()
    return None


def help_of(name: str) -> str:
    """Meaning and default of a flag or a key of the config."""
    flag = name.lstrip("-")
    for known, meaning in FLAGS.items():
        if flag in (known, known.partition("<")[0].rstrip(".")):
            return f"--{known}\n      {meaning}"
    from cdcd_jax.config.meanings import explain

    return explain(flag)


def shown_config(name: str) -> str:
    """The text of a config file of the package, by its name with or without folder.

    Raises:
        UsageError: no such config; names the nearest.
    """
    known, wanted = config_files(), name.partition(":")[0]
    path = wanted.removeprefix("configs/").removesuffix(".py")
    by_last = [key for key in known if key.endswith(f"/{path}.py")]
    chosen = f"configs/{path}.py" if f"configs/{path}.py" in known else ""
    chosen = chosen or (by_last[0] if len(by_last) == 1 else "")
    if not chosen:
        raise UsageError(
            f"no config {name!r}{did_you_mean(f'configs/{path}.py', known)} "
            "(--list names all)"
        )
    return known[chosen].read_text("utf-8").rstrip()


def did_you_mean(wrong: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """', did you mean ...?' of the nearest, '' where none is near."""
    near = difflib.get_close_matches(wrong.lower(), list(known), 1, cutoff)
    return f", did you mean {near[0]}?" if near else ""


def unknown_flag(name: str) -> str:
    """What to say of a flag that does not exist: the nearest flag or key."""
    flag = name.lstrip("-")
    if named := [known for known in FLAGS if known.startswith(f"{flag}.<")]:
        return f"--{flag} needs a name: --{named[0]}=..."
    known = [known.partition("<")[0].rstrip(".") for known in FLAGS]
    near = difflib.get_close_matches(flag.lower(), known, 1, 0.6)
    if not near:
        from cdcd_jax.config.meanings import nearest

        near = [f"config.{key}" for key in nearest(flag)]
    said = f", did you mean {' or '.join(f'--{other}' for other in near)}?"
    return f"unknown flag --{flag}{said if near else ''} (--help names all)"


def unknown_word(word: str, modes: Iterable[str]) -> str:
    """What to say of a word that is no flag, such as a mode or a config alone."""
    # dashes and quotes as texts have them, where a command was copied from one
    bare = word.strip(
        "-\u2010\u2011\u2012\u2013\u2014\u2212\u201c\u201d\u2018\u2019\"'"
    )
    near = difflib.get_close_matches(bare.lower(), list(modes), 1, 0.6)
    flag = f"--mode={near[0]}" if near else ""
    if bare.partition(":")[0].endswith(".py") and "=" not in bare:
        flag = f"--config={bare}"
    if "=" in bare or bare in FLAGS:
        flag = f"--{bare}"
    said = f", did you mean {flag}?" if flag else ""
    return f"unknown argument {word!r}{said} (flags begin with --)"
