"""The command line: reads flags and config, picks the mode, runs the stages.

python -m cdcd_jax.main --config=configs/digits.py[:variant] [--workdir=runs/X]
    [--mode=train|evaluate|generate|pretokenize] [--config.section.key=value]
    [--condition.<modality>=...] [--name=...] [--list]
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cdcd_jax import flags, train
from cdcd_jax.config import resolve_stages
from cdcd_jax.errors import InputError, Stopped, UsageError


def open_records(config: Mapping[str, Any]) -> Any:
    """The card of `data.path`, checked against the model's settings."""
    from cdcd_jax.data import card as cards
    from cdcd_jax.data import pipeline, records

    if not config["data"]["path"]:
        raise UsageError("data.path is empty: name a directory of records")
    card = cards.read_card(config["data"]["path"])
    records.check_shards(card)
    model = config["model"]
    pipeline.check_matches(
        card, model["num_codes"], tuple(model["grid"]), model["conditions"]
    )
    return card


def run_train(config: Mapping[str, Any], workdir: pathlib.Path, options: Any) -> None:
    from cdcd_jax.data import pipeline
    from cdcd_jax.generate import draw_step_samples

    card = open_records(config)
    train.claim_workdir(options.config, workdir)

    def batches(start_step: int):
        data = config["data"]
        return pipeline.training_batches(
            card,
            batch_size=data["batch_size"],
            seed=config["seed"],
            start_step=start_step,
            threads=data["threads"],
        )

    seconds = train.train(config, workdir, batches, draw_step_samples(config, workdir))
    print(f"training {seconds:.1f} s", file=sys.stderr)
    if config["eval"]["at_end"]:
        run_evaluate(config, workdir, options)


def run_evaluate(config: Mapping[str, Any], workdir: pathlib.Path, _: Any) -> None:
    from cdcd_jax.evaluate import evaluate

    evaluate(config, workdir, open_records(config))


def run_generate(
    config: Mapping[str, Any], workdir: pathlib.Path, options: Any
) -> None:
    from cdcd_jax.generate import generate

    generate(config, workdir, options.conditions, options.name)


def run_pretokenize(config: Mapping[str, Any], workdir: pathlib.Path, _: Any) -> None:
    from cdcd_jax.pretokenize import pretokenize

    pretokenize({k: v for k, v in config.items() if k != "mode"}, workdir)


MODES = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "pretokenize": run_pretokenize,
}


def run(options: flags.Options) -> None:
    """Runs the stages that must exist first, then the mode on the config itself."""
    config = resolve_stages(options.config, options.workdir)
    stages = config.get("stages", {})
    for settings in (config, *stages.values()):
        if "task" in settings:
            train.build(settings)  # refuses bad settings before anything is made
    if options.mode == "pretokenize" and "task" in config:
        stages = {k: v for k, v in stages.items() if v["mode"] == "pretokenize"}
        if not stages:
            raise UsageError("this config has no stage that makes records")
    for name, stage in stages.items() if options.mode != "generate" else ():
        MODES[stage["mode"]](stage, options.workdir / name, options)
    if options.mode != "pretokenize" or "task" not in config:
        MODES[options.mode](config, options.workdir, options)


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
