"""Raw source `tfds`: pictures of a dataset of TensorFlow Datasets, without TensorFlow.

Reads what `tfds build --file_format=array_record NAME` has prepared (that step may need
TensorFlow, this one does not):

    path/<name>/<version>/dataset_info.json, features.json
    path/<name>/<version>/<name>-train.array_record-00000-of-0000N

path "" is TFDS_DATA_DIR or ~/tensorflow_datasets. `name` may hold a configuration and
a version ("imagenet_resized/64x64", "cifar10:3.0.2"); `train` and `test` are tfds's
splits, slices such as "train[:95%]" too. Examples keep the order of tfds's records.

Nothing is downloaded. A picture that does not decode, and a label outside the classes
(imagenet2012's hidden test labels are -1), are reported by their key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdcd_jax.data import images
from cdcd_jax.data.folders import card, check_options
from cdcd_jax.data.sources import Example, Unreadable, known_split
from cdcd_jax.errors import InputError, UsageError

OPTIONS: dict[str, Any] = {
    "name": "",  # such as imagenet2012, cifar10, caltech_birds2011
    "train": "train",  # tfds's split that serves as train
    "test": "test",  # as test ("validation" for imagenet2012); "" for none
    "image": "image",  # key of the picture
    "label": "label",  # key of the ClassLabel; "" for no condition
    "size": 256,  # of the square, in pixels
    "flip": True,  # mirror half of the augmented views
}
TREE = "path/<name>/<version>/<name>-<split>.array_record-00000-of-0000N"


@dataclass(frozen=True)
class TfdsSource:
    """tfds's data sources, one a split."""

    options: Mapping[str, Any]
    parts: Mapping[str, Any]  # split -> tfds data source
    classes: list[str]  # empty without labels

    def card(self) -> dict[str, Any]:
        """See `sources.RawSource`."""
        size = self.options["size"]
        media = {"kind": "image", "shape": [size, size, 3]}
        return card(f"tfds/{self.options['name']}", self.parts, self.classes, media)

    def split(self, name: str) -> "TfdsSplit":
        """One of 'train' and 'test'."""
        known_split(name, tuple(self.parts), self.card()["name"])
        return TfdsSplit(self.options, name, self.parts[name], len(self.classes))


@dataclass(frozen=True)
class TfdsSplit:
    """The key of an example is dataset, split and number."""

    options: Mapping[str, Any]
    name: str
    records: Any
    num_classes: int

    def __len__(self) -> int:
        return len(self.records)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """`image` uint8 [size, size, 3] and its label."""
        key = f"{self.options['name']}/{self.name}/{index:08d}"
        try:
            features = self.records[index]
        except (RuntimeError, ValueError, KeyError) as error:
            raise Unreadable(key, f"not a sound record ({error})") from error
        image = _to_image(features[self.options["image"]], key)
        square = images.fit(image, self.options["size"], rng, self.options["flip"])
        condition, groups = {}, {}
        if self.num_classes:
            label = int(features[self.options["label"]])
            if not 0 <= label < self.num_classes:
                raise Unreadable(key, f"label {label} outside [0, {self.num_classes})")
            condition, groups = {"label": np.int32(label)}, {"label": str(label)}
        return {"key": key, "image": square, "condition": condition, "groups": groups}


def _to_image(value: Any, key: str) -> Any:
    if isinstance(value, bytes | np.bytes_):
        return images.decode(bytes(value), key)
    from PIL import Image

    # tfds's own mock gives pixels
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise Unreadable(key, f"{pixels.dtype} pixels of shape {list(pixels.shape)}")
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def open_source(path: str, options: Mapping[str, Any], seed: int) -> TfdsSource:
    """The source, whose splits tfds has fixed: `seed` is not used.

    Raises:
        UsageError: a bad option, or a feature that the dataset does not have.
        InputError: tfds has no such dataset prepared.
    """
    del seed
    check_options(options, positive=["size"])
    if not options["name"]:
        raise UsageError(
            "Found no data.options.name; expected one of tfds's datasets, such as "
            "cifar10; name one."
        )
    parts = {
        split: _open_split(path, options, options[split])
        for split in ("train", "test")
        if options[split] or split == "train"
    }
    features = parts["train"].dataset_info.features
    return TfdsSource(options, parts, _classes(features, options))


def _open_split(path: str, options: Mapping[str, Any], split: str) -> Any:
    import tensorflow_datasets as tfds  # slow to import

    try:
        records = tfds.data_source(
            options["name"], split=split, data_dir=path or None, download=False
        )
        len(records)
    # tfds raises ValueError, AssertionError, NotImplementedError, its own, ...
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"Found no split {split!r} of tfds's {options['name']} in "
            f"{path or 'its own folder'} ({type(error).__name__}: {reason}); expected "
            f"{TREE}; prepare it there with `tfds build --file_format=array_record "
            f"{options['name']}`, or correct data.path or data.options."
        ) from error
    # Set afterwards: given to data_source, tfds's mock would need TensorFlow.
    records.decoders = {options["image"]: tfds.decode.SkipDecoding()}
    return records


def _classes(features: Any, options: Mapping[str, Any]) -> list[str]:
    import tensorflow_datasets as tfds

    wanted = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    kinds = dict(features.items())
    for option, kind in wanted.items():
        key = options[option]
        if option == "label" and not key:
            return []
        if not isinstance(kinds.get(key), kind):
            known = [f"{name} ({type(f).__name__})" for name, f in kinds.items()]
            raise UsageError(
                f"Found data.options.{option} = {key!r}, but {options['name']} has "
                f"{', '.join(known)}; expected the key of a {kind.__name__} (label may "
                "be ''); name one of these."
            )
    return list(features[options["label"]].names)
