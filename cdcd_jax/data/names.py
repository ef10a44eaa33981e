"""Names of files and classes: in which form they are compared, found and printed."""

import os
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any


def same_name(name: str) -> str:
    """The name in the Unicode form NFC: macOS and its archives write another one."""
    return unicodedata.normalize("NFC", name)


def existing(root: Path, name: str) -> Path:
    """The file that a list names below `root`: in that Unicode form, or in another."""
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    paths = (root / form for form in (name, *forms))
    return next((path for path in paths if os.path.lexists(path)), root / name)


class RealPaths:
    """`os.path.realpath` of many files in few folders, whose paths are found once."""

    def __init__(self) -> None:
        self._of_folder = cache(os.path.realpath)

    def find(self, path: str) -> str:
        """The file that a path leads to, itself or by links."""
        for _ in range(40):  # as many as Linux follows
            folder, name = os.path.split(path)
            if name in ("", ".", ".."):
                break
            path = os.path.join(self._of_folder(folder), name)
            if not os.path.islink(path):
                return path
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        return os.path.realpath(path)


def first_names(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> the first one, in sorted order, of those that lead to the same file."""
    first: dict[Any, str] = {}
    real = RealPaths()

    def identity(name: str) -> Any:
        try:
            place = real.find(str(existing(root, name)))
            status = os.stat(place)
        except (OSError, ValueError):  # it is told when it is read
            return name
        return (status.st_dev, status.st_ino) if status.st_nlink > 1 else place

    return {name: first.setdefault(identity(name), name) for name in sorted({*names})}


def shown(name: str) -> str:
    """The name in a form that can be printed, also where it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
