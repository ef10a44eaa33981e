"""MT-Diffusion as a task: several modalities in one z, one backbone, a head for each.

z_0 is the sum of the modalities' codes by their weights (`diffusion.aggregation`).
The loss is that of z's values and, of each modality, that of its head, read at every t
(Chen et al. 2024; what the paper leaves open, docs/mt_diffusion.md derives).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.aggregation import check_prior
from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.errors import UsageError, as_usage_error
from cdcd_jax.metrics import figures as metric_figures
from cdcd_jax.networks import conditioners
from cdcd_jax.networks.joint import ENCODER
from cdcd_jax.networks.positions import grid_of
from cdcd_jax.tasks import bound as held_out
from cdcd_jax.tasks.drawing import NO_EDIT, Edit, in_batches
from cdcd_jax.tasks.joint_asked import check_asked, check_options
from cdcd_jax.tasks.joint_drawing import Drawing
from cdcd_jax.tasks.joint_network import make_gaussian, make_joint_network
from cdcd_jax.tasks.joint_objective import JointObjective
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.modalities import STREAM, names_taken, primary_of, read_modalities
from cdcd_jax.tasks.prompt_weights import with_prompts
from cdcd_jax.tasks.settings import (
    choose,
    contents_of,
    fields_of,
    full_conditions,
    given_towers,
)

Batch = Mapping[str, Any]
Params = Any


class MTDiffusionTask:
    """The functions of a task (see `tasks`) for several modalities in one z.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.settings = config
        model = config["model"]
        self.modalities = read_modalities(model)
        several = len(self.modalities) > 1
        given = {
            name: conditioners.full_spec(name, one.condition())
            for name, one in self.modalities.items()
            if one.given and several
        }
        own = full_conditions(model["conditions"], names_taken(model))
        self.conditions = {**own, **given}
        self.own = own
        self.network = make_joint_network(config, self.modalities, own, given)
        if config["eval"]["figures"]:
            figures = config["eval"]["figures"]
            choose("eval", "figures", figures, metric_figures.FIGURES)
        primary = primary_of(self.modalities)
        self.gaussian = make_gaussian(config, self.modalities, primary)
        self.schedule = self.gaussian.levels
        of_z = [n for n, one in self.modalities.items() if np.any(one.weight)]
        numbers = [name for name in of_z if not self.modalities[name].discrete]
        rest = primary if numbers == [primary] else ""
        self.objective = JointObjective(
            *(self.network, self.gaussian, self.modalities, own, self.units),
            model["known"],
            model["modality_dropout"],
            model["condition_dropout"],
        )
        self.drawing = Drawing(self.network, self.gaussian, self.modalities, rest)
        with as_usage_error():
            self.check_sampling(self.options(config["sampling"]))
        names = ("batch", "options", "time", "shared")
        self.draw_batch = jax.jit(self.drawing.draw, static_argnames=names)
        self._bound_batch = jax.jit(self.objective.bound)
        self._prior = jax.jit(self.objective.prior)

    # -- the six functions ---------------------------------------------------------

    def init(self, key: jax.Array) -> tuple[Params, dict[str, Any]]:
        """Parameters; nothing else changes."""
        x = {
            name: jnp.zeros((1, *one.shape), one.batch_field["dtype"])
            for name, one in self.modalities.items()
        }
        t, drop = jnp.ones(1, jnp.int32), jnp.zeros(1, bool)
        given = x, t, self.empty_condition(1), drop
        return self.network.init(key, *given, method="initialise")["params"], {}

    def loss(
        self, params: Params, extra: dict, batch: Batch, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], dict]:
        """The loss of z's values, and by their weights those of the heads.

        A head learns nothing from an example whose modality the network was given.

        Args:
            batch: the fields of `describe`.

        Returns:
            scalar loss, metrics (scalars), extra.
        """
        del step
        loss, metrics = self.objective.loss(params, batch, key)
        return loss, metrics, extra

    def sample(
        self,
        params: Params,
        extra: dict,
        condition: Mapping[str, jax.Array],
        key: jax.Array,
        options: GaussianOptions,
        number: int | None = None,
        edit: Edit = NO_EDIT,
    ) -> dict[str, np.ndarray]:
        """Draws all modalities together, those that are given as they are.

        Args:
            condition: {name: [N, ...]}, modalities and other conditions; what the model
                does not take is left out.
            options: see `GaussianOptions`; batches of `sampling.batch_size` rows.
            number: N, where nothing is given.
            edit: what of the pictures is given; see `Edit`.

        Returns:
            the outputs of `describe`, [N, ...].

        Raises:
            UsageError: a condition is left out that is not optional, or what is asked
                cannot be, see `joint_asked`.
        """
        del extra
        model = self.settings["model"]
        check_asked(model, self.modalities, options, condition, edit)
        asked = condition, edit, options
        condition, edit, options = with_prompts(model, self.conditions, *asked)
        draw = functools.partial(self.draw_batch, params, options=options)
        most = self.settings["sampling"]["batch_size"]
        found = in_batches(draw, self.conditions, condition, key, number, edit, most)
        return {
            one.output_name: np.asarray(found[name])
            for name, one in self.modalities.items()
            if one.is_drawn
        }

    def evaluate(
        self, params: Params, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Figures of §10 of the design; see `ConditionalTask.evaluate`."""
        found = batches.get("bound") or self.bound(params, batches["test"], key)
        figures = held_out.figures(found)
        judged = metric_figures.judged(self.settings["eval"]["figures"], batches)
        return {**figures, **judged}

    def labels(self, params: Params) -> Any:
        """Fixed codes and the towers of conditions with frozen=True are not trained."""
        frozen = [f"{k}/tower" for k, v in self.own.items() if v.get("frozen")]
        frozen += [
            ENCODER.format(name)
            for name, one in self.modalities.items()
            if one.gradient == "fixed" and ENCODER.format(name) in params
        ]
        return labels_by_prefix(params, dict.fromkeys(frozen, "frozen"))

    def describe(self) -> dict[str, Any]:
        """What it takes and gives; see `tasks.Description`."""
        model = self.settings["model"]
        grid = grid_of(model["grid"])
        stream = dict(
            shape=(self.units,), dtype="int32", low=0, high=model["num_codes"]
        )
        fields = fields_of(self.own)
        fields |= {
            name: one.batch_field
            for name, one in self.modalities.items()
            if one.field != STREAM
        }
        outputs = {
            one.output_name: one.output(grid)
            for one in self.modalities.values()
            if one.is_drawn
        }
        return {
            "conditions": contents_of(self.conditions),
            "outputs": outputs,
            "batch": dict(tokens={**stream, "grid": grid}, condition=fields),
            "units": self.units,
            "group": 1,
            "negatives": 0,
            "given": [f"{name}/tower" for name in given_towers(self.own)],
            "kept": [],
        }

    # -- what the modes ask beside -------------------------------------------------

    @property
    def units(self) -> int:
        """Tokens of an example of the records."""
        return int(np.prod(grid_of(self.settings["model"]["grid"])))

    def options(self, section: Mapping[str, Any]) -> GaussianOptions:
        """The section `sampling` of a config."""
        return GaussianOptions.of(section)

    def note(self, options: GaussianOptions) -> str:
        """What somebody who chose these should know, or ''."""
        if options.known != "substitution":
            return ""
        return (
            "sampling.known 'substitution' puts the code of what is given into the sum "
            "alone: what is drawn beside it is decided by the first noise, before that "
            "code is seen, unless its weight is small (docs/mt_diffusion.md)"
        )

    def check_sampling(
        self, options: GaussianOptions, start: int | None = None
    ) -> None:
        """Raises ValueError if these options cannot be."""
        check_options(self.settings["model"], options)
        self.gaussian.check(options, start)

    def check_first(self, params: Params, batch: Batch) -> None:
        """Raises UsageError where z at T is too far from noise for these weights.

        Args:
            params: of the start.
            batch: the first one.
        """
        nats = float(self._prior(params, batch))
        try:
            check_prior(nats, self.gaussian.levels)
        except ValueError as error:
            raise UsageError(
                f"Found weights of model.modalities that do not fit: {error}."
            ) from None

    def empty_condition(self, batch: int) -> dict[str, jax.Array]:
        """A condition of zeros, for shapes and for the null."""
        specs = self.network.conditions.items()
        return {name: conditioners.empty(spec, batch) for name, spec in specs}

    def sampling(
        self, rows: int, options: GaussianOptions
    ) -> tuple[Callable[..., Any], tuple[Params, dict[str, Any], Any]]:
        """What draws a batch of `rows` samples; see `ConditionalTask.sampling`."""
        draw = functools.partial(self.drawing.draw, batch=rows, options=options)
        own = {n: conditioners.empty(spec, rows) for n, spec in self.own.items()}
        arguments = jax.eval_shape(
            lambda: (self.init(jax.random.key(0))[0], own, jax.random.key(0))
        )
        return jax.jit(draw), arguments

    def bound(
        self, params: Params, batches: Sequence[Batch], key: jax.Array
    ) -> held_out.Bound:
        """Form (A) of the bound on -log p of all modalities; see `gaussian_terms`.

        The steps' terms at `eval.bound_samples` times an example; of z_1 the decoders.
        A masked picture is one that hides all, and is given.
        """
        fixed: dict[str, list] = {}

        def term(tokens, condition, t, key):
            batch = {STREAM: tokens, "condition": condition}
            return self._bound_batch(params, batch, t, key)["denoising"]

        for i, batch in enumerate(batches):
            own = jax.random.fold_in(jax.random.fold_in(key, 1), i)
            first = jnp.ones(len(batch[STREAM]), jnp.int32)
            found = self._bound_batch(params, batch, first, own)
            for name in ("reconstruction", "others", "prior"):
                fixed.setdefault(name, []).append(np.asarray(found[name]) / self.units)
        repeats = self.settings["eval"]["bound_samples"]
        joined = {name: np.concatenate(parts) for name, parts in fixed.items()}
        timesteps = self.gaussian.timesteps
        return held_out.bound(term, batches, key, repeats, timesteps, joined)

    def profile(self, found: held_out.Bound) -> None:
        """None: no grid of times is optimised for arrays of numbers."""
