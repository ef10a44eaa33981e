"""Tokenizers by config: a palette of pictures or of videos' frames, none, or a trained.

A tokenizer turns raw examples into `tokens` [N, L] in [0, num_codes) and back. It has
`num_codes`, `grid`, `media` (what it takes), `outputs` (what `decode` gives),
`settings` (what a config says of it) and a `fingerprint`, by which records and models
recognise the tokenizer that they were made with.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cdcd_jax.config import check_type
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.checkpoint_tokenizer import CheckpointTokenizer
from cdcd_jax.networks.tokenizer import (
    FramesTokenizer,
    NoTokenizer,
    PaletteTokenizer,
)

# kind -> settings beside it, with their defaults
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "palette": {"levels": 17},
    "frames": {"levels": 17},  # the palette of videos
    # level: whose codes, 0 the finest; sample: Gumbel codes are drawn, as the reference
    # does, not the most likely ones; batch_size: examples a device takes at once
    "checkpoint": {"path": "", "level": 0, "sample": False, "batch_size": 64},
}


def check_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The whole settings of a tokenizer, with `kind`; opens nothing.

    Raises:
        UsageError: unknown kind, or a missing or unknown setting.
    """
    settings = {k: v for k, v in config.items() if k != "fingerprint"}
    kind = settings.pop("kind", None)
    if kind not in KINDS:
        raise UsageError(
            f"Found tokenizer.kind = {kind!r}; expected one of "
            f"{', '.join(sorted(KINDS))}; correct tokenizer.kind."
        )
    unknown = sorted(set(settings) - set(KINDS[kind]))
    if unknown:
        raise UsageError(
            f"Found the tokenizer settings {unknown}; expected "
            f"{sorted(KINDS[kind]) or 'none'} beside kind={kind!r}; remove those keys "
            "of `tokenizer`."
        )
    for key, value in settings.items():
        check_type(f"tokenizer.{key}", KINDS[kind][key], value)
    whole = {"kind": kind, **KINDS[kind], **settings}
    if whole.get("batch_size", 1) < 1:
        raise UsageError(
            f"Found tokenizer.batch_size = {whole['batch_size']}; expected 1 or more; "
            "correct it."
        )
    if kind == "checkpoint" and not whole["path"]:
        raise UsageError(
            "Found no tokenizer.path beside kind='checkpoint'; expected the work "
            "directory of a trained or converted tokenizer; set it."
        )
    return whole


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses a whole config that names no tokenizer, as far as no file is needed.

    Raises:
        UsageError: see `check_settings`.
    """
    if not config.get("tokenizer"):
        return
    tokenizer = check_settings(config["tokenizer"])
    if tokenizer["kind"] in ("palette", "frames"):
        grid = config["grid"] if "grid" in config else config["model"]["grid"]
        open_tokenizer(tokenizer, tuple(grid))


def open_tokenizer(config: Mapping[str, Any], grid: tuple[int, ...]) -> Any:
    """The tokenizer that `config` describes.

    Args:
        config: `kind` and that kind's settings. It may also hold a `fingerprint`, as
            the card of a dataset does: then the tokenizer must have this one.
        grid: shape of the tokens before they are flattened, such as (H, W).

    Raises:
        UsageError: unknown kind, or a missing, unknown or bad setting.
        InputError: no such tokenizer, or one with another grid or fingerprint.
    """
    settings, grid = check_settings(config), tuple(grid)
    kind = settings.pop("kind")
    makers: dict[str, Callable[..., Any]] = {
        "none": NoTokenizer,
        "palette": PaletteTokenizer,
        "frames": FramesTokenizer,
        "checkpoint": CheckpointTokenizer,
    }
    tokenizer = makers[kind](grid=grid, **settings)
    wanted = config.get("fingerprint")
    if wanted and wanted != tokenizer.fingerprint:
        raise InputError(
            f"Found a tokenizer with fingerprint {tokenizer.fingerprint}; expected "
            f"{wanted}, with which the records were made; make the records again or "
            "use the tokenizer that made them."
        )
    return tokenizer


def check_made_with(told: Mapping[str, Any] | None, place: Any, tokenizer: Any) -> None:
    """Raises InputError if records were made with another tokenizer.

    Args:
        told: what the records, or the run that learned from them, say of theirs; None
            where that is not known.
        place: of these, for the message.
    """
    if told is None or isinstance(tokenizer, NoTokenizer):
        return
    if told.get("fingerprint") == tokenizer.fingerprint:
        return
    raise InputError(
        f"Found records {place} of the tokenizer {dict(told)}; expected "
        f"{ {**tokenizer.settings, 'fingerprint': tokenizer.fingerprint} }, as the "
        "config says; set `tokenizer` to the one that made the records."
    )
