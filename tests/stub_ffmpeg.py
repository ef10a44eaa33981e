"""A program called ffmpeg that only notes how it was called."""

import sys
from pathlib import Path

import pytest

STUB = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r})
size = 0
while part := sys.stdin.buffer.read(1 << 20):
    size += len(part)
with (here / "calls").open("a") as file:
    file.write(json.dumps([sys.argv[1:], size]) + "\\n")
{then}
"""
WORKS = "pathlib.Path(sys.argv[-1]).write_bytes(b'video')"


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Puts a program of that name on PATH, which notes how it was called."""

    def make(then: str = WORKS) -> Path:
        program = tmp_path / "bin" / "ffmpeg"
        program.parent.mkdir(exist_ok=True)
        text = STUB.format(python=sys.executable, here=str(tmp_path), then=then)
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return tmp_path / "calls"

    return make
