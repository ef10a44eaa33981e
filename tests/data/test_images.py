"""Tests of decoding and cutting pictures."""

import io

import numpy as np
import pytest
from made_pictures import encoded
from PIL import Image

from cdcd_jax.data import images
from cdcd_jax.data.sources import Unreadable

LEFT, RIGHT = (200, 40, 90), (20, 160, 240)


def halves(width: int = 8, height: int = 4) -> Image.Image:
    """LEFT beside RIGHT."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = LEFT, RIGHT
    return Image.fromarray(pixels)


def pixels_of(data: bytes) -> np.ndarray:
    image = images.decode(data, "x")
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_pictures_keep_their_pixels(kind: str) -> None:
    np.testing.assert_array_equal(pixels_of(encoded(halves(), kind)), halves())


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *((".jp2", "JPEG2000"), (".tga", "TGA"), (".dds", "DDS"), (".pcx", "PCX")),
        *((".sgi", "SGI"), (".ico", "ICO"), (".jfif", "PNG"), (".qoi", "QOI")),
    ],
)
def test_formats_that_pillow_reads_too(suffix: str, kind: str) -> None:
    assert suffix in images.suffixes()
    picture = halves(16, 16)
    options = {"sizes": [(16, 16)]} if kind == "ICO" else {}
    found = images.decode(encoded(picture, kind, **options), f"x{suffix}")
    np.testing.assert_array_equal(found, picture)


def test_suffixes_are_those_of_the_library() -> None:
    known = images.suffixes()
    assert {".jpg", ".jpeg", ".png", ".webp", ".tiff", ".ppm", ".avif"} <= {*known}
    assert not {".eps", ".ps", ".pdf", ".mpg", ".h5", ".heic"} & {*known}


def test_a_format_without_a_mark_is_taken_by_its_suffix_alone() -> None:
    data = encoded(halves(16, 16), "TGA")
    with pytest.raises(Unreadable, match="no picture of a known format"):
        images.decode(data, "x.png")


def test_first_of_several_frames() -> None:
    other = Image.new("RGB", (8, 4))
    data = encoded(halves(), "GIF", save_all=True, append_images=[other])
    assert pixels_of(data)[0, 0].tolist() == list(LEFT)
    data = encoded(halves(16, 16), "MPO", save_all=True, append_images=[other])
    np.testing.assert_allclose(pixels_of(data)[8, 2], LEFT, atol=12)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_levels_become_three_equal_channels(mode: str) -> None:
    found = pixels_of(encoded(halves().convert(mode)))
    assert (found == found[..., :1]).all()
    np.testing.assert_array_equal(found[..., 0], halves().convert(mode).convert("L"))


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], np.uint16))
    np.testing.assert_array_equal(
        pixels_of(encoded(deep))[0, :, 0], [0, 0, 1, 128, 255]
    )


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = encoded(halves(64, 32).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    np.testing.assert_allclose(pixels_of(data)[16, [8, 56]], [LEFT, RIGHT], atol=4)


def test_transparent_pixels_are_laid_on_white() -> None:
    image = halves().convert("RGBA")
    image.putpixel((0, 0), (*LEFT, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    found = pixels_of(encoded(image))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert abs(int(found[0, 1, 0]) - 127) <= 1
    assert found[1, 1].tolist() == list(LEFT)
    grey = Image.new("LA", (2, 2), (100, 0))
    assert (pixels_of(encoded(grey)) == 255).all()


@pytest.mark.parametrize("alpha", [0, b"\x00\xff"], ids=["one colour", "table"])
def test_palette_with_transparency(alpha: int | bytes) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([*LEFT, *RIGHT])
    image.putpixel((3, 3), 1)
    found = pixels_of(encoded(image, transparency=alpha))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[3, 3].tolist() == list(RIGHT)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # must be turned a quarter to the right
    found = pixels_of(encoded(halves(32, 16), "JPEG", exif=exif, quality=100))
    assert found.shape == (32, 16, 3)
    np.testing.assert_allclose(found[4, 8], LEFT, atol=8)
    np.testing.assert_allclose(found[28, 8], RIGHT, atol=8)


def test_no_change_of_a_png_gives_other_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    data = np.frombuffer(encoded(Image.fromarray(noise)), np.uint8)
    refused = 0
    for place in range(len(data)):
        changed = data.copy()
        changed[place] ^= 16
        try:
            found = pixels_of(changed.tobytes())
        except Unreadable:
            refused += 1
        else:
            np.testing.assert_array_equal(found, noise)
    assert refused > len(data) - 12  # all but the end marker


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_matter() -> None:
    data = encoded(halves(), "JPEG", exif=b"Exif\x00\x00II*\x00garbage")
    assert pixels_of(data).shape == (4, 8, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_truncated_pictures_are_unreadable(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for length in (0, 1, 20, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(Unreadable, match=r"a/b\.jpg: "):
            images.decode(data[:length], "a/b.jpg")


@pytest.mark.parametrize("data", [b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"RIFF"])
def test_other_files_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable, match=r"known format|not a whole"):
        images.decode(data, "x")


@pytest.mark.filterwarnings("ignore:Image size")
def test_enormous_pictures_are_unreadable() -> None:
    data = encoded(Image.new("1", (2**14, 2**13 + 1)))  # a few kB
    with pytest.raises(Unreadable, match="134217728 pixels"):
        images.decode(data, "x")


def test_missing_file_is_unreadable(tmp_path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        images.read(tmp_path / "x.png")
    with pytest.raises(Unreadable, match="directory"):
        images.read(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_pictures_never_crash() -> None:
    """Flipped bytes give a picture or Unreadable, nothing else."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
    bad = 0
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = np.frombuffer(encoded(noise, kind), np.uint8)
        for _ in range(40):
            changed = data.copy()
            places = rng.integers(len(data), size=3)
            changed[places] = rng.integers(0, 256, 3)
            try:
                assert images.decode(changed.tobytes(), "x").mode == "RGB"
            except Unreadable:
                bad += 1
    assert bad > 20


