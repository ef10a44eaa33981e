"""Sets of figures that judge samples of a task, by the name in `eval.figures`."""

from collections.abc import Callable

from cdcd_jax.metrics.captions import captioned_pixels
from cdcd_jax.metrics.music import danced_music
from cdcd_jax.metrics.pictures import labelled_pictures
from cdcd_jax.metrics.pixels import labelled_pixels

FIGURES: dict[str, Callable[..., dict[str, float]]] = {
    "labelled_pixels": labelled_pixels,  # class to image, small
    "labelled_pictures": labelled_pictures,  # class to image, photographs
    "captioned_pixels": captioned_pixels,  # text to image
    "danced_music": danced_music,  # dance to music
}
