"""Any modality from any others: diffusers that take prompts of one space (CoDi).

Towers make a vector of each prompt; a diffuser of each modality, an ordinary task of
its own, sees their mixture and not which modality they are of (Tang et al., NeurIPS
2023, sections 3.2 and 3.3). So sounds are drawn of pictures although no pair of both
was ever seen.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.diffusion.samplers.options import RouteOptions
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.metrics import figures as metric_figures
from cdcd_jax.metrics.estimates import estimate
from cdcd_jax.metrics.retrieval import label_found
from cdcd_jax.networks import towers
from cdcd_jax.networks.partition import constrain
from cdcd_jax.tasks.alignment import Alignment
from cdcd_jax.tasks.composable_parts import TOGETHER, read_diffusers, read_prompts
from cdcd_jax.tasks.drawing import NO_EDIT, Edit
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.prompt_weights import with_prompts
from cdcd_jax.tasks.settings import field_of
from cdcd_jax.tasks.target import TOKENS
from cdcd_jax.tasks.together import Together, Wish

Params = Any


class ComposableTask:
    """The functions of a task (see `tasks`) for diffusers that share prompts.

    Args:
        config: a whole experiment.
        make_task: of a diffuser's.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any], make_task: Any):
        self.settings, model = config, config["model"]
        self.specs, self.towers = read_prompts(model)
        self.parts, self.texts = read_diffusers(config, make_task)
        self.alignment = Alignment(config, self.parts)
        self.together = Together(self.alignment)
        if model["stream"] not in ("", *self.specs):
            raise UsageError(
                f"Found model.stream = {model['stream']!r}; expected a modality of "
                f"model.prompts ({', '.join(self.specs)}), which the records' tokens "
                "are, or ''; correct it."
            )
        if config["optim"]["num_steps"] and not self.alignment.trained:
            raise UsageError(
                f"Found optim.num_steps = {config['optim']['num_steps']} for a model "
                "that aligns nothing; expected 0, which joins its parts, or the "
                "modalities of model.environment.trained; set one of both."
            )
        self._encode = jax.jit(self.encode)
        self.check_sampling(self.options(config["sampling"]))

    # -- the six functions ---------------------------------------------------------

    def init(self, key: jax.Array) -> tuple[Params, dict[str, Any]]:
        """Parameters of towers, diffusers and what they show; nothing else changes."""
        own = lambda name: jax.random.fold_in(key, zlib.crc32(name.encode()))

        def made(name: str) -> Any:
            tower = self.towers[name]
            nothing = tower.prepared(jnp.zeros((1, tower.length), jnp.int32))
            return tower.init(own(f"prompts/{name}"), nothing)["params"]

        params = {
            "prompts": {name: made(name) for name in self.towers},
            "diffusers": {n: part.init(own(n))[0] for n, part in self.parts.items()},
        }
        if self.alignment.encoders:
            params["environments"] = self.alignment.init(own("environments"))
        return params, {}

    def encode(
        self, params: Params, given: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Prompts int [N, L] by modality -> vectors float32 [N, features]."""
        found = {}
        for name, x in given.items():
            own, tower = {"params": params["prompts"][name]}, self.towers[name]
            found[name] = constrain(tower.apply(own, tower.prepared(x)), None, None)
        return found

    def sample(
        self,
        params: Params,
        extra: dict,
        condition: Mapping[str, jax.Array],
        key: jax.Array,
        options: RouteOptions,
        number: int | None = None,
        edit: Edit = NO_EDIT,
    ) -> dict[str, np.ndarray]:
        """Draws the outputs that are asked for, each by its own diffuser.

        Several of aligned diffusers are drawn in step, see `together`; of others each
        is drawn by itself.

        Args:
            condition: {modality: [N, ...]}; what the model does not take is left out.
            options: see `RouteOptions`; batches of `sampling.batch_size` rows.
            number: N, where no prompt is given.
            edit: the other end of a way, and scales by modality; see `Edit`.

        Returns:
            by modality, as `describe` says.

        Raises:
            UsageError: an output that is given, or none that is left to draw; what a
                diffuser cannot be asked for.
        """
        given = {n: condition[n] for n in self.specs if n in condition}
        vectors = jax.device_get(self._encode(params, given))
        if edit.toward:
            ends = {n: edit.toward[0][n] for n in self.specs if n in edit.toward[0]}
            ends = jax.device_get(self._encode(params, ends))
            edit = edit._replace(toward=(ends, edit.toward[1]))
        found, names = {}, self.outputs(options, given)
        if options.rows_beside:
            first = self.parts[names[0]]
            asked = first.settings["model"], first.conditions, vectors, edit
            vectors, edit, _ = with_prompts(*asked, options)
            left = options.environment_prompted if given else 1.0
            wishes = self._wishes(names, options, left)
            most = first.settings["sampling"]["batch_size"]
            asked = vectors, key, wishes, number, edit, most
            return self.together.sample(params, *asked)
        for name in names:
            part, own = self.parts[name], params["diffusers"][name]
            key_own = jax.random.fold_in(key, zlib.crc32(name.encode()))
            asked = self._part_options(name, options), number, edit
            (drawn,) = part.sample(own, extra, vectors, key_own, *asked).values()
            found[name] = drawn
        return found

    def outputs(self, options: RouteOptions, given: Mapping[str, Any]) -> list[str]:
        """What is drawn beside what is given.

        Raises:
            UsageError: something that is given, or nothing.
        """
        free = [name for name in self.parts if name not in given]
        wanted = list(options.outputs) or free[:1]
        both = [name for name in wanted if name in given]
        if both or not wanted:
            told = ", ".join(given)
            raise UsageError(
                f"Found {told} given and {', '.join(both) or 'nothing'} to be drawn; "
                f"expected sampling.outputs of {', '.join(free) or 'another model'}, "
                "which are not given; set it, or leave a condition out."
            )
        return wanted

    def loss(
        self, params: Params, extra: dict, batch: Any, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], dict]:
        """How well the diffusers that are aligned draw beside each other; 0 of none.

        Args:
            batch: tokens int [B, L] of `model.stream`, and others as conditions.

        Returns:
            see `Alignment.loss`, and extra.
        """
        del step
        held = {**batch["condition"], self.settings["model"]["stream"]: batch[TOKENS]}
        vectors = self.encode(
            params, {n: x for n, x in held.items() if n in self.specs}
        )
        if not self.alignment.trained:
            return jnp.zeros(()), {}, extra
        x_0 = {name: held[name] for name in self.parts}
        return (*self.alignment.loss(params, x_0, vectors, key), extra)

    def evaluate(
        self, params: Params, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """Do prompts that never stood together agree, and what samples are judged.

        Args:
            batches: see `ConditionalTask.evaluate`; 'others' has such lists as 'test'
                by the modality that their tokens are.

        Returns:
            `retrieval_<one>_<other>`: the share of held-out prompts of one modality
            whose nearest of another, of other records, has the same `eval.probe`; and
            what `eval.figures` say of the samples of `eval.sets`.
        """
        del extra, key
        tests = {self.settings["model"]["stream"]: batches["test"]}
        tests |= batches.get("others", {})
        vectors, labels, figures = {}, {}, {}
        for name, test in tests.items() if self.settings["eval"]["probe"] else ():
            tokens = np.concatenate([batch[TOKENS] for batch in test])
            vectors[name] = jax.device_get(self._encode(params, {name: tokens}))[name]
            labels[name] = np.concatenate([self._probed(batch) for batch in test])
        for one, other in itertools.permutations(vectors, 2):
            right = label_found(
                vectors[one], labels[one], vectors[other], labels[other]
            )
            figures |= estimate(f"retrieval_{one}_{other}", right)
        return figures | metric_figures.judged(
            self.settings["eval"]["figures"], batches
        )

    def _probed(self, batch: Mapping[str, Any]) -> np.ndarray:
        """The classes of records, [B].

        Raises:
            InputError: records without.
        """
        probe = self.settings["eval"]["probe"]
        if probe not in batch["condition"]:
            raise InputError(
                f"Found records without {probe!r}; expected it, as eval.probe says; "
                "make records that hold it, or set eval.probe=''."
            )
        return np.asarray(batch["condition"][probe])

    def labels(self, params: Params) -> Any:
        """Frozen, but for what aligns the diffusers; parts come from other stages."""
        table = dict.fromkeys(params, "frozen")
        return labels_by_prefix(params, table | self.alignment.labels(params))

    def describe(self) -> dict[str, Any]:
        """What it takes and gives; see `tasks.Description`."""
        stream = self.settings["model"]["stream"]
        contents = {name: self._content(name) for name in self.specs}
        fields = {
            name: field_of(content, self.towers[name].holds)
            for name, content in contents.items()
        }
        for name in self.parts if self.alignment.trained else ():
            fields[name].pop("optional")  # every example needs it
        batch: dict[str, Any] = dict(condition=fields)
        if stream:
            contents[stream]["field"] = TOKENS
            own = {k: v for k, v in fields.pop(stream).items() if k != "optional"}
            batch[TOKENS] = {**own, "grid": self.towers[stream].grid}
        outputs = {name: self._output(name) for name in self.parts}
        return {
            "conditions": contents,
            "outputs": outputs,
            "batch": batch,
            "units": sum(part.describe()["units"] for part in self.parts.values()),
            "group": 1,
            "negatives": 0,
            "given": [
                *(f"prompts/{name}" for name in self.specs),
                *(f"diffusers/{name}" for name in self.parts),
                *(f"environments/{name}" for name in self.alignment.given),
            ],
            "kept": [],
        }

    def _content(self, name: str) -> dict[str, Any]:
        """A prompt for whoever gives it; of codes with their tokenizer."""
        content = {**towers.content(self.specs[name]), "optional": True}
        content["part"] = f"prompts/{name}"
        if content["kind"] == TOKENS and name in self.parts:
            content["tokenizer"] = self.parts[name].settings["tokenizer"]
        return content

    def _output(self, name: str) -> dict[str, Any]:
        """What is drawn of a modality."""
        part = self.parts[name]
        (spec,) = part.describe()["outputs"].values()
        if name in self.texts:
            vocabulary = spec["num_codes"]
            return dict(kind="text", shape=spec["shape"], vocabulary=vocabulary)
        return {**spec, "tokenizer": part.settings["tokenizer"]}

    # -- what the modes ask beside -------------------------------------------------

    @property
    def schedule(self) -> Any:
        """Noise levels of the first diffuser."""
        return next(iter(self.parts.values())).schedule

    def options(self, section: Mapping[str, Any]) -> RouteOptions:
        """The section `sampling` of a config; `outputs` may be joined by commas.

        Raises:
            UsageError: settings of a diffuser that is not there, or that it has not.
        """
        words = [word.split(",") for word in section["outputs"]]
        own = []
        for name, changes in section["diffusers"].items():
            if name not in self.parts or set(changes) & set(TOGETHER):
                raise UsageError(
                    f"Found sampling.diffusers.{name} = {dict(changes)}; expected "
                    f"settings of one of {', '.join(self.parts)}, of its sampler alone "
                    f"({', '.join(TOGETHER)} are those of all); correct it."
                )
            where = f"sampling.diffusers.{name}."
            merge(self.parts[name].settings["sampling"], changes, where)
            own.append((name, tuple(sorted(changes.items()))))
        chosen = dict(outputs=tuple(itertools.chain(*words)), diffusers=tuple(own))
        chosen["aligned"] = bool(self.alignment.encoders)
        return RouteOptions.of(section, **chosen)

    def _part_options(self, name: str, options: RouteOptions) -> Any:
        """The options of a diffuser: its own sampler, and what all have."""
        part, own = self.parts[name], dict(dict(options.diffusers).get(name, ()))
        together = {k: getattr(options, k) for k in TOGETHER if hasattr(options, k)}
        together["prompt_weights"] = dict(options.prompt_weights)
        return part.options({**part.settings["sampling"], **own, **together})

    def _wishes(
        self, names: Sequence[str], options: RouteOptions, left: float = 1.0
    ) -> list[Wish]:
        """What is drawn in step, by this share of the scales."""
        own, of_all = dict(options.environment_scales), options.environment_scale
        asked = [(name, self._part_options(name, options)) for name in names]
        alone = [(n, dataclasses.replace(o, prompt_weights=())) for n, o in asked]
        return [Wish(name, own_, left * own.get(name, of_all)) for name, own_ in alone]

    def note(self, options: RouteOptions) -> str:
        """What somebody who chose these should know, or ''."""
        if len(options.outputs) < 2 or options.aligned:
            return ""
        return (
            f"note: {', '.join(options.outputs)} are drawn each by itself, since this "
            "model's diffusers were never aligned: what they have in common is what "
            "the prompts say; model.environment aligns them"
        )

    def check_sampling(self, options: RouteOptions, start: int | None = None) -> None:
        """Raises ValueError if these options cannot be."""
        unknown = [name for name in options.outputs if name not in self.parts]
        if unknown:
            raise UsageError(
                f"Found sampling.outputs with {unknown[0]!r}; expected some of "
                f"{', '.join(self.parts)}; correct it."
            )
        scales = {"": options.environment_scale, **dict(options.environment_scales)}
        for name, scale in scales.items():
            if not 0 <= scale < np.inf or name not in ("", *self.parts):
                raise UsageError(
                    f"Found sampling.environment_scale{'s.' * bool(name)}{name} = "
                    f"{scale}; expected 0 or more, of {', '.join(self.parts)}; "
                    "correct it."
                )
        for name, part in self.parts.items():
            part.check_sampling(self._part_options(name, options), start)
        if options.rows_beside:
            self.together.check(self._wishes(options.outputs, options))
