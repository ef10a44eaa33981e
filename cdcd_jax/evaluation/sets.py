"""The sets of samples that an evaluation judges, drawn in parts that outlive a kill.

`eval.sets` names them: what is given, what is drawn and how sampling differs; without
any there are `unguided` and `guided`. A part is a file of all that was drawn,
`<workdir>/evaluation/<set>/part_00000.npz`, written under another name first; parts of
other settings are thrown away. So an evaluation that was stopped goes on, and holds one
set of samples at a time.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax.config import check_type
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.generation.generate import sampling_of
from cdcd_jax.generation.time_profile import resolved
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.networks.presence import PRESENT
from cdcd_jax.reporting import files
from cdcd_jax.reporting.samples import name_fault
from cdcd_jax.reporting.sheets import Medium
from cdcd_jax.runtime import hosts
from cdcd_jax.tasks.drawing import rows_of_an_example, said_cost
from cdcd_jax.tasks.settings import missing_null

FOLDER = "evaluation"
PART = 1000  # samples of a part, at least
# names that other samples have, or other columns of the page
_TAKEN = "user|reconstructions|reconstructed|real|step_.*"


@dataclasses.dataclass(frozen=True)
class DrawnSet:
    """One set of samples: of `eval.sets`, or a point of a sweep.

    Attributes:
        name: of the set.
        options: how it is drawn.
        swept: what the sweep changed, {} of other sets.
        given: the conditions that it gets; None for all.
        outputs: what of the draw is kept and judged; None for all.
    """

    name: str
    options: SamplingOptions
    swept: Mapping[str, Any]
    given: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None

    @property
    def cost(self) -> dict[str, int]:
        """Network evaluations, and rows of each for one sample."""
        rows = rows_of_an_example(self.options)
        return {"evaluations": self.options.steps, "rows": rows}

    @property
    def said(self) -> str:
        """The cost in words."""
        return said_cost(self.options.steps, rows_of_an_example(self.options))

    @property
    def settings(self) -> dict[str, Any]:
        """What its samples depend on."""
        told: dict[str, Any] = {"options": dataclasses.asdict(self.options)}
        chosen = {"given": self.given, "outputs": self.outputs}
        return told | {k: v for k, v in chosen.items() if v is not None}

    def gets(self, condition: str) -> bool:
        """Whether it is drawn under this condition."""
        return self.given is None or condition.removesuffix(PRESENT) in self.given

    def keeps(self, output: str) -> bool:
        """Whether this output is kept."""
        return self.outputs is None or output in self.outputs


def sets_of(config: Mapping[str, Any], task: Any, workdir: pathlib.Path) -> list:
    """The sets that a config asks for; by default none that needs a missing null.

    Raises:
        UsageError: a set, or a combination of the sweep, that cannot be.
        InputError: an optimised grid without a profile.
    """
    settings = config["eval"]
    swept = {k: tuple(v) for k, v in settings["sweep"].items() if len(v)}
    scales = {"unguided": 1.0, "guided": settings["guidance_scale"]}
    if missing_null(config["model"]):
        del scales["guided"]
    asked = _checked(settings["sets"]) or {
        name: dict(guidance_scale=scale) for name, scale in scales.items()
    }
    description = task.describe()
    sets = []
    for name, wish in asked.items():
        chosen = {
            "given": _chosen(name, "given", wish, description["conditions"]),
            "outputs": _chosen(name, "outputs", wish, description["outputs"]),
        }
        changes = {k: v for k, v in wish.items() if k not in chosen}
        options = _options(config, task, workdir, changes, f"eval.sets.{name}: ")
        sets.append(DrawnSet(name, options, {}, **chosen))
    for key, values in swept.items():
        for value in values:
            check_type(f"eval.sweep.{key}", config["sampling"][key], value)
    for values in itertools.product(*swept.values()) if swept else ():
        point = dict(zip(swept, values, strict=True))
        name = ",".join(f"{key}={value}" for key, value in point.items())
        where = f"eval.sweep at {name}: "
        options = _options(config, task, workdir, point, where)
        sets.append(DrawnSet(name, options, point))
    return sets


def _checked(sets: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The sets, which have names for folders, and settings.

    Raises:
        UsageError: one has not.
    """
    for name, wish in sets.items():
        expected = name_fault(name, _TAKEN) or "a name without =" * ("=" in name)
        if expected:
            raise UsageError(
                f"Found a set eval.sets.{name[:60]!r}; expected {expected}; choose "
                "another"
            )
        if not isinstance(wish, Mapping):
            raise UsageError(
                f"Found eval.sets.{name} = {wish!r}; expected settings, such as "
                "dict(steps=8); correct it"
            )
    return sets


def _options(
    config: Mapping[str, Any],
    task: Any,
    workdir: pathlib.Path,
    changes: Mapping[str, Any],
    where: str,
) -> SamplingOptions:
    """`sampling` with these changes.

    Raises:
        UsageError: it cannot be; says where.
        InputError: an optimised grid without a profile.
    """
    try:
        changed = sampling_of(config, task, changes)
        changed = resolved(changed, task.schedule, workdir)
        return task.options(changed["sampling"])
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None


def _chosen(
    name: str, key: str, wish: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The names that a set gives or keeps; None where it does not say."""
    if key not in wish:
        return None
    names = tuple(wish[key])
    unknown = [found for found in names if found not in known]
    if key == "given":
        needed = [n for n, s in known.items() if not s.get("optional")]
        unknown += [n for n in needed if n not in names]
    if unknown:
        raise UsageError(
            f"Found eval.sets.{name}.{key} = {names}; expected some of "
            f"{', '.join(known) or 'none'}"
            + (f", {', '.join(needed)} among them" if key == "given" and needed else "")
            + f"; correct it at {unknown[0]!r}"
        )
    return names


def check_sets(config: Mapping[str, Any], task: Any) -> None:
    """Raises UsageError if a set or a point of the sweep cannot be; needs no files."""
    # which fits where an optimised one does
    other = lambda grid: "cosine" if grid == "optimised" else grid
    sweep = dict(config["eval"]["sweep"])
    sweep["grid"] = tuple(map(other, sweep["grid"]))
    sets = {
        name: {**wish, "grid": other(wish["grid"])} if "grid" in wish else wish
        for name, wish in _checked(config["eval"]["sets"]).items()
    }
    plain = {"grid": other(config["sampling"]["grid"])}
    changed = {"sampling": {**config["sampling"], **plain}}
    changed["eval"] = {**config["eval"], "sweep": sweep, "sets": sets}
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
    said = json.loads(json.dumps({**asked, **drawn.settings}))
    condition = {k: v for k, v in condition.items() if drawn.gets(k)}
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
        known: what all sets have beside it: condition, truth, sample_rate.
    """

    def __init__(
        self, folder: Any, sets: Sequence[DrawnSet], decoders: Decoders, known: Mapping
    ) -> None:
        self._folder, self._sets = folder, {part.name: part for part in sets}
        self._decoders, self._known = decoders, known

    def __getitem__(self, name: str) -> dict[str, Any]:
        # with the conditions that a set did not get as well: a judge compares with them
        return {**self.drawn(name), **self._known}

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

    @property
    def condition(self) -> Mapping[str, np.ndarray]:
        """Of all sets."""
        return self._known["condition"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)
