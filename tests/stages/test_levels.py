"""Records of dances by each level of a tokenizer like Jukebox's: hops 8, 32 and 128.

2 s at 22,050 Hz are 344 tokens of 128 samples and 68 samples; 6 s are 1,033 and 76.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_dances import NAMES, write_segments
from untrained import untrained

from cdcd_jax.config import experiment
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import open_source
from cdcd_jax.generation import edit_files
from cdcd_jax.generation.windows import token_seconds, tokens_of
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.motion_conditioners import at_times
from cdcd_jax.stages.pretokenize import pretokenize

pytestmark = pytest.mark.slow  # test_sound_records.py has the bound on a stand-in

RATE, HOPS, FRAME_RATE = 22050, (8, 32, 128), 60
LENGTHS = {2: 344 * 128, 6: 1033 * 128}  # samples that the tokenizer takes


def jukebox(length, path):
    """The work directory of a small one with random weights."""
    config = experiment(
        task="tokenizer",
        data=dict(synthetic=True, batch_size=2),
        model=dict(
            kind="vqvae1d",
            length=length,
            sample_rate=RATE,
            downs=(3, 2, 2),
            strides=(2, 2, 2),
            width=4,
            depth=1,
            multipliers=(1, 1, 1),
        ),
        quantizer=dict(num_codes=16, dim=2),
    )
    return str(untrained(config, path))


@pytest.fixture(scope="module", params=LENGTHS, ids="{} s".format)
def dances(request, tmp_path_factory):
    """Seconds, their folder and a tokenizer of that length."""
    path = tmp_path_factory.mktemp("dances")
    write_segments(path, request.param)
    return request.param, path, jukebox(LENGTHS[request.param], path / "jukebox")


def settings(seconds, path, codec, level):
    length = LENGTHS[seconds] // HOPS[level]
    return dict(
        data=dict(raw="aist", path=str(path), options=dict(seconds=seconds)),
        tokenizer=dict(kind="checkpoint", path=codec, level=level),
        grid=(1, length),
        batch_size=2,
    )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_each_level_gives_records(dances, level, tmp_path):
    seconds, path, _ = dances
    config = settings(*dances, level)
    card = read_card(pretokenize(config, tmp_path / "records"))
    assert card.num_tokens * HOPS[level] == LENGTHS[seconds]
    tokenizer = open_tokenizer(config["tokenizer"], card.grid)
    raw = open_source("aist", str(path), config["data"]["options"])
    for split, names in NAMES.items():
        records, examples = RecordSource(card, split), raw.split(split)
        assert len(records) == len(names)
        for index, name in enumerate(names):
            record, example = records[index], examples.example(index)
            cut = example["audio"][None, : LENGTHS[seconds]]
            assert 0 < len(example["audio"]) - cut.shape[1] < HOPS[-1]
            np.testing.assert_array_equal(record["tokens"], tokenizer.encode(cut)[0])
            assert len(np.unique(record["tokens"])) > 1
            motion = np.load(path / f"motion_s{seconds}" / split / f"{name}.npy")
            assert motion.shape == (FRAME_RATE * seconds, 219)
            kept = record["condition"]["motion"]
            np.testing.assert_array_equal(kept, motion.astype(np.float32))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_tokens_keep_the_time_of_the_motion(dances, level):
    """The end that is cut is far below a frame, at whichever level."""
    seconds = dances[0]
    length, frames = LENGTHS[seconds] // HOPS[level], FRAME_RATE * seconds
    with jax.enable_x64():
        middles = jnp.arange(frames)[None, :, None] / FRAME_RATE + 0.5 / FRAME_RATE
        seen = np.asarray(at_times(middles, length))[0, :, 0]  # of the motion, in s
    heard = (np.arange(length) + 0.5) * HOPS[level] / RATE
    inside = (heard > 0.5 / FRAME_RATE) & (heard < seconds - 1 / FRAME_RATE)
    assert np.abs(seen - heard)[inside].max() < 0.5 / FRAME_RATE
    config = settings(*dances, level)
    tokenizer = open_tokenizer(config["tokenizer"], config["grid"])
    token = token_seconds(tokenizer, {}, length)
    assert np.isclose(token, HOPS[level] / RATE)
    assert tokens_of(seconds, length, token) == length  # one window draws all of it


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_whole_example_is_edited_in_one_window(dances, level):
    seconds, path, codec = dances
    wanted = settings(seconds, path, codec, level)
    tokenizer = open_tokenizer(wanted["tokenizer"], wanted["grid"])
    sound = np.zeros((1, RATE * seconds), np.float32)
    length = LENGTHS[seconds] // HOPS[level]
    assert edit_files._sound(sound, tokenizer).tokens.shape == (1, 1, length)
    longer = np.zeros((1, RATE * seconds + 2000), np.float32)
    more = -(-longer.shape[1] // HOPS[level])
    assert edit_files._sound(longer, tokenizer).tokens.shape == (1, 1, more)
