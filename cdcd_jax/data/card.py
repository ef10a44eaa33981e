"""The card of a token dataset: what `dataset.json` says, reading and writing it.

The card is written last, so that a directory with a card is complete.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cdcd_jax.errors import InputError

FORMAT = 1
CARD_NAME = "dataset.json"

# Of a bad file that the card names, and of a bad card.
REPAIR = (
    "copy the file anew, or make it again with `python -m cdcd_jax.main "
    "--mode=pretokenize --workdir={directory}`, which leaves what is sound as it is"
)
MAKE_AGAIN = (
    "copy the file anew, or delete {directory} and make the records again with "
    "`python -m cdcd_jax.main --config=configs/<name>.py --mode=pretokenize`"
)


@dataclass(frozen=True)
class Shard:
    """One file of a split. `num_bytes` is the file's size, `sha256` hexadecimal."""

    file: str
    num_records: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Negatives:
    """A file uint32 [N, number] (.npy): for each record, others of another group.

    Attributes:
      rule: the groups that must differ, such as label, caption, genre, track; of no
        meaning, like `seed`, where a file names the negatives.
      given: sha256 of that file; "" for a table that was drawn.
    """

    file: str
    number: int
    rule: str
    seed: int
    num_bytes: int
    sha256: str
    given: str = ""


@dataclass(frozen=True)
class Split:
    """The shards of a split in the order of their records, and what they hold.

    Attributes:
      codes_used: how many of the K codes occur; 0 where unknown.
      perplexity: of the codes' frequencies, 1 to K; 0 where unknown.
      negatives: the table of inter-sample negatives, if there is one.
      unreadable: raw examples that were left out, name -> reason.
    """

    num_records: int
    shards: tuple[Shard, ...]
    codes_used: int = 0
    perplexity: float = 0.0
    negatives: Negatives | None = None
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """What `dataset.json` says.

    Attributes:
      directory: where the card and the shards lie.
      name: of the raw source.
      num_codes: K; tokens lie in [0, K).
      grid: shape of the tokens before they are flattened; L is its product.
      conditions: name -> {"shape", "dtype"} and, for labels, "num_classes", for
        pictures "levels" and "grid", for vectors "encoder" (the fingerprint of what
        made them) and perhaps "mean_by" (whose classes they are means of); perhaps
        "kind" and "names".
      tokenizer: settings of the tokenizer, with `kind` and `fingerprint`.
      splits: name -> Split.
      config: the settings that the records were made with; {} where unknown.
      left_out: files of the source that are not read, kind -> number; see
        `sources.RawSource`.
    """

    directory: Path
    name: str
    num_codes: int
    grid: tuple[int, ...]
    conditions: dict[str, dict[str, Any]]
    tokenizer: dict[str, Any]
    splits: dict[str, Split]
    config: dict[str, Any]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """L, the number of tokens of a record."""
        return math.prod(self.grid)


def write_card(card: Card) -> Path:
    """Writes `dataset.json` of a dataset whose shards are all written; returns it.

    The file appears whole or not at all.
    """
    content = {"format": FORMAT, **asdict(card)}
    del content["directory"]
    if not card.left_out:  # as cards were before
        del content["left_out"]
    for split in content["splits"].values():
        if split["negatives"] and not split["negatives"]["given"]:
            del split["negatives"]["given"]
    path = card.directory / CARD_NAME
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, path)
    return path


def read_card(directory: str | Path) -> Card:
    """Returns the card of the dataset in `directory`.

    Raises:
      InputError: no card there, one that cannot be parsed, or a newer format.
    """
    directory = Path(directory)
    path = directory / CARD_NAME
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"Found no {CARD_NAME} in {directory}; expected finished token records "
            "there; make them with `python -m cdcd_jax.main --config=configs/<name>.py`"
            " (its records stage, or --mode=pretokenize), or correct data.path."
        ) from None
    except (OSError, ValueError) as error:
        raise _bad_card(path, f"it cannot be read ({error})") from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise _bad_card(path, f"`format` is {version!r}")
    if version > FORMAT:
        raise InputError(
            f"Found format {version} in {path}; expected {FORMAT} or less; update "
            "cdcd_jax, or make the records with this version."
        )
    try:
        return _parse_card(directory, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad_card(path, f"{type(error).__name__}: {error}") from error


def _parse_card(directory: Path, content: Mapping[str, Any]) -> Card:
    splits = {}
    if not content["splits"]:
        raise ValueError("it has no split")
    for name, split in content["splits"].items():
        splits[name] = _parse_split(name, split)
    for name, spec in content["conditions"].items():
        if not {"shape", "dtype"} <= set(spec):
            raise ValueError(f"condition {name} lacks its shape or dtype")
        if not all(isinstance(n, int) and n >= 0 for n in spec["shape"]):
            raise ValueError(f"condition {name} has the shape {spec['shape']}")
    return Card(
        directory=directory,
        name=content["name"],
        num_codes=int(content["num_codes"]),
        grid=tuple(int(n) for n in content["grid"]),
        conditions=dict(content["conditions"]),
        tokenizer=dict(content["tokenizer"]),
        splits=splits,
        config=dict(content.get("config", {})),
        left_out=dict(content.get("left_out", {})),
    )


def _parse_split(name: str, content: Mapping[str, Any]) -> Split:
    shards = tuple(Shard(**shard) for shard in content["shards"])
    if not shards:
        raise ValueError(f"the split {name} has no shard")
    negatives = content.get("negatives")
    negatives = Negatives(**negatives) if negatives else None
    files = [*shards, *([negatives] if negatives else [])]
    if any(Path(part.file).name != part.file for part in files):
        raise ValueError(f"a file of {name} lies outside of the directory")
    if sum(shard.num_records for shard in shards) != content["num_records"]:
        raise ValueError(f"the shards of {name} do not add up to its num_records")
    return Split(**{**content, "shards": shards, "negatives": negatives})


def _bad_card(path: Path, what: str) -> InputError:
    advice = MAKE_AGAIN.format(directory=path.parent)
    return InputError(
        f"Found a bad {path}: {what}; expected the card of a token dataset, format "
        f"{FORMAT}; {advice}."
    )
