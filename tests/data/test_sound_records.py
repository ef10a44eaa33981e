"""Records of sounds whose length is no whole number of tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError
from cdcd_jax.stages import pretokenize as module
from cdcd_jax.stages.pretokenize import pretokenize

HOP = 300  # of 32,000 samples, 106 tokens and 200 samples
DATA = dict(raw="toy_dance", options=dict(train_examples=3, test_examples=2))


class Loudness:
    """A tokenizer of sound: the loudness of `HOP` samples in 8 steps."""

    num_codes, rows_at_once, fingerprint = 8, 2, "loudness"

    def __init__(self, tokens: int, hop: int = HOP) -> None:
        self.settings, self.hop = dict(kind="loudness"), hop
        self.grid = (1, tokens)
        self.media = dict(kind="audio", shape=[tokens * hop], sample_rate=8000)

    def start_encoding(self, media: np.ndarray, numbers: np.ndarray) -> Any:
        parts = np.abs(media.reshape(len(numbers), -1, self.hop)).mean(axis=-1)
        return lambda: np.minimum(parts * 16, 7).astype(np.int32)


class Finer(Loudness):
    """The finer of two levels: 75 samples a token, four to one of the coarser level."""

    hops = (HOP // 4, HOP)

    def __init__(self, tokens: int) -> None:
        super().__init__(4 * tokens, HOP // 4)


def make(path: Path, patch: pytest.MonkeyPatch, tokenizer: Loudness) -> Path:
    patch.setattr(module, "open_tokenizer", lambda *_: tokenizer)
    return pretokenize(dict(data=DATA, grid=tokenizer.grid), path)


@pytest.mark.parametrize("kind", [Loudness, Finer])
def test_an_end_of_less_than_a_coarsest_token_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Loudness]
) -> None:
    card = read_card(make(tmp_path, monkeypatch, kind(106)))
    source = open_source(DATA["raw"], options=DATA["options"])
    wave = source.split("test").example(1)["audio"]
    assert len(wave) == 32_000
    wanted = kind(106).start_encoding(wave[None, : 106 * HOP], np.arange(1))()
    np.testing.assert_array_equal(RecordSource(card, "test")[1]["tokens"], wanted[0])


@pytest.mark.parametrize("kind", [Loudness, Finer])
@pytest.mark.parametrize("tokens", [105, 107])
def test_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Loudness], tokens: int
) -> None:
    with pytest.raises(InputError, match=f"32000.*expected .*{tokens * HOP}"):
        make(tmp_path, monkeypatch, kind(tokens))
