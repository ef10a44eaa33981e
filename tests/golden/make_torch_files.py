"""Records small files as PyTorch writes them, and the tensors that are in them.

    pip install -e .[convert]
    python tests/golden/make_torch_files.py     # writes torch_files.npz beside it

A checkpoint of many types and views with an optimizer beside it, in the zip of today
and in the form from before 1.6; and a module of TorchScript. `file/<name>` are bytes,
`<name>/<tensor>` arrays, floats as float32.
"""

import argparse
import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch


def main() -> None:
    """Writes the files and the arrays."""
    torch.manual_seed(0)
    base = torch.randn(3, 4)
    state = OrderedDict(
        plain=base,
        turned=base.T,
        part=base[1:, ::2],
        one=base[0, 0],
        none=torch.zeros(0, 3),
        spread=base[:1].expand(3, 4),
        parameter=torch.nn.Parameter(base + 1),
        half=base.half(),
        bfloat=base.bfloat16(),
        double=base.double(),
        whole=torch.arange(5),
        small=torch.arange(5, dtype=torch.uint8),
        unsigned=torch.arange(5).to(torch.uint16),
        truth=torch.tensor([True, False]),
    )
    layer = torch.nn.Linear(2, 3)
    beside = dict(
        optimizer=torch.optim.Adam(layer.parameters()).state_dict(),
        settings=argparse.Namespace(path=Path("runs"), rate=np.float64(0.1)),
        seen={1, 2},
    )
    files = {}
    for name in ("zip", "old"):
        file = io.BytesIO()
        new = dict(_use_new_zipfile_serialization=name == "zip")
        torch.save(dict(state_dict=state, **beside), file, **new)
        files[name] = (file.getvalue(), state)
    file = io.BytesIO()
    script = torch.jit.script(torch.nn.Sequential(layer, torch.nn.BatchNorm1d(3)))
    torch.jit.save(script, file)
    files["script"] = (file.getvalue(), script.state_dict())
    out = {}
    for name, (data, tensors) in files.items():
        out[f"file/{name}"] = np.frombuffer(data, np.uint8)
        for key, value in tensors.items():
            value = value.detach()
            value = value.float() if value.is_floating_point() else value
            out[f"{name}/{key}"] = value.numpy()
    np.savez_compressed(Path(__file__).with_name("torch_files.npz"), **out)


if __name__ == "__main__":
    main()
