"""Canvases, windows, regions and strengths of edits, piece by piece."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from untrained import untrained

from cdcd_jax.config import experiment
from cdcd_jax.diffusion.sampler import SamplingOptions, sample
from cdcd_jax.diffusion.samplers import SAMPLERS
from cdcd_jax.diffusion.schedule import make_schedule
from cdcd_jax.generation import canvases, edit_files, editing, windows
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.reporting import pictures

LEVELS = 5  # of the palette


def test_strength_says_the_first_time():
    for strength, time in ((0.01, 1), (0.25, 3), (0.5, 5), (1.0, 10)):
        wish = canvases.Wish(input="x", strength=strength)
        assert editing.start_time(wish, 10) == time
    assert editing.start_time(canvases.NO_WISH, 10) == 0


@pytest.mark.parametrize("method", SAMPLERS)
def test_rows_share_their_noise(method):
    schedule = make_schedule("vq_diffusion_paper", LEVELS, 6)
    if SAMPLERS[method].by_masks:
        schedule = make_schedule("absorbing_linear", LEVELS, 6)
    options = SamplingOptions(method=method, steps=6 if method == "ancestral" else 3)
    logits = jax.random.normal(jax.random.key(0), (12, LEVELS))
    flat = lambda x, t: jnp.broadcast_to(logits, (5, 12, LEVELS))
    draw = lambda start: (
        sample(
            *(flat, schedule, jax.random.key(1), (5, 12), options),
            start=start,
            shared=True,
        ).tokens
    )
    tokens = draw(None)
    assert (tokens == tokens[0]).all() and len(np.unique(tokens)) > 1
    tokens = draw((jnp.zeros((5, 12), jnp.int32), 6))
    assert (tokens == tokens[0]).all()


@pytest.mark.parametrize("origin", [(0, 0), (2, 7), (3, 9), (1, 4)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_windows_cover_a_canvas_outward(origin, overlap):
    canvas, window = (7, 15), (4, 6)
    cut = windows.plan(canvas, window, overlap, origin)
    covered = np.zeros(canvas, bool)
    for number, (top, left) in enumerate(cut.corners):
        part = covered[top : top + 4, left : left + 6]
        assert part.shape == window
        touched = part.any() or not overlap
        assert number == 0 or touched
        part[:] = True
    assert cut.corners[0] == origin and covered.all()


def test_each_window_has_noise_of_its_own():
    """The first has that of a canvas of one window."""
    keys, key = [], jax.random.key(0)

    def sample(params, extra, condition, own, options, number, edit):
        keys.append(tuple(jax.random.key_data(own).tolist()))
        return {"tokens": np.zeros((number, 16), np.int32)}

    task = SimpleNamespace(
        describe=lambda: dict(conditions={}), sample=sample, options=dict
    )
    tokenizer = SimpleNamespace(decode=lambda tokens, size: {}, sample_rate=None)
    cut = windows.plan((4, 10), (4, 4), 0.5, (0, 0))
    shape = (2, 4, 10)
    canvas = canvases.Canvas(cut, np.zeros(shape, np.int32), np.zeros(shape[1:], bool))
    _, number = canvases.draw_samples(
        *(tiny.settings(), task, SimpleNamespace(tokenizer=tokenizer), ({}, {}), {}),
        *(key, 2, canvas),
    )
    assert len(keys) == len(set(keys)) == number == 4
    assert keys[0] == tuple(jax.random.key_data(key).tolist())


def test_drawn_sound_begins_where_kept_sound_ends():
    given, drawn = np.full((1, 40), 0.5, np.float32), np.zeros((1, 40), np.float32)
    stands = np.arange(40) < 20
    joined = canvases._joined(drawn, given, stands, 4)[0]
    assert (joined[:20] == 0.5).all() and (joined[24:] == 0).all()
    assert np.allclose(np.diff(joined[19:25]), -0.1, atol=1e-6)


def test_larger_pictures_are_decoded_as_one(tmp_path):
    config = experiment(
        task="tokenizer",
        data=dict(synthetic=True, batch_size=4),
        model=dict(
            kind="vqgan",
            resolution=8,
            image_channels=1,
            channels=32,
            channel_mult=(1, 1),
            num_res_blocks=1,
            latent_channels=4,
        ),
        quantizer=dict(num_codes=8, dim=4),
    )
    untrained(config, tmp_path)
    settings = dict(kind="checkpoint", path=str(tmp_path), batch_size=2)
    tokenizer = open_tokenizer(settings, (4, 4))
    tokens = np.random.default_rng(0).integers(0, 8, (3, 4 * 6), dtype=np.int32)
    images = tokenizer.decode(tokens, (4, 6))["images"]
    assert images.shape == (3, 8, 12, 1)
    square = tokenizer.decode(tokens[:, :16])["images"]
    assert np.array_equal(square, tokenizer.decode(tokens[:, :16], (4, 4))["images"])


def test_regions_of_pictures(tmp_path):
    of = lambda text, shape=(4, 6): edit_files.region(text, shape)
    assert np.array_equal(of("left"), ~of("right"))
    assert np.array_equal(of("top"), ~of("bottom"))
    center = of("center", (4, 8))
    assert center.sum() == 2 * 4 and center[1:3, 2:6].all()
    assert of("0,0,0.5,1", (1, 7)).tolist() == [[True] * 3 + [False] * 4]
    mask = np.zeros((4, 6, 1), np.uint8)
    mask[1, 2] = 255
    pictures.write_png(tmp_path / "mask.png", mask)
    assert np.argwhere(of(str(tmp_path / "mask.png"))).tolist() == [[1, 2]]
