"""A run of a tiny model of digits that tests share, from records to evaluation."""

import shutil

import pytest
import tiny


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A work directory after training with an evaluation at the end; read only."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    code, text = tiny.run(
        *tiny.flags(config__eval__at_end=True), f"--workdir={workdir}"
    )
    assert code == 0, text
    return workdir


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the work directory that a test may break."""
    return shutil.copytree(trained, tmp_path / "run")
