r"""Several outputs of aligned diffusers (CoDi): together, by turns, or each by itself.

    python benchmarks/together.py --workdir=runs/codi/digits[,OTHER,...] \
        [--outputs="image,text;image,sound,text"] [--ways=apart,together,turns:text] \
        [--scales=1,2,image:6+text:1] [--steps=25] [--number=1000] \
        [--seed=0] [--json=FILE]

`together` draws all in step, at each of `--scales` (`sampling.environment_scale`, or
`environment_scales` of outputs by name; "" for those of the run);
`turns:<m>` draws m first, and each of the others prompted by it; `apart` draws each by
itself. None has a prompt beside. Judged by `metrics.any_to_any`: in how many per cent
of the samples do two outputs, on average over pairs, and all of them, show the same;
class entropy of the output that has least; Fréchet distance of pictures to real ones;
how many of them are copies of training pictures. Rows are those of all networks for one
sample; seconds are of a draw whose programs are compiled.
"""

import argparse
import itertools
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import measure
import numpy as np

from cdcd_jax.config import resolve_stages
from cdcd_jax.data.pipeline import one_pass
from cdcd_jax.evaluation.evaluate import open_data
from cdcd_jax.evaluation.sides import sides_of
from cdcd_jax.evaluation.splits import judged_splits
from cdcd_jax.metrics.any_to_any import any_to_any
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import saved_config
from cdcd_jax.runtime import sharding
from cdcd_jax.tasks.drawing import rows_of_an_example

Tokens = dict[str, np.ndarray]


class Runner:
    """Draws of a work directory, and their judges."""

    def __init__(self, workdir: pathlib.Path, seed: int):
        config = resolve_stages(saved_config(workdir), workdir)
        model = self.model = Trained(config, workdir)
        self.task, self.seed = model.task, seed
        _, *self.parts = model.weights
        self.names = tuple(self.task.parts)
        judged = {}
        for name, side in sides_of(model, open_data(model)).items():
            split = config["eval"]["split"]
            batches = {"test": list(one_pass(side.card, split, 64)), "samples": {}}
            judged[name] = judged_splits(*side, batches)
        own = judged.pop("")
        self.real = own["train"], own["test"], judged

    def _one(self, given: Tokens, number: int, changes: Any) -> tuple[Tokens, int]:
        """What one call draws, and its rows."""
        asked = {**self.task.settings["sampling"], **changes}
        options, key = self.task.options(asked), jax.random.key(self.seed)
        key = jax.random.fold_in(key, len(given))
        with sharding.use(self.model.mesh):
            found = self.task.sample(*self.parts, given, key, options, number)
        free = not given and options.guidance_scale != 1.0  # no second half of rows
        rows = rows_of_an_example(options) - free
        return found, rows * options.steps * len(found)

    def draw(
        self, outputs: Sequence[str], way: str, number: int, **changes: Any
    ) -> tuple[Tokens, int]:
        """`number` samples, and how many rows all networks had for each.

        Args:
            way: apart, together, or turns:<output that is first>.
            changes: of `sampling`.
        """
        kind, _, first = way.partition(":")
        if kind == "together":
            return self._one({}, number, {**changes, "outputs": tuple(outputs)})
        found: Tokens = {}
        rows = 0
        for name in sorted(outputs, key=lambda name: name != first):
            given = {first: found[first]} if found and first else {}
            drawn, more = self._one(given, number, {**changes, "outputs": (name,)})
            found, rows = found | drawn, rows + more
        return {name: found[name] for name in outputs}, rows

    def figures(self, tokens: Tokens) -> dict[str, float]:
        """Of samples without a prompt."""
        number = len(next(iter(tokens.values())))
        samples = self.model.decoders.decode(tokens)
        samples |= dict(sample_rate=self.model.decoders.sample_rate, given=())
        samples["condition"] = dict(label=np.zeros(number, int))  # of no use here
        train, test, others = self.real
        found = any_to_any({"drawn": samples}, train, test, others)
        pair = next(v for k, v in found.items() if k.startswith("coherence_"))
        return dict(
            agree=found.get("coherence_mean_drawn", pair),  # of three outputs or more
            all=found.get("coherence_all_drawn", pair),
            bits=found["class_entropy_bits_drawn"],
            distance=found.get("image_frechet_distance_drawn", np.nan),
            copies=found.get("image_copy_rate_drawn", np.nan),
        )


def asked_for(text: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Outputs by semicolons, each with commas; all pairs and all for ''."""
    if text:
        return [tuple(part.split(",")) for part in text.split(";")]
    sizes = dict.fromkeys((2, len(names)))
    return [found for size in sizes for found in itertools.combinations(names, size)]


def scales_of(text: str) -> dict[str, Any]:
    """Changes of `sampling`: "2" for all outputs, "image:6+text:1" for those named."""
    if not text:
        return {}
    if ":" not in text:
        return dict(environment_scale=float(text), environment_scales={})
    pairs = (part.split(":") for part in text.split("+"))
    return dict(environment_scales={name: float(scale) for name, scale in pairs})


def rows_of(
    runner: Runner, options: argparse.Namespace, outputs: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Figures of each way to draw these outputs."""
    rows = []
    for way in options.ways:
        if way.partition(":")[2] not in ("", *outputs):
            continue
        for scale in options.scales if way == "together" else [""]:
            changes = dict(steps=options.steps, **scales_of(scale))
            most = runner.task.parts[outputs[0]].settings["sampling"]["batch_size"]
            compiled = min(options.number, most)  # as many as are drawn at once
            runner.draw(outputs, way, compiled, **changes)
            began = time.perf_counter()
            tokens, cost = runner.draw(outputs, way, options.number, **changes)
            seconds = time.perf_counter() - began
            own = dict(rows=cost, seconds=seconds, **runner.figures(tokens))
            told = dict(outputs=",".join(outputs), way=way, scale=scale)
            rows.append(dict(workdir=runner.model.workdir.name, **told, **own))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draws everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = lambda text: text.split(",")
    add = parser.add_argument
    add("--workdir", type=words, required=True)
    add("--outputs", default="")
    add("--ways", type=words, default=["apart", "together"])
    add("--scales", type=words, default=[""])
    add("--steps", type=int, default=25)
    add("--number", type=int, default=1000)
    add("--seed", type=int, default=0)
    add("--json", type=pathlib.Path, help="also write the figures here")
    options = parser.parse_args(argv)
    machine = measure.machine()
    print(", ".join(f"{k} {v}" for k, v in machine.items()), flush=True)
    rows = []
    for workdir in options.workdir:
        runner = Runner(pathlib.Path(workdir).resolve(), options.seed)
        for outputs in asked_for(options.outputs, runner.names):
            rows += rows_of(runner, options, outputs)
    columns = "workdir, outputs, way, scale, rows, s, agree %, all %, bits, distance"
    table = [[*columns.split(", "), "copies %"]]
    for row in rows:
        told = [row["workdir"], row["outputs"], row["way"], row["scale"] or "-"]
        shares = [f"{100 * row[key]:.1f}" for key in ("agree", "all")]
        more = [f"{row['bits']:.2f}", f"{row['distance']:.2f}"]
        copies = f"{100 * row['copies']:.1f}"
        table.append(
            [*told, row["rows"], f"{row['seconds']:.1f}", *shares, *more, copies]
        )
    measure.print_table(table)
    settings = {k: str(v) for k, v in vars(options).items()}
    report = dict(
        command=measure.command(), machine=machine, settings=settings, rows=rows
    )
    measure.write_json(options.json, report)


if __name__ == "__main__":
    main()
