"""Sets of figures that judge samples of a task, by the name in `eval.figures`."""

from collections.abc import Callable, Mapping
from typing import Any

from cdcd_jax.metrics import joint, masked, paired, represented
from cdcd_jax.metrics.any_to_any import any_to_any
from cdcd_jax.metrics.captions import captioned_pixels
from cdcd_jax.metrics.music import danced_music
from cdcd_jax.metrics.pictures import labelled_pictures
from cdcd_jax.metrics.pixels import labelled_pixels

FIGURES: dict[str, Callable[..., dict[str, float]]] = {
    "labelled_pixels": labelled_pixels,  # class to image, small
    "labelled_pictures": labelled_pictures,  # class to image, photographs
    "captioned_pixels": captioned_pixels,  # text to image
    "danced_music": danced_music,  # dance to music
    "joint_pixels": joint.joint_pixels,  # pictures with their labels
    "paired_pixels": paired.paired_pixels,  # two pictures
    "masked_pixels": masked.masked_pixels,  # pictures known in part
    "represented_pixels": represented.represented_pixels,  # pictures with vectors
    "any_to_any": any_to_any,  # pictures, captions and sounds of the same classes
}

# figures -> the sets that they judge, where these are told apart by their names
# (`<kind>` or `<kind>_<ending>`); other figures judge sets of any name
SETS: dict[str, tuple[str, ...]] = {
    "joint_pixels": joint.KINDS,
    "paired_pixels": paired.KINDS,
    "masked_pixels": masked.KINDS,
    "represented_pixels": represented.KINDS,
}


def judged(name: str, batches: Mapping[str, Any]) -> dict[str, float]:
    """What the figures `name` say of samples; {} of none, or where none are judged.

    Args:
        name: a key of `FIGURES`, or "".
        batches: 'judged', {'train', 'test'} whole with their media, with 'others' by
            name if there are more records, and 'samples', name -> {tokens, media,
            condition, ...}; perhaps neither.
    """
    if not name or "judged" not in batches:
        return {}
    return FIGURES[name](batches["samples"], **batches["judged"])
