"""What was drawn of a set, in parts that outlive a kill, and how it is read again.

A part is a file of all that was drawn, `<workdir>/evaluation/<set>/part_00000.npz`,
written under another name first; parts of other settings are thrown away. So an
evaluation that was stopped goes on, and holds one set of samples at a time.
"""

import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax.evaluation.sets import DrawnSet, swapped
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.reporting import files
from cdcd_jax.reporting.sheets import Medium
from cdcd_jax.runtime import hosts

FOLDER = "evaluation"
PART = 1000  # samples of a part, at least


def draw(
    task: Any,
    parts: tuple[Any, Any],
    drawn: DrawnSet,
    folder: pathlib.Path,
    condition: Mapping[str, np.ndarray],
    key: jax.Array,
    asked: Mapping[str, Any],
) -> int:
    """Draws the parts that are missing; returns how many samples were drawn now.

    Args:
        parts: parameters and extra.
        folder: of the set.
        condition: modality -> [N, ...], all that is known of the rows.
        key: of the set; a part folds its number in.
        asked: all that the tokens depend on, as JSON has it.
    """
    size = -(-PART // task.settings["sampling"]["batch_size"])
    size *= task.settings["sampling"]["batch_size"]
    said = json.loads(json.dumps({**asked, **drawn.settings}))
    condition = drawn.under(condition)
    _keep_if(folder, said)
    fresh, number = 0, drawn.number
    for i, begin in enumerate(range(0, number, size)):
        rows = slice(begin, min(begin + size, number))
        if (file := folder / f"part_{i:05d}.npz").exists():
            continue
        outputs = task.sample(
            *parts,
            {name: value[rows] for name, value in condition.items()},
            jax.random.fold_in(key, i),
            drawn.options,
            rows.stop - begin,
        )
        fresh += rows.stop - begin
        hosts.wait_for_all(f"{drawn.name} part {i}")  # all saw that it was missing
        if hosts.is_main():
            kept = {k: v for k, v in outputs.items() if drawn.keeps(k)}
            files.write_npz(file, **kept)
    hosts.wait_for_all(f"{drawn.name} drawn")
    return fresh


def _keep_if(folder: pathlib.Path, said: Mapping[str, Any]) -> None:
    """Makes the folder of a set, empty unless its parts are of these settings."""
    path = folder / "settings.json"
    if hosts.is_main() and files.read_json(path) != said:
        if folder.exists():
            _remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(path, said)
    hosts.wait_for_all(f"settings of {folder.name}")


def _remove(folder: Any) -> None:
    if files.is_url(folder):
        folder.rmtree()
    else:
        shutil.rmtree(folder)


def outputs_of(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All that was drawn of a set, by output, [N, ...]; `tokens` are int32 [N, L]."""
    parts = []
    for part in sorted(folder.glob("part_*.npz")):
        with part.open("rb") as file, np.load(file) as arrays:
            parts.append({name: arrays[name] for name in arrays.files})
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


class Sets(Mapping[str, Any]):
    """Name -> decoded samples, which are read and decoded when they are looked at.

    Args:
        folder: of all sets.
        sets: all of them.
        decoders: of what the model draws.
        known: what sets have beside it: condition, truth, sample_rate, ..., by the
            `rows` that they are drawn for; one that says so also has `given`, names
            of conditions, one from which pixels are hidden `hidden`, bool
            [N, H * W * C], and one that gets conditions of other rows all of these as
            `swapped`.
    """

    def __init__(
        self, folder: Any, sets: Sequence[DrawnSet], decoders: Decoders, known: Mapping
    ) -> None:
        self._folder, self._sets = folder, {part.name: part for part in sets}
        self._decoders, self._known = decoders, known

    def __getitem__(self, name: str) -> dict[str, Any]:
        # with the conditions that a set did not get as well: a judge compares with them
        part, condition = self._sets[name], self.condition(name)
        found = {**self.drawn(name), **self._known[part.rows]}
        if part.given is not None:
            found["given"] = part.given
        if part.hidden:
            found["hidden"] = part.hidden.of(condition)
        if part.swapped:
            found["swapped"] = swapped(condition)
        return {**found, "condition": part.seen(condition)}

    def drawn(self, name: str) -> dict[str, np.ndarray]:
        """All samples of a set, decoded, without what is known beside them."""
        return self._decoders.decode(outputs_of(self._folder / name))

    def some(self, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """A few rows of a set, decoded, without what is known beside them."""
        outputs = outputs_of(self._folder / name)
        return self._decoders.decode({k: v[rows] for k, v in outputs.items()})

    def media(self, name: str) -> dict[str, Medium]:
        """What of a set can be seen or heard."""
        return self._decoders.media_of(self._sets[name].keeps)

    def condition(self, name: str) -> Mapping[str, np.ndarray]:
        """All conditions of the rows of a set, as the records have them."""
        return self._known[self._sets[name].rows]["condition"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)
