r"""What editing keeps and changes, on the digits that training does not see.

    python benchmarks/editing.py --workdir=runs/digits [--picture=docs/editing.png] \
        [--json=report.json] [--number=360] [--seed=0]

A support vector machine that learns the training digits' pixels judges the class.
Parts of the test digits are erased and drawn anew under their label, with and without
guidance; whole digits are varied at several strengths, under their label and under
another; and digits are drawn between two labels.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from cdcd_jax.data.digits import DigitsSource
from cdcd_jax.generation import editing
from cdcd_jax.generation.canvases import Wish, draw_samples, lay_out
from cdcd_jax.generation.edit_files import Source
from cdcd_jax.generation.prompts import Rows
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import saved_config
from cdcd_jax.reporting import pictures

HALVES = ("left", "right", "top", "bottom")
PARTS = {"corner": "0.5,0.5,1,1", "center": "center", "all": "0,0,1,1"}
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
GUIDANCE = (1.0, 1.25, 2.0)
SHOWN = 12  # digits in the picture
DRAWS = 20  # noises of an interpolation, of which each gives one sample a label


def digits(name: str, number: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [N, 8, 8, 1] and labels int32 [N] of a split."""
    split = DigitsSource(0).split(name)
    examples = [split.example(i) for i in range(number or len(split))]
    labels = [example["condition"]["label"] for example in examples]
    return np.stack([e["image"] for e in examples]), np.array(labels, np.int32)


class Editor:
    """A trained model of digits, and digits to edit.

    Args:
        workdir: of the model.
        images: uint8 [N, 8, 8, 1].
        seed: of all that is drawn.
    """

    def __init__(self, workdir: pathlib.Path, images: np.ndarray, seed: int):
        self.config = saved_config(workdir)
        model = Trained(self.config, workdir)
        self.task, self.parts = model.task, model.weights[1:]
        self.decoders = model.decoders
        tokenizer = self.decoders.tokenizer
        tokens = tokenizer.encode(images).reshape(-1, *tokenizer.grid)
        self.source, self.key = Source(tokens, images, {}), jax.random.key(seed)

    def edit(
        self,
        labels: np.ndarray,
        mask: str = "",
        strength: float | None = None,
        toward: np.ndarray | None = None,
        **sampling: Any,
    ) -> np.ndarray:
        """Pictures uint8 [N, 8, 8, 1] under labels [N], edited as the flags say.

        With `toward` [N], nothing is edited: `repeat` pictures go from label to label,
        all from the noise of `draw`.
        """
        repeat, draw = sampling.pop("repeat", 1), sampling.pop("draw", 0)
        settings = {**self.config["sampling"], **sampling}
        wish = Wish(input="x", mask=mask, strength=strength)
        if strength is not None:  # every time below it
            last = self.task.schedule.timesteps
            settings["steps"] = min(settings["steps"], round(strength * last))
        config = {**self.config, "sampling": settings}
        time = editing.start_time(wish, self.task.schedule.timesteps)
        conditions = self.task.describe()["conditions"]
        source, condition = self.source, {"label": labels.repeat(repeat)}
        other = None
        if toward is not None:
            source, wish = None, Wish()
            other = Rows({"label": toward.repeat(repeat)}, None, {})
        canvas = lay_out(
            *(config, self.decoders.tokenizer, conditions, condition),
            *(wish, source, time),
        )
        rows = Rows(condition, None, {})
        rows, canvas = editing.align(rows, canvas, other, repeat)
        key = jax.random.fold_in(self.key, draw) if draw else self.key
        outputs, _ = draw_samples(
            *(config, self.task, self.decoders, self.parts, rows.condition),
            *(key, len(labels) * repeat, canvas),
        )
        return outputs["images"]


def measure(editor: Editor, labels: np.ndarray, judge: PixelClassifier) -> dict:
    """The figures; shares are of all digits, changes in grey levels of 255."""
    share = lambda images, labels: judge.accuracy(_flat(images), labels)
    originals, other = editor.source.media, (labels + 1) % 10
    figures = {"originals": share(originals, labels)}
    for scale in GUIDANCE:
        for name in (*HALVES, *PARTS):
            mask = PARTS.get(name, name)
            drawn = editor.edit(labels, mask, guidance_scale=scale)
            figures[f"class_kept_{name}_{scale}"] = share(drawn, labels)
        halves = [figures[f"class_kept_{name}_{scale}"] for name in HALVES]
        figures[f"class_kept_halves_{scale}"] = float(np.mean(halves))
    for name in HALVES:
        drawn = editor.edit(other, name)
        figures[f"class_exchanged_{name}"] = share(drawn, other)
    for strength in STRENGTHS:
        drawn = editor.edit(labels, strength=strength)
        exchanged = editor.edit(other, strength=strength)
        change = lambda x: float(np.abs(x.astype(float) - originals).mean())
        figures |= {
            f"class_kept_strength_{strength}": share(drawn, labels),
            f"change_strength_{strength}": change(drawn),
            f"class_exchanged_strength_{strength}": share(exchanged, other),
            f"change_exchanged_strength_{strength}": change(exchanged),
        }
    return figures | between(editor, judge)


def between(editor: Editor, judge: PixelClassifier) -> dict[str, float]:
    """Shares of the class at either end, over `DRAWS` of each label and the next."""
    labels, figures = np.arange(10, dtype=np.int32), {}
    ends = dict(from_=labels, to=(labels + 1) % 10)
    drawn = [
        editor.edit(labels, toward=ends["to"], repeat=5, draw=i).reshape(10, 5, -1)
        for i in range(DRAWS)
    ]
    for i, weight in enumerate(np.linspace(0, 1, 5)):
        for name, truth in ends.items():
            images = np.concatenate([draw[:, i] for draw in drawn])
            share = judge.accuracy(_flat(images), np.tile(truth, DRAWS))
            figures[f"between_{weight:.2f}_{name.strip('_')}"] = share
    return figures


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0


def picture(editor: Editor, labels: np.ndarray) -> np.ndarray:
    """The documentation's picture, uint8 [H, W, 3]; see `docs/generate.md`."""
    shown = slice(SHOWN)
    rgb = lambda images: images[shown].repeat(3, -1)
    original = rgb(editor.source.media)
    erased, rows = original.copy(), [original]
    erased[:, :, :4] = (70, 110, 190)
    rows += [erased, rgb(editor.edit(labels, "left"))]
    erased = original.copy()
    erased[:, 4:] = (70, 110, 190)
    other = (labels + 1) % 10
    rows += [erased, rgb(editor.edit(labels, "bottom"))]
    rows += [rgb(editor.edit(labels, strength=s)) for s in (0.4, 0.8)]
    rows += [rgb(editor.edit(other, strength=0.8))]
    ends = np.full(1, 3, np.int32), np.full(1, 8, np.int32)
    rows += [rgb(editor.edit(ends[0], toward=ends[1], repeat=SHOWN))]
    return pictures.image_grid(np.concatenate(rows), SHOWN, scale=5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--picture", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--number", type=int, help="of test digits; default all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images, labels = digits("test", options.number)
    editor = Editor(options.workdir, images, options.seed)
    if options.picture:
        pictures.write_png(options.picture, picture(editor, labels))
    known, truth = digits("train")
    figures = measure(editor, labels, PixelClassifier(_flat(known), truth))
    for name, value in figures.items():
        print(f"{name:36} {value:8.4g}")
    print(f"of {len(labels)} digits, seed {options.seed}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
