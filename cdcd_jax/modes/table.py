"""What each --mode does with a config and its work directory.

Every mode is a function of (config, its work directory, options). What one needs is
imported when it runs, since plots, sound and records take seconds to import.
"""

import pathlib
import sys

from cdcd_jax.config import Config, resolve_stages
from cdcd_jax.errors import UsageError
from cdcd_jax.modes import flags
from cdcd_jax.runtime import hosts
from cdcd_jax.stages import order as stages
from cdcd_jax.training import loop, program
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.workdir import claim_workdir


def run_train(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.generation import prompts
    from cdcd_jax.generation.generate import draw_step_samples

    resolved = resolve_stages(config, options.workdir)
    batches, data = input_stream(resolved), None
    if not config["data"]["synthetic"]:  # what a later part needs is missed now
        from cdcd_jax.evaluation.evaluate import open_data

        data = open_data(resolved, program.build(resolved)[0])
    draw = draw_step_samples(resolved, workdir)
    claim_workdir(config, workdir)
    if data is not None:
        prompts.keep_vocabulary(data, workdir)
    seconds = loop.train(resolved, workdir, batches, draw, options.profile)
    if hosts.is_main():
        print(f"training {seconds:.1f} s", file=sys.stderr)
    if config["eval"]["at_end"]:
        run_evaluate(config, workdir, options)


def run_evaluate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.evaluation.evaluate import evaluate

    evaluate(resolve_stages(config, options.workdir), workdir)


def run_generate(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.generation.generate import generate

    resolved = resolve_stages(config, options.workdir)
    given = options.conditions
    generate(resolved, workdir, given, options.name, options.edit)


def run_pretokenize(
    config: Config, workdir: pathlib.Path, options: flags.Options
) -> None:
    from cdcd_jax.stages.pretokenize import pretokenize

    pretokenize(stages.settings(config, options.workdir, options.views), workdir)


def run_inspect(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.modes.inspect_data import inspect, tokenizer_of

    path = resolve_stages(config["data"], options.workdir)["path"]
    if not path:
        raise UsageError("nothing to inspect: name records with --config.data.path=DIR")
    inspect(path, workdir, tokenizer_of(path))


def run_plan(config: Config, workdir: pathlib.Path, options: flags.Options) -> None:
    from cdcd_jax.modes.plan import plan

    plan(config, options.plan_topology, options.plan_price, workdir)


MODES = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "pretokenize": run_pretokenize,
    "inspect": run_inspect,
    "plan": run_plan,
}
