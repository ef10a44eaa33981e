"""Trains the tiny digits on meshes of fake CPU devices: a process that tests start.

    python tests/meshes.py losses RECORDS STEPS WORKDIR@STEP|scratch 1,1,1 8,1,1 ...
    python tests/meshes.py joint STEPS 1,1,1 8,1,1 ...
    python tests/meshes.py hlo MESH [section.key=value ...]

`losses` prints a JSON line a mesh, from scratch or from a checkpoint; `joint` those of
several modalities in one z, of random batches; `hlo` prints the compiled step.
"""

import ast
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import tiny
import tiny_joint

from cdcd_jax.modes import flags
from cdcd_jax.runtime import sharding
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.training import program
from cdcd_jax.training.inputs import input_stream

jax.config.update("jax_num_cpu_devices", 8)


def settings(mesh, steps=6):
    """As the command line has it; a group of negatives fits an eighth of the batch."""
    data, fsdp, tensor = map(int, mesh.split(","))
    argv = tiny.flags(
        config__data__batch_size=64,
        config__contrastive__group=8,
        config__optim__num_steps=steps,
        config__mesh__data=data,
        config__mesh__fsdp=fsdp,
        config__mesh__tensor=tensor,
    )
    return flags.parse(["meshes", *argv]).config


def losses(records, steps, start, *meshes):
    """Prints the losses of each mesh's run up to `steps`."""
    for mesh in meshes:
        config = settings(mesh, steps)
        config["data"]["path"] = records
        tell_losses(config, mesh, steps, start)


def joint(steps, *meshes):
    """The same of several modalities with everything that is drawn in a step."""
    for mesh in meshes:
        data, fsdp, tensor = map(int, mesh.split(","))
        stopped = dict(label=dict(gradient="stop"), vector=dict(gradient="learn"))
        config = tiny_joint.settings(
            tiny_joint.chosen("image", "label", "vector", "holes", **stopped),
            data=dict(batch_size=16, synthetic=True),
            model=dict(modality_dropout=0.3),
            mesh=dict(data=data, fsdp=fsdp, tensor=tensor),
        )
        tell_losses(config, mesh, steps, "scratch")


def tell_losses(config, mesh, steps, start):
    """Prints the losses of one run up to `steps`."""
    task, optimizer = program.build(config)
    placed = program.place(config, task)
    size = config["data"]["batch_size"]
    with sharding.use(placed):
        if start == "scratch":
            state = program.new_state(task, optimizer, config["seed"], placed)
        else:
            workdir, _, step = start.rpartition("@")
            with Checkpoints(f"{workdir}/checkpoints") as checkpoints:
                abstract = program.abstract_state(task, optimizer, placed)
                state = checkpoints.restore(abstract, int(step))[1]
        step = program.jit_step(task, optimizer, config, placed)
        rows = sharding.process_rows(placed, size)
        stream = input_stream(config)(int(state.step), rows)
        found = {}
        while int(state.step) < int(steps):
            batch = sharding.put_batch(next(stream), placed, size)
            state, metrics = step(state, batch)
            found[int(state.step)] = float(metrics["loss"])
    print(json.dumps({"mesh": mesh, "losses": found}), flush=True)


def hlo(mesh, *changes):
    """Prints the compiled step."""
    config = settings(mesh)
    for change in changes:
        name, value = change.split("=")
        section, key = name.split(".")
        config[section][key] = ast.literal_eval(value)
    task, optimizer = program.build(config)
    placed = program.place(config, task)
    with sharding.use(placed):
        step = program.jit_step(task, optimizer, config, placed)
        state = program.abstract_state(task, optimizer, placed)
        batch = program.abstract_batch(config, task, placed)
        print(step.lower(state, batch).compile().as_text())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
