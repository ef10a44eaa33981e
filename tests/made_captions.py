"""Pictures with captions, small, in the files that COCO and CUB-200-2011 publish."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

IMAGES = (9, 25, 581929, 30)  # image_ids; picture i has the grey level 16 i + 8
# image_id of each annotation: captions of a picture lie apart
ANNOTATIONS = (25, 9, 25, 581929, 30, 9)
BIRDS = (
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18",
    "196.House_Wren/House_Wren_0009_187083",
    "146.Forsters_Tern/Forsters_Tern_0016_151463",
)


def write_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (16 * number + 8,) * 3).save(path)


def write_coco(root: Path, annotations: Sequence[int] = ANNOTATIONS) -> Path:
    """Captions and pictures of both splits; returns the root."""
    for part in ("train2014", "val2014"):
        files = {i: f"COCO_{part}_{i:012}.jpg" for i in IMAGES}
        for number, file in enumerate(files.values()):
            write_picture(root / part / file, number)
        notes = [
            {"image_id": image, "id": 100 + n, "caption": f"Picture {image}, {n}."}
            for n, image in enumerate(annotations)
        ]
        content = {
            "images": [{"id": i, "file_name": file} for i, file in files.items()],
            "annotations": notes,
        }
        path = root / "annotations" / f"captions_{part}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return root


def write_cub(root: Path, captions: int = 3) -> Path:
    """Pictures, captions and the lists of the split by classes; returns the root."""
    for number, name in enumerate(BIRDS):
        write_picture(root / "images" / f"{name}.jpg", number)
        path = root / "text" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"bird {number}, {i} .\n" for i in range(captions)))
    for split, names in (("train", BIRDS[::-1]), ("test", BIRDS[:1])):
        (root / split).mkdir()
        (root / split / "filenames.pickle").write_bytes(pickle.dumps(list(names), 2))
    return root
