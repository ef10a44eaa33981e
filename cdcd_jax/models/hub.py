"""Models of a hub by name: hf://<who>/<what>, fetched once and kept by the hub's cache.

What lies there is an export (`models.export`). The library that fetches is not one of
those that this package needs.
"""

import os
from typing import Any

from cdcd_jax.errors import InputError, UsageError

START = "hf://"


def local(place: str | os.PathLike) -> Any:
    """A local directory of what a hub has; any other place as it is.

    Args:
        place: hf://<who>/<what>, with @<revision> perhaps.

    Raises:
        UsageError: a name that is none, or no library that fetches.
        InputError: nothing of this name, or nobody answers.
    """
    if not os.fspath(place).startswith(START):
        return place
    name, _, revision = os.fspath(place).removeprefix(START).partition("@")
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise UsageError(
            f"Found {os.fspath(place)}; expected hf://<who>/<what>, perhaps with "
            "@<revision>; correct it."
        )
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(
            f"Found {os.fspath(place)}, which needs huggingface_hub: pip install "
            "huggingface_hub, or copy the model and name its directory."
        ) from None
    try:
        return huggingface_hub.snapshot_download(name, revision=revision or None)
    except Exception as error:  # of the library, of requests, of the disk
        raise InputError(
            f"Found no model at {os.fspath(place)} ({type(error).__name__}: {error}); "
            "expected an export of a model there; correct the name, or copy the model "
            "and name its directory."
        ) from error
