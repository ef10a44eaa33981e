"""Set-up for all tests: one CPU device, and imports without installation."""

import os
import sys
import tempfile
from pathlib import Path

# Before anything imports jax; a test of several devices starts its own process.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of a test's time is compiling: half as long without most optimizations, here and
# in the processes that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
from absl import flags

# fixtures that several folders share
pytest_plugins = [
    *("made_records", "stub_bucket", "stub_ffmpeg", "trained_runs", "untrained")
]
jax.config.update("jax_num_cpu_devices", 1)
# grain's worker processes read absl flags, which only `app.run` would parse.
flags.FLAGS.mark_as_parsed()
# Many tests, and the processes that they start, compile the same step; processes that
# share the tests take the folder of the one that started them.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="cdcd_jax_compiled_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
