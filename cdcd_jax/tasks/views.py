"""Other views of the same picture or codes, drawn on the device from a step's key.

Pictures are turned, zoomed and shifted by a little, with noise, and with a piece of
them erased: what none of these changes is what a picture is told by. Nothing is
mirrored, since letters and digits are not what they were then; what comes in at an edge
is background. Of codes some are replaced by any others.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.errors import UsageError

BACKGROUND = -1.0  # of pixels in [-1, 1]: level 0


def check_views(settings: Mapping[str, float]) -> None:
    """Raises UsageError for a view that cannot be."""
    most = {"rotation": 180.0, "zoom": 2.0, "erase": 1.0, "swap": 1.0}
    for name, value in settings.items():
        if not 0 <= value <= most.get(name, 1e6):
            raise UsageError(
                f"Found views.{name} = {value}; expected a number from 0 to "
                f"{most.get(name, 1e6):g}; correct it."
            )


def view(key: jax.Array, x: jax.Array, settings: Mapping[str, Any]) -> jax.Array:
    """Another view of each picture, float32 [B, H, W, C] in [-1, 1] and beyond.

    Args:
        key: of all pictures, of which each has draws of its own.
        x: float32 [B, H, W, C].
        settings: `views` of the config.
    """
    moved, erased, noise = jax.random.split(key, 3)
    if settings["shift"] or settings["rotation"] or settings["zoom"]:
        x = _moved(moved, x, settings)
    if settings["erase"]:
        x = _erased(erased, x, settings["erase"])
    if settings["noise"]:
        x = x + settings["noise"] * jax.random.normal(noise, x.shape)
    return x


def swapped(key: jax.Array, codes: jax.Array, number: int, share: float) -> jax.Array:
    """Codes int [B, L] of so many, of which about `share` are drawn evenly instead."""
    places, others = jax.random.split(key)
    drawn = jax.random.randint(others, codes.shape, 0, number)
    return jnp.where(jax.random.bernoulli(places, share, codes.shape), drawn, codes)


def _moved(key: jax.Array, x: jax.Array, settings: Mapping[str, Any]) -> jax.Array:
    """Turned about the middle, zoomed, shifted; each pixel between its nearest four."""
    batch, *size, channels = x.shape
    keys = jax.random.split(key, 3)
    even = lambda k, most, *shape: jax.random.uniform(
        k, (batch, *shape), minval=-most, maxval=most
    )
    angle = even(keys[0], jnp.deg2rad(settings["rotation"]))
    scale = jnp.exp(even(keys[1], settings["zoom"]))
    shift = even(keys[2], settings["shift"], 2)
    cosine, sine = jnp.cos(angle) * scale, jnp.sin(angle) * scale
    middle = (jnp.array(size) - 1) / 2
    rows, columns = jnp.meshgrid(*map(jnp.arange, size), indexing="ij")
    place = lambda a: a[:, None, None]
    rows, columns = rows - middle[0], columns - middle[1]
    # where what is seen at a pixel was before
    down = place(cosine) * rows - place(sine) * columns + place(middle[0] + shift[:, 0])
    right = place(sine) * rows + place(cosine) * columns
    right = right + place(middle[1] + shift[:, 1])

    def one(picture: jax.Array, down: jax.Array, right: jax.Array) -> jax.Array:
        sample = lambda plane: jax.scipy.ndimage.map_coordinates(
            plane, (down, right), order=1, mode="constant", cval=BACKGROUND
        )
        return jnp.stack([sample(picture[..., c]) for c in range(channels)], -1)

    return jax.vmap(one)(x, down, right)


def _erased(key: jax.Array, x: jax.Array, share: float) -> jax.Array:
    """A block of `share` of each side, anywhere, is background."""
    batch, height, width, _ = x.shape
    start = jax.random.uniform(key, (batch, 2))

    def inside(places: int, start: jax.Array) -> jax.Array:
        middle = jnp.arange(places) + 0.5 - start[:, None] * places * (1 - share)
        return (middle >= 0) & (middle < share * places)

    block = (
        inside(height, start[:, 0])[:, :, None] & inside(width, start[:, 1])[:, None]
    )
    return jnp.where(block[..., None], BACKGROUND, x)
