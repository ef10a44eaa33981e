"""Modalities of one diffusion space as a config declares them, checked.

`model.modalities` has them by name: what they are (kind), where a batch has them
(field), how much of z they are (weight), what their head's loss weighs, and whether
their code is learned. A modality that may be given is an optional condition of the
model, of the same name.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.codes import KINDS
from cdcd_jax.networks.joint import VALUES
from cdcd_jax.networks.positions import grid_of

STREAM = "tokens"  # the records' own tokens
GRADIENTS = ("fixed", "stop", "learn")
# of each kind: what must be said, and what may be
_NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "image": ((), ("deviation",)),
    "masked_image": ((), ("deviation",)),
    "label": (("num_classes",), ("names",)),
    "vector": (("features",), ("deviation",)),
    "tokens": (("num_codes", "length"), ()),
}
_SHARED = {
    "field": "",
    "weight": 1.0,
    "loss_weight": 1.0,
    "gradient": "fixed",
    "given": True,
}
PICTURES = ("image", "masked_image")


@dataclasses.dataclass(frozen=True)
class Modality:
    """One of `model.modalities`.

    Attributes:
        name: of the modality.
        kind: a key of `networks.codes.KINDS`.
        field: of a batch: 'tokens', or else the condition of its own name.
        code: kind and attributes of its code.
        weight: W of z: a number, or a ramp (from data, to the prior).
        loss_weight: of its head's loss.
        gradient: of its code: 'fixed'; 'stop', learned by the heads alone; or 'learn',
            by the values' head too.
        given: it may be given when samples are drawn.
        names: of classes.
    """

    name: str
    kind: str
    field: str
    code: Mapping[str, Any]
    weight: Any
    loss_weight: float
    gradient: str
    given: bool
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example in a batch."""
        if self.kind in PICTURES:
            height, width, channels = self.code["pixels"]
            return (height * width * channels,)
        return {
            "label": (),
            "vector": (self.code.get("features"),),
            "tokens": (self.code.get("length"),),
        }[self.kind]

    @property
    def batch_field(self) -> dict[str, Any]:
        """See `tasks.Field`."""
        if self.kind == "vector":
            return dict(shape=self.shape, dtype="float32")
        code = self.code
        high = code.get("levels") or code.get("num_classes") or code.get("num_codes")
        return dict(shape=self.shape, dtype="int32", low=0, high=high)

    def condition(self) -> dict[str, Any]:
        """The description of the condition that gives it."""
        if self.kind in PICTURES:
            height, width, channels = self.code["pixels"]
            grid = (height, width) if channels == 1 else (height, width, channels)
            spec = dict(
                kind="image",
                levels=self.code["levels"],
                grid=grid,
                patch=self.code["patch"],
                masked=self.kind == "masked_image",
            )
        elif self.kind == "label":
            spec = dict(kind="label", num_classes=self.code["num_classes"])
            spec |= {"names": self.names} if self.names else {}
        elif self.kind == "vector":
            spec = dict(kind="array", shape=self.shape)
        else:
            spec = dict(kind="text", vocabulary=self.code["num_codes"])
            spec["shape"] = self.shape
        own = {"field": self.field} if self.field == STREAM else {}
        return {**spec, **own, "optional": True}

    def output(self, grid: tuple[int, ...]) -> dict[str, Any]:
        """What `sample` returns of it; see `tasks.Description`."""
        if self.kind in PICTURES:
            levels = self.code["levels"]
            return dict(kind="tokens", shape=self.shape, num_codes=levels, grid=grid)
        kinds = {"label": "label", "vector": "vector", "tokens": "text"}
        spec = dict(kind=kinds[self.kind], shape=self.shape)
        if self.kind == "label":
            spec |= dict(num_classes=self.code["num_classes"], names=self.names)
        if self.kind == "tokens":
            spec |= dict(vocabulary=self.code["num_codes"])
        return spec


def read_modalities(model: Mapping[str, Any]) -> dict[str, Modality]:
    """`model.modalities`, whole and checked.

    Raises:
        UsageError: none, or one that contradicts itself or does not exist.
    """
    grid = grid_of(model["grid"])
    if isinstance(grid[0], tuple) or len(grid) not in (2, 3):
        raise UsageError(
            f"Found model.grid = {grid}; expected (H, W) or (H, W, channels) of the "
            "records' tokens, which are pixels here; correct it."
        )
    pixels = (*grid, 1)[:3]
    found = {
        name: _read(name, settings, model, pixels)
        for name, settings in model["modalities"].items()
    }
    if not found:
        raise UsageError(
            "Found no model.modalities; expected one or more, such as "
            'dict(image=dict(kind="image", field="tokens")); declare them.'
        )
    streams = [m.name for m in found.values() if m.field == STREAM]
    whole = [name for name in streams if found[name].kind != "masked_image"]
    if len(whole) > 1:
        raise UsageError(
            f"Found model.modalities {', '.join(whole)} that are all the field "
            f"{STREAM!r}; expected one, and the others by fields of their own name; "
            "correct `field`."
        )
    return found


