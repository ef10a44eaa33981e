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

from cdcd_jax.diffusion import objective
from cdcd_jax.diffusion.aggregation import make_aggregation
from cdcd_jax.diffusion.gaussian import LOSSES, Gaussian
from cdcd_jax.diffusion.gaussian_schedule import GAUSSIAN_CURVES, make_levels
from cdcd_jax.diffusion.samplers.options import GaussianOptions
from cdcd_jax.errors import UsageError
from cdcd_jax.metrics import figures as metric_figures
from cdcd_jax.networks import conditioners, presence
from cdcd_jax.networks.joint import (
    ENCODER,
    VALUES,
    JointDenoiser,
    make_code,
    outputs_of,
)
from cdcd_jax.networks.partition import constrain
from cdcd_jax.networks.positions import grid_of
from cdcd_jax.tasks import bound as held_out
from cdcd_jax.tasks.drawing import NO_EDIT, Edit, in_batches
from cdcd_jax.tasks.joint_drawing import KNOWN, Drawing
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.modalities import (
    STREAM,
    Modality,
    drawn_known,
    read_modalities,
    values_of,
)
from cdcd_jax.tasks.settings import (
    check_null,
    choose,
    denoiser_settings,
    field_of,
    full_conditions,
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
        self.modalities = read_modalities(config["model"])
        several = len(self.modalities) > 1
        given = {
            name: conditioners.full_spec(name, one.condition())
            for name, one in self.modalities.items()
            if one.given and several
        }
        own = full_conditions(config["model"]["conditions"])
        self.conditions = {**own, **given}
        self.own = own
        self.network = make_joint_network(config, self.modalities, own, given)
        if config["eval"]["figures"]:
            figures = config["eval"]["figures"]
            choose("eval", "figures", figures, metric_figures.FIGURES)
        codes = {
            n: make_code(m.code, self.network.space) for n, m in self.modalities.items()
        }
        whole = [name for name, code in codes.items() if not code.discrete]
        self.whole, self.first = whole, self._primary(whole)
        self.gaussian = make_gaussian(config, self.modalities, self.first)
        self.schedule = self.gaussian.levels
        rest = whole[0] if len(whole) == 1 else ""
        self.drawing = Drawing(self.network, self.gaussian, self.modalities, rest)
        try:
            self.check_sampling(self.options(config["sampling"]))
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(str(error)) from None
        names = ("batch", "options", "time", "shared")
        self.draw_batch = jax.jit(self.drawing.draw, static_argnames=names)
        self._bound_batch = jax.jit(self._bound)

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
        keys = jax.random.split(key, 6)
        x = values_of(self.modalities, batch, keys[0])
        size = len(next(iter(x.values())))
        t = objective.stratified_times(keys[1], size, self.gaussian.timesteps)
        known = drawn_known(
            keys[2], self.modalities, self.settings["model"]["known"], size
        )
        codes, gone = self._codes(params, x, keys[3])
        encoded = self._encoded(params, batch, x, known, gone, keys[4])
        apply = functools.partial(self.network.apply, {"params": params})
        said = apply(self._noised(keys[5], codes, t), t, encoded, method="said")
        kept = {
            name: jax.lax.stop_gradient(code)
            if self.modalities[name].gradient == "stop"
            else code
            for name, code in codes.items()
        }
        z_t = self._noised(keys[5], kept, t)
        values = said
        if kept != codes:  # the same numbers, without their gradient
            values = apply(z_t, t, encoded, method="said")
        predicted = apply(values, method="predicted")
        terms = self.gaussian.terms(predicted, kept, z_t, t)
        whole = self.settings["diffusion"]["loss"] == "bound"
        each = self.units * self.gaussian.timesteps if whole else np.prod(z_t.shape[1:])
        metrics = {VALUES: jnp.mean(terms.training) / each}
        loss = metrics[VALUES]
        for name, of_head in apply(said, x, method="losses").items():
            learns = jnp.where(known.get(name, False), 0.0, 1.0)
            metrics[f"of_{name}"] = jnp.mean(learns * of_head)
            loss += self.modalities[name].loss_weight * metrics[f"of_{name}"]
        prior = jnp.mean(self.gaussian.prior_term(codes))
        metrics["prior_kl"] = prior / np.prod(z_t.shape[1:])
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
            UsageError: a condition is left out that is not optional, or a scale is of
                none of them.
        """
        del extra
        draw = functools.partial(self.draw_batch, params, options=options)
        most = self.settings["sampling"]["batch_size"]
        found = in_batches(draw, self.conditions, condition, key, number, edit, most)
        return {
            self._output_name(name): np.asarray(found[name])
            for name, one in self.modalities.items()
            if one.kind != "masked_image"
        }

    def evaluate(
        self, params: Params, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Figures of §10 of the design; see `ConditionalTask.evaluate`."""
        found = batches.get("bound") or self.bound(params, batches["test"], key)
        figures = held_out.figures(found)
        name = self.settings["eval"]["figures"]
        if not name or "judged" not in batches:
            return figures
        judge = metric_figures.FIGURES[name]
        return {**figures, **judge(batches["samples"], **batches["judged"])}

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
        fields = {name: field_of(spec) for name, spec in self.own.items()}
        fields |= {
            name: one.batch_field
            for name, one in self.modalities.items()
            if one.field != STREAM
        }
        outputs = {
            self._output_name(name): one.output(grid)
            for name, one in self.modalities.items()
            if one.kind != "masked_image"
        }
        return {
            "conditions": self.conditions,
            "outputs": outputs,
            "batch": dict(tokens={**stream, "grid": grid}, condition=fields),
            "units": self.units,
            "group": 1,
            "negatives": 0,
            "given": [],
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
        choose("sampling", "known", options.known, KNOWN)
        self.gaussian.check(options, start)
        if options.guidance_scale != 1.0:
            asked = f"sampling.guidance_scale = {options.guidance_scale}"
            check_null(self.settings["model"], asked)

    def check_first(self, params: Params, batch: Batch) -> None:
        """Raises UsageError where z at T is too far from noise for these weights.

        Args:
            params: of the start.
            batch: the first one.
        """
        x = values_of(self.modalities, batch, jax.random.key(0))
        codes, _ = self._codes(params, x, jax.random.key(0), dropout=0.0)
        try:
            self.gaussian.check_prior(codes)
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

        def term(tokens, condition, t, key, null=False):
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

    # -- parts of them -------------------------------------------------------------

    def _primary(self, whole: Sequence[str]) -> str:
        """The modality of the bound's L0: the records' own tokens, or the first whole.

        Args:
            whole: the modalities that are not of finitely many codes.
        """
        streams = [n for n in whole if self.modalities[n].field == STREAM]
        return (streams or list(whole) or list(self.modalities))[0]

    def _output_name(self, name: str) -> str:
        """What samples call a modality: the records' own tokens as they always were."""
        return STREAM if self.modalities[name].field == STREAM else name

    def _codes(
        self,
        params: Params,
        x: Mapping[str, jax.Array],
        key: jax.Array,
        dropout: Any = None,
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """E_i(x_i), [B, L, C] by name, 0 of what is left out of z, and which that is.

        At least one modality is left in.
        """
        apply = functools.partial(self.network.apply, {"params": params})
        codes = {name: apply(name, x[name], method="code") for name in self.modalities}
        rate = (
            self.settings["model"]["modality_dropout"] if dropout is None else dropout
        )
        if not rate:
            return codes, {}
        rows = len(next(iter(codes.values())))
        key_out, key_kept = jax.random.split(key)
        out = jax.random.bernoulli(key_out, rate, (len(codes), rows))
        kept = jax.random.randint(key_kept, (rows,), 0, len(codes))
        out &= kept != jnp.arange(len(codes))[:, None]
        gone = dict(zip(codes, out, strict=True))
        return {
            name: jnp.where(gone[name][:, None, None], 0.0, code)
            for name, code in codes.items()
        }, gone

    def _encoded(
        self,
        params: Params,
        batch: Batch,
        x: Mapping[str, jax.Array],
        known: Mapping[str, jax.Array],
        gone: Mapping[str, jax.Array],
        key: jax.Array | None,
    ) -> Any:
        """What the network is given: other conditions, what is known, what is absent."""
        rows, rate = (
            len(next(iter(x.values()))),
            self.settings["model"]["condition_dropout"],
        )
        given = presence.taken(self.own, batch["condition"])
        drop: Any = jnp.zeros(rows, bool)
        if key is not None:
            drop = presence.drawn_drop(key, self.own, given, rate, rows)
        if not isinstance(drop, Mapping):
            drop = dict.fromkeys(self.own, drop)
        seen = [name for name in self.network.conditions if name not in self.own]
        given |= {name: x[name] for name in seen}
        drop |= {name: ~known[name] for name in seen}
        apply = functools.partial(self.network.apply, {"params": params})
        if not drop:
            drop = jnp.zeros(rows, bool)
        encoded = apply(given, drop, method="encode")
        return apply(encoded, gone, method="told_absent") if gone else encoded

    def _noised(
        self, key: jax.Array, codes: Mapping[str, jax.Array], t: jax.Array
    ) -> jax.Array:
        """z_t of these codes; equal keys make equal noise."""
        return constrain(self.gaussian.noised(key, codes, t), "batch", "length", None)

    def _bound(
        self, params: Params, batch: Batch, t: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        """The bound's parts at t, nats [B]; `denoising` times T."""
        x = values_of(self.modalities, batch, key)
        hidden = [n for n, one in self.modalities.items() if one.kind == "masked_image"]
        x |= {name: jnp.full_like(x[name], -1) for name in hidden}
        rows = len(t)
        known = {name: jnp.full(rows, name in hidden) for name in self.modalities}
        codes, _ = self._codes(params, x, key, dropout=0.0)
        encoded = self._encoded(params, batch, x, known, {}, None)
        apply = functools.partial(self.network.apply, {"params": params})
        z_t = self._noised(key, codes, t)
        said = apply(z_t, t, encoded, method="said")
        predicted = apply(said, method="predicted")
        if self.gaussian.aggregation.constant:  # z's own head says it better
            predicted = predicted._replace(codes=None)
        reading = self.gaussian.read(predicted, z_t, t)
        others = [
            apply(name, said[name], x[name], method="nats")
            for name in self.modalities
            if name not in (self.first, *hidden)
        ]
        if self.first in self.whole:
            decoded = self.gaussian.decoded(reading, codes, t)
        else:
            first = self.first
            decoded = apply(first, said[first], x[first], method="nats")
        found = dict(
            denoising=self.gaussian.timesteps
            * self.gaussian.denoised(reading, codes, z_t, t),
            reconstruction=decoded,
            others=sum(others, jnp.zeros(rows)),
            prior=self.gaussian.prior_term(codes),
        )
        return {name: constrain(a, None) for name, a in found.items()}


def make_joint_network(
    config: Mapping[str, Any],
    modalities: Mapping[str, Modality],
    own: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Mapping[str, Any]],
) -> JointDenoiser:
    """The network of a whole experiment.

    Args:
        config: a whole experiment.
        modalities: of it.
        own: full descriptions of its other conditions.
        given: those of modalities that may be given; the network sees them where it is
            trained to (`model.known`).

    Raises:
        UsageError: settings that contradict each other, modalities that do not fit.
    """
    model = config["model"]
    if model["form"] != "modern":
        raise UsageError(
            f"Found model.form = {model['form']!r}; expected 'modern', which alone takes "
            "numbers in place of tokens; set it."
        )
    height, width, channels = (*grid_of(model["grid"]), 1)[:3]
    patch = model["patch"]
    if height % patch or width % patch:
        raise UsageError(
            f"Found model.patch = {patch} of {height} x {width} tokens; expected a "
            "divisor of both; correct it."
        )
    grid = height // patch, width // patch
    space = grid[0] * grid[1], model["channels"] or patch**2 * channels
    specs = {name: one.code for name, one in modalities.items()}
    for name, spec in specs.items():
        make_code(spec, space).check(name)
    seen = {**own, **(given if model["known"] else {})}
    denoiser = denoiser_settings(config, seen, grid)
    denoiser |= dict(inputs=VALUES, outputs=outputs_of(specs, space))
    absent = bool(model["modality_dropout"])
    return JointDenoiser(
        denoiser, seen, model["join"], modalities=specs, space=space, absent=absent
    )


def make_gaussian(
    config: Mapping[str, Any], modalities: Mapping[str, Modality], primary: str
) -> Gaussian:
    """The process of z.

    Raises:
        UsageError: settings that do not exist, or weights that cannot be.
    """
    diffusion = config["diffusion"]
    choose("diffusion", "loss", diffusion["loss"], LOSSES)
    choose("diffusion", "schedule", diffusion["schedule"], GAUSSIAN_CURVES)
    weights = {name: one.weight for name, one in modalities.items()}
    timesteps, code = diffusion["timesteps"], modalities[primary].code
    try:
        levels = make_levels(diffusion["schedule"], timesteps)
        return Gaussian(
            levels,
            diffusion["prediction"],
            diffusion["variance"],
            diffusion["loss"],
            code.get("levels", 0),
            make_aggregation(weights, timesteps, diffusion["weight_ramp"]),
            primary,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
