"""What a config says of drawing: the section `sampling`, as a value that is static."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """How a batch is drawn.

    The options of one sampler alone stand here too, as they stand in the config: a
    sampler is built of those that it has fields for.

    Attributes:
        method: a key of `samplers.SAMPLERS`. 'ancestral' visits every time; 'strided'
            jumps with the exact posterior between the times of a grid; 'skip' is the
            reference's fast sampling (see `grids.skip_jumps`); 'random', 'spread',
            'purity', 'confidence' and 'first_hitting' unmask a fixed number of tokens a
            step, 'remasking' masks some again.
        steps: S, network evaluations. 'ancestral' needs T of them.
        grid: of the times: a key of `grids.GRIDS`, or 'optimised'.
        times: the grid itself where it is 'optimised', int [S + 1].
        temperature: divides the logits.
        top_p, top_k: see `guidance.truncate`.
        guidance_scale: w of classifier-free guidance; 1 for none.
        guidance_schedule: 'constant'; 'rising' from 1 to w as tokens appear; 'falling'
            from w to 1.
        order_temperature: of 'confidence', at the start.
        purity_weight: r of 'purity'; sharpens p to the power 1 + r * purity.
        remask: strength of 'remasking', 0 to 1.
        prompt_weights: (name, share of the mixture) of prompts.
    """

    method: str = "strided"
    steps: int = 25
    grid: str = "uniform"
    times: tuple[int, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    guidance_scale: float = 1.0
    guidance_schedule: str = "constant"
    order_temperature: float = 1.0
    purity_weight: float = 0.0
    remask: float = 0.1
    prompt_weights: tuple[tuple[str, float], ...] = ()

    @property
    def rows_beside(self) -> int:
        """Rows of an example, beside those of guidance."""
        return 0

    def told(self) -> dict[str, Any]:
        """As settings of what was drawn, which outlive an update.

        An option that came later stands there where it is used.
        """
        found = dataclasses.asdict(self)
        if not self.prompt_weights:
            del found["prompt_weights"]
        return found

    @classmethod
    def of(cls, settings: Mapping[str, Any], **changes: Any) -> "SamplingOptions":
        """From a section of the config; `changes` win."""
        names = [f.name for f in dataclasses.fields(cls)]
        values = {name: settings[name] for name in names if name in settings}
        values |= changes
        for name in ("prompt_weights", "environment_scales"):
            if isinstance(numbers := values.get(name), Mapping):
                values[name] = tuple(sorted(numbers.items()))
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class GaussianOptions(SamplingOptions):
    """The same of arrays of numbers, of which `method`, `steps` and `grid` are read.

    Attributes:
        method: a key of `samplers.GAUSSIAN_SAMPLERS`. 'ddpm' draws from the posterior
            of each jump, 'ddim' with less noise or none.
        eta: of 'ddim', 0 for no fresh noise to 1 for that of the posterior.
        variance: of 'ddpm', 'posterior' or 'beta', see `gaussian_schedule.VARIANCES`.
        known: how modalities that are given come into the draw of the others, where
            there are several.
    """

    method: str = "ddpm"
    eta: float = 0.0
    variance: str = "posterior"
    known: str = "context"


@dataclasses.dataclass(frozen=True)
class RouteOptions(SamplingOptions):
    """The same of several diffusers, each of which has its own sampler.

    Attributes:
        outputs: what is drawn; () for the first that is not given.
        environment_scale: of what aligned diffusers that draw together show each other.
        environment_scales: the same of some, each for its own output.
        environment_prompted: share of these scales that is left beside a prompt.
        diffusers: of some, settings of its sampler.
        aligned: whether outputs that are drawn together see each other.
    """

    outputs: tuple[str, ...] = ()
    environment_scale: float = 1.0
    environment_scales: tuple[tuple[str, float], ...] = ()
    environment_prompted: float = 1.0
    diffusers: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    aligned: bool = False

    @property
    def rows_beside(self) -> int:
        """One that sees what the other outputs show."""
        return int(self.aligned and len(self.outputs) > 1)


def choose(name: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError unless `sampling.<name>` is one of the known."""
    if value not in known:
        raise ValueError(
            f"unknown sampling.{name} {value!r}: choose one of {', '.join(known)}"
        )
