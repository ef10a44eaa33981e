"""The command line: reads flags and config, picks the mode, runs the stages.

python -m cdcd_jax.main --config=configs/digits.py[:variant] [--workdir=runs/X]
    [--mode=train|evaluate|generate|pretokenize|inspect|plan]
    [--config.section.key=value] [--condition.<modality>=...] [--name=...]
    [--views=N] [--profile=from:to] [--list] [--plan.topology=v5e:4x4]
    [--plan.price=...]

To evaluate and to generate, --workdir=DIR of a finished run or a converted model is
enough.
"""

import pathlib
import sys
from collections.abc import Sequence

from cdcd_jax import flags, hosts, stages, train
from cdcd_jax.config import Config, resolve_stages
from cdcd_jax.errors import InputError, Stopped, UsageError


def run_train(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax import prompts
    from cdcd_jax.generate import draw_step_samples

    resolved = resolve_stages(config, options.workdir)
    batches, data = train.input_stream(resolved), None
    if not config["data"]["synthetic"]:  # what a later part needs is missed now
        from cdcd_jax.evaluate import open_data

        data = open_data(resolved, train.build(resolved)[0])
    draw = draw_step_samples(resolved, workdir)
    train.claim_workdir(config, workdir)
    if data is not None:
        prompts.keep_vocabulary(data, workdir)
    seconds = train.train(resolved, workdir, batches, draw, options.profile)
    if hosts.is_main():
        print(f"training {seconds:.1f} s", file=sys.stderr)
    if config["eval"]["at_end"]:
        run_evaluate(config, workdir, options)


def run_evaluate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.evaluate import evaluate

    evaluate(resolve_stages(config, options.workdir), workdir)


def run_generate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.generate import generate

    resolved = resolve_stages(config, options.workdir)
    generate(resolved, workdir, options.conditions, options.name)


def run_pretokenize(
    config: Config, workdir: pathlib.Path, options: flags.Options
) -> None:
    from cdcd_jax.pretokenize import pretokenize

    pretokenize(stages.settings(config, options.workdir, options.views), workdir)


def run_inspect(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.inspect_data import inspect, tokenizer_of

    path = resolve_stages(config["data"], options.workdir)["path"]
    if not path:
        raise UsageError("nothing to inspect: name records with --config.data.path=DIR")
    inspect(path, workdir, tokenizer_of(path))


def run_plan(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.plan import plan

    plan(config, options.plan_topology, options.plan_price, workdir)


MODES = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "pretokenize": run_pretokenize,
    "inspect": run_inspect,
    "plan": run_plan,
}


def run(options: flags.Options) -> None:
    """Runs the stages that must exist first, then the mode on the config itself."""
    config, mode = options.config, options.mode
    todo = stages.todo(config, mode, options.workdir, options.given)
    if mode not in ("plan", "inspect"):  # which have no device of their own
        hosts.start()
        own = () if mode == "pretokenize" else (config,)
        for settings in (*own, *todo.values()):
            if "task" in settings:  # bad settings are refused at the door
                train.place(settings, train.build(settings)[0])
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
