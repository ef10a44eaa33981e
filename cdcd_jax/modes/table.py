"""What each --mode does with a command line's options.

What one needs is imported when it runs, since plots, sound and records take seconds to
import.
"""

from typing import Any

from cdcd_jax.errors import UsageError

Options = Any  # `flags.Options`, which is made with the names below


def run_train(options: Options) -> None:
    from cdcd_jax import api

    named = dict(stage=options.stage, given=options.given, profile=options.profile)
    api.train(options.config, options.workdir, **named)


def run_evaluate(options: Options) -> None:
    from cdcd_jax import api

    _check_stages(options)
    api.open(options.workdir, options.config, options.given).evaluate()


def run_generate(options: Options) -> None:
    from cdcd_jax.modes.generate import generate

    _check_stages(options)
    generate(options)


def run_export(options: Options) -> None:
    from cdcd_jax import api
    from cdcd_jax.runtime import hosts

    _check_stages(options)
    model = api.open(options.workdir, options.config, options.given)
    place = model.save(options.output or model.workdir / "export", options.licence)
    hosts.say(f"the model of step {model.step}, to be passed on: {place}")


def run_pretokenize(options: Options) -> None:
    from cdcd_jax.data.card import CARD_NAME
    from cdcd_jax.stages.run import repair_records, run_stages

    config, workdir, given = options.config, options.workdir, options.given
    stage, views = options.stage, options.views
    if (workdir / CARD_NAME).exists():  # records themselves, not a run with stages
        repair_records(workdir, views)
        return
    run_stages(config, workdir, "pretokenize", given, stage, views)


def run_inspect(options: Options) -> None:
    from cdcd_jax.config import resolve_stages
    from cdcd_jax.modes.inspect_data import inspect, tokenizer_of

    _check_stages(options)
    path = resolve_stages(options.config["data"], options.workdir)["path"]
    if not path:
        raise UsageError("nothing to inspect: name records with --config.data.path=DIR")
    inspect(path, options.workdir, tokenizer_of(path))


def run_plan(options: Options) -> None:
    from cdcd_jax.modes.plan import plan

    _check_stages(options)
    topology, price = options.plan_topology, options.plan_price
    plan(options.config, topology, price, options.workdir)


def _check_stages(options: Options) -> None:
    """Refuses a mode that makes no stage where one is missing, or is none."""
    from cdcd_jax.stages import order

    order.todo(options.config, options.mode, options.workdir, options.given)


MODES = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "export": run_export,
    "pretokenize": run_pretokenize,
    "inspect": run_inspect,
    "plan": run_plan,
}
