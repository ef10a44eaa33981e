"""Turns a checkpoint of another project into a work directory of ours.

    python -m cdcd_jax.convert --input=last.ckpt --output=DIR

The file is read and checked whole before anything is written. DIR then has
`checkpoints/0` and `config.json`, as a finished run has; of a whole model, so has
`DIR/tokenizer` of the codec inside of the file. DIR may be moved.
"""

import argparse
import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax import config
from cdcd_jax.convert.families import FAMILIES, recognise
from cdcd_jax.convert.files import Converted, check_tensors
from cdcd_jax.convert.remap import read_remap
from cdcd_jax.convert.split_parts import whole
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.reporting.files import write_json
from cdcd_jax.runtime import lock
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.runtime.storage import writing


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 bad file, 2 bad usage."""
    flags = vars(_parser().parse_args(argv))
    try:
        _check_output(flags["output"])
        with whole(flags.pop("input"), flags["output"]) as path:
            run(path, **flags)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(
    input: str,
    output: str,
    family: str = "",
    remap: str = "",
    remap_codes: int = 0,
    sha256: str = "",
    **options: Any,
) -> None:
    """Converts one file.

    Args:
        input: path of the file or folder.
        output: directory that has no checkpoints yet.
        family: a key of `FAMILIES`; "" to find out.
        remap: of the table of codes, see `remap.read_remap`; "" for none.
        remap_codes: how many codes are left, see `remap.read_remap`; 0 to find out.
        sha256: of the file, or how it begins, where it is known; "" for no check.
        options: of the family; None for its default.

    Raises:
        InputError: something is wrong with the file; nothing is written.
        UsageError: options that do not fit the family.
    """
    if not family:
        family, input = recognise(input)
    module = _module(family)
    options = _options(family, options)
    _check_output(output)
    if remap_codes < 0 or (remap_codes and not remap):
        raise UsageError(
            f"Found --remap_codes={remap_codes} with --remap={remap!r}; expected a "
            "number from 0, and a table or counts. Name them with --remap."
        )
    if sha256:
        _check_sha256(Path(input), sha256.lower())
    made = {Path(output): module.convert(input, options)}
    if made[Path(output)].tokenizer is not None:
        made = _with_tokenizer(Path(output), *made.values(), family, remap, remap_codes)
    elif remap:
        made = {k: _remapped(v, family, remap, remap_codes) for k, v in made.items()}
    ready = {folder: checked(part, input) for folder, part in made.items()}
    for folder, (settings, state) in ready.items():
        with Checkpoints(folder / "checkpoints", asynchronous=False) as writer:
            writer.save(0, state)
        with writing(folder):
            write_json(folder / "config.json", settings)
        leaves = jax.tree.leaves(state["ema_params"])
        number = sum(leaf.size for leaf in leaves)
        print(f"{folder}: {family}, {len(leaves)} arrays, {number:,} parameters")


def checked(converted: Converted, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The complete config and the state to write, as the task will want to read it.

    Raises:
        InputError: the task would have other parameters.
    """
    params, extra = converted.params, converted.extra
    settings = converted.config
    if settings.get("task") in ("tokenizer", "conditional"):
        from cdcd_jax.tasks import make_task

        settings = config.experiment(**settings)
        task = make_task(settings)
        expected = jax.eval_shape(task.init, jax.random.key(0))
        found, shapes = _by_name((params, extra)), _by_name(expected)
        shapes = {name: leaf.shape for name, leaf in shapes.items()}
        check_tensors(found, shapes, f"{path}, converted", floats=False)
    step = jnp.zeros((), jnp.int32)
    state = {"step": step, "ema_params": params, "extra": extra}
    return settings, state


