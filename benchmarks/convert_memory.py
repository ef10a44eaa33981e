"""How much memory a conversion takes, against the parameters that it writes.

    python benchmarks/convert_memory.py [--width=640] [--depth=20]

Makes a file as VQ-Diffusion's training leaves it, in PyTorch's own format: random
weights in float32 of a model without a condition (116 M of them), its averages, and an
optimizer's state of twice the size. Another process converts it. What is told is the
most that this process held while it converted, beyond what it held before: the
interpreter, jax and our package are imported and one array is on the device by then,
and that memory is printed apart (`before`). `anonymous` is what only the process holds;
`resident` is what the system counts as its peak (VmHWM), with pages of mapped files,
which it may drop at any time. Linux alone counts these.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "convert")]


def status(name: str) -> int:
    """Bytes under a name of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().split("\n")
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def child(source: str, output: str) -> None:
    """Converts, and prints what it held at most."""
    import jax

    from cdcd_jax.convert.__main__ import run

    jax.numpy.zeros(1).block_until_ready()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resident, anonymous = status("VmRSS"), status("RssAnon")
    most, done = [anonymous], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most.append(status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    run(source, output, heads=16, resolution=32)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    beyond = dict(anonymous=max(most) - anonymous, resident=status("VmHWM") - resident)
    print(json.dumps(dict(before=resident, beyond=beyond, seconds=seconds)))


def write(path: Path, width: int, depth: int) -> tuple[int, int]:
    """The file; returns the bytes in float32 of what is converted, and of the largest.

    A model without a condition, as of FFHQ, and a small codec.
    """
    import layouts
    import numpy as np

    sizes = dict(form="self", mlp="fc", ratio=4, table=(16, 16), width=width)
    noise = layouts.diffusion_transformer(**sizes, depth=depth)
    model = layouts.image_model(noise, layouts.vqgan(kind="nearest"))
    state = layouts.random_state(model)
    for name in state:
        if "log_cumprod" in name:
            state[name][-1] = -np.inf
        if ".dec.quantize." in name:
            state[name] = state[name.replace(".dec.", ".enc.")]
    start = "transformer."
    averages = {n[len(start) :]: v for n, v in state.items() if n.startswith(start)}
    moments = {
        i: dict(exp_avg=np.zeros_like(v), exp_avg_sq=np.zeros_like(v))
        for i, v in enumerate(state.values())
    }
    content = dict(model=state, ema=averages, optimizer=dict(state=moments))
    layouts.write_torch(path, content)
    sizes = [value.nbytes for value in state.values()]
    return sum(sizes), max(sizes)


def measure(width: int, depth: int) -> dict[str, Any]:
    """Converts a file; bytes of its model, its largest tensor, and of what was held."""
    with tempfile.TemporaryDirectory(prefix="cdcd_jax_memory_") as folder:
        file = Path(folder, "model.pth")
        model, largest = write(file, width, depth)
        found = dict(model=model, largest=largest, file=file.stat().st_size)
        command = [sys.executable, __file__, "--child", str(file), f"{folder}/out"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return found | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--child", nargs=2, metavar=("FILE", "OUTPUT"))
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    found = measure(options.width, options.depth)
    print(f"parameters {found['model'] / 4e6:.1f} M")
    for name in ("model", "largest", "file", "before"):
        print(f"{name:<10} {found[name] / 2**20:.0f} MiB")
    for name, value in found["beyond"].items():
        share = (value - found["largest"]) / found["model"]
        print(f"{name:<10} {value / 2**20:.0f} MiB: {share:.2f} x + the largest")
    print(f"seconds    {found['seconds']:.1f}")


if __name__ == "__main__":
    main()
