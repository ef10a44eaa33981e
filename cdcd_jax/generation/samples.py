"""What a model drew, and what people do with it: look, listen, keep."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.generation import windows
from cdcd_jax.generation.prompts import Rows
from cdcd_jax.reporting import files
from cdcd_jax.reporting.notebook import in_notebook
from cdcd_jax.reporting.samples import compare, write_samples
from cdcd_jax.reporting.sheets import (
    Medium,
    contact_order,
    contact_sheet,
    sample_rate_of,
    word,
)
from cdcd_jax.runtime import hosts


@dataclasses.dataclass(frozen=True)
class Samples:
    """N samples.

    Attributes:
        outputs: as samples.npz has them: tokens, what they are decoded to, and `edit/`.
        media: name among the outputs -> what it is.
        rows: what they were drawn under.
        conditions: what the model takes.
        step: of the checkpoint.
        cost: network evaluations of a sample, in words.
        seconds: that drawing took, and writing, if files were asked for.
        originals: what was reconstructed, of a tokenizer.
    """

    outputs: dict[str, np.ndarray]
    media: Mapping[str, Medium]
    rows: Rows
    conditions: Mapping[str, Mapping[str, Any]]
    step: int
    cost: str
    seconds: float
    originals: Mapping[str, np.ndarray] | None = None

    @property
    def images(self) -> np.ndarray | None:
        """uint8 [N, H, W, C] of a model of pictures; see `outputs` for several."""
        return self.outputs.get("images")

    @property
    def audio(self) -> np.ndarray | None:
        """float32 [N, S] in [-1, 1] of a model of sound; see `outputs` for several."""
        return self.outputs.get("audio")

    @property
    def sample_rate(self) -> int | None:
        """Of the sound, Hz."""
        return sample_rate_of(self.media)

    @property
    def tokens(self) -> np.ndarray | None:
        """int32 [N, L] of a model of one stream; see `outputs` for several."""
        return self.outputs.get("tokens")

    @property
    def condition(self) -> dict[str, np.ndarray]:
        """Modality -> what each sample was drawn under, [N, ...]; texts as text."""
        return self.rows.condition | self.rows.texts

    @property
    def titles(self) -> list[str] | None:
        """N captions for people; None where nothing has a name."""
        return self.rows.titles

    @property
    def words(self) -> dict[str, list[str]]:
        """Name of a drawn label or text -> what it says, of N samples."""
        return {
            name: [word(sample, medium) for sample in self.outputs[name]]
            for name, medium in self.media.items()
            if medium.kind in ("text", "label") and name not in self.rows.condition
        }

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in self.outputs.items())
        return f"Samples: {len(self)} of step {self.step}, {shapes}"

    def sheet(self) -> np.ndarray | None:
        """All in one picture, uint8 [H, W, C], 100 at most; None of tokens alone."""
        order = contact_order(self.condition, len(self))
        return contact_sheet(self.outputs, self.media, order, self.titles)

    def show(self) -> None:
        """Shows the sheet, and plays sound in a notebook.

        Outside of a notebook the sheet opens in the system's viewer.
        """
        from PIL import Image

        sheet = self.sheet()
        if sheet is None:
            print(self)
            return
        picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
        if not in_notebook():
            picture.show()
            return
        from IPython.display import Audio, display

        display(picture)
        for name, medium in self.media.items():
            for wave in self.outputs[name][:4] if medium.kind == "audio" else ():
                display(Audio(wave, rate=medium.sample_rate))

    def save(self, directory: str | os.PathLike, videos: int = 0) -> Any:
        """Writes samples.npz, a file a sample and a contact sheet; returns the folder.

        Args:
            directory: made if it is not there; samples in it are replaced as a whole.
            videos: of dances with their music, at most.

        Raises:
            InputError: it cannot be written.
        """
        place = files.as_path(directory)
        if self.originals is not None:
            compare(place, self.originals, self.outputs, self.sample_rate)
            return place
        write_samples(
            place, self.outputs, self.condition, self.media, titles=self.titles
        )
        if "audio" in self.outputs and videos and hosts.is_main():  # safe by now
            self._write_videos(place, videos)
        return place

    def _write_videos(self, directory: Any, number: int) -> None:
        """Videos of dances beside their sound, at most `number`; see `video`."""
        from cdcd_jax.reporting import video

        if files.is_url(directory):
            print("no video: ffmpeg writes to local work directories", file=sys.stderr)
            return
        for name, spec in windows.timed(self.conditions, self.rows.condition).items():
            rate = spec["frame_rate"]
            video.write_videos(directory, self.rows.condition[name], rate, number)
            break  # one figure a video
