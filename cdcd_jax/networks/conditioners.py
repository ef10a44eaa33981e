"""Conditioners by kind: each turns a modality into what a denoiser attends to or adds.

`KINDS` is the one table; whoever adds a class to it has a new kind of condition. What
differs from kind to kind, the class says (see `encoded.Conditioner`). A description of
a condition, `model.conditions.<name>`, holds its kind, the attributes of that class,
`optional` for one that may be absent, `field` for one that the records have under
another name (`tokens` for their own tokens), and `frozen` where the kind has a tower.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.array_conditioners import Array, Features, Label
from cdcd_jax.networks.encoded import Conditioner
from cdcd_jax.networks.image_conditioners import Pixels
from cdcd_jax.networks.motion_conditioners import Motion, ReferenceDance
from cdcd_jax.networks.prompt_conditioners import KIND as PROMPT
from cdcd_jax.networks.prompt_conditioners import Prompt
from cdcd_jax.networks.text_conditioners import ClipTextTower, Text

KINDS = {
    "label": Label,
    "array": Array,
    "features": Features,
    "image": Pixels,
    "text": Text,
    "clip_text": ClipTextTower,
    "motion": Motion,
    "reference_motion": ReferenceDance,
    PROMPT: Prompt,
}
# Said of any kind, and only where they say something, so that no other description
# changes.
_OF_ALL = ("optional", "field")
_SHARED = {f.name for f in dataclasses.fields(Conditioner)}


def full_spec(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """`model.conditions[name]` with what it leaves out set to its defaults.

    Raises:
        UsageError: it describes no conditioner.
    """
    if not isinstance(spec, Mapping):
        raise UsageError(
            f"Found model.conditions.{name} = {spec!r}; expected its settings, such as "
            'dict(kind="label", num_classes=10); correct it.'
        )
    kind = spec.get("kind")
    if kind not in KINDS:
        raise UsageError(
            f"Found model.conditions.{name}.kind = {kind!r}; expected one of "
            f"{', '.join(KINDS)}; correct it."
        )
    fields = [f for f in dataclasses.fields(KINDS[kind]) if f.name not in _SHARED]
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    defaults = {f.name: f.default for f in fields if f.name not in needed}
    if KINDS[kind].tower:
        defaults["frozen"] = False
    known, given = needed | set(defaults) | set(_OF_ALL), set(spec) - {"kind"}
    if given - known or needed - given:
        raise UsageError(
            f"Found model.conditions.{name} with {sorted(given)}; expected of kind "
            f"{kind!r} {sorted(needed)} and perhaps {sorted(known - needed)}; correct "
            "its keys."
        )
    full = {**defaults, **spec}
    for key in _OF_ALL:
        if not full.get(key):
            full.pop(key, None)
    KINDS[kind].check(name, full)
    return KINDS[kind].completed(full)


def gives_sequence(spec: Mapping[str, Any]) -> bool:
    """Whether a conditioner of this description gives a sequence to attend to."""
    return KINDS[spec["kind"]].gives_sequence(spec)


def content(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a condition of this full description holds; see `Conditioner.content`."""
    return KINDS[spec["kind"]].content(spec)


def dtype_of(spec: Mapping[str, Any]) -> Any:
    """Type of the values of a condition of this description."""
    return KINDS[spec["kind"]].holds(spec)


def empty(spec: Mapping[str, Any], rows: int) -> jax.Array:
    """Zeros in the place of a condition of this description, [rows, ...]."""
    return jnp.zeros((rows, *spec.get("shape", ())), dtype_of(spec))


def make_conditioner(
    name: str, spec: Mapping[str, Any], width: int, length: int, modern: bool
) -> Conditioner:
    """Builds the conditioner of modality `name` from `model.conditions[name]`.

    Args:
        width, length, modern: see `Conditioner`.

    Raises:
        UsageError: a bad description, or one that does not fit the denoiser.
    """
    spec = full_spec(name, spec)
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    cls, heads = KINDS[spec["kind"]], spec.get("heads", 1)
    size = spec.get("size") or width
    if size % heads or (cls.at_width and width % heads):
        also = f", and of model.width, {width}" if cls.at_width else ""
        raise UsageError(
            f"Found model.conditions.{name}.heads = {heads}; expected a divisor of its "
            f"size, {size}{also}; change one."
        )
    cls.check_place(name, spec, length, modern)
    for key in ("kind", *_OF_ALL):
        settings.pop(key, None)
    frozen = settings.pop("frozen", False)
    return cls(width, length, modern, frozen, **settings, name=name)