def _by_name(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _module(family: str) -> ModuleType:
    return importlib.import_module(f"cdcd_jax.convert.{family}")


def _options(family: str, options: Mapping[str, Any]) -> dict[str, Any]:
    known = _module(family).OPTIONS
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in known:
            names = ", ".join(f"--{name}" for name in known) or "none"
            raise UsageError(
                f"Found --{name}={value} with --family={family}; expected of such "
                f"options {names}. Leave it away."
            )
    return {**known, **given}


def _check_output(output: str) -> None:
    if not output:
        raise UsageError(
            "Found an empty --output; expected a new or empty directory. Name one."
        )
    for path in (Path(output), *Path(output).parents):
        if path.is_file():
            raise InputError(
                f"Found the file {path}; expected a new or empty directory. Choose "
                "another --output, or move it away."
            )
    for path in map(Path(output).joinpath, ("checkpoints", "config.json", "tokenizer")):
        if path.exists():
            raise InputError(
                f"Found {path} already there; expected a new or empty directory. "
                "Choose another --output, or move it away."
            )
    with lock.held(output):  # tries whether it can be written, and leaves nothing
        pass


def _check_sha256(path: Path, expected: str) -> None:
    if len(expected) < 8 or set(expected) - set("0123456789abcdef"):
        raise UsageError(
            f"Found --sha256={expected}; expected 8 to 64 hexadecimal digits. Copy "
            "them from where the file comes from."
        )
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"Found no readable file {path} ({error.strerror}); expected a checkpoint. "
            "Correct --input."
        ) from error
    if not found.startswith(expected):
        raise InputError(
            f"Found sha256 {found} of {path}; expected {expected}. Copy or download "
            "the file anew."
        )


def _with_tokenizer(
    output: Path, model: Converted, family: str, remap: str, codes: int
) -> dict[Path, Converted]:
    """The tokenizer, remapped to the model's codes, then the model that names it."""
    tokenizer, wanted = model.tokenizer, model.config["model"]["num_codes"]
    if remap:
        tokenizer = _remapped(tokenizer, family, remap, codes or wanted)
    quantizer = tokenizer.config["quantizer"]
    found = quantizer.get("remap") or quantizer["num_codes"]
    if found != wanted:
        raise InputError(
            f"Found a model of {wanted} codes with a codec of {found}; expected as "
            "many. Name the table that leaves the others out with --remap: "
            "VQ-Diffusion has it in help_folder/statistics (taming_vqvae_2887.pt of "
            "CUB and COCO, taming_vqvae_974.pt of ImageNet)."
        )
    settings = model.config.get("tokenizer", {})
    settings = dict(kind="checkpoint", path="@tokenizer", **settings)
    model = replace(model, config={**model.config, "tokenizer": settings})
    return {output / "tokenizer": tokenizer, output: model}


def _remapped(converted: Converted, family: str, path: str, codes: int) -> Converted:
    """With a table of codes in the extra state and its size in the config."""
    books = converted.params.get("codebooks") or converted.extra.get("codebooks", {})
    if list(books) != ["0"]:
        raise UsageError(
            f"Found --remap={path} with --family={family}; expected a tokenizer with "
            "one codebook. Leave --remap away."
        )
    book = getattr(books["0"], "codebook", books["0"])
    table = read_remap(path, book, codes)
    quantizer = {**converted.config["quantizer"], "remap": len(table["back"])}
    return replace(
        converted,
        config={**converted.config, "quantizer": quantizer},
        extra={**converted.extra, "remap": table},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cdcd_jax.convert", description=__doc__.splitlines()[0]
    )
    families = "; ".join(f"{name}: {row.text}" for name, row in FAMILIES.items())
    add = parser.add_argument
    add("--family", default="", choices=FAMILIES, help=f"found out; {families}")
    text = "the file, .safetensors or PyTorch's own, or the hub's folder of it"
    add("--input", required=True, help=text)
    add("--output", required=True, help="directory that has no checkpoints yet")
    add("--remap", default="", help="table of codes, counts, or token records")
    add("--remap_codes", type=int, default=0, help="how many codes are left")
    add("--sha256", default="", help="of the input, or its first digits, to be checked")
    own: dict[str, dict[str, Any]] = {}  # option -> family -> default
    for family in FAMILIES:
        for name, default in _module(family).OPTIONS.items():
            own.setdefault(name, {})[family] = default
    for name, defaults in own.items():
        text = ", ".join(f"{family}: {value!r}" for family, value in defaults.items())
        kind = type(next(iter(defaults.values())))
        add(f"--{name}", type=kind, help=f"see the family's module; default {text}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
