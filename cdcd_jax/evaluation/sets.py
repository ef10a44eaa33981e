"""The sets of samples that an evaluation judges, and the points of its sweep.

`eval.sets` names them: what is given, what is drawn and how sampling differs; without
any there are `unguided` and `guided`.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdcd_jax.config import check_type
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation.hidden import Hidden, hidden_of
from cdcd_jax.generation.generate import sampling_of
from cdcd_jax.generation.time_profile import resolved
from cdcd_jax.metrics.figures import SETS
from cdcd_jax.metrics.names import kind_of, suffix
from cdcd_jax.networks.presence import PRESENT
from cdcd_jax.reporting.samples import name_fault
from cdcd_jax.tasks.drawing import rows_of_an_example, said_cost
from cdcd_jax.tasks.settings import missing_null

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
        hidden: which pixels of its condition are unknown; None for none.
        swapped: the conditions that it gets of another record than the others.
        records: that it is drawn for, a key of `eval.others`; "" for `data.path`.
        number: of samples.
    """

    name: str
    options: SamplingOptions
    swept: Mapping[str, Any]
    given: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    hidden: Hidden | None = None
    swapped: tuple[str, ...] = ()
    records: str = ""
    number: int = 1000

    @property
    def rows(self) -> tuple[str, int]:
        """Which records, and how many, it is drawn for; sets may share them."""
        return self.records, self.number

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
        told: dict[str, Any] = {"options": self.options.told()}
        share = self.hidden and self.hidden.share
        chosen = {"given": self.given, "outputs": self.outputs, "hidden": share}
        chosen |= {"swapped": self.swapped or None, "records": self.records or None}
        return told | {k: v for k, v in chosen.items() if v is not None}

    def gets(self, condition: str) -> bool:
        """Whether it is drawn under this condition."""
        return self.given is None or condition.removesuffix(PRESENT) in self.given

    def seen(self, condition: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All conditions [N, ...], what is hidden unknown and others swapped."""
        found = self.hidden.over(condition) if self.hidden else dict(condition)
        return found | {k: swapped(condition)[k] for k in self.swapped}

    def under(self, condition: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Of all conditions those that it is drawn under, as they are seen."""
        return {k: v for k, v in self.seen(condition).items() if self.gets(k)}

    def keeps(self, output: str) -> bool:
        """Whether this output is kept."""
        return self.outputs is None or output in self.outputs


def swapped(condition: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each row the conditions of the next, of the last those of the first."""
    return {name: np.roll(rows, -1, axis=0) for name, rows in condition.items()}


def sets_of(
    config: Mapping[str, Any], task: Any, workdir: pathlib.Path
) -> list[DrawnSet]:
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
    _check_judged(settings["figures"], [*asked, *swept])
    description = task.describe()
    sets = []
    for name, wish in asked.items():
        chosen = {
            "given": _chosen(name, "given", wish, description["conditions"]),
            "outputs": _chosen(name, "outputs", wish, description["outputs"]),
            "swapped": _chosen(name, "swapped", wish, description["conditions"]) or (),
            "records": wish.get("records", ""),
            "number": _number(name, wish, settings["num_samples"]),
        }
        hidden = hidden_of(name, wish, description["conditions"], config["seed"])
        own = (*chosen, "hidden", "num_samples")
        changes = {k: v for k, v in wish.items() if k not in own}
        # where that is chosen, no more is drawn than what is kept
        if chosen["outputs"] is not None and "outputs" in config["sampling"]:
            changes["outputs"] = chosen["outputs"]
        options = _options(config, task, workdir, changes, f"eval.sets.{name}: ")
        sets.append(DrawnSet(name, options, {}, **chosen, hidden=hidden))
    for key, values in swept.items():
        for value in values:
            check_type(f"eval.sweep.{key}", config["sampling"][key], value)
    for values in itertools.product(*swept.values()) if swept else ():
        point = dict(zip(swept, values, strict=True))
        name = ",".join(f"{key}={value}" for key, value in point.items())
        where = f"eval.sweep at {name}: "
        options = _options(config, task, workdir, point, where)
        sets.append(DrawnSet(name, options, point, number=settings["num_samples"]))
    return sets


def _number(name: str, wish: Mapping[str, Any], of_all: int) -> int:
    """How many samples a set has.

    Raises:
        UsageError: fewer than one.
    """
    number = wish.get("num_samples", of_all)
    check_type(f"eval.sets.{name}.num_samples", of_all, number)
    if number < 1:
        raise UsageError(
            f"Found eval.sets.{name}.num_samples = {number}; expected 1 or more; "
            "correct it, or leave it out"
        )
    return number


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


def _check_judged(figures: str, names: Sequence[str]) -> None:
    """Raises UsageError for sets, or a sweep, that these figures would pass over."""
    kinds = SETS.get(figures)
    others = [name for name in names if kinds and not kind_of(name, kinds)]
    if others:
        raise UsageError(
            f"Found eval.figures = {figures!r}, which do not judge {others[0]!r}; "
            f"expected sets called {', '.join(kinds)}, or so with an ending such as "
            f"{kinds[0]}_quick, and no sweep; name them so in eval.sets, or set "
            "eval.figures=''"
        )


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


def columns_of(sets: Sequence[DrawnSet]) -> dict[str, str]:
    """Endings of figures of these sets -> what stands above their columns.

    A figure may end like its set, or with what a set's name says beyond that of
    another: that of `joint_quick` beside `joint` with _quick.
    """
    names = [part.name for part in sets if not part.swept]
    beyond = [
        name.removeprefix(f"{other}_")
        for name in names
        for other in names
        if name.startswith(f"{other}_")
    ]
    return {suffix(name): name for name in (*beyond, *names)}


def check_sets(config: Mapping[str, Any], task: Any) -> list[DrawnSet]:
    """The sets, though without an optimised grid, which needs files.

    Raises:
        UsageError: a set or a point of the sweep cannot be.
    """
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
    return sets_of({**config, **changed}, task, pathlib.Path())
