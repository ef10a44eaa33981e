"""The figures of a plan as text."""

from collections.abc import Mapping
from typing import Any

TITLES = dict(train="train step", sample="one batch of samples")


def render(figures: Mapping[str, Any]) -> str:
    """The report of `plan.plan`'s figures."""
    settings, versions = figures["settings"], figures["versions"]
    idle = f" ({figures['chips_idle']} more idle)" if figures["chips_idle"] else ""
    axes = ", ".join(f"{k} {v}" for k, v in figures["mesh"].items())
    names = ("remat", "head_chunk", "attention")
    known = [n for n in names if settings[n] is not None]
    switches = "; " * bool(known) + ", ".join(f"{n} {settings[n]}" for n in known)
    lines = [
        f"{figures['topology']}: {figures['chips']} chips {figures['chip']}{idle}; "
        f"mesh {axes}",
        f"{figures['parameters'] / 1e6:.1f} M parameters; batch "
        f"{settings['batch_size']}, at once {settings['rows_per_chip']} rows on each "
        f"of {settings['batch_shards']} parts{switches}",
        f"jax {versions['jax']}, libtpu {versions['libtpu']}; figures are of one chip",
    ]
    for name, title in TITLES.items():
        if name in figures:
            lines += ["", title, *_program(figures[name])]
    lines += ["", _verdict(figures)]
    return "\n".join(lines)


def _program(f: Mapping[str, Any]) -> list[str]:
    memory, available = f["memory"], f["memory_available"]
    parts = ", ".join(f"{k} {size(v)}" for k, v in memory.items() if k != "total")
    lines = [
        f"  memory       {size(memory['total'])} of {size(available)} "
        f"({memory['total'] / available:.0%}): {parts}"
    ]
    if "flops" not in f:
        return lines
    unseen = sum(f["kernels"].values())
    kernels = f", without {unseen} fused kernels" if unseen else ""
    lines += [
        f"  FLOPs        {f['model_flops'] / 1e12:.3f} T of the model, "
        f"{f['flops'] / 1e12:.3f} T executed{kernels}",
        f"  traffic      {size(f['bytes'])} of main memory, "
        f"{f['intensity']:.0f} FLOPs a byte (the chip balances at "
        f"{f['intensity_of_chip']:.0f})",
        *(
            f"  {kind:<20} {row['count']:>6} x, {size(row['bytes'])} of results, "
            f"sends {size(row['network_bytes'])}"
            for kind, row in sorted(f["collectives"].items())
        ),
    ]
    times = ", ".join(f"{k} {1e3 * v:.2f}" for k, v in f["seconds"].items())
    lines += [
        f"  least ms     {times}: bound by {f['bound']}",
        f"  at the bound {f['tokens_per_second']:,.0f} tokens/s, MFU {f['mfu']:.0%}",
    ]
    if "cost_per_1000_steps" in f:
        lines.append(
            f"  cost         {f['cost_per_1000_steps']:.2f} per 1000 runs, "
            f"{f['cost_per_million_tokens']:.5f} per million tokens, at the bound"
        )
    if f["host_transfers"]:
        lines.append(f"  transfers to the host: {', '.join(f['host_transfers'])}")
    if f["unknown_loops"]:
        lines.append(f"  {f['unknown_loops']} loops of unknown length, counted once")
    return lines


def _verdict(figures: Mapping[str, Any]) -> str:
    fits = lambda name: figures.get(name, {}).get("fits", True)
    failed = [title for name, title in TITLES.items() if not fits(name)]
    advice = "; ".join(figures["advice"])
    if failed:
        return f"does not fit: {' and '.join(failed)}. Try, in this order: {advice}"
    return f"fits{f', but set {advice}' if advice else ''}"


def size(number: float) -> str:
    """Bytes in the largest unit that leaves a number of 1 or more."""
    for power, unit in enumerate(("EiB", "PiB", "TiB", "GiB", "MiB", "KiB")):
        if number >= (scale := 2.0 ** (60 - 10 * power)):
            return f"{number / scale:.2f} {unit}"
    return f"{number:.0f} B"
