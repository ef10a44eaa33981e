"""A tokenizer that the tests of this room share, so that it is trained once."""

from pathlib import Path

import pytest
import tiny
from made_tokenizers import settings, write_config


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory) -> Path:
    """A tokenizer of the digits, trained for a few steps by the command line."""
    folder = tmp_path_factory.mktemp("tokenizer")
    file = write_config(folder / "digits.py", settings())
    code, text = tiny.run(f"--config={file}", f"--workdir={folder / 'run'}")
    assert code == 0, text
    return folder / "run"
