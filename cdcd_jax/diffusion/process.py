"""What a diffusion offers, and the one scan by which all of them draw.

A `Process` is the mathematics of one diffusion; a `Walk` is its road from T to 0 under
some options; `draw` takes one walk or many, by name, all in step: at every evaluation
one prediction is made for all of them, at the same time of each. So a sample of one
modality, of several at once, or of one given others is the same loop.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

# x_t by name, t int32 [B] by name -> the network's prediction by name
Predict = Callable[[dict[str, jax.Array], dict[str, jax.Array]], Mapping[str, Any]]


class Terms(NamedTuple):
    """What a loss takes of one process, nats an example."""

    bound: jax.Array  # [B] T x the bound's term at t
    training: jax.Array  # [B] T x what is trained at t, weights included


@runtime_checkable
class Walk(Protocol):
    """A road from T to 0. Its state is any pytree that a scan can carry."""

    # of what each step takes, leaves [S, ...]
    inputs: Any
    # the times of the S evaluations, int [S]; None where the state decides them
    times: np.ndarray | None
    timesteps: int  # T, which `times` are a share of

    def begin(
        self,
        keys: tuple[PRNGKeyArray, PRNGKeyArray],
        shape: tuple[int, ...],
        known: tuple[Shaped[Array, "B ..."], Bool[Array, "B ..."]] | None,
    ) -> Any:
        """The state at the start.

        Args:
            keys: of x_T, and of what else is drawn once for the whole way.
            shape: of x.
            known: x_0 and a bool of its shape; where true, it is to come out unchanged.
        """

    def seen(self, state: Any) -> Shaped[Array, "B ..."]:
        """x_t of a state: what the network sees, and lastly the sample."""

    def time(self, state: Any, inputs: Any) -> Int[Array, " B"]:
        """The network's time, int32 [B], of the inputs of this step."""

    def advance(
        self, key: PRNGKeyArray, state: Any, prediction: Any, inputs: Any
    ) -> Any:
        """The state after this step, from what the network said of the one before."""


@runtime_checkable
class Process(Protocol):
    """One diffusion of arrays x, [B, ...]."""

    @property
    def timesteps(self) -> int:
        """T."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What `sampling.method` may be."""

    def noised(
        self, key: PRNGKeyArray, x_0: Shaped[Array, "B ..."], t: Int[Array, " B"]
    ) -> Shaped[Array, "B ..."]:
        """x_t ~ q(x_t | x_0) at t int32 [B], 1..T."""

    def terms(
        self,
        prediction: Any,
        x_0: Shaped[Array, "B ..."],
        x_t: Shaped[Array, "B ..."],
        t: Int[Array, " B"],
    ) -> Terms:
        """The losses of what the network says of x_t."""

    def prior_term(self, x_0: Shaped[Array, "B ..."]) -> Float[Array, " B"]:
        """L_T in nats an example, [B]."""

    def check(self, options: Any, start: int | None = None) -> None:
        """Raises ValueError if nothing can be drawn with these options, from a time on.

        Args:
            options: of its samplers.
            start: the first time; None for T.
        """

    def walk(
        self, options: Any, start: tuple[Shaped[Array, "B ..."], int] | None = None
    ) -> Walk:
        """The road of these options, from the prior or from x_0 noised to a time."""


class Drawn(NamedTuple):
    """What `draw` returns."""

    x: dict[str, jax.Array]  # x_0 by name
    canvases: dict[str, jax.Array] | None  # x_s after each step, [S, ...], or None


def keys_by_name(key: PRNGKeyArray, names: Iterable[str]) -> dict[str, PRNGKeyArray]:
    """A key for each name, which the other names and their order do not change."""
    fold = lambda name: np.uint32(zlib.crc32(name.encode()))
    return {name: jax.random.fold_in(key, fold(name)) for name in names}


def draw(
    walks: Mapping[str, Walk],
    predict: Predict,
    keys: Mapping[str, PRNGKeyArray],
    shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, tuple[Shaped[Array, "B ..."], Bool[Array, "B ..."]]]
    | None = None,
    canvases: bool = False,
) -> Drawn:
    """Draws x_0 of all walks, in step. Meant to stand inside one `jit`.

    Args:
        walks: by name.
        predict: of all states at once; its predictions have the walks' names.
        keys: a random key of each walk; see `keys_by_name`.
        shapes: of each x.
        known: of some walks, what is to come out unchanged; see `Walk.begin`.
        canvases: also return every intermediate x_s.

    Raises:
        ValueError: walks that are not in step, or names that do not fit.
    """
    known = known or {}
    _check_names(walks, keys=keys, shapes=shapes)
    check_in_step(walks)
    if unknown := sorted(set(known) - set(walks)):
        raise ValueError(
            f"known has {', '.join(unknown)}, expected of {', '.join(sorted(walks))}: "
            "leave out what is not drawn"
        )
    states, step_keys = {}, {}
    for name, walk in walks.items():
        key_start, key_way, key_steps = jax.random.split(keys[name], 3)
        begun = walk.begin((key_start, key_way), shapes[name], known.get(name))
        states[name] = begun
        step_keys[name] = jax.random.split(key_steps, _steps(walk))

    def look(states: dict) -> dict[str, jax.Array]:
        return {name: walk.seen(states[name]) for name, walk in walks.items()}

    def step(states: dict, given: tuple[dict, dict]) -> tuple[dict, dict | None]:
        inputs, keys = given
        times = {n: walk.time(states[n], inputs[n]) for n, walk in walks.items()}
        said = predict(look(states), times)
        after = {
            name: walk.advance(keys[name], states[name], said[name], inputs[name])
            for name, walk in walks.items()
        }
        return after, (look(after) if canvases else None)

    inputs = {name: walk.inputs for name, walk in walks.items()}
    states, trajectory = jax.lax.scan(step, states, (inputs, step_keys))
    return Drawn(look(states), trajectory)


def _steps(walk: Walk) -> int:
    return jnp.shape(jax.tree.leaves(walk.inputs)[0])[0]


def _check_names(walks: Mapping[str, Walk], **given: Mapping[str, Any]) -> None:
    for what, values in given.items():
        if set(values) != set(walks):
            raise ValueError(
                f"{what} has {', '.join(sorted(values)) or 'nothing'}, expected "
                f"{', '.join(sorted(walks))}: give one of each walk"
            )


def check_in_step(walks: Mapping[str, Walk]) -> None:
    """All have the same number of steps, and at each the same share of their T."""
    if len(walks) == 1:
        return
    first, *others = sorted(walks)
    for name in (first, *others):
        if walks[name].times is None:
            raise ValueError(
                f"the walk of {name} finds its times on the way, and is not in step "
                "with others: choose a sampling.method other than 'first_hitting'"
            )
    one = walks[first]
    for name in others:
        other = walks[name]
        if _steps(one) != _steps(other):
            raise ValueError(
                f"the walk of {first} has {_steps(one)} steps and that of {name} "
                f"{_steps(other)}: expected as many; choose one sampling.steps"
            )
        # each T rounds a share to its own times
        apart = np.abs(one.times / one.timesteps - other.times / other.timesteps)
        within = 0.5 / one.timesteps + 0.5 / other.timesteps + 1e-9
        if np.any(apart > within):
            at = int(np.argmax(apart))
            raise ValueError(
                f"at evaluation {at + 1} the walk of {first} is at time "
                f"{one.times[at]} of {one.timesteps} and that of {name} at "
                f"{other.times[at]} of {other.timesteps}: expected the same share; "
                "choose one sampling.grid that does not depend on the schedule, such "
                "as 'uniform', and one start"
            )
