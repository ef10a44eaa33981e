"""VGG16 of torchvision with the linear weights of LPIPS -> `networks.Perceptual`.

One file may hold both, as the checkpoints of VQGANs and the `lpips` package do
(`net.slice<n>.<i>.`); else the second is named by `--linear`.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.convert.files import Converted, Tensors, check_tensors, read_tensors
from cdcd_jax.networks.perceptual import STAGES

OPTIONS = dict(
    linear="",  # file of `lin<n>.model.1.weight`, where --input is torchvision's VGG16
)
# Numbers of the convolutions in torchvision's `features`, a row a stage.
_LAYERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_VGG = re.compile(r"(?:.*\.)?(?:features|net\.slice\d)\.(\d+)\.(weight|bias)$")
_LINEAR = re.compile(r"(?:.*\.)?lin(\d)\.model\.1\.weight$")


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """The part `perceptual` of a tokenizer's parameters, for `init_parts`.

    Args:
        path: of the file.
        options: as OPTIONS.

    Raises:
        InputError: a file cannot be read, or the two do not hold just these weights.
    """
    paths = [path, options["linear"]] if options["linear"] else [path]
    state: Tensors = {}
    for each in paths:
        for name, value in read_tensors(each, ("state_dict",)).items():
            vgg, linear = _VGG.match(name), _LINEAR.match(name)
            if vgg:
                state[f"features.{vgg[1]}.{vgg[2]}"] = value
            elif linear:
                state[f"lin{linear[1]}"] = value
    check_tensors(state, _shapes(), f"{' and '.join(paths)} as LPIPS on VGG16")
    vgg = {
        f"conv_{i}_{j}": {
            "kernel": state[f"features.{n}.weight"].transpose(2, 3, 1, 0),
            "bias": state[f"features.{n}.bias"],
        }
        for i, stage in enumerate(_LAYERS)
        for j, n in enumerate(stage)
    }
    linear = {f"lin_{i}": np.ravel(state[f"lin{i}"]) for i in range(len(STAGES))}
    return Converted(dict(task="perceptual"), {"perceptual": {"vgg": vgg, **linear}})


def _shapes() -> dict[str, tuple[int, ...]]:
    """Of all tensors that are needed, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for i, (numbers, stage) in enumerate(zip(_LAYERS, STAGES, strict=True)):
        for n, features in zip(numbers, stage, strict=True):
            shapes[f"features.{n}.weight"] = (features, before, 3, 3)
            shapes[f"features.{n}.bias"] = (features,)
            before = features
        shapes[f"lin{i}"] = (1, before, 1, 1)
    return shapes
