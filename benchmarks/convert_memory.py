"""How much memory a conversion takes, against the parameters that it writes.

    python benchmarks/convert_memory.py [--width=640] [--depth=23]

Makes a file as VQ-Diffusion's training leaves it, in PyTorch's own format: random
weights of a model without a condition, its averages and an optimizer's state
of twice the size. Another process converts it and tells the most memory that it held,
once beyond what it holds before it opens the file. Pages of the file itself, which the
system may drop at any time, are told apart (`file`, `anonymous`). Needs PyTorch (the
extra `convert`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def status() -> dict[str, int]:
    """Bytes of anonymous memory and of pages of files that this process holds."""
    lines = Path("/proc/self/status").read_text().split("\n")
    found = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
    names = dict(anonymous="RssAnon", file="RssFile")
    return {k: int(found[name].split()[0]) * 1024 for k, name in names.items()}


def child(source: str, output: str) -> None:
    """Converts, and prints what it held at most."""
    import jax

    from cdcd_jax.convert.__main__ import run

    jax.numpy.zeros(1).block_until_ready()
    before, most, done = status(), status(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            for name, value in status().items():
                most[name] = max(most[name], value)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    run(source, output, heads=16, resolution=32)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    beyond = {name: most[name] - before[name] for name in most}
    print(json.dumps(dict(beyond=beyond, seconds=seconds)))


def write(path: Path, width: int, depth: int) -> tuple[int, int]:
    """The file; returns the bytes in float32 of what is converted, and of the largest.

    A model without a condition, as of FFHQ, and a small codec.
    """
    import layouts
    import numpy as np
    import torch

    sizes = dict(form="self", mlp="fc", ratio=4, table=(16, 16), width=width)
    noise = layouts.diffusion_transformer(**sizes, depth=depth)
    model = layouts.image_model(noise, layouts.vqgan(kind="nearest"))
    state = layouts.random_state(model)
    for name in state:
        if "log_cumprod" in name:
            state[name][-1] = -np.inf
        if ".dec.quantize." in name:
            state[name] = state[name.replace(".dec.", ".enc.")]
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    start = "transformer."
    averages = {n[len(start) :]: v for n, v in tensors.items() if n.startswith(start)}
    averages = {name: value.clone() for name, value in averages.items()}
    moments = {
        i: dict(exp_avg=torch.zeros_like(v), exp_avg_sq=torch.zeros_like(v))
        for i, v in enumerate(tensors.values())
    }
    optimizer = dict(state=moments)
    torch.save(dict(model=tensors, ema=averages, optimizer=optimizer), path)
    sizes = [value.nbytes for value in state.values()]
    return sum(sizes), max(sizes)


def main() -> None:
    """Makes the file, converts it, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--depth", type=int, default=23)
    parser.add_argument("--child", nargs=2, metavar=("FILE", "OUTPUT"))
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "convert"))
    with tempfile.TemporaryDirectory(prefix="cdcd_jax_memory_") as folder:
        file = Path(folder, "model.pth")
        model, largest = write(file, options.width, options.depth)
        print(f"parameters {model / 4e6:.1f} M, {model / 2**20:.0f} MiB in float32")
        print(f"largest    {largest / 2**20:.0f} MiB")
        print(f"file       {file.stat().st_size / 2**20:.0f} MiB")
        command = [sys.executable, __file__, "--child", str(file), f"{folder}/out"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        for name, value in told["beyond"].items():
            share = (value - largest) / model
            print(f"{name:<10} {value / 2**20:.0f} MiB: {share:.2f} x + the largest")
        print(f"seconds    {told['seconds']:.1f}")


if __name__ == "__main__":
    main()
