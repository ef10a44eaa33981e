"""The config of token records: its keys, its check, and which records it describes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.errors import InputError, UsageError


def default_config() -> dict[str, Any]:
    """The config for the embedded digits, with the meaning of every key."""
    return dict(
        seed=0,  # of the source's split, the views and the negatives
        data=dict(
            raw="digits",  # a name of data.sources.SOURCES
            path="",  # where the source's files lie
            options={},  # of the source
            views=1,  # of each training example: itself, then augmented ones
            shard_records=4096,  # most records in a shard
            threads=2,  # that read and decode
            unreadable=0.01,  # share of the examples that may be left out as unreadable
        ),
        # palette, frames (a palette of videos), checkpoint or none, with what each
        # takes; see models.tokenizers
        tokenizer=dict(kind="palette", levels=17),
        grid=(8, 8),  # (H, W) of the tokens; (1, L) for sound, (F, H, W) for videos
        batch_size=64,  # examples that a device encodes at once
        # texts become tokens [length]: of CLIP's byte pairs, or of a vocabulary of at
        # most `size` tokens that is trained on the training texts. With `features`, a
        # converted CLIP text tower, its features [length, D] too, each token's divided
        # by its norm if `normalize`
        text=dict(
            # clip; trained; pairs, trained of pieces that spell any other text too; or
            # the path of one that other records have, so that models of several stages
            # read the same numbers: @<stage>/text-vocabulary.json
            vocabulary="clip",
            size=0,
            length=77,
            truncate=False,
            features="",
            normalize=True,
        ),
        # name -> dict(path=.., tower="", mean_by=""): a condition of so many numbers
        # that an encoder, the work directory of a run of task bridge, makes of the
        # tokens: `tower` is which of its towers, "" for the one of tokens; with
        # `mean_by`, a condition of the source, the mean over the training examples of
        # the same class in place of each one's own
        represent={},
        # others of each training record, for the contrast; 0 for no table
        negatives=dict(
            number=0,  # of each record
            rule="label",  # what must differ, a condition or a group of the source
            # a JSON list that names them in place of a draw, such as CDCD's: for each
            # training example a row of `number` paths or image_ids
            file="",
        ),
    )


TRAINED = ("trained", "pairs")
_KINDS = ("clip", *TRAINED)  # of vocabularies that need no file


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config as JSON would give it."""
    plain = json.loads(json.dumps(config, default=_to_plain))
    config = json.loads(json.dumps(merge(default_config(), plain)))
    at_least = {
        "data.shard_records": (config["data"]["shard_records"], 1),
        "data.views": (config["data"]["views"], 1),
        "data.threads": (config["data"]["threads"], 1),
        "batch_size": (config["batch_size"], 1),
        "negatives.number": (config["negatives"]["number"], 0),
        "text.length": (config["text"]["length"], 2),
    }
    for key, (value, least) in at_least.items():
        if value < least:
            raise UsageError(
                f"Found {key} = {value!r}; expected a whole number, {least} or more; "
                "correct it."
            )
    share = config["data"]["unreadable"]
    if not 0 <= share < 1:
        raise UsageError(
            f"Found data.unreadable = {share!r}; expected a share of at least 0 and "
            "below 1; correct it."
        )
    if config["negatives"]["file"] and not config["negatives"]["number"]:
        raise UsageError(
            f"Found negatives.file = {config['negatives']['file']!r} with "
            "negatives.number = 0; expected the number of negatives in each of its "
            "rows, 10 in CDCD's; set it, or leave the file away."
        )
    _check_text(config["text"])
    config["represent"] = {
        name: _whole_represent(name, own) for name, own in config["represent"].items()
    }
    tokenizer = config["tokenizer"]
    if tokenizer.get("kind") == "checkpoint":
        tokenizer.setdefault("batch_size", config["batch_size"])
    return config


def _check_text(text: Mapping[str, Any]) -> None:
    """Raises UsageError for settings of texts that contradict each other."""
    vocabulary, size = text["vocabulary"], text["size"]
    if vocabulary not in _KINDS and not given_vocabulary(text):
        raise UsageError(
            f"Found text.vocabulary = {vocabulary!r}; expected 'clip', 'trained', "
            "'pairs', or the path of a vocabulary that lies beside other records, such "
            "as @records/text-vocabulary.json; correct it."
        )
    if (size > 0) != (vocabulary in TRAINED) or size < 0:
        raise UsageError(
            f"Found text.size = {size} with text.vocabulary = {vocabulary!r}; expected "
            "the most tokens of a trained vocabulary, such as 64 or 8192, or 0 with "
            "CLIP's and with one that there is; set one of both."
        )
    if vocabulary == "pairs" and size < 258:
        raise UsageError(
            f"Found text.size = {size} with text.vocabulary = 'pairs'; expected 258 or "
            "more, for all bytes, padding and an end; raise it."
        )
    if vocabulary != "clip" and text["features"]:
        raise UsageError(
            f"Found text.features with text.vocabulary = {vocabulary!r}; expected "
            "CLIP's vocabulary for its tower; set text.vocabulary = 'clip'."
        )


