"""Set-up for all tests: one CPU device, and imports without installation."""

import os
import sys
from pathlib import Path

# Before anything imports jax; a test of several devices starts its own process.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


# their fixtures
pytest_plugins = [
    *("made_records", "stub_bucket", "stub_ffmpeg", "trained_runs", "untrained")
]
