"""What a run says of its speed, and the trace of some of its steps.

Figures of the time between two reports, without samples and checkpoints, in each row of
`metrics.jsonl`: `step_seconds`, `examples_per_second` and `tokens_per_second` of all
devices, `tflops_per_second` a device, `mfu` (the same over the chip's bfloat16 peak,
where that is known; formula in `flops`), `input_wait` (share of the time in which a
batch was fetched while the devices had nothing left to do, an upper bound of their
waiting), `device_memory_gib` (most that this process's fullest device held, where it
tells). The first row has `compile_seconds`.
"""

import contextlib
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from cdcd_jax.planning import chips
from cdcd_jax.reporting.terminal import Stopwatch

# Every name that depends on the clock or the machine.
NAMES = (
    "step_seconds",
    "steps_per_second",
    "examples_per_second",
    "tokens_per_second",
    "tflops_per_second",
    "mfu",
    "input_wait",
    "device_memory_gib",
    "compile_seconds",
)
_AHEAD = 2  # steps that the host may be ahead of the devices


class Clock:
    """Times the loop without waiting for the step that was just started."""

    def __init__(
        self, config: Mapping[str, Any], task: Any, mesh: Mesh, flops: float
    ) -> None:
        """Args: `flops` of one example's training."""
        self._examples = config["data"]["batch_size"]
        self._units = task.describe()["units"]
        self._flops = flops * self._examples / mesh.size
        chip = chips.find(mesh.devices.flat[0].device_kind)
        self._peak = chip.peak_flops if chip else None
        self.watch = Stopwatch()  # of all but pauses
        self._began: float | None = None
        self._step = 0
        self._waited = 0.0
        self.compile_seconds: float | None = None
        self._recent: list[jax.Array] = []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what fetches a batch; counts if the devices ran out of work."""
        began = time.perf_counter()
        yield
        if not self._recent or self._recent[-1].is_ready():
            self._waited += time.perf_counter() - began

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around the update, which compiles when it is called for the first time."""
        began = time.perf_counter()
        yield
        if self.compile_seconds is None:
            self.compile_seconds = time.perf_counter() - began

    def keep_near(self, result: jax.Array) -> None:
        """Waits for the step before the last.

        A host that runs far ahead would hold many batches in the devices' memory.
        """
        self._recent.append(result)
        if len(self._recent) > _AHEAD:
            self._recent.pop(0).block_until_ready()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no step, samples for instance; waits for the steps before."""
        jax.block_until_ready(self._recent)
        with self.watch.paused():
            yield

    def row(self, step: int) -> dict[str, float]:
        """The figures of the time since the last report; call it after a sync."""
        now, row = self.watch.seconds(), {}
        if self._began is not None:
            seconds = (now - self._began) / (step - self._step)
            row = {
                "step_seconds": seconds,
                "steps_per_second": 1.0 / seconds,
                "examples_per_second": self._examples / seconds,
                "tokens_per_second": self._examples * self._units / seconds,
                "tflops_per_second": self._flops / seconds / 1e12,
                "input_wait": self._waited / (now - self._began),
            }
            if self._peak:
                row["mfu"] = self._flops / seconds / self._peak
        elif self.compile_seconds is not None:
            row["compile_seconds"] = self.compile_seconds
        memory = [d.memory_stats() or {} for d in jax.local_devices()]
        peak = max(m.get("peak_bytes_in_use", 0) for m in memory)
        if peak:
            row["device_memory_gib"] = peak / 2**30
        self._began, self._step, self._waited = now, step, 0.0
        return row


class Trace:
    """Writes a profiler trace of the steps (from, to), both included."""

    def __init__(self, workdir: pathlib.Path, steps: tuple[int, int] | None) -> None:
        self._folder = workdir / "profile"
        self._steps = steps
        self._running = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around one step."""
        if self._steps is None:
            yield
            return
        first, last = self._steps
        if first <= number <= last and not self._running:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield
        if number >= last:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            # runs after what was only started, which belongs to the trace too
            jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(()))())
            jax.profiler.stop_trace()
            self._running = False
