"""Fixtures of the data tests: the digits' records, and a maker of small datasets."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import Card, read_card, write_card
from cdcd_jax.data.shards import Layout, write_split
from cdcd_jax.stages import shard_set
from cdcd_jax.stages.pretokenize import pretokenize

LABEL = {"label": {"kind": "label", "shape": [], "dtype": "int32", "num_classes": 10}}


@pytest.fixture(scope="session")
def digits_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the default config; read only."""
    return pretokenize(default_config(), tmp_path_factory.mktemp("digits_records"))


@pytest.fixture
def own_digits(digits_records: Path, tmp_path: Path) -> Path:
    """A copy of the digits' records that a test may damage."""
    return Path(shutil.copytree(digits_records, tmp_path / "digits"))


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Card]:
    """Writes `count` records; all tokens of record i are i, its label is i % 10."""

    def make(
        count: int,
        *,
        num_codes: int = 300,
        shard_records: int = 5,
        negatives: int = 0,
        **changes,
    ) -> Card:
        examples = (
            {
                "key": f"made/{i}",
                "tokens": np.full(4, i),
                "condition": {"label": np.int32(i % 10)},
                "group": str(i % 10),
            }
            for i in range(count)
        )
        layout = {"num_codes": num_codes, "grid": (2, 2), "conditions": LABEL}
        split = write_split(
            tmp_path,
            "train",
            examples,
            Layout(**layout),
            shard_records,
            negatives,
            "label",
        )
        content = {"name": "made", "tokenizer": {}, "config": {}, **layout, **changes}
        write_card(Card(directory=tmp_path, splits={"train": split}, **content))
        return read_card(tmp_path)

    return make


def kill_at_second_shard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As Ctrl-C does while records are made; the names of shards, as they are begun."""
    write, written = shard_set.write_shard, []

    def killed(path: Path, *args: Any) -> Any:
        written.append(path.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        return write(path, *args)

    monkeypatch.setattr(shard_set, "write_shard", killed)
    return written
