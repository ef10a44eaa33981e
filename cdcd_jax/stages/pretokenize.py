"""The mode that makes token records: raw source -> tokenizer -> records, once.

Shards are shared out among processes and written one by one; a killed job goes on with
the shards that are missing. What a shard holds depends on the config alone, not on the
number of processes or devices: every device encodes batches of one size.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdcd_jax.config.records import (
    TRAINED,
    check_config,
    check_same,
    given_vocabulary,
)
from cdcd_jax.data.card import CARD_NAME, Card, read_card, write_card
from cdcd_jax.data.negatives_file import NamedNegatives, NegativesFile
from cdcd_jax.data.records import faults, files_of
from cdcd_jax.data.shards import Layout, join, read_note
from cdcd_jax.data.sources import TooManyUnreadable, open_source
from cdcd_jax.data.vocabulary import FILE_NAME, Vocabulary, train
from cdcd_jax.data.walk import told
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.representations import Representations
from cdcd_jax.models.texts import TextEncoder, text_conditions
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.reporting.files import is_url
from cdcd_jax.runtime import hosts
from cdcd_jax.stages.job import claim, made, tidy
from cdcd_jax.stages.repair import repair, strangers, vocabulary_of
from cdcd_jax.stages.shard_set import (
    ShardSet,
    encoded,
    make_shards,
    read_ahead,
    unreadable_of,
)
from cdcd_jax.training.telling import examples_text


def pretokenize(
    config: Mapping[str, Any], workdir: str | Path, verify: bool = True
) -> Path:
    """Makes the records of `config` in `workdir`, unless they are there; returns it.

    Of finished ones it reads every file, and makes again those that are missing or
    whose sha256 is not what the card says. Same config, same bytes. Every process of a
    run calls it; they must share a disk.

    Args:
      config: of the records, see `config.records`.
      workdir: where they lie.
      verify: whether to read finished ones; who does not must check them afterwards.

    Raises:
      UsageError: a missing, unknown or bad key of the config.
      InputError: `workdir` holds records of another config, or cannot be made; more
        than one in a hundred raw examples are unreadable; what is damaged cannot be
        made again, since the raw data have changed.
    """
    started = time.monotonic()
    if is_url(workdir):
        raise UsageError(
            f"Found {workdir} as the place of records; expected a local directory; "
            "make them in one with --mode=pretokenize --workdir=DIR and name its "
            "records in data.path."
        )
    workdir = Path(workdir)
    config = check_config(config)
    data = config["data"]
    source = open_source(data["raw"], data["path"], data["options"], config["seed"])
    tokenizer = open_tokenizer(config["tokenizer"], tuple(config["grid"]))
    raw = source.card()
    _check_media(raw["media"], tokenizer)
    vectors = Representations(config["represent"], raw["conditions"], tokenizer)
    given = _given(config["text"], raw["conditions"])
    table = config["negatives"]
    file = NegativesFile(table["file"]) if table["file"] else None
    job = {
        "config": config,
        "fingerprint": tokenizer.fingerprint,
        "vocabulary": given.sha256 if given else "",
        "negatives": file.sha256 if file else "",
        "represent": vectors.fingerprints,
    }
    card, kept = None, None
    if (workdir / CARD_NAME).exists():
        card = read_card(workdir)
        check_same(made(card), job, workdir)
        digest, kept = vocabulary_of(card)
        bad = list(faults(card, hashed=True)) if verify else []
        if not bad and (kept or not digest or not verify):
            if hosts.is_main():
                tidy(workdir)
                _say_complete(card, verify)
            return workdir
        _say_damaged(card, bad, digest and not kept)

    sizes = {name: ShardSet(config, source.split(name), name) for name in raw["splits"]}
    hosts.say(
        examples_text(
            {name: len(part.split) for name, part in sizes.items()}, raw["conditions"]
        )
    )
    named = _named(file, sizes["train"]) if file else None
    names = text_conditions(raw["conditions"])
    trained = given or kept or _trained(sizes["train"], names)
    texts = TextEncoder(config["text"], raw["conditions"], trained)
    if vectors.averaged:
        read = read_ahead(sizes["train"], list(range(sizes["train"].rows)))
        whole = encoded(iter(read), 0, tokenizer, texts)
        vectors.learn(e for e in whole if "unreadable" not in e)
    conditions = {**texts.conditions, **vectors.conditions}
    layout = Layout(tokenizer.num_codes, tokenizer.grid, conditions)
    if card:
        broken = [part for part, _ in bad]
        repair(card, broken, sizes, layout, tokenizer, texts, vectors, named)
        if hosts.is_main():
            tidy(workdir)
            _say_complete(card, verify)
        return workdir
    job["examples"] = {name: len(part.split) for name, part in sizes.items()}
    job["texts"] = texts.fingerprint
    job["classes"] = {
        name: list(spec["names"])
        for name, spec in raw["conditions"].items()
        if "names" in spec
    }
    claim(workdir, job)
    if hosts.is_main():
        texts.save(workdir)
    told = []
    for shards in sizes.values():
        try:
            make_shards(workdir, shards, layout, tokenizer, texts, vectors)
        except TooManyUnreadable as error:  # all of them are told at once
            told.append(str(error))
    if told:
        raise InputError("\n".join(told))
    hosts.wait_for_all("shards")
    if hosts.is_main():
        _finish(workdir, raw, config, sizes, layout, tokenizer, named, started)
    hosts.wait_for_all("card")
    return workdir


def _say_complete(card: Card, verified: bool) -> None:
    """One line, and one of what does not belong there."""
    files = files_of(card)
    size = sum(part.num_bytes for part in files) / 2**20
    told = f": {len(files)} files, {size:.1f} MiB, of the sizes and sha256 of the card"
    print(f"Token records of {card.name} are in {card.directory}{told * verified}")
    if extra := strangers(card):
        print(
            f"note: the card does not name {', '.join(extra[:3])}"
            + (f" and {len(extra) - 3} more" if len(extra) > 3 else "")
            + ": nothing reads them, delete them if they are not wanted"
        )


def _say_damaged(card: Card, bad: list[tuple[Any, str]], vocabulary: bool) -> None:
    if hosts.is_main():
        told = [f"{part.file} ({fault.split(';')[0]})" for part, fault in bad]
        told += [f"{FILE_NAME} (none, or another)"] if vocabulary else []
        print(f"Makes again in {card.directory}: {', '.join(told)}")


def _given(
    settings: Mapping[str, Any], conditions: Mapping[str, Any]
) -> Vocabulary | None:
    """The vocabulary that the config takes from other records, if it does."""
    path = given_vocabulary(settings)
    return Vocabulary.load(path) if path and text_conditions(conditions) else None


def _named(file: NegativesFile, shards: ShardSet) -> NamedNegatives:
    """What the file says of the examples of a split."""
    if not hasattr(shards.split, "names"):
        raw = shards.config["data"]["raw"]
        raise UsageError(
            f"Found negatives.file with data.raw = {raw!r}, which does not name its "
            "pictures or sounds; expected aist, tiktok or captions; leave the file "
            "away, so that negatives are drawn by negatives.rule."
        )
    number = shards.config["negatives"]["number"]
    return file.resolve(shards.split.names(), number, shards.views)


def _trained(shards: ShardSet, names: list[str]) -> Vocabulary | None:
    """Trained on the texts of a split, if the config asks for one.

    A split may have `texts()`, all of its texts, where these cost less than its
    examples; its views must say nothing else.
    """
    settings = shards.config["text"]
    if settings["vocabulary"] not in TRAINED or not names:
        return None
    started = time.monotonic()
    if hasattr(shards.split, "texts"):
        texts = list(shards.split.texts())
    else:
        read = read_ahead(shards, list(range(shards.rows)))
        sound = (example for example in read if "unreadable" not in example)
        texts = [example["condition"][name] for example in sound for name in names]
    pairs = settings["vocabulary"] == "pairs"
    vocabulary = train(texts, settings["size"], pairs)
    if hosts.is_main():
        what = {"words": "words", "pairs": "pieces of words"}[vocabulary.kind]
        print(
            f"Trained a vocabulary of {vocabulary.num_tokens} tokens ({what}) on "
            f"{len(texts)} texts; {time.monotonic() - started:.1f} s"
        )
    return vocabulary


def _finish(
    workdir: Path,
    raw: Mapping[str, Any],
    config: Mapping[str, Any],
    sizes: Mapping[str, ShardSet],
    layout: Layout,
    tokenizer: Any,
    named: NamedNegatives | None,
    started: float,
) -> None:
    """Draws or takes the negatives, writes the card and says what was made."""
    splits, table = {}, config["negatives"]
    for split, shards in sizes.items():
        paths = shards.paths(workdir)
        notes = [read_note(path, layout.num_codes) for path in paths]
        if None in notes:
            raise InputError(
                f"Found no shard {paths[notes.index(None)]}; expected it from another "
                "process; let all processes write to one shared disk."
            )
        unreadable = unreadable_of(shards)
        for note in notes:
            for file, reason in note.unreadable.items():
                unreadable.add(file, reason)
        number = table["number"] if split == "train" else 0
        splits[split] = join(
            workdir, split, notes, number, table["rule"], config["seed"], named
        )
        unreadable.report()
    card = Card(
        directory=workdir,
        name=raw["name"],
        num_codes=layout.num_codes,
        grid=layout.grid,
        conditions=layout.conditions,
        tokenizer={**tokenizer.settings, "fingerprint": tokenizer.fingerprint},
        splits=splits,
        config=config,
        left_out=dict(raw.get("left_out", {})),
    )
    write_card(card)
    tidy(workdir)
    counts = ", ".join(f"{n} {s.num_records}" for n, s in splits.items())
    used = max(s.codes_used for s in splits.values())
    seconds = time.monotonic() - started
    print(
        f"Wrote token records of {card.name} to {workdir}: {counts}; {used} of "
        f"{layout.num_codes} codes used; {seconds:.1f} s"
        + (f"; not read: {told(card.left_out)}" if card.left_out else "")
    )


def _check_media(raw: Mapping[str, Any], tokenizer: Any) -> None:
    """The source gives what the tokenizer takes.

    Sounds of whole seconds are no whole number of tokens; they may be longer than what
    the tokenizer takes by less than one of its tokens, and lose that end. With several
    levels, what it takes is a whole number of the coarsest one's tokens, whichever
    level is used.
    """
    wanted = tokenizer.media
    found = {key: raw.get(key) for key in wanted}
    if wanted["kind"] == found["kind"] == "audio":
        (size,), (given,) = wanted["shape"], found["shape"]
        hops = getattr(tokenizer, "hops", [size // math.prod(tokenizer.grid)])
        if 0 <= given - size < hops[-1]:
            found["shape"] = wanted["shape"]
    if json.dumps(found) != json.dumps(dict(wanted)):
        raise InputError(
            f"Found {dict(raw)} from the source; expected {dict(wanted)}, as the "
            "tokenizer and the grid of its tokens take it; set data.options to fit, or "
            "choose another tokenizer or grid."
        )
