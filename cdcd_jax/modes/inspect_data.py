"""The mode that shows a token dataset: its card in words, and a page of its samples.

The page is one HTML file that needs nothing beside it: pictures and sounds lie in it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data.card import Card, read_card
from cdcd_jax.data.records import RecordSource, check_shards
from cdcd_jax.data.vocabulary import open_vocabulary
from cdcd_jax.data.walk import told
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.tokenizer import PaletteTokenizer
from cdcd_jax.planning.plan_report import size as in_words
from cdcd_jax.reporting.files import write_text
from cdcd_jax.reporting.page import document, picture, safe, sound
from cdcd_jax.reporting.pictures import image_grid, strips, write_png
from cdcd_jax.reporting.terminal import format_table

PAGE_NAME, SHEET_NAME = "index.html", "contact_sheet.png"
MAX_COUNTED = 4096  # records of a split whose tokens are counted
_SHOWN_VALUES = 16  # of an array; longer ones are summed up


def inspect(
    directory: str | Path,
    outdir: str | Path,
    tokenizer: Any = None,
    number: int = 64,
) -> Path:
    """Prints the card of the records in `directory` and writes a page of samples.

    All files are checked first, as training does. Beside the page (`index.html`) lies
    one picture of all samples of the train split (`contact_sheet.png`).

    Args:
      directory: holds finished token records.
      outdir: made if it is not there; files of these names are replaced.
      tokenizer: has `decode(tokens [N, L])` -> {"images": uint8 [N, H, W, C]},
        {"videos": uint8 [N, F, H, W, C]}, {"audio": float32 [N, S]} and `sample_rate`,
        or {}. Without a decoded form the tokens themselves are shown, each code in a
        colour of its own.
      number: samples of each split, evenly spread.

    Returns: the page's path.
    Raises:
      UsageError: a number below 1.
      InputError: no, damaged or incomplete records.
    """
    if number < 1:
        raise UsageError(
            f"Found number = {number} samples to show; expected 1 or more; correct it."
        )
    card = read_card(directory)
    check_shards(card)
    vocabularies = {
        name: open_vocabulary(spec, card.directory)
        for name, spec in card.conditions.items()
        if spec.get("vocabulary")
    }
    summary = describe(card)
    print(summary)
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    sections, sheet = [], None
    for split in _in_order(card):
        count = card.splits[split].num_records
        indices = spread(count, number)
        figures, pictures = _show(card, split, indices, tokenizer, vocabularies)
        sections.append(
            f"<h2>{safe(split)}: {len(indices)} of {count} records</h2>"
            f"<div class='row'>{''.join(figures)}</div>"
        )
        sheet = pictures if sheet is None else sheet
    if sheet is not None:
        columns = 1 if sheet.shape[2] > 4 * sheet.shape[1] else 8
        scale = max(1, 64 // max(sheet.shape[1:3]))
        write_png(outdir / SHEET_NAME, image_grid(sheet, columns, scale))
    title = f"{card.name}: {card.num_tokens} tokens of {card.num_codes} codes"
    path = outdir / PAGE_NAME
    write_text(path, document(title, f"<pre>{safe(summary)}</pre>{''.join(sections)}"))
    print(f"Wrote {path} and {outdir / SHEET_NAME}")
    return path


def tokenizer_of(directory: str | Path) -> Any:
    """The tokenizer that made the records of a directory, None where it is not there.

    It lies where the card says, or else beside the records, which may have been moved
    with it; the fingerprint tells it from others.

    Raises:
      InputError: no, or a damaged, card.
    """
    card, first = read_card(directory), None
    for place in _places(card):
        try:
            return open_tokenizer({**card.tokenizer, **place}, card.grid)
        except (InputError, UsageError) as error:  # another one, or none
            first = first or error
    print(f"tokens are shown as colours: {first}", file=sys.stderr)
    return None


def _places(card: Card) -> list[dict[str, str]]:
    """Where the tokenizer of records may lie: where it was, or beside them if moved."""
    path = card.tokenizer.get("path")
    if not path:
        return [{}]
    beside = Path(card.directory).resolve().parent
    found = sorted(file.parent for file in beside.glob("*/config.json"))
    # of the same name first
    found.sort(key=lambda folder: folder.name != Path(path).name)
    return [{}, *({"path": str(folder)} for folder in found)]


def describe(card: Card) -> str:
    """The card in readable lines, with the usage of codes as the records show it."""
    tokenizer = ", ".join(f"{k} {v}" for k, v in sorted(card.tokenizer.items()))
    rows: list[tuple[str, Any]] = [
        ("dataset", card.name),
        ("directory", str(card.directory)),
        ("tokens", f"{card.num_tokens} ({_by(card.grid)}) of {card.num_codes} codes"),
        ("tokenizer", tokenizer or "unknown"),
    ]
    for name, spec in sorted(card.conditions.items()):
        rows.append((f"condition {name}", describe_condition(spec)))
    if card.left_out:
        rows.append(("not read", told(card.left_out)))
    for name in _in_order(card):
        split = card.splits[name]
        stored = in_words(sum(shard.num_bytes for shard in split.shards))
        shards = f"{len(split.shards)} shard{'s' * (len(split.shards) > 1)}"
        counted, used, perplexity = count_codes(RecordSource(card, name))
        rows += [
            (f"split {name}", f"{split.num_records} records, {shards}, {stored}"),
            (
                f"codes of {name}",
                f"{used} used ({used / card.num_codes:.0%}), perplexity "
                f"{perplexity:.1f}, counted in {counted} records",
            ),
        ]
        if split.codes_used:
            text = f"{split.codes_used} used, perplexity {split.perplexity:.1f}"
            rows.append((f"codes of all {name}", text))
        if split.negatives:
            table = split.negatives
            text = f"of another {table.rule}, seed {table.seed}"
            if table.given:
                text = f"named by {card.config['negatives']['file']}"
            rows.append((f"negatives of {name}", f"{table.number} a record, {text}"))
        if split.unreadable:
            rows.append((f"left out of {name}", ", ".join(sorted(split.unreadable))))
    lines = format_table(rows).splitlines()
    width = max(len(name) for name, _ in rows)
    # to the left, as the values are words
    return "\n".join(f"{x[:width]}  {x[width:].strip()}" for x in lines)


def _in_order(card: Card) -> list[str]:
    """Names of the splits, train first."""
    return sorted(card.splits, key=lambda name: (name != "train", name))


def describe_condition(spec: Mapping[str, Any]) -> str:
    """Kind, type, shape, classes and vocabulary of a condition, in a few words."""
    parts = [spec["kind"]] if "kind" in spec else []
    parts.append(f"{spec['dtype']} {list(spec['shape'])}")
    if spec.get("num_classes") is not None:
        parts.append(f"{spec['num_classes']} classes")
    if spec.get("levels") is not None:
        parts.append(f"{_by(spec['grid'])} pixels of {spec['levels']} levels")
    if spec.get("vocabulary"):
        size = f" of {spec['num_tokens']} tokens" if "num_tokens" in spec else ""
        parts.append(f"{spec['vocabulary']} vocabulary{size}")
    if spec.get("names"):
        names = [str(name) for name in spec["names"]]
        parts.append(", ".join(names[:12]) + (", ..." if len(names) > 12 else ""))
    return "; ".join(parts)


def count_codes(
    source: RecordSource, most: int = MAX_COUNTED
) -> tuple[int, int, float]:
    """Records read (evenly spread), codes that occur in them, and their perplexity."""
    counts: np.ndarray = np.zeros(1, np.int64)
    indices = spread(len(source), most)
    for index in indices:
        found = np.bincount(source[index]["tokens"], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    share = counts[counts > 0] / max(counts.sum(), 1)
    return len(indices), len(share), float(np.exp(-np.sum(share * np.log(share))))


def spread(count: int, number: int) -> list[int]:
    """At most `number` of the indices below `count`, evenly spread, from the first."""
    number = min(count, number)
    return [index * count // number for index in range(number)]


def describe_value(
    value: np.ndarray, spec: Mapping[str, Any], vocabulary: Any = None
) -> str:
    """One condition of one record: names of classes, text, numbers, or their range.

    Args:
      vocabulary: of a text, see `data.vocabulary`.
    """
    value = np.asarray(value)
    names = spec.get("names")
    if vocabulary is not None:
        return vocabulary.decode(value)
    if names:
        return ", ".join(f"{names[int(v)]} ({int(v)})" for v in value.ravel())
    if value.size <= _SHOWN_VALUES:
        return ", ".join(f"{v:g}" for v in value.ravel().tolist())
    low, mean, high = value.min(), value.mean(), value.max()
    shape = _by(value.shape)
    return f"{value.dtype} {shape}, {low:.3g} to {high:.3g}, mean {mean:.3g}"


def _show(
    card: Card,
    split: str,
    indices: Sequence[int],
    tokenizer: Any,
    vocabularies: Mapping[str, Any],
) -> tuple[list[str], np.ndarray | None]:
    """A figure of each record as HTML, and their pictures uint8 [N, H, W, C]."""
    if not indices:
        return [], None
    source = RecordSource(card, split)
    records = [source[index] for index in indices]
    tokens = np.stack([record["tokens"] for record in records])
    decoded = tokenizer.decode(tokens) if tokenizer is not None else {}
    sounds = decoded.get("audio")
    if "images" in decoded:
        pictures = decoded["images"]
    elif "videos" in decoded:
        pictures = strips(decoded["videos"])
    elif sounds is not None:
        from cdcd_jax.reporting.sound import spectrogram

        rate = tokenizer.sample_rate
        pictures = np.stack([spectrogram(audio, rate) for audio in sounds])
    else:
        pictures = token_pictures(tokens, card.grid)
    table = source.negatives() if card.splits[split].negatives else None
    figures = []
    for row, (index, record) in enumerate(zip(indices, records, strict=True)):
        told = {
            name: _html(value, card.conditions[name], vocabularies.get(name), name)
            for name, value in sorted(record["condition"].items())
        }
        if table is not None:
            others = ", ".join(map(str, table[index, :8]))
            told["negatives"] = others + (", ..." if table.shape[1] > 8 else "")
        media = picture(pictures[row], f"record {index}")
        if sounds is not None:
            media += sound(sounds[row], rate)
        terms = "".join(f"<dt>{safe(k)}</dt><dd>{v}</dd>" for k, v in told.items())
        key = safe(source.key(index))
        figures.append(
            f"<figure>{media}<figcaption>{index}: {key}<dl>{terms}</dl></figcaption>"
            "</figure>"
        )
    return figures, pictures


def _html(
    value: np.ndarray, spec: Mapping[str, Any], vocabulary: Any, name: str
) -> str:
    """One condition of one record: a picture as such, others in words."""
    if spec.get("levels") is None:
        return safe(describe_value(value, spec, vocabulary))
    palette = PaletteTokenizer(spec["levels"], tuple(spec["grid"]))
    return picture(palette.decode(value[None])["images"][0], name)


def token_pictures(tokens: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Tokens [N, L] as squares uint8 [N, h, w, 3], each code in its own colour.

    A grid of one row (or a sequence) is wrapped to a square, the rest of it white.
    """
    count, length = tokens.shape
    shape = tuple(n for n in grid if n > 1)
    colours = np.random.default_rng(0).integers(
        32, 224, (int(tokens.max()) + 1, 3), dtype=np.uint8
    )
    cells = colours[tokens]
    if len(shape) != 2:
        width = int(np.ceil(np.sqrt(length)))
        shape = (-(-length // width), width)
        rest = shape[0] * width - length
        cells = np.pad(cells, ((0, 0), (0, rest), (0, 0)), constant_values=255)
    return cells.reshape(count, *shape, 3)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
