"""CLIPScore: does a picture show what its text says? (Hessel et al. 2021)

The cosine of the features that CLIP's two towers give to a picture and to its text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.networks.clip_image import ClipImage
from cdcd_jax.networks.clip_text import ClipText

# What a cosine, if it is positive, is multiplied by; 2.5 in the paper, 100 wherever the
# score of a generative model is reported.
FACTOR = 100.0
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures, in [0, 1]
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
BATCH = 64


def clip_score(cosines: np.ndarray) -> float:
    """100 max(0, cos), the mean over pairs of cosines float [N]."""
    return float(np.mean(FACTOR * np.maximum(cosines, 0)))


class Clip:
    """Both towers with their weights (`convert.clip_score`)."""

    def __init__(
        self,
        text: Mapping[str, int],
        image: Mapping[str, int],
        params: Mapping[str, Any],
    ) -> None:
        """Args: sizes of a `ClipText` and a `ClipImage`; their parameters by name."""
        self._text, self._image = ClipText(**text), ClipImage(**image)
        self._params = params
        self._read_text = jax.jit(lambda p, x: self._text.apply({"params": p}, x)[1])
        self._read_image = jax.jit(lambda p, x: self._image.apply({"params": p}, x))

    def cosines(self, images: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Of each picture with its own text, float64 [N], in [-1, 1].

        Args:
            images: uint8 [N, H, W, C], C of 1 or 3.
            texts: N of them; what is beyond CLIP's length is cut. Nothing is put before
                them (the paper's "A photo depicts" is left out, as is usual).

        Raises:
            ValueError: unlike numbers.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} pictures for {len(texts)} texts")
        pairs = self.image_features(images) * self.text_features(texts)
        return np.sum(pairs, axis=1, dtype=np.float64)

    def image_features(self, images: np.ndarray) -> np.ndarray:
        """Float32 [N, P] of length 1, of pictures uint8 [N, H, W, C]."""
        side = self._image.resolution
        read = lambda rows: self._read_image(self._params["image"], prepare(rows, side))
        return _in_batches(read, np.asarray(images))

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [N, P] of length 1."""
        tokens = bpe.encode(texts, self._text.length, truncate=True)
        return self.token_features(tokens)

    def token_features(self, tokens: np.ndarray) -> np.ndarray:
        """Float32 [N, P] of length 1, of tokens int [N, L] of `data.bpe`."""
        read = lambda rows: self._read_text(self._params["text"], rows)
        return _in_batches(read, tokens)


def prepare(images: np.ndarray, side: int) -> np.ndarray:
    """Pictures as CLIP was trained on: resized, cut to a square, of mean 0.

    The short side becomes `side` (bicubic, with antialias, by Pillow), the middle is
    cut out.

    Args:
        images: uint8 [N, H, W, C], C of 1 or 3.
        side: pixels.

    Returns:
        float32 [N, side, side, 3].
    """
    from PIL import Image

    height, width = images.shape[1:3]
    short = min(height, width)
    height, width = (int(side * n / short) for n in (height, width))
    top, left = (round((n - side) / 2) for n in (height, width))
    out = np.empty((len(images), side, side, 3), np.float32)
    for row, image in zip(out, images, strict=True):
        image = np.broadcast_to(image, (*image.shape[:2], 3))
        picture = Image.fromarray(np.ascontiguousarray(image))
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        row[:] = np.asarray(picture)[top : top + side, left : left + side]
    return (out / 255 - np.float32(MEAN)) / np.float32(DEVIATION)


def _in_batches(read: Any, rows: np.ndarray) -> np.ndarray:
    """`read`, normalized, of BATCH rows at a time, so that one shape is compiled."""
    parts = []
    size = min(BATCH, len(rows))
    for i in range(0, len(rows), size):
        chosen = np.minimum(np.arange(i, i + size), len(rows) - 1)
        with jax.default_matmul_precision("highest"):
            features = jnp.asarray(read(rows[chosen]))
        features = features / jnp.linalg.norm(features, axis=1, keepdims=True)
        parts.append(np.asarray(features)[: len(rows) - i])
    return np.concatenate(parts)
