"""The command line: reads flags and config, picks the mode, runs the stages.

python -m cdcd_jax.main --config=configs/digits.py[:variant] [--workdir=runs/X]
    [--mode=train|evaluate|generate|pretokenize|plan] [--config.section.key=value]
    [--condition.<modality>=...] [--name=...] [--profile=from:to] [--list]
    [--plan.topology=v5e:4x4] [--plan.price=...]
"""

import pathlib
import sys
from collections.abc import Sequence

from cdcd_jax import flags, hosts, train
from cdcd_jax.config import Config, resolve_stages
from cdcd_jax.errors import InputError, Stopped, UsageError


def run_train(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.generate import draw_step_samples

    resolved = resolve_stages(config, options.workdir)
    batches, draw = train.input_stream(resolved), draw_step_samples(config, workdir)
    train.claim_workdir(config, workdir)
    seconds = train.train(resolved, workdir, batches, draw, options.profile)
    if hosts.is_main():
        print(f"training {seconds:.1f} s", file=sys.stderr)
    if config["eval"]["at_end"]:
        run_evaluate(config, workdir, options)


def run_evaluate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.data.pipeline import open_dataset
    from cdcd_jax.evaluate import evaluate

    data = resolve_stages(config["data"], options.workdir)
    evaluate(config, workdir, open_dataset(data["path"], config["model"]))


def run_generate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.generate import generate

    generate(config, workdir, options.conditions, options.name)


def run_pretokenize(config: Config, workdir: pathlib.Path, _: flags.Options) -> None:
    from cdcd_jax.pretokenize import pretokenize

    if hosts.is_main():
        pretokenize({k: v for k, v in config.items() if k != "mode"}, workdir)
    hosts.wait_for_all(f"records of {workdir.name}")


def run_plan(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.plan import plan

    plan(config, options.plan_topology, options.plan_price, workdir)


MODES = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "pretokenize": run_pretokenize,
    "plan": run_plan,
}


def run(options: flags.Options) -> None:
    """Runs the stages that must exist first, then the mode on the config itself."""
    config, mode = options.config, options.mode
    stages = config["stages"] if mode not in ("generate", "plan") else {}
    if mode == "pretokenize":
        stages = {k: v for k, v in stages.items() if v["mode"] == mode}
        if not stages:
            raise UsageError("this config has no stage that makes records: add one")
    if mode != "plan":  # which has no device of its own
        hosts.start()
        for settings in (config, *stages.values()):
            if "task" in settings:  # bad settings are refused at the door
                train.place(settings, train.build(settings)[0])
    for name, stage in stages.items():
        MODES[stage["mode"]](stage, options.workdir / name, options)
    if mode != "pretokenize":
        MODES[mode](config, options.workdir, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 bad usage."""
    try:
        options = flags.parse(sys.argv if argv is None else argv)
        if options is not None:
            run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
