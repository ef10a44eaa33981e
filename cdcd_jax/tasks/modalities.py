"""Modalities of one diffusion space as a config declares them, checked.

`model.modalities` has them by name: what they are (kind), where a batch has them
(field), how much of z they are (weight), what their head's loss weighs, and whether
their code is learned. A modality that may be given is an optional condition of the
model, of the same name.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.codes import KINDS
from cdcd_jax.networks.joint import ENCODER, VALUES, JointDenoiser
from cdcd_jax.networks.positions import grid_of
from cdcd_jax.tasks.settings import TAKEN, check_names

STREAM = "tokens"  # the records' own tokens
# what the network calls its own, and what samples do
_TAKEN = {
    *TAKEN,
    *dir(JointDenoiser),
    *(field.name for field in dataclasses.fields(JointDenoiser)),
    *("codes", "absence", VALUES, STREAM, "images"),
}
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
    def is_drawn(self) -> bool:
        """Samples have it, which a picture has in part only to be completed."""
        return self.kind != "masked_image"

    @property
    def is_stream(self) -> bool:
        """It is the records' own tokens, whole: what samples call `tokens`."""
        return self.field == STREAM and self.is_drawn

    @property
    def discrete(self) -> bool:
        """See `codes.Code`."""
        return KINDS[self.kind].discrete

    @property
    def output_name(self) -> str:
        """What samples call it."""
        return STREAM if self.is_stream else self.name

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


def names_taken(model: Mapping[str, Any]) -> set[str]:
    """What no other condition of such a model may be called; see `settings.TAKEN`."""
    return {*_not_for(model["modalities"]), *model["modalities"]}


def _not_for(modalities: Mapping[str, Any]) -> set[str]:
    """What no modality may be called beside these."""
    return {*_TAKEN, *(ENCODER.format(name) for name in modalities)}


def read_modalities(model: Mapping[str, Any]) -> dict[str, Modality]:
    """`model.modalities`, whole and checked, in the order of their names.

    So that the order of the config changes nothing.

    Raises:
        UsageError: none, or one that contradicts itself or does not exist.
    """
    grid = grid_of(model["grid"])
    if isinstance(grid[0], tuple) or len(grid) not in (2, 3):
        raise UsageError(
            f"Found model.grid = {grid}; expected (H, W) or (H, W, channels) of the "
            "records' tokens, which are pixels here; correct it."
        )
    if any(side % model["patch"] for side in grid[:2]):
        raise UsageError(
            f"Found model.patch = {model['patch']} of {grid[0]} x {grid[1]} tokens; "
            "expected a divisor of both; correct it."
        )
    pixels, declared = (*grid, 1)[:3], model["modalities"]
    check_names("model.modalities", declared, _not_for(declared))
    found = {
        name: _read(name, declared[name], model, pixels) for name in sorted(declared)
    }
    if not any(one.is_drawn for one in found.values()):
        raise UsageError(
            f"Found model.modalities {sorted(found)}; expected one or more that are "
            "drawn, which masked pictures are not, such as "
            'dict(image=dict(kind="image", field="tokens")); declare them.'
        )
    whole = [name for name, one in found.items() if one.is_stream]
    if len(whole) > 1:
        raise UsageError(
            f"Found model.modalities {', '.join(whole)} that are all the field "
            f"{STREAM!r}; expected one, and the others by fields of their own name; "
            "correct `field`."
        )
    return found


def primary_of(modalities: Mapping[str, Modality]) -> str:
    """The modality of the bound's L0: the records' own tokens, or the first of numbers.

    Where there are symbols alone, the first of these; of what has a weight at t = 1.
    """
    drawn = [one for one in modalities.values() if one.is_drawn]
    absent = lambda one: not np.ravel(one.weight)[0]
    rank = lambda one: (absent(one), one.discrete, not one.is_stream)
    return min(drawn, key=rank).name


def _read(
    name: str,
    settings: Any,
    model: Mapping[str, Any],
    pixels: tuple[int, int, int],
) -> Modality:
    where = f"model.modalities.{name}"
    kind = settings.get("kind") if isinstance(settings, Mapping) else None
    if kind not in KINDS:
        raise UsageError(
            f"Found {where} = {settings!r}; expected its settings, with a kind of "
            f"{', '.join(KINDS)}; correct it."
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
    if field not in (name, STREAM) or (field == STREAM and kind not in PICTURES):
        raise UsageError(
            f"Found {where}.field = {field!r} of kind {kind!r}; expected nothing for "
            f"the condition {name!r} of the records, or of a picture {STREAM!r}, the "
            "records' own tokens; correct it, or give the modality the condition's "
            "name."
        )
    if shared["gradient"] not in GRADIENTS:
        raise UsageError(
            f"Found {where}.gradient = {shared['gradient']!r}; expected one of "
            f"{', '.join(GRADIENTS)}; correct it."
        )
    if not isinstance(shared["given"], bool):
        raise UsageError(
            f"Found {where}.given = {shared['given']!r}; expected True, or False for "
            "what is only drawn; correct it."
        )
    names = tuple(own.pop("names", ()))
    if names and len(names) != own["num_classes"]:
        raise UsageError(
            f"Found {where} with {len(names)} names; expected none, or one for each of "
            f"num_classes = {own['num_classes']}; correct it."
        )
    code = {"kind": kind, **own}
    if kind in PICTURES:
        if not 2 <= model["num_codes"] <= 256:
            raise UsageError(
                f"Found model.num_codes = {model['num_codes']} levels of a pixel of "
                f"{where}; expected 2 to 256, as records of pictures have; correct it."
            )
        code |= dict(levels=model["num_codes"], pixels=pixels, patch=model["patch"])
    weight = shared.pop("weight")
    weight = tuple(weight) if isinstance(weight, list | tuple) else weight
    return Modality(name, kind, field, code, weight, names=names, **shared)
