"""The command line: reads flags and config, picks the mode, runs the stages.

python -m cdcd_jax.main --config=configs/digits.py[:variant] [--workdir=runs/X]
    [--mode=train|evaluate|generate|pretokenize|inspect|plan]
    [--config.section.key=value] [--condition.<modality>=...] [--name=...]
    [--edit.<input|mask|strength|expand|seconds>=...] [--edit.toward.<modality>=...]
    [--views=N] [--profile=from:to] [--list] [--plan.topology=v5e:4x4]
    [--plan.price=...]

To evaluate and to generate, --workdir=DIR of a finished run or a converted model is
enough.
"""

import sys
from collections.abc import Sequence

from cdcd_jax.errors import InputError, Stopped
from cdcd_jax.modes import flags
from cdcd_jax.modes.table import MODES
from cdcd_jax.runtime import hosts
from cdcd_jax.stages import order as stages
from cdcd_jax.training import program


def run(options: flags.Options) -> None:
    """Runs the stages that must exist first, then the mode on the config itself."""
    config, mode = options.config, options.mode
    todo = stages.todo(config, mode, options.workdir, options.given)
    if mode not in ("plan", "inspect"):  # which have no device of their own
        hosts.start()
        own = () if mode == "pretokenize" else (config,)
        for settings in (*own, *todo.values()):
            if "task" in settings:  # bad settings are refused at the door
                program.place(settings, program.build(settings)[0])
            if settings.get("tokenizer"):
                stages.check_tokenizer(settings)
    if mode in ("generate", "evaluate"):
        flags.check_model(config, options.workdir)
    for name, stage in todo.items():
        MODES[stage["mode"]](stage, options.workdir / name, options)
    if mode != "pretokenize":
        MODES[mode](config, options.workdir, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    try:
        options = flags.parse(sys.argv if argv is None else argv)
        if options is not None:
            run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a disk that is full, a place that cannot be written
        print(f"error: {error}", file=sys.stderr)
        return InputError.exit_code
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
    except KeyboardInterrupt:  # outside of training, which saves first
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
