"""Config files that users write, the keys of a config, and what the core imports."""

import dataclasses
import subprocess
import sys

import pytest
import tiny

from cdcd_jax.config import defaults
from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.modes import flags


def test_work_directories_follow_the_config():
    assert str(flags.default_workdir("configs/digits.py")) == "runs/digits"
    assert str(flags.default_workdir("configs/digits.py:vanilla")) == (
        "runs/digits-vanilla"
    )
    assert str(flags.default_workdir("a/configs/codi/digits.py")) == "runs/codi/digits"
    assert str(flags.default_workdir("configs/mt_diffusion/digits_joint.py")) == (
        "runs/mt_diffusion/digits_joint"
    )
    assert str(flags.default_workdir("/tmp/mine.py")) == "runs/mine"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(model=dict(width="wide")), "model.width"),
        (dict(model=dict(width=True)), "model.width"),
        (dict(model=3), "model"),
        (dict(optim=dict(learning_rate="3e-4")), "float"),
        (dict(modell=dict(width=3)), "model"),
    ],
)
def test_wrong_types_and_keys_in_a_config_file_are_refused(change, says, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from cdcd_jax.config import experiment\n"
        f"def get_config(_): return ConfigDict(experiment(**{change!r}))\n"
    )
    code, text = tiny.run(f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert code == 2 and says in text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def get_config(): pass", "TypeError"),
        ("def get_config(_): return {}['width']", "KeyError"),
        (
            "def get_config(_): return dict(seed=3)",
            "gave a dict, expected",
        ),
        ("seed = 3", "has no function get_config"),
    ],
)
def test_config_files_that_cannot_be_run(body, says, tmp_path):
    (tmp_path / "mine.py").write_text(body)
    code, text = tiny.run(f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path}")
    assert code == 2 and says in text and "Traceback" not in text


@pytest.mark.parametrize("task", ["conditional", "mt_diffusion"])
def test_every_key_of_the_config_is_read(task):
    """A key that no file of the package names is dead."""
    root = flags.pathlib.Path(flags.__file__).parents[1]
    code = "".join(f.read_text() for f in root.rglob("*.py") if "config" not in f.parts)

    def leaves(section):
        for key, value in section.items():
            yield key
            if isinstance(value, dict):
                yield from leaves(value)

    # the tokenizer's settings go to its constructor by name
    unread = [k for k in leaves(defaults(task)) if f'"{k}"' not in code]
    names = "form num_codes grid width depth heads mlp mlp_ratio activation scan_layers"
    fields = [field.name for field in dataclasses.fields(GaussianOptions)]
    by_name = [*names.split(), "remat", "embedding_scale", *fields]
    assert [k for k in unread if k not in by_name] == []


def test_the_core_needs_neither_grain_nor_ml_collections(tmp_path):
    """Imports and a step where only jax, flax, optax, orbax and numpy are there."""
    script = tmp_path / "bare.py"
    script.write_text(
        """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    names = {"ml_collections", "grain", "array_record", "clu", "librosa", "sklearn",
             "tensorflow_datasets", "tensorboardX", "PIL", "soundfile", "safetensors",
             "scipy.stats", "tensorflow", "torch", "jaxtyping", "beartype"}
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import jax, numpy as np
from cdcd_jax.training import program
from cdcd_jax.training.step import init_state, make_train_step
from cdcd_jax.config import experiment
import cdcd_jax.diffusion.sampler
import cdcd_jax.reporting.metrics_log, cdcd_jax.runtime.checkpoint
config = experiment(
    data=dict(batch_size=8),
    model=dict(width=16, depth=1, heads=2,
               conditions=dict(label=dict(kind="label", num_classes=10))),
    contrastive=dict(weight=0.1, num_negatives=2, group=8),
)
task, optimizer = program.build(config)
state = init_state(task, optimizer, 0)
step = jax.jit(make_train_step(task, optimizer, config))
batch = {"tokens": np.zeros((8, 64), np.int32),
         "condition": {"label": np.arange(8, dtype=np.int32)}}
state, metrics = step(state, batch)
assert np.isfinite(metrics["loss"]), metrics
print("stepped to", int(state.step))
"""
    )
    root = flags.pathlib.Path(flags.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "stepped to 1" in done.stdout, done.stderr


def test_a_config_files_references_follow_flags(tmp_path):
    """A FieldReference of a user's file stays one."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from cdcd_jax.config import experiment\n"
        "def get_config(_):\n"
        "    config = ConfigDict(experiment())\n"
        "    config.eval.num_samples = config.sampling.get_ref('num_samples')\n"
        "    return config\n"
    )
    words = [f"--config={file}", "--config.sampling.num_samples=77"]
    assert flags.parse(["x", *words]).config["eval"]["num_samples"] == 77