def _whole_represent(name: str, own: Any) -> dict[str, str]:
    """The settings of vectors with their defaults."""
    known = {"path": "", "tower": "", "mean_by": ""}
    fits = isinstance(own, Mapping) and set(own) <= set(known) and own.get("path")
    if not fits or not all(isinstance(value, str) for value in own.values()):
        raise UsageError(
            f"Found represent.{name} = {own!r}; expected dict(path=..), the work "
            "directory of an encoder, and perhaps tower=.. and mean_by=..; correct it."
        )
    return {**known, **own}


def given_vocabulary(text: Mapping[str, Any]) -> str:
    """The path of the vocabulary that records take over, "" where they take none."""
    vocabulary = text.get("vocabulary", "clip")
    is_path = "/" in vocabulary or vocabulary.startswith("@")
    return vocabulary if is_path or vocabulary.endswith(".json") else ""


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


# What a second run may change without making other records.
_FREE = ("data.threads", "data.unreadable")


def check_same(
    found: Mapping, wanted: Mapping, workdir: Path, begun: bool = False
) -> None:
    """Raises InputError unless both describe the same records.

    A job has `config`, `fingerprint` of the tokenizer, `represent`, the fingerprints of
    encoders, and the sha256 of what it takes over ("" without): `vocabulary`, and
    `negatives`, of the file that names them.

    `begun`: there is no table of negatives yet, and it may become another one.
    """
    old, new = (_comparable(_placeless(job["config"])) for job in (found, wanted))
    # of records that were made when there was no choice
    old = {"text.vocabulary": "clip", "text.size": 0, "negatives.file": "", **old}
    if begun and old.get("negatives.number") and new["negatives.number"]:
        old["negatives.number"] = new["negatives.number"]
    if begun and new["text.truncate"]:  # a text was too long
        old["text.truncate"] = True
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if keys:
        raise InputError(
            f"Found records in {workdir} made with "
            f"{ {key: old.get(key) for key in keys} }; expected "
            f"{ {key: new.get(key) for key in keys} }, as this config says; choose "
            "another work directory, or delete that one."
        )
    # jobs of earlier versions do not tell their classes
    found = {"classes": wanted.get("classes"), **found}
    for key in ("examples", "texts", "classes") if begun else ():
        if found[key] != wanted[key]:
            raise InputError(
                f"Found an unfinished job in {workdir} with {key} = {found[key]}; "
                f"expected {wanted[key]}, as the raw data or the text tower now say; "
                "delete that directory, or bring back what changed."
            )
    if found["fingerprint"] != wanted["fingerprint"]:
        raise InputError(
            f"Found records in {workdir} made with the tokenizer "
            f"{found['fingerprint']}; expected the fingerprint "
            f"{wanted['fingerprint']}; choose another work directory, or delete that "
            "one."
        )
    old, new = (job.get("represent", {}) for job in (found, wanted))
    if old != new:
        raise InputError(
            f"Found records in {workdir} with vectors of the encoders {old}; expected "
            f"the fingerprints {new}; choose another work directory, or delete that "
            "one."
        )
    of_config = wanted["config"]
    for name, what, path in (
        ("vocabulary", "a vocabulary", given_vocabulary(of_config["text"])),
        ("negatives", "negatives of a file", of_config["negatives"]["file"]),
    ):
        one, other = (job.get(name, "") for job in (found, wanted))
        if one != other and not (begun and name == "negatives"):
            raise InputError(
                f"Found records in {workdir} made with {what} of sha256 {one}; "
                f"expected {other}, as {path} has; bring back what it was, or delete "
                "the records."
            )


def _placeless(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the places of what a job knows by its content."""
    represent = {
        name: {k: v for k, v in own.items() if k != "path"}
        for name, own in config.get("represent", {}).items()
    }
    config = {**config, "represent": represent}  # records as before have none
    text, negatives = config.get("text", {}), config.get("negatives", {})
    if given_vocabulary(text):
        config = {**config, "text": {**text, "vocabulary": "of other records"}}
    if negatives.get("file"):  # the rule is not used
        config = {**config, "negatives": {**negatives, "file": "given", "rule": ""}}
    return config


def _comparable(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted keys -> values, without what may change."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            flat |= _comparable(value, f"{name}.")
        elif name not in _FREE and name != "tokenizer.path":  # the fingerprint tells
            flat[name] = value
    return flat
