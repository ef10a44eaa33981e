"""The mode that makes token records: raw source -> tokenizer -> records, once."""

import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data.card import CARD_NAME, Card, read_card, write_card
from cdcd_jax.data.records import write_split
from cdcd_jax.data.sources import RawSource, open_source
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.networks.tokenizer import make_tokenizer
from cdcd_jax.report import is_url

ENCODE_BATCH = 256


def default_config() -> dict[str, Any]:
    """Returns the config for the embedded digits.

    `seed` fixes the split into train and test (and what a source draws). `data.raw`
    names the source, `data.shard_records` is the most records in a shard, and any other
    key of `data` is an option of the source. `grid` is the shape of the tokens.
    """
    return {
        "seed": 0,
        "data": {"raw": "digits", "shard_records": 4096},
        "tokenizer": {"kind": "palette", "levels": 17},
        "grid": [8, 8],
    }


def pretokenize(config: Mapping[str, Any], workdir: str | Path) -> Path:
    """Makes the records of `config` in `workdir`, unless they are there; returns it.

    Same config, same bytes. A killed run leaves no `dataset.json`; the next one clears
    its shards and starts again.

    Raises:
      UsageError: a missing, unknown or bad key of the config.
      InputError: `workdir` holds records of another config, or cannot be made.
    """
    started = time.monotonic()
    if is_url(workdir):
        raise UsageError(
            f"Found {workdir} as the place of records; expected a local directory; "
            "make them in one with --mode=pretokenize --workdir=DIR and name its "
            "records in data.path."
        )
    workdir = Path(workdir)
    config = _check_config(config)
    options = dict(config["data"], seed=config["seed"])
    shard_records = options.pop("shard_records")
    source = open_source(options.pop("raw"), options)
    tokenizer = make_tokenizer(config["tokenizer"], tuple(config["grid"]))
    if (workdir / CARD_NAME).exists():
        _check_same(read_card(workdir), config, tokenizer.fingerprint)
        return workdir

    raw = source.card()
    _prepare(workdir, raw["splits"])
    splits = {}
    for split in raw["splits"]:
        splits[split] = write_split(
            workdir,
            split,
            _encoded(source, split, tokenizer),
            num_codes=tokenizer.num_codes,
            grid=tokenizer.grid,
            conditions=raw["conditions"],
            shard_records=shard_records,
        )
    card = Card(
        directory=workdir,
        name=raw["name"],
        num_codes=tokenizer.num_codes,
        grid=tokenizer.grid,
        conditions=raw["conditions"],
        tokenizer={**tokenizer.settings, "fingerprint": tokenizer.fingerprint},
        splits=splits,
        config=config,
    )
    write_card(card)
    counts = ", ".join(f"{n} {s.num_records}" for n, s in splits.items())
    seconds = time.monotonic() - started
    print(f"Wrote token records of {card.name} to {workdir}: {counts}; {seconds:.1f} s")
    return workdir


def _check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config as plain dicts, lists and scalars, as JSON would give it."""
    config = json.loads(json.dumps(config, default=_to_plain))
    default = default_config()
    if set(config) != set(default):
        raise UsageError(
            f"Found the keys {sorted(config)} in the config of the records; expected "
            f"{sorted(default)}; add or remove keys."
        )
    missing = set(default["data"]) - set(config["data"])
    if missing:
        raise UsageError(
            f"Found the keys {sorted(config['data'])} in `data`; expected "
            f"{sorted(missing)} too; add them."
        )
    size = config["data"]["shard_records"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise UsageError(
            f"Found data.shard_records = {size!r}; expected a whole number, 1 or more; "
            "correct it."
        )
    return config


def _to_plain(value: Any) -> Any:
    # ConfigDict is no dict, so json asks here
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise UsageError(
        f"Found {value!r} in the config of the records; expected numbers, texts, lists "
        "and dicts; correct it."
    )


def _check_same(card: Card, config: Mapping[str, Any], fingerprint: str) -> None:
    found = card.config
    keys = sorted(key for key in {*found, *config} if found.get(key) != config.get(key))
    if keys:
        raise InputError(
            f"Found records in {card.directory} made with "
            f"{ {key: found.get(key) for key in keys} }; expected "
            f"{ {key: config.get(key) for key in keys} }, as this config says; choose "
            "another work directory, or delete that one."
        )
    if card.tokenizer.get("fingerprint") != fingerprint:
        raise InputError(
            f"Found records in {card.directory} made with the tokenizer "
            f"{card.tokenizer}; expected the fingerprint {fingerprint}; choose another "
            "work directory, or delete that one."
        )


def _prepare(workdir: Path, splits: tuple[str, ...]) -> None:
    """Makes the directory and removes the shards that a killed run left there."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Found {workdir}, which cannot be made a directory ({error}); expected a "
            "place to write records to; choose another work directory."
        ) from error
    names = "|".join(re.escape(split) for split in splits)
    ours = re.compile(
        rf"({names})-\d{{5}}(-of-\d{{5}}\.arrayrecord|\.arrayrecord\.tmp)"
    )
    for path in workdir.iterdir():
        if ours.fullmatch(path.name):
            path.unlink()


def _encoded(source: RawSource, split: str, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Yields {"key", "tokens" [L] int32, "condition"} of each raw example, in order."""
    examples = source.examples(split)
    while chunk := list(itertools.islice(examples, ENCODE_BATCH)):
        tokens = tokenizer.encode(np.stack([example["image"] for example in chunk]))
        for example, row in zip(chunk, tokens, strict=True):
            yield {
                "key": example["key"],
                "tokens": row,
                "condition": example["condition"],
            }
