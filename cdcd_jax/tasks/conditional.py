"""CDCD as a task: tokens under a condition, mask-and-replace diffusion, contrast.

Settings are read by key, so that a plain dict serves where ml_collections is absent.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import contrastive, objective, schedule
from cdcd_jax.diffusion.mask_replace import MaskReplace
from cdcd_jax.diffusion.sampler import SamplingOptions, mask_note
from cdcd_jax.diffusion.transition import sample_x_t
from cdcd_jax.errors import UsageError, as_usage_error
from cdcd_jax.metrics import figures as metric_figures
from cdcd_jax.networks import conditioners, positions, presence
from cdcd_jax.networks.prompt_conditioners import NOISE
from cdcd_jax.tasks import bound as held_out
from cdcd_jax.tasks.contrast import Contrast
from cdcd_jax.tasks.drawing import NO_EDIT, Edit, draw_batch, in_batches
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.prompt_weights import with_prompts
from cdcd_jax.tasks.settings import (
    check_null,
    choose,
    contents_of,
    fields_of,
    given_towers,
    make_network,
)
from cdcd_jax.tasks.target import TOKENS, check_target, seen_by, stream_of, target_of
from cdcd_jax.tasks.token_terms import TokenTerms, bind

Batch = Mapping[str, Any]
# {"network": parameters}, so that later modules can stand beside it
Params = Any


class ConditionalTask:
    """The six functions of a task (see `tasks`) for conditional token diffusion.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.settings = config
        self.diffusion = diffusion = config["diffusion"]
        self.num_codes = config["model"]["num_codes"]
        self.grid = positions.grid_of(config["model"]["grid"])
        self.length = positions.length_of(self.grid)
        self.network = make_network(config)
        self.conditions = self.network.conditions
        self.target = config["model"]["target"]
        check_target(self.target, self.conditions)
        if config["eval"]["figures"]:  # else the bound alone
            figures = config["eval"]["figures"]
            choose("eval", "figures", figures, metric_figures.FIGURES)
        times, ramp = diffusion["time_sampling"], diffusion["auxiliary_ramp"]
        choose("diffusion", "time_sampling", times, objective.TIME_SAMPLING)
        choose("diffusion", "auxiliary_ramp", ramp, objective.RAMPS)
        choose("eval", "judge", config["eval"]["judge"], ("records", "raw"))
        with as_usage_error():
            self.schedule = schedule.make_schedule(
                diffusion["schedule"], self.num_codes, diffusion["timesteps"]
            )
            self.process = MaskReplace(
                self.schedule,
                tuple(diffusion["mask_weight"]),
                diffusion["auxiliary_weight"],
                diffusion["auxiliary_ramp"],
            )
            self.contrast = Contrast(config, self.schedule)
            self.check_sampling(self.options(config["sampling"]))
        if self.target != TOKENS and self.contrast.from_records:
            raise UsageError(
                f"Found contrastive.inter_from = 'records' with model.target = "
                f"{self.target!r}; expected 'batch', since the records' table is of "
                "their tokens; set it."
            )
        self._draw = functools.partial(
            draw_batch, self.network, self.schedule, self.length
        )
        self.draw_batch = jax.jit(
            self._draw, static_argnames=("batch", "options", "time", "shared")
        )
        asked = self.network, self.schedule, self.contrast
        self._terms = TokenTerms(config, *asked)

    # -- the six functions ---------------------------------------------------------

    def init(self, key: jax.Array) -> tuple[Params, dict[str, Any]]:
        """Parameters, and the history by which importance sampling chooses t."""
        batch = 1
        params = self.network.init(
            key,
            jnp.zeros((batch, self.length), jnp.int32),
            jnp.ones(batch, jnp.int32),
            self.empty_condition(batch),
            jnp.zeros(batch, bool),
        )["params"]
        history = objective.init_time_history(self.schedule.timesteps)
        return params, {"time_history": history}

    def loss(
        self, params: Params, extra: dict, batch: Batch, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], dict]:
        """Bound + auxiliary term + contrast, in nats a token.

        Args:
            batch: tokens int32 [B, L], condition {name: [B, ...]}, and negatives
                int32 [B, N, L] if the records bring them.

        Returns:
            scalar loss, metrics (scalars), new extra.
        """
        del step
        batch = self._seen(batch)
        tokens, condition = target_of(batch), batch["condition"]
        size = tokens.shape[0]
        keys = jax.random.split(key, 5)
        history = extra["time_history"]
        t, p_t = objective.sample_times(
            keys[0], size, history, self.diffusion["time_sampling"]
        )
        x_t = sample_x_t(keys[1], tokens, t, self.schedule)
        drop = presence.drawn_drop(
            keys[2],
            self.conditions,
            condition,
            self.settings["model"]["condition_dropout"],
            size,
        )
        # a key that nothing else is drawn from
        blur = {NOISE: jax.random.fold_in(keys[2], 1)} if self.network.blurs else {}
        network = bind(self.network, params, blur)
        features = network.features(x_t, t, condition, drop)
        negative, valid = self.contrast.negatives(keys[3], batch)

        candidates = jnp.concatenate([tokens[:, None, :], negative], axis=1)
        d = self.contrast.divergences(network, features, candidates, x_t, t)
        bound, aux = d.step[:, 0], d.sample[:, 0]
        scale = 1.0 / (p_t * self.length)
        aux_weight = self.diffusion["auxiliary_weight"] * objective.ramp(
            t, self.schedule.timesteps, self.diffusion["auxiliary_ramp"]
        )
        metrics = {
            "bound": jnp.mean(bound * scale),
            "auxiliary": jnp.mean(aux_weight * aux * scale),
        }
        loss = metrics["bound"] + metrics["auxiliary"]
        if negative.shape[1]:
            # a negative is as likely as the sample where nothing is known
            nothing = functools.reduce(jnp.logical_and, jax.tree.leaves(drop))
            valid = valid & ~nothing[:, None]
            d_z = self.contrast.scored(
                network, d, candidates, x_t, t, condition, drop, keys[4]
            )
            term = self.contrast.term(d_z, valid, t, p_t)
            metrics["contrastive"] = jnp.mean(term)
            metrics["nce_accuracy"] = contrastive.nce_accuracy(
                d_z[:, 0], d_z[:, 1:], valid
            )
            weight = self.settings["contrastive"]["weight"]
            if weight:  # at 0 the term is only reported
                loss = loss + weight * metrics["contrastive"]
        prior = schedule.prior_term(self.schedule)
        metrics["bits_per_token"] = (metrics["bound"] + prior) / np.log(2)
        history = objective.update_time_history(
            history, t, jax.lax.stop_gradient(bound)
        )
        return loss, metrics, {**extra, "time_history": history}

    def sample(
        self,
        params: Params,
        extra: dict,
        condition: Mapping[str, jax.Array],
        key: jax.Array,
        options: SamplingOptions,
        number: int | None = None,
        edit: Edit = NO_EDIT,
    ) -> dict[str, np.ndarray]:
        """Draws one sample for each row of the condition.

        Args:
            condition: {name: [N, ...]}; what the model does not take is left out.
            options: see `SamplingOptions`; batches of `sampling.batch_size` rows.
            number: N, where the model takes no condition.
            edit: what of the samples is given; see `Edit`.

        Returns:
            int32 [N, L] by the name of the target: tokens, or those of a text.

        Raises:
            UsageError: a condition is left out that is not optional, a scale or a
                weight is of none of them, or no prompt is given where one is needed.
        """
        del extra
        model = self.settings["model"]
        if edit.scales is not None:
            check_null(model, f"scales of {sorted(edit.scales)}")
        asked = condition, edit, options
        condition, edit, options = with_prompts(model, self.conditions, *asked)
        draw = functools.partial(self.draw_batch, params, options=options)
        most = self.settings["sampling"]["batch_size"]
        drawn = in_batches(draw, self.conditions, condition, key, number, edit, most)
        return {self.target: drawn.tokens}

    def evaluate(
        self, params: Params, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Figures of §10 of the design.

        Args:
            batches: 'test', a list of batches that covers the split once; 'bound', what
                `bound` says of them, if that is known; and where `eval.figures`
                judges them, 'judged', {'train', 'test'} whole with
                their media, and 'samples', name -> {tokens, media, condition, ...}.

        Returns:
            name -> number, and `<name>/n` beside each estimate.
        """
        found = batches.get("bound") or self.bound(params, batches["test"], key)
        figures = held_out.figures(found)
        test = list(map(self._seen, batches["test"]))
        figures |= self._terms.information(params, test, key)
        judged = metric_figures.judged(self.settings["eval"]["figures"], batches)
        return {**figures, **judged}

    def labels(self, params: Params) -> Any:
        """Everything is trained but the towers of conditions with frozen=True.

        What is learned beside a tower is trained: nulls and projections.
        """
        frozen = [k for k, v in self.conditions.items() if v.get("frozen")]
        return labels_by_prefix(params, {f"{k}/tower": "frozen" for k in frozen})

    def describe(self) -> dict[str, Any]:
        """What it takes and gives; see `tasks.Description`."""
        tokens = dict(shape=(self.length,), dtype="int32", low=0, high=self.num_codes)
        output = dict(
            kind="tokens",
            shape=(self.length,),
            num_codes=self.num_codes,
            grid=self.grid,
        )
        stream: dict[str, Any] = {**tokens, "grid": self.grid}
        condition = fields_of(self.conditions)
        if self.target != TOKENS:
            condition[self.target] = tokens
            output = dict(kind="text", shape=(self.length,), vocabulary=self.num_codes)
            stream = stream_of(self.conditions)
        batch: dict[str, Any] = {TOKENS: stream} if stream else {}
        batch["condition"] = condition
        number = self.contrast.from_records
        if number:
            batch["negatives"] = {**tokens, "shape": (number, self.length)}
        return {
            "conditions": self._contents(),
            "outputs": {self.target: output},
            "batch": batch,
            "units": self.length,
            "group": self.contrast.group,
            "negatives": number,
            "differ": self.contrast.key,
            "given": [f"{name}/tower" for name in given_towers(self.conditions)],
            "kept": [],
        }

    # -- parts of them -------------------------------------------------------------

    def _contents(self) -> dict[str, Any]:
        """What it is given; of the records' codes with what makes them."""
        found = contents_of(self.conditions)
        for spec in found.values():
            if spec["kind"] == "tokens" and spec.get("field") == TOKENS:
                spec["tokenizer"] = self.settings["tokenizer"]
        return found

    def options(self, section: Mapping[str, Any]) -> SamplingOptions:
        """The section `sampling` of a config, as samplers of codes take it."""
        return SamplingOptions.of(section)

    def note(self, options: SamplingOptions) -> str:
        """What somebody who chose these should know, or ''; see `mask_note`."""
        return mask_note(options, self.schedule)

    def check_sampling(
        self, options: SamplingOptions, start: int | None = None
    ) -> None:
        """Raises ValueError if these options cannot be; an optimised grid may lack."""
        self.process.check(options, start)
        if options.guidance_scale != 1.0:
            check_null(
                self.settings["model"],
                f"sampling.guidance_scale = {options.guidance_scale}",
            )

    def empty_condition(self, batch: int) -> dict[str, jax.Array]:
        """A condition of zeros, for shapes and for the null."""
        specs = self.conditions.items()
        return {name: conditioners.empty(spec, batch) for name, spec in specs}

    def sampling(
        self, rows: int, options: SamplingOptions
    ) -> tuple[Callable[..., Any], tuple[Params, dict[str, Any], Any]]:
        """What draws a batch of `rows` samples, and its arguments, without a value.

        Returns:
            a jitted function of (params, condition, key), and `jax.ShapeDtypeStruct`s
            in their places.
        """
        draw = functools.partial(self._draw, batch=rows, options=options)
        arguments = jax.eval_shape(
            lambda: (
                self.init(jax.random.key(0))[0],
                self.empty_condition(rows),
                jax.random.key(0),
            )
        )
        return jax.jit(draw), arguments

    def _seen(self, batch: Batch) -> Batch:
        """A batch of records as the network sees it."""
        return seen_by(batch, self.target, self.conditions)

    def bound(
        self, params: Params, batches: Sequence[Batch], key: jax.Array
    ) -> held_out.Bound:
        """The bound's terms of a split at `eval.bound_samples` times an example."""
        return self._terms.bound(params, list(map(self._seen, batches)), key)

    def profile(self, found: held_out.Bound) -> np.ndarray:
        """h(t) of a bound, nats of a token drawn at time t, [T]: for grids of times."""
        return held_out.loss_by_time(found, self.schedule)
