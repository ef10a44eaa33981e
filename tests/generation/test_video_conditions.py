"""Videos: tokens, files of what is drawn, and prompts from files; refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation.prompts import rows_of
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.models.tokenizers import check_config, open_tokenizer
from cdcd_jax.reporting import samples, sheets
from cdcd_jax.reporting.pictures import strips, write_video

LEVELS, SHAPE = 5, (3, 2, 4, 1)
SPEC = dict(kind="video", levels=LEVELS, grid=SHAPE[:3], shape=(24,))
CODES = dict(SPEC, kind="tokens", tokenizer=dict(kind="frames", levels=LEVELS))


def videos(number: int = 2, channels: int = 1) -> np.ndarray:
    """Of the palette, so that nothing is lost."""
    levels = np.random.default_rng(0).integers(
        0, LEVELS, (number, *SHAPE[:3], channels)
    )
    return np.rint(levels * (255 / (LEVELS - 1))).astype(np.uint8)


def tokenizer(*grid: int) -> Any:
    return open_tokenizer(dict(kind="frames", levels=LEVELS), grid or SHAPE[:3])


def read(value: Any, spec: Any = SPEC) -> np.ndarray:
    return rows_of({"video": value}, {"video": spec}, 1).condition["video"]


def write_gif(path: Path, frames: np.ndarray) -> str:
    first, *rest = [Image.fromarray(frame[..., 0]) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=100, loop=0)
    return str(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_tokens_and_back(channels: int) -> None:
    given = videos(channels=channels)
    palette = tokenizer(3, 2, 4, *[channels] * (channels == 3))
    tokens = palette.encode(given)
    # frame by frame
    assert tokens.shape == (2, 24 * channels) and tokens.max() == LEVELS - 1
    first = np.rint(given[:, 0].reshape(2, -1) / 255 * 4)
    np.testing.assert_array_equal(tokens[:, : 8 * channels], first)
    np.testing.assert_array_equal(palette.decode(tokens)["videos"], given)
    assert palette.media == dict(kind="video", shape=[3, 2, 4, channels])
    with pytest.raises(InputError, match=r"videos of shape .* expected \[N, 3, 2, 4"):
        palette.encode(given[:, :2])


def test_a_palette_does_not_guess_what_a_grid_is() -> None:
    pictures = open_tokenizer(dict(kind="palette", levels=LEVELS), (8, 4, 3))
    assert pictures.outputs == {"images": (8, 4, 3)}
    assert tokenizer(8, 4, 3).outputs == {"videos": (8, 4, 3, 1)}
    assert pictures.fingerprint != tokenizer(8, 4, 3).fingerprint
    with pytest.raises(UsageError, match=r"\(F, H, W\), or \(F, H, W, 3\)"):
        check_config(dict(tokenizer=dict(kind="frames"), grid=(8, 8)))


def test_what_is_drawn_lies_in_a_file_each_and_on_the_sheet(tmp_path: Path) -> None:
    spec = dict(kind="tokens", grid=SHAPE[:3], num_codes=LEVELS)
    decoders = Decoders({"video": spec}, lambda *_: tokenizer())
    given = videos()
    given[1, 2] = given[1, 1]  # stands still
    outputs = decoders.decode({"video": tokenizer().encode(given)})
    np.testing.assert_array_equal(outputs["video"], given)
    assert decoders.media == {"video": sheets.Medium("video", "video")}
    folder = tmp_path / "samples" / "mine"
    sheet = samples.write_samples(folder, outputs, {}, decoders.media)
    for i in range(2):
        with Image.open(folder / f"video_{i:05d}.png") as file:
            assert file.n_frames == 3
        tokens = read(str(folder / f"video_{i:05d}.png"))
        np.testing.assert_array_equal(tokens, outputs["tokens/video"][[i]])
    # frames side by side, each of them as large
    assert strips(given).shape == (2, 2, 3 * 4 + 2, 1)
    assert sheet.shape[1] > sheet.shape[0]
    # a second draw of fewer leaves none of the first behind
    fewer = {name: array[:1] for name, array in outputs.items()}
    samples.write_samples(folder, fewer, {}, decoders.media)
    assert not (folder / "video_00001.png").exists()


def test_a_sheet_of_videos_beside_pictures() -> None:
    pair = {"image": videos()[:, 0], "video": videos()}
    media = {name: sheets.Medium(name, name) for name in pair}
    sheet = sheets.contact_sheet(pair, media, np.arange(2))
    alone = sheets.contact_sheet(pair, {"video": media["video"]}, np.arange(2))
    assert sheet.shape[0] > alone.shape[0]


@pytest.mark.parametrize("spec", [SPEC, CODES])
def test_prompts_from_files_and_arrays(spec: dict, tmp_path: Path) -> None:
    given = videos()
    expected = tokenizer().encode(given)
    gif = write_gif(tmp_path / "a.gif", given[0])
    np.testing.assert_array_equal(read(gif, spec), expected[:1])
    write_video(tmp_path / "b.png", given[1])
    both = f"{gif},{tmp_path / 'b.png'}"
    np.testing.assert_array_equal(read(both, spec), expected)
    np.testing.assert_array_equal(read(given, spec), expected)
    np.testing.assert_array_equal(read(given[1], spec), expected[1:])
    np.testing.assert_array_equal(read(expected, spec), expected)
    np.savez(tmp_path / "s.npz", **{"tokens/video": expected, "video": given})
    np.testing.assert_array_equal(read(f"{tmp_path}/s.npz:1", spec), expected[1:])


def test_prompts_of_a_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", videos())
    np.testing.assert_array_equal(
        read(str(tmp_path / "a.npy")), tokenizer().encode(videos())
    )


@pytest.mark.parametrize("spec", [SPEC, CODES])
def test_prompts_that_do_not_fit(spec: dict, tmp_path: Path) -> None:
    frames = videos()[0]
    still = write_gif(tmp_path / "still.gif", frames[:1])
    with pytest.raises(InputError, match=r"video=.*still.gif of 1 frame; expected 3"):
        read(still, spec)
    longer = write_gif(tmp_path / "long.gif", np.concatenate([frames, frames]))
    with pytest.raises(InputError, match="of 6 frames; expected 3"):
        read(longer, spec)
    wide = write_gif(tmp_path / "wide.gif", frames.repeat(2, axis=2))
    with pytest.raises(InputError, match=r"of 8 x 2 pixels; expected 4 x 2"):
        read(wide, spec)
    data = Path(write_gif(tmp_path / "a.gif", frames)).read_bytes()
    for name, part in (("cut.gif", data[: len(data) // 2]), ("none.gif", b"GIF89a")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(InputError, match=r"--condition.video cannot be read"):
            read(str(tmp_path / name), spec)
    coloured = videos(1, 3)[0]
    write_video(tmp_path / "colours.png", coloured)
    with pytest.raises(InputError, match="Found colours in"):
        read(str(tmp_path / "colours.png"), spec)
    with pytest.raises(UsageError, match=r"expected a video \(\.gif"):
        read("a seven", spec)
    with pytest.raises(InputError, match=r"expected .*videos?"):
        read(frames[:2], spec)
