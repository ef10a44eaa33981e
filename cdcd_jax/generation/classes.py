"""Classes that are asked for, by names or by numbers, as numbers.

    --condition.label=cat,dog     names, in any case and Unicode form
    --condition.label=0,2         numbers, from 0 on
    --condition.label=#2,name:2   number 2, and the class whose name is 2

A request is taken as names as a whole or as numbers as a whole. One that can be both,
to different ends, is refused: folders 1..12 have the numbers 0..11. What begins with #
or name: says itself which it is. From Python an int is a number and a str is a name.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.data.names import same_name
from cdcd_jax.errors import UsageError

_LISTED = 20  # names that an error lists whole
_NUMBER, _NAME = "#", "name:"


class Flag(str):
    """The text of a flag, in which digits may be a number as well as a name."""


def as_asked(
    given: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What a call gives, modality -> value, where a str is a class's name first."""

    def named(name: str, value: Any) -> Any:
        is_name = isinstance(value, str) and not isinstance(value, Flag)
        is_label = conditions.get(name, {}).get("kind") == "label"
        return [value] if is_name and is_label else value

    return {name: named(name, value) for name, value in given.items()}


def read(name: str, value: Any, num_classes: int, names: Sequence[str]) -> np.ndarray:
    """int32 [N] of numbers or names.

    Args:
        name: of the condition.
        value: the text of a flag, with commas between; or ints and names.
        num_classes: numbers lie below it.
        names: of the classes by number; () where they are unknown.

    Raises:
        UsageError: neither, a mixture of both, or what can be both.
    """
    asked = _Asked(name, value, num_classes, names)
    parts = [value] if isinstance(value, str) else _elements(value)
    if len(parts) == 1 and isinstance(parts[0], str):
        found = asked.of_text(parts[0], firm=not isinstance(value, str))
    else:
        found = asked.of_elements(parts)
    return np.array(found, np.int32)


def _elements(value: Any) -> list[Any]:
    """Of an array, or a list of anything, without a change of types."""
    return np.array(value, dtype=object).ravel().tolist()


class _Asked:
    def __init__(
        self, name: str, value: Any, num_classes: int, names: Sequence[str]
    ) -> None:
        self._what = f"--condition.{name}={shortened(str(value))}"
        self._count, self._names = num_classes, names
        # the exact name first, then in any case
        self._exact: dict[str, list[int]] = {}
        self._loose: dict[str, list[int]] = {}
        for number, known in enumerate(names):
            key = same_name(str(known)).strip()
            self._exact.setdefault(key, []).append(number)
            self._loose.setdefault(key.casefold(), []).append(number)

    def of_text(self, text: str, firm: bool) -> list[int]:
        """Args: firm: whether a name that is whole has no other reading."""
        whole = self._by_name(text)
        if whole is not None and firm:
            return [whole]
        parts = text.split(",")
        readings = [] if whole is None else [[whole]]
        for read in (self._by_name, self._by_number):
            found = [self._marked(part, read) for part in parts]
            if None not in found and found not in readings:
                readings.append(found)
        if len(readings) > 1:
            raise self._ambiguous(readings)
        if not readings:
            raise self._bad(parts)
        return readings[0]

    def of_elements(self, parts: Sequence[Any]) -> list[int]:
        """Ints are numbers; strings are names, or all of them are numbers."""
        texts = [part for part in parts if isinstance(part, str)]
        read = self._by_name
        if all(self._by_name(text) is None for text in texts):
            read = self._by_number
        found = []
        for part in parts:
            if isinstance(part, str):
                found.append(self._marked(part, read))
            else:
                whole = isinstance(part, int | np.integer) and not isinstance(
                    part, bool
                )
                found.append(self._by_number(str(part)) if whole else None)
        if None in found or not found:
            raise self._bad([str(part) for part in parts])
        return found

    def _marked(self, part: str, read: Any) -> int | None:
        """By what # or name: says, and otherwise as `read` does."""
        part = part.strip()
        if part.startswith(_NAME) and self._by_name(part) is None:
            return self._by_name(part.removeprefix(_NAME))
        if part.startswith(_NUMBER) and self._by_name(part) is None:
            return self._by_number(part.removeprefix(_NUMBER))
        return read(part)

    def _by_name(self, part: str) -> int | None:
        key = same_name(part).strip()
        found = self._exact.get(key) or self._loose.get(key.casefold()) or []
        if len(found) > 1:
            raise UsageError(
                f"{self._what}: the classes {', '.join(map(self._called, found))} are "
                f"all called {key} but for upper and lower case; write one of them as "
                f"it is, or its number, such as {_NUMBER}{found[0]}"
            )
        return found[0] if found else None

    def _by_number(self, part: str) -> int | None:
        part = part.strip()
        digits = part.isascii() and part.isdigit() and len(part) < 10
        digits = digits and part == str(int(part))  # 03 may well be the folder 3
        return int(part) if digits and int(part) < self._count else None

    def _called(self, number: int) -> str:
        return f"{self._names[number]} ({number})"

    def _ambiguous(self, readings: Sequence[Sequence[int]]) -> UsageError:
        told = " or ".join(
            ", ".join(map(self._called, numbers[:_LISTED])) for numbers in readings
        )
        number, called = readings[-1][0], self._names[readings[0][0]]
        return UsageError(
            f"{self._what}: can be read as the classes {told} (numbers in brackets); "
            f"write {_NUMBER}{number} for a number or {_NAME}{called} for a name, each "
            "of them; in Python an int or a list of names"
        )

    def _bad(self, parts: Sequence[str]) -> UsageError:
        named = [part for part in parts if self._by_name(part) is not None]
        numbers = [part for part in parts if self._by_number(part) is not None]
        bare = [part.strip() for part in numbers if part not in named]
        if named and bare and {*named, *numbers} == {*parts}:
            return UsageError(
                f"{self._what}: {', '.join(named)} by name and {', '.join(bare)} by "
                "number; expected all by name or all by number; write "
                f"{_NUMBER}{bare[0]} for a number among names"
            )
        words = f", or names: {self._near(parts)}" if self._names else ""
        return UsageError(
            f"{self._what}: expected numbers from 0 to {self._count - 1} with commas "
            f"between{words}"
        )

    def _near(self, parts: Sequence[str]) -> str:
        """All names where they are few, otherwise the nearest to what is unknown."""
        if len(self._names) <= _LISTED:
            return ", ".join(self._names)
        unknown = [p for p in parts if self._by_name(p) is None] or [""]
        known = {key: self._names[found[0]] for key, found in self._loose.items()}
        asked = same_name(unknown[0]).strip().casefold()
        near = difflib.get_close_matches(asked, known, n=5, cutoff=0.0)
        return f"{', '.join(known[n] for n in near)}, or others of {len(self._names)}"


def shortened(text: str, number: int = 60) -> str:
    """The start of a long text, for a message."""
    return text if len(text) <= number else f"{text[:number]} ..."
