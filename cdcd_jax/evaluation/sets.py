"""The sets of samples that an evaluation judges, drawn in parts that outlive a kill.

A part is a file of tokens, `<workdir>/evaluation/<set>/part_00000.npz`, written under
another name first; parts of other settings are thrown away. So an evaluation that was
stopped goes on, and holds one set of samples at a time.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax.config import check_type
from cdcd_jax.config.ranges import check_ranges
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation.time_profile import resolved
from cdcd_jax.reporting import report
from cdcd_jax.runtime import hosts
from cdcd_jax.tasks.drawing import rows_of_an_example, said_cost

FOLDER = "evaluation"
PART = 1000  # samples of a part, at least


@dataclasses.dataclass(frozen=True)
class DrawnSet:
    """One set of samples: 'unguided', 'guided', or a point of a sweep."""

    name: str
    options: SamplingOptions
    swept: Mapping[str, Any]  # what the sweep changed, {} of the first two

    @property
    def cost(self) -> dict[str, int]:
        """Network evaluations, and rows of each for one sample."""
        rows = rows_of_an_example(self.options)
        return {"evaluations": self.options.steps, "rows": rows}

    @property
    def said(self) -> str:
        """The cost in words."""
        return said_cost(self.options.steps, rows_of_an_example(self.options))


def sets_of(config: Mapping[str, Any], task: Any, workdir: pathlib.Path) -> list:
    """The sets that a config asks for; of an evaluation without judges none.

    Raises:
        UsageError: a combination of the sweep that cannot be.
        InputError: an optimised grid without a profile.
    """
    settings, sampling = config["eval"], config["sampling"]
    swept = {k: tuple(v) for k, v in settings["sweep"].items() if len(v)}
    if not settings["figures"] and not any(settings["features"].values()):
        if swept:
            raise UsageError(
                f"Found eval.sweep.{min(swept)} = {swept[min(swept)]} with nothing "
                "that judges samples; expected eval.figures or eval.features; set one "
                "of them, or leave the sweep empty"
            )
        return []
    scales = {"unguided": 1.0, "guided": settings["guidance_scale"]}
    asked = [(name, {"guidance_scale": s}, {}) for name, s in scales.items()]
    for key, values in swept.items():
        for value in values:
            check_type(f"eval.sweep.{key}", sampling[key], value)
    for values in itertools.product(*swept.values()) if swept else ():
        point = dict(zip(swept, values, strict=True))
        name = ",".join(f"{key}={value}" for key, value in point.items())
        asked.append((name, point, point))
    sets = []
    for name, changes, point in asked:
        where = f"eval.sweep at {name}: " if point else ""
        try:
            changed = {"sampling": {**sampling, **changes}}
            check_ranges(changed)
            changed = resolved(changed, task.schedule, workdir)
            options = SamplingOptions.of(changed["sampling"])
            task.check_sampling(options)
        except UsageError as error:
            raise UsageError(f"{where}{error}") from None
        except InputError:  # no profile; also a ValueError
            raise
        except ValueError as error:
            raise UsageError(f"{where}{error}") from None
        sets.append(DrawnSet(name, options, point))
    return sets


def check_sweep(config: Mapping[str, Any], task: Any) -> None:
    """Raises UsageError if a combination of `eval.sweep` cannot be; needs no files."""
    # which fits where an optimised one does
    other = lambda grid: "cosine" if grid == "optimised" else grid
    sweep = dict(config["eval"]["sweep"])
    sweep["grid"] = tuple(map(other, sweep["grid"]))
    plain = {"grid": other(config["sampling"]["grid"])}
    changed = {"sampling": {**config["sampling"], **plain}}
    changed["eval"] = {**config["eval"], "sweep": sweep}
    sets_of({**config, **changed}, task, pathlib.Path())


def draw(
    task: Any,
    parts: tuple[Any, Any],
    drawn: DrawnSet,
    folder: pathlib.Path,
    condition: Mapping[str, np.ndarray],
    number: int,
    key: jax.Array,
    asked: Mapping[str, Any],
) -> int:
    """Draws the parts that are missing; returns how many samples were drawn now.

    Args:
        parts: parameters and extra.
        folder: of the set.
        condition: modality -> [N, ...].
        number: N.
        key: of the set; a part folds its number in.
        asked: all that the tokens depend on, as JSON has it.
    """
    size = -(-PART // task.settings["sampling"]["batch_size"])
    size *= task.settings["sampling"]["batch_size"]
    said = json.loads(
        json.dumps({**asked, "options": dataclasses.asdict(drawn.options)})
    )
    _keep_if(folder, said)
    fresh = 0
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
            report.write_npz(file, tokens=outputs["tokens"])
    hosts.wait_for_all(f"{drawn.name} drawn")
    return fresh


def _keep_if(folder: pathlib.Path, said: Mapping[str, Any]) -> None:
    """Makes the folder of a set, empty unless its parts are of these settings."""
    path = folder / "settings.json"
    if hosts.is_main() and report.read_json(path) != said:
        if folder.exists():
            _remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
        report.write_json(path, said)
    hosts.wait_for_all(f"settings of {folder.name}")


def _remove(folder: Any) -> None:
    if report.is_url(folder):
        folder.rmtree()
    else:
        shutil.rmtree(folder)


def tokens_of(folder: pathlib.Path) -> np.ndarray:
    """All tokens of a set, int32 [N, L]."""
    parts = sorted(folder.glob("part_*.npz"))
    found = []
    for part in parts:
        with part.open("rb") as file, np.load(file) as arrays:
            found.append(arrays["tokens"])
    return np.concatenate(found)


class Sets(Mapping[str, Any]):
    """Name -> decoded samples, which are read and decoded when they are looked at.

    Args:
        folder: of all sets.
        names: theirs.
        tokenizer: decodes tokens.
        known: what all sets have beside it: condition, truth, sample_rate.
    """

    def __init__(self, folder: Any, names: list[str], tokenizer: Any, known: Mapping):
        self._folder, self._names = folder, names
        self._tokenizer, self._known = tokenizer, known

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self._names:
            raise KeyError(name)
        tokens = tokens_of(self._folder / name)
        return {"tokens": tokens, **self._tokenizer.decode(tokens), **self._known}

    def some(self, name: str, rows: np.ndarray) -> dict[str, Any]:
        """A few rows of a set, decoded, without their conditions."""
        tokens = tokens_of(self._folder / name)[rows]
        rate = self._known["sample_rate"]
        return {**self._tokenizer.decode(tokens), "sample_rate": rate}

    @property
    def condition(self) -> Mapping[str, np.ndarray]:
        """Of all sets."""
        return self._known["condition"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
