"""Texts on their way into records: byte pairs, features of a converted tower."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.data import bpe
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.errors import InputError
from cdcd_jax.models.texts import ROWS, TextEncoder, TextTower
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.reporting.files import write_json
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.stages.pretokenize import pretokenize

SIZES = dict(vocabulary=49408, length=24, width=8, layers=1, heads=2, projection=0)
TEXT = dict(length=24, truncate=False, features="", normalize=True)
CONDITIONS = {"text": {"kind": "text"}, "label": {"kind": "label", "shape": []}}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text tower, as the converter would write it."""
    folder = tmp_path_factory.mktemp("tower")
    tokens = jnp.zeros((1, 24), jnp.int32)
    params = ClipText(**SIZES).init(jax.random.key(0), tokens)["params"]
    write_json(folder / "config.json", {"task": "clip_text", "model": SIZES})
    with Checkpoints(folder / "checkpoints") as checkpoints:
        state = {"step": jnp.int32(0), "ema_params": params, "extra": {}}
        checkpoints.save(0, state)
    return folder


def test_texts_become_tokens_and_the_rest_passes() -> None:
    encoder = TextEncoder(TEXT, CONDITIONS)
    spec = encoder.conditions["text"]
    assert (spec["kind"], spec["shape"], spec["dtype"]) == ("tokens", [24], "int32")
    rows = encoder.encode([{"text": "a three", "label": 3}, {"text": "", "label": 4}])
    assert [row["label"] for row in rows] == [3, 4]
    np.testing.assert_array_equal(rows[0]["text"], bpe.encode("a three", 24)[0])
    assert encoder.encode([]) == []


def test_long_texts(tower: Path) -> None:
    long = [{"text": "three " * 30, "label": 0}]
    with pytest.raises(InputError, match=r"text\.truncate=True"):
        TextEncoder(TEXT, CONDITIONS).encode(long)
    rows = [{"text": "three", "label": 0}, *long, *long]
    with pytest.raises(InputError, match=r"^b#3: Found.*\n*c#0: Found.*\nIn the"):
        TextEncoder(TEXT, CONDITIONS).encode(rows, ["a#0", "b#3", "c#0"])
    cut = TextEncoder({**TEXT, "truncate": True}, CONDITIONS).encode(long)
    assert cut[0]["text"][-1] == bpe.END


def test_features_do_not_depend_on_their_neighbours(tower: Path) -> None:
    encoder = TextEncoder({**TEXT, "features": str(tower)}, CONDITIONS)
    assert encoder.conditions["text"]["shape"] == [24, 8]
    rows = [{"text": f"number {i}", "label": i} for i in range(ROWS + 3)]
    done = encoder.encode(rows)
    alone = encoder.encode(rows[-1:])[0]
    np.testing.assert_array_equal(done[-1]["text"], alone["text"])
    norms = np.linalg.norm(alone["text"], axis=-1)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
    assert done[5]["text_tokens"].dtype == np.int32


def test_records_with_features(tower: Path, tmp_path: Path) -> None:
    config = dict(
        data=dict(
            raw="captioned_digits", options=dict(train_examples=40, test_examples=10)
        ),
        grid=(16, 16),
        text=dict(length=24, features=str(tower)),
    )
    card = read_card(pretokenize(config, tmp_path))
    assert card.conditions["text"]["shape"] == [24, 8]
    record = RecordSource(card, "test")[3]["condition"]
    features = TextTower(str(tower), 24, True)(record["text_tokens"][None])
    np.testing.assert_array_equal(record["text"], features[0])


def test_a_tower_that_is_none(tower: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="family=clip"):
        TextTower(str(tmp_path), 24, True)
    with pytest.raises(InputError, match=r"text\.length"):
        TextTower(str(tower), 77, True)
