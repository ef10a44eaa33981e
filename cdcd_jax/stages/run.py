"""Runs stages, and one training with its samples and its evaluation."""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.config import resolve_stages
from cdcd_jax.data.card import Card, read_card
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation.progress import draw_step_samples
from cdcd_jax.models.model import Trained
from cdcd_jax.models.run_records import check_records, keep_records
from cdcd_jax.models.vocabularies import keep_vocabulary
from cdcd_jax.runtime import hosts, lock
from cdcd_jax.runtime.exported import WEIGHTS
from cdcd_jax.stages import order
from cdcd_jax.training import memory
from cdcd_jax.training.inputs import input_stream
from cdcd_jax.training.loop import train
from cdcd_jax.training.program import build, place
from cdcd_jax.training.telling import examples_text
from cdcd_jax.training.workdir import claim_workdir

# Places of what is known by its content, once a run keeps the digest of its records.
MOVED = ("data.path", "tokenizer.path")


def run_stages(
    config: Mapping[str, Any],
    workdir: Any,
    mode: str,
    given: str = "",
    stage: str = "",
    views: int = 0,
    profile: tuple[int, int] | None = None,
) -> None:
    """Makes what must exist before a mode, and trains the model that is asked for.

    Of bad settings nothing is made.

    Args:
        config: a whole experiment.
        workdir: of the run; each stage lies in a folder of its own.
        mode: train, which ends with the model unless `stage` ends it, or pretokenize.
            For train, the caller holds the work directory (`lock.held`).
        given: what --config named, for advice.
        stage: only this one and what it needs.
        views: of each training example in records; 0 for what the config says.
        profile: the steps (from, to) of which each training writes a trace.

    Raises:
        UsageError: settings of a stage, or of the config itself, that cannot be; to
            train an exported model in its place.
    """
    if mode == "train" and (workdir / WEIGHTS).exists():
        raise UsageError(
            f"{workdir} holds an exported model, which has no state of an optimizer: "
            f"train in another --workdir, with --config.init_from={workdir} to start "
            "from it"
        )
    todo = order.todo(config, mode, workdir, given, stage)
    hosts.start()
    checked = () if mode == "pretokenize" else (config,)
    for settings in (*checked, *todo.values()):
        order.check(settings)
        if "task" in settings:
            task, optimizer = build(settings)
            memory.check(settings, task, optimizer, place(settings, task))
    jobs = [(name, settings, workdir / name) for name, settings in todo.items()]
    for _, settings, folder in jobs:
        order.check_files(settings, folder)
    if mode == "train" and not stage:
        jobs.append(("the model", {"mode": "train", **config}, workdir))
    for number, (name, settings, folder) in enumerate(jobs, start=1):
        trains = settings["mode"] == "train"
        what = "training" if trains else "token records"
        hosts.say(f"stage {number} of {len(jobs)}: {name} ({what}) in {folder}")
        if folder == workdir:  # which whoever calls this holds
            run_training(config, folder, workdir, profile)
        elif trains:
            with lock.held(folder):
                run_training(settings, folder, workdir, profile)
        else:
            from cdcd_jax.stages.pretokenize import pretokenize

            # training reads no more of them than it must, and says what is damaged
            own = order.settings(settings, workdir, views)
            with lock.held(folder):
                pretokenize(own, folder, verify=mode == "pretokenize")


def repair_records(workdir: Any, views: int = 0) -> None:
    """Makes again what is missing or damaged of records, by their own card.

    Args:
        workdir: of the records themselves.
        views: of each training example; 0 for what the card says.

    Raises:
        InputError: a card that does not tell how its records were made; see
            `pretokenize`.
    """
    from cdcd_jax.stages.pretokenize import pretokenize

    hosts.start()
    config = read_card(workdir).config
    if not config:
        raise InputError(
            f"Found no config in the card of {workdir}; expected the settings that its "
            "records were made with; copy the files anew, or make the records again "
            "with --config=configs/<name>.py in another directory."
        )
    if views:
        config = {**config, "data": {**config["data"], "views": views}}
    with lock.held(workdir):
        pretokenize(config, workdir)


def run_training(
    config: Mapping[str, Any],
    workdir: Any,
    pipeline: Any,
    profile: tuple[int, int] | None = None,
) -> None:
    """Trains one model in its own directory, and evaluates it where the config says so.

    Args:
        pipeline: the work directory of the whole run, in which stages lie.
    """
    resolved = resolve_stages(config, pipeline)
    batches, data, kept = input_stream(resolved), None, None
    if not config["data"]["synthetic"]:  # what a later part needs is missed now
        from cdcd_jax.evaluation.evaluate import open_data

        model = Trained(resolved, workdir)
        if "media" not in model.description:
            kept = check_records(read_card(resolved["data"]["path"]), workdir)
        data = open_data(model)
        hosts.say(found_text(data))
    else:
        hosts.say("random batches in place of data (data.synthetic)")
    draw = draw_step_samples(resolved, workdir)
    # of a stage "@..." is beside it, of the whole run below it
    own = config if workdir == pipeline else resolved
    claim_workdir(own, workdir, moved=MOVED if kept else ())
    if isinstance(data, Card):
        keep_vocabulary(data, workdir)
        keep_records(data, workdir, kept)
    seconds = train(resolved, workdir, batches, draw, profile)
    hosts.say(f"training {seconds:.1f} s")
    if config["eval"]["at_end"]:
        from cdcd_jax.evaluation.evaluate import evaluate

        evaluate(Trained(resolved, workdir))


def found_text(data: Any) -> str:
    """What `open_data` opened, records or a raw source, in words."""
    if isinstance(data, Card):
        counts = {name: split.num_records for name, split in data.splits.items()}
        return examples_text(counts, data.conditions)
    card = data.card()
    counts = {name: len(data.split(name)) for name in card["splits"]}
    return examples_text(counts, card["conditions"])