def _read(
    name: str,
    settings: Any,
    model: Mapping[str, Any],
    pixels: tuple[int, int, int],
) -> Modality:
    where = f"model.modalities.{name}"
    taken = {VALUES, STREAM, *model["conditions"]}
    if not re.fullmatch(r"\w[\w-]*", name) or name in taken:
        raise UsageError(
            f"Found {where}; expected a name of letters, digits, _ and -, and none of "
            f"{', '.join(sorted(taken))}; choose another."
        )
    kind = settings.get("kind") if isinstance(settings, Mapping) else settings
    if kind not in KINDS:
        raise UsageError(
            f"Found {where} of kind {kind!r}; expected one of {', '.join(KINDS)}; "
            "correct it."
        )
    needs, may = _NEEDS[kind]
    own = {k: v for k, v in settings.items() if k not in _SHARED and k != "kind"}
    if set(needs) - set(own) or set(own) - {*needs, *may}:
        raise UsageError(
            f"Found {where} with {sorted(own)}; expected of kind {kind!r} "
            f"{list(needs)}, and perhaps {[*may, *_SHARED]}; correct its keys."
        )
    shared = {**_SHARED, **{k: v for k, v in settings.items() if k in _SHARED}}
    field = shared.pop("field") or name
    if field not in (name, STREAM):
        raise UsageError(
            f"Found {where}.field = {field!r}; expected {STREAM!r}, the records' own "
            f"tokens, or nothing for the condition {name!r} of the records; correct "
            "it, or give the modality the condition's name."
        )
    if shared["gradient"] not in GRADIENTS:
        raise UsageError(
            f"Found {where}.gradient = {shared['gradient']!r}; expected one of "
            f"{', '.join(GRADIENTS)}; correct it."
        )
    if not shared["loss_weight"] >= 0:
        raise UsageError(
            f"Found {where}.loss_weight = {shared['loss_weight']!r}; expected a number "
            "of at least 0; correct it."
        )
    names = tuple(own.pop("names", ()))
    if names and len(names) != own["num_classes"]:
        raise UsageError(
            f"Found {where} with {len(names)} names; expected none, or one for each of "
            f"num_classes = {own['num_classes']}; correct it."
        )
    code = {"kind": kind, **own}
    if kind in PICTURES:
        code |= dict(levels=model["num_codes"], pixels=pixels, patch=model["patch"])
    weight = shared.pop("weight")
    weight = tuple(weight) if isinstance(weight, list | tuple) else weight
    return Modality(name, kind, field, code, weight, names=names, **shared)


def values_of(
    modalities: Mapping[str, Modality], batch: Mapping[str, Any], key: jax.Array
) -> dict[str, jax.Array]:
    """x_i of a batch by name, [B, ...]; masked pictures with -1 where they are hidden.

    Of each masked picture the share of hidden pixels is drawn, evenly from 0 to 1 and
    in one of eleven all of them, and then each pixel by itself.
    """
    found = {}
    for name, one in modalities.items():
        here = batch if one.field == STREAM else batch["condition"]
        x = found[name] = jnp.asarray(here[one.field])
        if one.kind == "masked_image":
            key_share, key_each = jax.random.split(key)
            share = 1.1 * jax.random.uniform(key_share, (len(x), 1))
            hidden = jax.random.uniform(key_each, x.shape) < share
            found[name] = jnp.where(hidden, -1, x)
    return found


def drawn_known(
    key: jax.Array, modalities: Mapping[str, Modality], share: float, rows: int
) -> dict[str, jax.Array]:
    """Which modalities of each example are known to the network: bool [B] by name.

    Of a share of the examples some are, every subset of those that may be given as
    likely; never none of them, and never all modalities there are.
    """
    names = [name for name, one in modalities.items() if one.given]
    subsets = 2 ** len(names) - (1 if len(names) == len(modalities) else 0)
    if subsets < 2:  # nothing to know beside what is drawn
        return dict.fromkeys(names, jnp.zeros(rows, bool))
    key_some, key_which = jax.random.split(key)
    some = jax.random.bernoulli(key_some, share, (rows,))
    which = jax.random.randint(key_which, (rows,), 1, subsets)
    return {n: some & ((which >> i) & 1 == 1) for i, n in enumerate(names)}
