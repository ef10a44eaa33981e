"""Checkpoints of a run: orbax in one place.

Beside the state, each checkpoint holds a table of its leaves: name, shape, dtype and
a checksum of the bits. Orbax notices a truncated or missing file, but not a flipped
bit in the data, and cannot tell another model's checkpoint from a broken one: the
table settles both, is committed with the state in one rename, and does not depend on
the devices that hold the arrays.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from flax.traverse_util import unflatten_dict

from cdcd_jax.errors import InputError
from cdcd_jax.runtime import checkpoint_reading as reading
from cdcd_jax.runtime import hosts, lean_saving
from cdcd_jax.runtime.exported import exported_leaves, exported_step, read_exported
from cdcd_jax.runtime.leaf_table import describe, sealed
from cdcd_jax.runtime.orbax_noise import mute_orbax
from cdcd_jax.runtime.storage import check_space, failures_of_saving
from cdcd_jax.runtime.targets import as_array, as_target, without_empty


class Checkpoints:
    """The checkpoints of one directory, newest last; saving is asynchronous.

    Nothing is created until the first `save`, so a reader leaves no trace.
    """

    def __init__(
        self,
        directory: str | epath.PathLike,
        max_to_keep: int = 2,
        asynchronous: bool = True,
    ) -> None:
        """Opens a directory.

        Args:
            directory: a local path or `gs://` URL.
            max_to_keep: how many checkpoints stay.
            asynchronous: saves a copy beside the program; else `save` takes no copy,
                leaves NumPy's arrays where they are, and returns when all is written.
        """
        self._asynchronous = asynchronous
        self._directory = epath.Path(directory)
        if "://" not in str(directory):
            self._directory = epath.Path(self._directory.resolve())
        self._max_to_keep = max_to_keep
        self._manager: ocp.CheckpointManager | None = None
        self._newest_started: int | None = None
        mute_orbax()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending."""
        if not self._directory.exists():
            return []
        # Read from the disk: the manager also counts a save that is still under way.
        return sorted(ocp.utils.checkpoint_steps(self._directory))

    def leaves(self, step: int) -> dict[str, Any]:
        """Leaf name -> shape, dtype and checksum; raises InputError for damage."""
        try:
            return reading.table(self._open, self._directory, step)
        except reading.Damage as damage:
            steps = self.steps()
            raise reading.refused(self._directory, step, damage, steps) from damage

    def latest_step(self) -> int | None:
        """The newest finished checkpoint, or None."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: Any, anew: bool = False) -> bool:
        """Starts to save a pytree of arrays; returns before it is on the disk.

        The arrays may be donated or overwritten as soon as this returns.

        Args:
          anew: a checkpoint of that step with other arrays gives way.

        Returns: False if that step is saved already (nothing is done), else True.
        Raises: InputError if the disk is too small, if this save or the one before
          fails on input or output, or if `step` is older than the newest checkpoint.
        """
        self.wait()
        if self._newest_started is None:
            self._remove_unfinished()
        newest = self.latest_step()
        if newest is not None and step < newest:
            raise InputError(
                f"Found a checkpoint of step {newest} in {self._directory}; expected "
                f"none newer than step {step}, which is to be saved. Use another work "
                "directory, or move the newer checkpoints away."
            )
        if step == newest:
            if not anew or self._holds(step, state):
                return False
            self._open().delete(step)
        if self._asynchronous:
            state = jax.tree.map(as_array, state)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        check_space(self._directory, size, self._how_to_go_on)
        tree = ocp.args.StandardSave if self._asynchronous else ocp.args.PyTreeSave
        args = ocp.args.Composite(
            state=tree(without_empty(state)),
            leaves=ocp.args.JsonSave(sealed(describe(state))),
        )
        with failures_of_saving(self._directory, self._how_to_go_on):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._open().save(step, args=args, force=True)
        self._newest_started = step
        return True

    def check_room(self, state: Any) -> None:
        """Raises InputError unless those checkpoints fit which a run keeps at a time.

        One more than stay, since the oldest goes when the newest is whole.

        Args: state: pytree of arrays or of `jax.ShapeDtypeStruct`.
        """
        targets = jax.tree.map(as_target, state)
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(targets))
        number = max(1, self._max_to_keep + 1 - len(self.steps()))
        check_space(self._directory, size, self._how_to_go_on, number)

    def wait(self) -> None:
        """Returns when the last save is on the disk.

        Raises: InputError if it failed on input or output.
        """
        if self._manager is not None:
            with failures_of_saving(self._directory, self._how_to_go_on):
                self._manager.wait_until_finished()
                self._manager.check_for_errors()

    def close(self) -> None:
        """Waits for the last save and frees the threads; raises as `wait` does."""
        try:
            self.wait()
        finally:
            if self._manager is not None:
                # Its own wait would raise the error that `wait` has raised already.
                with contextlib.suppress(OSError, ValueError):
                    self._manager.close()
                self._manager = None

    def restore(
        self, abstract_state: Any, step: int | None = None, part: bool = False
    ) -> tuple[int, Any] | None:
        """Reads the newest checkpoint that is whole, or the one of `step`.

        A damaged checkpoint is named in a warning and renamed to `<step>.damaged`,
        and the next older one is tried; a damaged `step` that was asked for by number
        is an error instead, and stays where it is. So is one of which a part is read:
        who reads parts does not save that step again.

        Args:
          abstract_state: pytree of arrays or `jax.ShapeDtypeStruct`. Their shardings
            say where the arrays go; a leaf without one goes to the first device.
          step: which checkpoint; the newest if None.
          part: the checkpoint may hold more than `abstract_state`, which is left.

        Returns: (step, state), or None if there is no checkpoint.
        Raises: InputError if `step` is not there, if a checkpoint holds another
          structure, shape or dtype, or if all checkpoints are damaged.
        """
        self.wait()
        target = jax.tree.map(as_target, abstract_state)
        steps = self.steps()
        if step is not None:
            return step, self._restore_exactly(step, target, steps, part)
        damaged = []
        for candidate in reversed(steps):
            try:
                return candidate, self._read(candidate, target, part)
            except reading.Damage as damage:
                if not (self._directory / str(candidate)).exists():
                    continue  # the run that writes here has just deleted it
                if part:
                    raise reading.refused(
                        self._directory, candidate, damage, steps
                    ) from damage
                moved = self._move_aside(candidate)
                damaged.append(f"{candidate} ({damage})")
                absl_logging.warning(
                    "Checkpoint %s is damaged: %s. It is now %s; trying an older one.",
                    self._directory / str(candidate),
                    damage,
                    moved,
                )
        if damaged:
            raise InputError(
                f"Found only damaged checkpoints in {self._directory}: steps "
                f"{', '.join(damaged)}. Expected at least one whole one. They were "
                "renamed to <step>.damaged: run the same command again to start from "
                "scratch, or bring back a copy of one."
            )
        return None

    def _restore_exactly(
        self, step: int, target: Any, steps: list[int], part: bool
    ) -> Any:
        if step not in steps:
            raise InputError(
                f"Found checkpoints of steps {steps} in {self._directory}; expected "
                f"one of step {step}. Choose one of those steps."
            )
        try:
            return self._read(step, target, part)
        except reading.Damage as damage:
            raise reading.refused(self._directory, step, damage, steps) from damage

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._max_to_keep,
                enable_async_checkpointing=self._asynchronous,
            )
            handlers = None
            if not self._asynchronous:
                state, leaves = lean_saving.handler(), ocp.JsonCheckpointHandler()
                handlers = dict(state=state, leaves=leaves)
            self._manager = ocp.CheckpointManager(
                self._directory, options=options, item_handlers=handlers
            )
        return self._manager

    def _holds(self, step: int, state: Any) -> bool:
        """Whether a checkpoint is of these very arrays."""
        try:
            saved = reading.table(self._open, self._directory, step)
        except reading.Damage:
            return False
        return saved == describe(state)

    def _read(self, step: int, target: Any, part: bool) -> Any:
        return reading.read(self._open, self._directory, step, target, part)

    def _move_aside(self, step: int) -> epath.Path:
        """Renames a checkpoint, so that its step can be saved again."""
        source = self._directory / str(step)
        moved = self._directory / f"{step}.damaged"
        number = 1
        while moved.exists():
            number += 1
            moved = self._directory / f"{step}.damaged-{number}"
        if jax.process_index() == 0:
            source.rename(moved)
        hosts.all_agree(True)
        self._open().reload()
        return moved

    def _remove_unfinished(self) -> None:
        """Deletes what a killed save left: it would never be finished."""
        if jax.process_index() == 0 and self._directory.exists():
            for path in self._directory.glob("*.orbax-checkpoint-tmp*"):
                absl_logging.warning("Removing the unfinished checkpoint %s.", path)
                path.rmtree()
        hosts.all_agree(True)

    def _how_to_go_on(self) -> str:
        step = self.latest_step()
        resumes = "" if step is None else f" (it resumes from step {step})"
        return (
            f"Make room there and run the same command again{resumes}, or name another "
            "directory."
        )


def newest_step(workdir: Any) -> int | None:
    """Of a work directory's checkpoints, or of its exported weights; None of neither.

    Raises:
      InputError: damaged weights.
    """
    with Checkpoints(epath.Path(workdir) / "checkpoints") as checkpoints:
        step = checkpoints.latest_step()
    return exported_step(workdir) if step is None else step


def load_all(
    workdir: epath.PathLike, keeps: Callable[[str], bool]
) -> tuple[int, dict[str, Any]]:
    """All that a work directory keeps of a model, whatever it is.

    Args:
      keeps: whether a part is wanted, by its name below 'ema_params' or 'extra'.

    Returns:
      step, {'ema_params': .., 'extra': ..} of nested dicts of arrays.

    Raises:
      InputError: no checkpoint, or a damaged one.
    """
    with Checkpoints(epath.Path(workdir) / "checkpoints") as checkpoints:
        step = checkpoints.latest_step()
        if step is None:
            leaves = exported_leaves(workdir)
        else:
            leaves = checkpoints.leaves(step)
    found = {
        name: jax.ShapeDtypeStruct(tuple(leaf["shape"]), leaf["dtype"])
        for name, leaf in leaves.items()
        if name.startswith(("ema_params/", "extra/")) and keeps(name.split("/")[1])
    }
    wanted = unflatten_dict(found, sep="/")
    own = wanted.get("ema_params", {}), wanted.get("extra", {})
    step, params, extra = load_parts(workdir, *own)
    return step, dict(ema_params=params, extra=extra)


def load_parts(
    workdir: str | epath.PathLike, params: Any, extra: Any
) -> tuple[int, Any, Any]:
    """Step, averaged parameters and extra of a work directory's newest checkpoint.

    Of a directory without checkpoints, those of its exported weights.

    Args:
      workdir: that a training run, a converter or an export wrote.
      params, extra: pytrees of `jax.ShapeDtypeStruct`, the wanted parts; of dicts,
        some of the keys may be left out.

    Raises:
      InputError: no checkpoint, a damaged one, or one without these parts.
    """
    directory = epath.Path(workdir) / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        wanted = {"ema_params": params, "extra": extra}
        wanted = {name: tree for name, tree in wanted.items() if jax.tree.leaves(tree)}
        restored = checkpoints.restore(wanted, part=True)
    restored = restored or read_exported(workdir, wanted)
    if restored is None:
        raise InputError(
            f"no checkpoint in {workdir}: a directory that a training run or a "
            "converter wrote was expected; train or convert first, or name another one"
        )
    step, state = restored
    return step, state["ema_params"], state.get("extra", extra)
