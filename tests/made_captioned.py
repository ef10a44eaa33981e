"""Small folders of pictures, sounds and sketches, with captions in jsonl."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}
COUNTS = {"train": 32, "test": 8}
RATE = 8000  # Hz


def jsonl(path: Path, *rows: Any) -> None:
    """A list of files with captions; a row that is a text stands as it is."""
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def write_folders(root: Path) -> Path:
    """`root`/pictures, sounds and sketches; returns the root.

    Each folder has words that no other one has, and no example stands in two.
    """
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        lines: dict[str, list[dict]] = {"pictures": [], "sounds": [], "sketches": []}
        for number in range(count):
            name, (colour, levels) = (
                f"{split}{number}",
                list(COLOURS.items())[number % 3],
            )
            noise = rng.integers(0, 30, (12, 12, 3))
            picture = np.clip(np.array(levels) + noise, 0, 255).astype(np.uint8)
            _save(root / "pictures" / "files" / f"{name}.png", picture)
            file = dict(image=f"files/{name}.png")
            lines["pictures"] += [dict(file, caption=f"a {colour} tile")]
            lines["pictures"] += [dict(file, caption=f"{colour}, flat")] * (number < 4)
            tone = np.sin(np.arange(2048) * (0.1 + 0.1 * (number % 3)))
            path = root / "sounds" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.5 * tone, RATE)
            lines["sounds"].append(dict(audio=path.name, caption=f"hum of {colour}"))
            sketch = np.full((8, 8), 255, np.uint8)
            sketch[number % 8] = 0
            _save(root / "sketches" / f"{name}.png", sketch)
            said = [f"one {colour} stroke", f"{colour} line"]
            lines["sketches"].append(dict(image=f"{name}.png", captions=said))
        for folder, rows in lines.items():
            jsonl(root / folder / f"{split}.jsonl", *rows)
    return root


def _save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
