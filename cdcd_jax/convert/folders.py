"""Models as the hub has them: a folder of config.json and weights, or a file alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdcd_jax.errors import InputError


def find_model(
    path: str | Path, names: Sequence[str], parts: Sequence[str] = ()
) -> tuple[Path, dict[str, Any]]:
    """The file of weights, and what the config.json beside it says; {} without one.

    Args:
        path: of a file, which is taken as it is, or of a folder.
        names: of the weights in a folder, the first that is there.
        parts: folders inside of a pipeline's folder (model_index.json) that may hold
            the model.

    Raises:
        InputError: a folder without such weights, or a damaged config.json.
    """
    path = Path(path)
    if not path.is_dir():
        return path, _config(path.parent)
    folders = [path, *(path / part for part in parts)]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name, _config(folder)
    there = sorted(file.name for file in path.iterdir())[:5]
    raise InputError(
        f"Found {', '.join(there) or 'nothing'} in the folder {path}; expected "
        f"{' or '.join(names)}. Check that the download is whole, or name the file."
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"Found a bad {folder / 'config.json'} ({error}); expected settings as "
            "JSON. Download it anew."
        ) from error
    if not isinstance(config, dict):
        raise InputError(
            f"Found a {type(config).__name__} in {folder / 'config.json'}; expected "
            "settings by name. Download it anew."
        )
    return config
