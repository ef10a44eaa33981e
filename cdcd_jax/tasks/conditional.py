"""CDCD as a task: tokens under a condition, mask-and-replace diffusion, contrast.

Settings are read by key, so that a plain dict serves where ml_collections is absent.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion import contrastive, negatives, objective, sampler, schedule
from cdcd_jax.diffusion.transition import Transition, one_step_table, sample_x_t
from cdcd_jax.errors import UsageError
from cdcd_jax.metrics import figures as metric_figures
from cdcd_jax.networks.denoiser import FORMS, ConditionalDenoiser
from cdcd_jax.networks.tokenizer import make_tokenizer

Batch = Mapping[str, Any]
# {"network": parameters}, so that later modules can stand beside it
Params = Any


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """What `config.sampling` says of how a batch is drawn (see `diffusion.sampler`)."""

    method: str
    steps: int
    guidance_scale: float
    temperature: float
    top_p: float
    top_k: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], **changes: Any) -> "SamplingOptions":
        """From a section of the config; `changes` win."""
        values = {f.name: settings[f.name] for f in dataclasses.fields(cls)}
        return cls(**{**values, **changes})


class Divergences(NamedTuple):
    """d(z) of N candidates at one time, nats summed over positions, [B, N]."""

    step: jax.Array
    sample: jax.Array

    def level(self, name: str) -> jax.Array:
        """d at `contrastive.level`."""
        return self.step if name == "step" else self.sample


def _choose(section: str, key: str, value: Any, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UsageError(
            f"{section}.{key} = {value!r} is unknown: choose one of "
            f"{', '.join(map(str, choices))}"
        )


class ConditionalTask:
    """The six functions of a task (see `train.py`) for conditional token diffusion.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any]):
        model, diffusion = config["model"], config["diffusion"]
        self.contrast = config["contrastive"]
        self.diffusion = diffusion
        self.settings = config
        self.grid = tuple(model["grid"])
        self.length = self.grid[0] * self.grid[1]
        self.num_codes = model["num_codes"]
        try:
            self._check(config)
            self.schedule = schedule.make_schedule(
                diffusion["schedule"], self.num_codes, diffusion["timesteps"]
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        self.tokenizer = make_tokenizer(config["tokenizer"], self.grid)
        self.conditions = {k: dict(v) for k, v in model["conditions"].items()}
        self.network = ConditionalDenoiser(
            denoiser=self._denoiser_settings(model), conditions=self.conditions
        )
        self.steps_table = one_step_table(self.schedule)
        self._sample_batch = jax.jit(
            self._draw, static_argnames=("batch", "options", "canvases")
        )
        self._bound_batch = jax.jit(self._bound)

    def _check(self, config: Mapping[str, Any]) -> None:
        model, contrast = config["model"], self.contrast
        _choose("model", "form", model["form"], FORMS)
        _choose("contrastive", "level", contrast["level"], contrastive.LEVELS)
        _choose("contrastive", "path", contrast["path"], contrastive.PATHS)
        _choose("contrastive", "form", contrast["form"], contrastive.FORMS)
        _choose("contrastive", "critic", contrast["critic"], contrastive.CRITICS)
        _choose(
            "contrastive", "negatives", contrast["negatives"], contrastive.NEGATIVES
        )
        _choose("eval", "figures", config["eval"]["figures"], metric_figures.FIGURES)
        if contrast["critic"] == "ratio" and contrast["form"] != "infonce":
            raise UsageError(
                f"contrastive.critic = 'ratio' scores infonce only, not form "
                f"{contrast['form']!r}: set contrastive.form = 'infonce' or "
                "contrastive.critic = 'conditional'"
            )
        if contrast["weight"] and not contrast["num_negatives"]:
            raise UsageError(
                f"contrastive.weight = {contrast['weight']} needs negatives, but "
                "contrastive.num_negatives = 0: set one of both"
            )
        if contrast["num_negatives"] and contrast["negatives"] != "intra":
            microbatch = config["data"]["batch_size"] // config["optim"]["accumulate"]
            negatives.check_group(
                contrast["group"], microbatch, contrast["num_negatives"]
            )
            _choose("contrastive", "key", contrast["key"], model["conditions"])
        if contrast["num_negatives"] and contrast["negatives"] != "inter":
            negatives.chunk_layout(self.grid, tuple(contrast["chunks"]))
        sampling = config["sampling"]
        sampler.time_grid(
            sampling["method"], self.diffusion["timesteps"], sampling["steps"]
        )

    def _denoiser_settings(self, model: Mapping[str, Any]) -> dict[str, Any]:
        names = "form num_codes grid width depth heads mlp mlp_ratio activation"
        names += " scan_layers remat"
        if model["width"] % model["heads"]:
            raise UsageError(
                f"model.width = {model['width']} is not a multiple of model.heads = "
                f"{model['heads']}: change one of both"
            )
        classes = [
            c["num_classes"] for c in self.conditions.values() if "num_classes" in c
        ]
        return dict(
            {name: model[name] for name in names.split()},
            grid=self.grid,
            timesteps=self.diffusion["timesteps"],
            num_classes=classes[0] if classes else 0,
            position_grid=tuple(model["position_grid"]) or None,
            dtype=jnp.dtype(model["dtype"]),
        )

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
        tokens, condition = batch["tokens"], batch["condition"]
        size = tokens.shape[0]
        keys = jax.random.split(key, 5)
        history = extra["time_history"]
        t, p_t = objective.sample_times(
            keys[0], size, history, self.diffusion["time_sampling"]
        )
        x_t = sample_x_t(keys[1], tokens, t, self.schedule)
        rate = self.settings["model"]["condition_dropout"]
        drop = jax.random.bernoulli(keys[2], rate, (size,))
        logits = self._apply(params, x_t, t, condition, drop)
        negative, valid = self._negatives(keys[3], batch)

        candidates = jnp.concatenate([tokens[:, None, :], negative], axis=1)
        d = self._divergences(logits, candidates, x_t, t)
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
            # a negative is as likely as the sample where the condition was dropped
            valid = valid & ~drop[:, None]
            d_z = self._contrast_scores(
                params, d, candidates, x_t, t, condition, keys[4], logits
            )
            term = self._contrast(d_z, valid, t, p_t)
            metrics["contrastive"] = jnp.mean(term)
            metrics["nce_accuracy"] = contrastive.nce_accuracy(
                d_z[:, 0], d_z[:, 1:], valid
            )
            if self.contrast["weight"]:
                loss = loss + self.contrast["weight"] * metrics["contrastive"]
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
    ) -> dict[str, np.ndarray]:
        """Draws one sample for each row of the condition.

        Args:
            condition: {name: [N, ...]}.
            options: see `SamplingOptions`; batches of `sampling.batch_size` rows.

        Returns:
            tokens int32 [N, L] and what the tokenizer decodes them to.
        """
        del extra
        number = len(next(iter(condition.values())))
        size = min(self.settings["sampling"]["batch_size"], number)
        parts = []
        for i in range(0, number, size):
            # the last batch is filled up with its own rows, so that one shape compiles
            rows = np.minimum(np.arange(i, i + size), number - 1)
            part = {k: jnp.asarray(np.asarray(v)[rows]) for k, v in condition.items()}
            drawn = self._sample_batch(
                params, part, jax.random.fold_in(key, i), batch=size, options=options
            )
            parts.append(np.asarray(drawn.tokens))
        tokens = np.concatenate(parts)[:number]
        return {"tokens": tokens, **self.tokenizer.decode(tokens)}

    def evaluate(
        self, params: Params, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Figures of §10 of the design.

        Args:
            batches: 'train' and 'test', lists of batches that cover each split once;
                'samples', name -> {tokens, decoded arrays, condition}.

        Returns:
            name -> number, and `<name>/n` beside each estimate.
        """
        figures = self._bits_per_token(params, batches["test"], key)
        judge = metric_figures.FIGURES[self.settings["eval"]["figures"]]
        splits = {name: self._decoded(batches[name]) for name in ("train", "test")}
        return {**figures, **judge(batches["samples"], **splits)}

    def labels(self, params: Params) -> Any:
        """Everything is trained."""
        return jax.tree.map(lambda _: "train", params)

    def describe(self) -> dict[str, Any]:
        """Conditions by name (kind, shape, range) and what a sample is."""
        return {
            "conditions": self.conditions,
            "outputs": {"tokens": (self.length,), **self.tokenizer.outputs},
        }

    # -- parts of them -------------------------------------------------------------

    def empty_condition(self, batch: int) -> dict[str, jax.Array]:
        """A condition of zeros, for shapes and for the null."""
        shape = lambda spec: tuple(spec.get("shape", ()))
        dtype = lambda spec: jnp.int32 if spec["kind"] == "label" else jnp.float32
        return {
            name: jnp.zeros((batch, *shape(spec)), dtype(spec))
            for name, spec in self.conditions.items()
        }

    def _apply(self, params, x_t, t, condition, drop) -> jax.Array:
        return self.network.apply({"params": params}, x_t, t, condition, drop)

    def _jump(self, t: jax.Array) -> Transition:
        return self.steps_table.at(t - 1)

    def _negatives(self, key: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Negatives int32 [B, N, L] and which of them exist, bool [B, N]."""
        contrast, tokens = self.contrast, batch["tokens"]
        size, number = tokens.shape[0], contrast["num_negatives"]
        found, valid = [jnp.zeros((size, 0, self.length), jnp.int32)], []
        key_intra, key_inter = jax.random.split(key)
        if number and "negatives" in batch:
            found.append(batch["negatives"])
            valid.append(jnp.ones(batch["negatives"].shape[:2], bool))
        elif number:
            if contrast["negatives"] in ("intra", "both"):
                chunks = tuple(contrast["chunks"])
                found.append(
                    negatives.intra(key_intra, tokens, number, self.grid, chunks)
                )
                valid.append(jnp.ones((size, number), bool))
            if contrast["negatives"] in ("inter", "both"):
                identity = batch["condition"][contrast["key"]]
                drawn, exists = negatives.inter(
                    key_inter, tokens, identity, number, contrast["group"]
                )
                found.append(drawn)
                valid.append(exists)
        valid = valid or [jnp.zeros((size, 0), bool)]
        return jnp.concatenate(found, axis=1), jnp.concatenate(valid, axis=1)

    def _divergences(
        self, logits: jax.Array, z: jax.Array, x_t: jax.Array, t: jax.Array
    ) -> Divergences:
        """d(z) of z int32 [B, N, L]; the first is the sample, which is not capped."""
        tr = self._jump(t)
        z = jnp.moveaxis(z, 1, 2)  # [B, L, N]
        score = objective.scores(logits, x_t, z, tr)
        weight = objective.position_weights(
            x_t, t, self.num_codes, tuple(self.diffusion["mask_weight"])
        )[..., None]
        cap = self.contrast["cap"] if self.contrast["form"] != "infonce" else None

        def divergences(part: slice, floor: float | None) -> tuple:
            s = score._replace(log_p=score.log_p[..., part])
            kl = objective.posterior_kl(z[..., part], x_t, s, tr, self.num_codes, floor)
            log_p = s.log_p if floor is None else jnp.maximum(s.log_p, -floor)
            return jnp.sum(weight * kl, axis=1), jnp.sum(-weight * log_p, axis=1)

        own, others = divergences(slice(0, 1), None), divergences(slice(1, None), cap)
        step, sample = (
            jnp.concatenate(pair, axis=-1) for pair in zip(own, others, strict=True)
        )
        return Divergences(step, sample)

    def _contrast_scores(
        self, params, shared: Divergences, z, x_t, t, condition, key, logits
    ) -> jax.Array:
        """d at the chosen level, path and critic for the sample and its negatives.

        z is int32 [B, 1 + N, L], the sample first. Returns [B, 1 + N].
        """
        level = self.contrast["level"]
        size, number, length = z.shape
        if self.contrast["path"] == "shared":
            d = shared.level(level)
            if self.contrast["critic"] == "conditional":
                return d
            null = self._apply(params, x_t, t, condition, jnp.ones(size, bool))
            return d - self._divergences(null, z, x_t, t).level(level)

        # each negative at its own x_t^j ~ q(x_t | z^j): rows of a larger batch
        flat = z[:, 1:].reshape(-1, length)
        repeat = lambda a: jnp.repeat(a, number - 1, axis=0)
        t_all = repeat(t)
        x_all = sample_x_t(key, flat, t_all, self.schedule)
        x_all, t_all = jnp.concatenate([x_t, x_all]), jnp.concatenate([t, t_all])
        z_all = jnp.concatenate([z[:, 0], flat])[:, None, :]
        condition = jax.tree.map(
            lambda a: jnp.concatenate([a, repeat(a)]), dict(condition)
        )

        def all_d(drop: bool) -> jax.Array:
            rows = slice(None) if drop else slice(size, None)
            out = self._apply(
                params,
                x_all[rows],
                t_all[rows],
                jax.tree.map(lambda a: a[rows], condition),
                jnp.full(x_all[rows].shape[:1], drop),
            )
            out = out if drop else jnp.concatenate([logits, out])
            d = self._divergences(out, z_all, x_all, t_all).level(level)[:, 0]
            return jnp.concatenate(
                [d[:size, None], d[size:].reshape(size, number - 1)], axis=1
            )

        d = all_d(drop=False)
        return d if self.contrast["critic"] == "conditional" else d - all_d(drop=True)

    def _contrast(
        self, d: jax.Array, valid: jax.Array, t: jax.Array, p_t: jax.Array
    ) -> jax.Array:
        """The contrastive term of each example, [B], nats a token of the bound."""
        contrast, timesteps = self.contrast, self.schedule.timesteps
        scale = 1.0 / (p_t * self.length)
        if contrast["form"] == "difference":
            weight = objective.ramp(t, timesteps, contrast["ramp"])
            return contrastive.difference(d[:, 1:], valid, weight, scale)
        if contrast["form"] == "difference_paper":
            return contrastive.difference_paper(d[:, 0], d[:, 1:], valid, scale)
        return contrastive.infonce(
            d[:, 0],
            d[:, 1:],
            valid,
            contrast["temperature"],
            timesteps,
            self.length,
            1.0 / (timesteps * p_t),
        )

    def _draw(
        self,
        params,
        condition,
        key,
        *,
        batch: int,
        options: SamplingOptions,
        canvases=False,
    ) -> sampler.Sample:
        encode = functools.partial(
            self.network.apply, {"params": params}, method="encode"
        )
        guided = options.guidance_scale != 1.0
        encoded = encode(condition, jnp.zeros(batch, bool))
        if guided:
            null = encode(condition, jnp.ones(batch, bool))
            encoded = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), encoded, null)

        def tokens_to_logits(x_t: jax.Array, t: jax.Array) -> jax.Array:
            rows = jnp.concatenate([x_t, x_t]) if guided else x_t
            logits = self.network.apply(
                {"params": params},
                rows,
                jnp.full(len(rows), t),
                encoded,
                method="denoise",
            )
            if not guided:
                return logits
            return sampler.guide(*jnp.split(logits, 2), options.guidance_scale)

        return sampler.sample(
            tokens_to_logits,
            self.schedule,
            key,
            (batch, self.length),
            method=options.method,
            steps=options.steps,
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            canvases=canvases,
        )

    def _bound(self, params, tokens, condition, t, key) -> jax.Array:
        """T x the bound's term at time t of each example, nats, [B]."""
        x_t = sample_x_t(key, tokens, t, self.schedule)
        drop = jnp.zeros(tokens.shape[0], bool)
        logits = self._apply(params, x_t, t, condition, drop)
        tr, z = self._jump(t), tokens[..., None]
        score = objective.scores(logits, x_t, z, tr)
        kl = objective.posterior_kl(z, x_t, score, tr, self.num_codes)
        return self.schedule.timesteps * jnp.sum(kl, axis=(1, 2))

    def _bits_per_token(self, params, batches, key) -> dict[str, float]:
        """The bound with `eval.bound_samples` stratified times an example."""
        repeats, per_example = self.settings["eval"]["bound_samples"], []
        timesteps = self.schedule.timesteps
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        for i, batch in enumerate(batches):
            size = len(batch["tokens"])
            offset = (
                np.arange(repeats)[:, None] + rng.random((repeats, size))
            ) / repeats
            times = 1 + np.minimum(np.floor(offset * timesteps), timesteps - 1)
            terms = [
                self._bound_batch(
                    params,
                    batch["tokens"],
                    batch["condition"],
                    jnp.asarray(t, jnp.int32),
                    jax.random.fold_in(jax.random.fold_in(key, i), r),
                )
                for r, t in enumerate(times)
            ]
            per_example.append(np.mean(jax.device_get(terms), axis=0))
        nats = np.concatenate(per_example) / self.length
        bits = (nats + schedule.prior_term(self.schedule)) / np.log(2)
        return {
            "bits_per_token": float(np.mean(bits)),
            "bits_per_token/n": len(bits),
            "bits_per_token/standard_error": float(np.std(bits) / np.sqrt(len(bits))),
        }

    def _decoded(self, batches: Iterable[Batch]) -> dict[str, Any]:
        tokens = np.concatenate([b["tokens"] for b in batches])
        condition = {
            name: np.concatenate([b["condition"][name] for b in batches])
            for name in self.conditions
        }
        return {
            "tokens": tokens,
            "condition": condition,
            **self.tokenizer.decode(tokens),
        }