def test_fit_of_a_right_sized_picture_changes_nothing() -> None:
    image = halves(8, 8)
    np.testing.assert_array_equal(images.fit(image, 8), np.asarray(image))


def weights(source: float, size: int, count: int, start: float) -> np.ndarray:
    """Bicubic with a = -1/2, as wide as a pixel of the smaller picture: [size, count].

    (Keys 1981.) Of `count` pixels the `source` from `start` on become `size`.
    """
    scale = source / size
    wide = max(scale, 1.0)  # else few of the pixels would be seen, and alias
    middle = start + (np.arange(size) + 0.5) * scale
    x = np.abs(np.arange(count) + 0.5 - middle[:, None]) / wide
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    found = np.where(x < 1, near, np.where(x < 2, far, 0))
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("width", "height", "size"), [(90, 64, 16), (48, 100, 9), (40, 24, 16), (8, 11, 20)]
)
def test_fit_is_the_formula_of_bicubic_with_antialiasing(
    width: int, height: int, size: int
) -> None:
    """Of noise, in which every pixel counts: from the centre, to one level."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    short = min(width, height)
    down = weights(short, size, height, (height - short) // 2)
    across = weights(short, size, width, (width - short) // 2)
    # Pillow keeps levels between the axes
    rows = np.clip(np.rint(np.einsum("xc,rcd->rxd", across, noise)), 0, 255)
    exact = np.clip(np.rint(np.einsum("yr,rxd->yxd", down, rows)), 0, 255)
    found = images.fit(Image.fromarray(noise), size)
    assert np.abs(found - exact).max() <= 1


def test_fine_stripes_become_grey() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = images.fit(Image.fromarray(stripes), 8)
    assert np.abs(found.astype(int) - 127).max() < 6


def test_a_view_is_a_cut_of_the_picture_and_may_be_mirrored() -> None:
    """Of pixels that are all different each view says where it was cut."""
    every = np.random.default_rng(0).permutation(9 * 14).astype(np.uint8)
    picture = np.repeat(every.reshape(9, 14, 1), 3, axis=2)
    places = set()
    for seed in range(150):
        view = images.fit(Image.fromarray(picture), 9, np.random.default_rng(seed))
        cuts = {(at, turn): picture[:, at : at + 9][:, ::turn] for at in range(6)
                for turn in (1, -1)}  # fmt: skip
        places |= {p for p, cut in cuts.items() if np.array_equal(cut, view)}
    assert places == {(at, turn) for at in range(6) for turn in (1, -1)}


@pytest.mark.parametrize(("width", "height"), [(31, 20), (20, 31), (7, 400), (1, 1)])
def test_fit_cuts_the_centre(width: int, height: int) -> None:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    middle = (np.abs(x - width // 2) < 2) & (np.abs(y - height // 2) < 2)
    image = Image.fromarray(np.where(middle, 255, 0).astype(np.uint8)).convert("RGB")
    found = images.fit(image, 16)
    assert found.shape == (16, 16, 3) and found.dtype == np.uint8
    rows, columns = np.nonzero(found[..., 0] > 128)
    pixel = 16 / min(width, height)  # of the picture, in pixels of the square
    assert max(abs(rows.mean() - 7.5), abs(columns.mean() - 7.5)) < 1.5 * pixel


def test_fit_draws_views_from_the_generator() -> None:
    image = Image.fromarray(np.arange(40, dtype=np.uint8)[None].repeat(8, 0))
    image = image.convert("RGB")

    def views(**options) -> list[tuple[int, int]]:
        found = []
        for seed in range(200):
            view = images.fit(image, 8, np.random.default_rng(seed), **options)
            assert view.flags["C_CONTIGUOUS"]
            found.append((int(view[0, 0, 0]), int(view[0, -1, 0])))
        return found

    mirrored = [left > right for left, right in views()]
    assert 60 < sum(mirrored) < 140
    assert {min(pair) for pair in views()} == set(range(33))
    assert all(left < right for left, right in views(flip=False))
    assert views() == views()
