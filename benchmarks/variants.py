"""The objectives that the benchmarks compare, and work directories of their runs."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _contrast(**settings: str | float) -> list[str]:
    return [f"--config.contrastive.{key}={value}" for key, value in settings.items()]


# What a variant changes. The four of the paper have the form of its code, and the
# largest weight that its authors advise.
_PAPER = dict(form="difference", weight=5e-5)
_INFONCE = dict(form="infonce", level="step", negatives="inter")
VARIANTS = {
    "vanilla": _contrast(weight=0.0),
    "contrast": [],  # as the config has it
    "step_intra": _contrast(level="step", negatives="intra", **_PAPER),
    "step_inter": _contrast(level="step", negatives="inter", **_PAPER),
    "sample_intra": _contrast(level="sample", negatives="intra", **_PAPER),
    "sample_inter": _contrast(level="sample", negatives="inter", **_PAPER),
    "infonce": _contrast(**_INFONCE, weight=0.1),
    # stronger ones, and InfoNCE of the sample-wise divergence
    "step_inter_strong": _contrast(
        level="step", negatives="inter", form="difference", weight=5e-3
    ),
    "sample_intra_strong": _contrast(
        level="sample", negatives="intra", form="difference", weight=1e-3
    ),
    "sample_inter_strong": _contrast(
        level="sample", negatives="inter", form="difference", weight=1e-3
    ),
    "infonce_strong": _contrast(**_INFONCE, weight=0.5),
    "infonce_stronger": _contrast(**_INFONCE, weight=2.0),
    "contrast_strong": _contrast(weight=0.5),
    "infonce_sample": _contrast(
        form="infonce", level="sample", negatives="inter", weight=0.1
    ),
}


def chosen(names: str) -> list[str]:
    """The variants of a comma-separated list; exits where one is unknown."""
    variants = names.split(",")
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown:
        sys.exit(f"error: unknown variant {unknown[0]}: choose of {list(VARIANTS)}")
    return variants


def link_stages(workdir: pathlib.Path, shared: pathlib.Path, names: list[str]) -> None:
    """Lets a work directory find the finished stages of another one."""
    workdir.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (shared / name).is_dir():
            sys.exit(
                f"error: found no {shared / name}; expected that stage of the config; "
                "run the config once with --workdir=<the directory of --shared>"
            )
        link = workdir / name
        if not link.exists():
            link.symlink_to((shared / name).resolve(), target_is_directory=True)


def run(command: Sequence[str], workdir: pathlib.Path) -> None:
    """Runs `python -m cdcd_jax.main` with a log in the work directory, or exits."""
    call = [sys.executable, "-m", "cdcd_jax.main", *command, f"--workdir={workdir}"]
    with (workdir / "log.txt").open("a") as log:
        code = subprocess.run(call, cwd=ROOT, stdout=log, stderr=log).returncode
    if code:
        sys.exit(f"error: {workdir} ended with exit code {code}: see its log.txt")


def evaluation(command: Sequence[str], workdir: pathlib.Path) -> dict[str, float]:
    """The evaluation of a run, which is made if it is not there."""
    found = workdir / "evaluation.json"
    if not found.exists():
        run(command, workdir)
    if not found.exists():
        sys.exit(f"error: {workdir} made no evaluation.json: see its log.txt")
    return json.loads(found.read_text())
