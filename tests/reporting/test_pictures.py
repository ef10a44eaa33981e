"""Pictures as files and as sheets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.errors import InputError
from cdcd_jax.reporting import pictures


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_round_trip(tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    pictures.write_png(tmp_path / "x.png", image)
    read = np.asarray(Image.open(tmp_path / "x.png")).reshape(image.shape)
    np.testing.assert_array_equal(read, image)
    with pytest.raises(InputError, match="float64"):
        pictures.write_png(tmp_path / "x.png", image / 255)


def test_image_grid_places_each_picture() -> None:
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3, 1)
    sheet = pictures.image_grid(images, columns=2, scale=2, pad=1)
    assert sheet.shape == (3 * (4 + 1) + 1, 2 * (6 + 1) + 1, 1)
    for index, image in enumerate(images):
        top, left = 1 + index // 2 * 5, 1 + index % 2 * 7
        np.testing.assert_array_equal(
            sheet[top : top + 4 : 2, left : left + 6 : 2], image
        )
        assert sheet[top + 1, left + 1] == image[0, 0]
    assert (sheet[11:, 8:] == 255).all()
    with pytest.raises(InputError, match="columns=0"):
        pictures.image_grid(images, columns=0)
    with pytest.raises(InputError, match=r"\[N, H, W, C\]"):
        pictures.image_grid(images[0], columns=1)
