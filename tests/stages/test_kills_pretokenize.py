"""Records come out the same however often their making is killed."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_jobs_and_several_processes_make_the_same_bytes():
    script = Path(__file__).parents[1] / "kills_pretokenize.py"
    command = [sys.executable, str(script), "--kills=4", "--examples=3000"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills" in done.stdout and "four devices: equal" in done.stdout
