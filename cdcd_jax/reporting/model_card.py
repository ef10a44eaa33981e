"""The card of a model that is passed on: what it is, how it is used, what is known.

What nobody measured or chose is said to be so.
"""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.reporting.page import by_name

_CARD = """\
---
library_name: cdcd_jax
{licence_line}tags:
- jax
- discrete-diffusion
- {task}
---

# {name}

A model of `cdcd_jax`, task `{task}`, {size:,} parameters{steps}.

{what}

## Use

    pip install cdcd_jax
    python -m cdcd_jax.main {command}

```python
import cdcd_jax

model = cdcd_jax.open("{name}")
{python}
```

`{name}` is this directory. `config.json` says how samples are drawn by default, and
any setting of it can be given with the command.

## Data

{data}

## Figures

{figures}

## Limits

It draws what its data are like, and nothing else: no filter looks at what is asked for
or at what is drawn. What the figures above do not say was not measured.

## Licence

{licence}
"""
_NO_FIGURES = """\
None: this model was not evaluated before it was passed on, or its figures were not kept
with it."""


def model_card(
    name: str,
    step: int,
    description: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    size: int,
    kept: Mapping[str, Any],
    figures: Mapping[str, float | None],
    licence: str = "",
) -> str:
    """A card as hubs show it, in Markdown.

    Args:
        name: of the directory.
        step: of the checkpoint.
        description: of the task.
        conditions: modality -> what the model takes of it.
        config: a whole experiment.
        size: how many numbers were learned.
        kept: the identity of the records that it has learned from; {} where that is
            not known.
        figures: of its evaluation; {} of none.
        licence: of the weights; "" where none was chosen.
    """
    outputs = description.get("outputs", {})
    what = [f"- takes `{k}`: {_spec(spec)}" for k, spec in conditions.items()]
    what += [f"- gives `{k}`: {_spec(spec)}" for k, spec in outputs.items()]
    media = "media" in description  # a tokenizer
    examples = [(k, _example(spec)) for k, spec in conditions.items()]
    # of those that may be left out one is enough, best one that needs no file
    if all(spec.get("optional") for spec in conditions.values()):
        examples = sorted(examples, key=lambda pair: "." in str(pair[1]))[:1]
    asked = "".join(f"{k}={value!r}, " for k, value in examples)
    python = f'samples = model.sample({asked}number=4)\nsamples.save("drawn")'
    drawn = f"--workdir={name} --mode=generate" + "".join(
        f" \\\n        --condition.{k}={_quoted(value)}" for k, value in examples
    )
    chosen = f"`{licence}`, chosen by who passed it on."
    none = (
        "None was chosen. Whoever passes this on says under which terms, to which the "
        "licences of the data belong."
    )
    return _CARD.format(
        name=name,
        task=config["task"],
        steps=f", after {step:,} steps" if step else ", joined of parts of other runs",
        size=size,
        what="\n".join(what),
        command=f"--config=YOURS --config.tokenizer.path={name}" if media else drawn,
        python="codes = model.tokenizer.encode(media)" if media else python,
        data=_data(config, kept),
        figures=_table(figures) or _NO_FIGURES,
        licence=chosen if licence else none,
        licence_line=f"license: {licence}\n" if licence else "",
    )


def _spec(spec: Mapping[str, Any]) -> str:
    """Kind and sizes of a condition or an output."""
    shown = ("shape", "grid", "num_classes", "num_codes", "vocabulary", "frame_rate")
    told = [f"{k.replace('_', ' ')} {_plain(spec[k])}" for k in shown if spec.get(k)]
    told += ["may be left out"] * bool(spec.get("optional"))
    return ", ".join([str(spec["kind"]), *told])


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return str(value)


def _example(spec: Mapping[str, Any]) -> Any:
    """A value of a condition: a class, a text, or what a file is called."""
    if spec["kind"] == "label":
        names = spec.get("names")
        return names[0] if names else 0
    if spec["kind"] in ("text", "clip_text"):
        return "what it shows"
    return "picture.png" if spec["kind"] == "image" else "rows.npy"


def _quoted(value: Any) -> str:
    return f'"{value}"' if " " in str(value) else str(value)


def _data(config: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    """Sources by name, and how many records there were."""
    stages = config.get("stages", {}).values()
    sources = {
        str(data["raw"]) + (f" {dict(data['options'])}" if data.get("options") else "")
        for data in (stage.get("data", {}) for stage in stages)
        if data.get("raw")
    }
    lines = [f"- source `{source}`" for source in sorted(sources)]
    for split, own in kept.get("splits", {}).items():
        lines.append(f"- {own['num_records']:,} records of `{split}`")
    if kept:
        lines.append(f"- records `{kept['name']}`, sha256 `{kept['digest'][:16]}`")
    return "\n".join(lines) or "Not known: it came without the records that it is of."


def _table(figures: Mapping[str, float | None]) -> str:
    """A line a figure, with its standard error and how many were judged."""
    rows = []
    for name, figure in by_name(figures).items():
        if name != "step" and figure.value is not None:
            number = "" if figure.number is None else figure.number
            rows.append(f"| `{name}` | {figure._replace(number=None)} | {number} |")
    head = ["| figure | value ± standard error | n |", "|---|---|---|"]
    return "\n".join(head + rows) if rows else ""
