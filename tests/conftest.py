"""Set-up for all tests: one CPU device, and imports without installation."""

import os
import sys
from pathlib import Path

# Before anything imports jax; a test of several devices starts its own process.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
from absl import flags

jax.config.update("jax_num_cpu_devices", 1)
# grain's worker processes read absl flags, which only `app.run` would parse.
flags.FLAGS.mark_as_parsed()
