"""Vectors by which sides of the same example find each other, learned without labels.

Each tower reads a field of the batch and gives a vector of length 1; those of one
example are drawn together and away from those of all others (symmetric InfoNCE). With
one tower the two sides are two views of the same picture (Chen et al., ICML 2020); with
several, each pair of them. It draws nothing: what uses it asks `encode` for vectors.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.diffusion.contrastive import bounded_scale, symmetric_infonce
from cdcd_jax.errors import UsageError
from cdcd_jax.metrics.retrieval import (
    class_retrieval,
    nearest_is_own,
    nearest_label_accuracy,
)
from cdcd_jax.networks import towers
from cdcd_jax.networks.partition import constrain
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.settings import dtype_of, field_of
from cdcd_jax.tasks.views import check_views, swapped, view

TOKENS = "tokens"  # the field that is no condition


class BridgeTask:
    """What training and evaluation ask of a task; there is no `sample`.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.settings, model = config, config["model"]
        self.specs = {
            name: towers.full_spec(name, spec) for name, spec in model["towers"].items()
        }
        _check_fields(self.specs)
        check_views(config["views"])
        if model["same"] and model["same"] not in self.specs:
            raise UsageError(
                f"Found model.same = {model['same']!r}; expected a tower "
                f"({', '.join(self.specs)}), or '' where no two examples are the same; "
                "correct it."
            )
        dtype = dtype_of(model)
        self.towers = {
            name: towers.make_tower(spec, model["features"], dtype)
            for name, spec in self.specs.items()
        }
        self.pairs = list(itertools.combinations(self.towers, 2))
        _check_views(self.towers)
        # how much a picture differs from itself; see `view`
        still = dict.fromkeys(config["views"], 0.0)
        noisy = {**still, "noise": config["eval"]["noise"]}
        self.seen = {"plain": still, "noisy": noisy, "view": config["views"]}
        self._vectors = jax.jit(
            # whole on every device, so that every process can read them
            lambda *args: constrain(self._side(*args), None, None),
            static_argnums=(2, 3),
        )

    # -- the six functions ---------------------------------------------------------

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Parameters of the towers, and the number that `bounded_scale` takes."""
        keys = jax.random.split(key, len(self.towers))

        def made(name: str, own: jax.Array) -> Any:
            tower = self.towers[name]
            nothing = tower.prepared(jnp.zeros((1, tower.length), jnp.int32))
            return tower.init(own, nothing)["params"]

        made_towers = {n: made(n, k) for n, k in zip(self.towers, keys, strict=True)}
        return {"towers": made_towers, "scale": jnp.zeros((), jnp.float32)}, {}

    def loss(
        self, params: dict, extra: dict, batch: Mapping, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], dict]:
        """InfoNCE in nats, over all examples of a microbatch; mean over the pairs.

        Args:
            batch: tokens int32 [B, L], and `condition` with the other fields of towers.

        Returns:
            scalar loss, metrics (`scale` of cosines; `retrieval`, the share that finds
            its other side among all, or one that says the same), extra.
        """
        del step
        keys = jax.random.split(key, max(len(self.towers), 2))
        side = lambda name, key: self._side(
            params, self._field(batch, name), name, "view", key
        )
        if self.pairs:
            found = dict(zip(self.towers, map(side, self.towers, keys), strict=True))
            sides = [(found[one], found[other]) for one, other in self.pairs]
        else:
            (name,) = self.towers
            sides = [jax.vmap(functools.partial(side, name))(keys)]
        scale = bounded_scale(params["scale"])
        same, own = self._same(batch), jnp.arange(len(batch[TOKENS]))
        terms = [symmetric_infonce(*pair, scale, same) for pair in sides]
        right = own[:, None] == own if same is None else same
        finds = [right[own, jnp.argmax(a @ b.T, axis=1)] for a, b in sides]
        metrics = {"scale": scale, "retrieval": jnp.mean(jnp.stack(finds))}
        return jnp.mean(jnp.stack(terms)), metrics, extra

    def evaluate(
        self, params: dict, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """How well examples of `batches['test']` are told apart, and what is alike.

        Labels are read here alone, to judge by.

        Args:
            batches: 'train' and 'test', each a batch.

        Returns:
            Of one tower `view_retrieval`, the share of examples of which another view
            finds its partner among all, both ways; of several
            `<one>_to_<other>_retrieval`, and with `eval.probe`
            `<one>_to_<other>_class_retrieval`, the share whose nearest other side has
            the same label. For each tower, with `_<tower>` behind the name where there
            are several: `probe_accuracy`, of the nearest training vectors' labels
            (`eval.probe`), and of pictures `noise_retrieval`, the share whose vector
            with noise of `eval.noise` on the pixels is nearest to its own without.
            `<name>/n` beside each.
        """
        del extra
        test, train = batches["test"], batches["train"]
        settings, keys, figures = self.settings["eval"], jax.random.split(key, 3), {}

        def vectors(batch: Any, name: str, seen: str, key: jax.Array) -> np.ndarray:
            field = self._field(batch, name)
            return np.asarray(self._vectors(params, field, name, seen, key))

        plain = {name: vectors(test, name, "plain", keys[0]) for name in self.towers}
        label = settings["probe"]
        told = _labels(test, label) if label else None
        for name, known in plain.items():
            end = f"_{name}" if self.pairs else ""
            if settings["noise"] and self.towers[name].views:
                near = vectors(test, name, "noisy", keys[0])
                figures[f"noise_retrieval{end}"] = nearest_is_own(near, known)
            if label:
                learned = vectors(train, name, "plain", keys[0]), _labels(train, label)
                accuracy = nearest_label_accuracy(*learned, known, told)
                figures[f"probe_accuracy{end}"] = accuracy
        if not self.pairs:
            (name,) = self.towers
            one, other = (vectors(test, name, "view", k) for k in keys[1:])
            both = nearest_is_own(one, other), nearest_is_own(other, one)
            figures["view_retrieval"] = float(np.mean(both))
        for one, other in itertools.permutations(self.towers, 2):
            found = nearest_is_own(plain[one], plain[other])
            figures[f"{one}_to_{other}_retrieval"] = found
        for one, other in self.pairs if label else ():
            there, back = class_retrieval(plain[one], told, plain[other], told)
            figures[f"{one}_to_{other}_class_retrieval"] = there
            figures[f"{other}_to_{one}_class_retrieval"] = back
        return figures | {f"{name}/n": len(test[TOKENS]) for name in figures}

    def labels(self, params: Any) -> Any:
        """Towers that the config calls frozen are not trained."""
        return labels_by_prefix(params, dict.fromkeys(self._frozen, "frozen"))

    def describe(self) -> dict[str, Any]:
        """What it is trained on; see `tasks.Description`."""
        fields, conditions = {}, {}
        for name, spec in self.specs.items():
            tower, content = self.towers[name], towers.content(spec)
            field = field_of(content, tower.holds)
            if spec["field"] == TOKENS:
                fields[TOKENS] = {**field, "grid": tower.grid}
            else:
                fields.setdefault("condition", {})[spec["field"]] = field
                part = {"part": f"towers/{name}"} if spec["frozen"] else {}
                conditions[spec["field"]] = content | part
        return {
            "conditions": conditions,
            "outputs": {},
            "batch": fields,
            "units": sum(tower.length for tower in self.towers.values()),
            "group": 1,
            "negatives": 0,
            "given": self._frozen,
            "kept": [],
        }

    # -- vectors, for those who use the towers -------------------------------------

    def encode(self, params: dict, name: str, field: jax.Array) -> jax.Array:
        """Vectors float32 [B, features] of length 1, of int [B, L] of a tower's field.

        Args:
            params: of which those of this tower are read.
        """
        return self._apply(params, name, self.towers[name].prepared(field))

    # -- parts of them -------------------------------------------------------------

    @functools.cached_property
    def _frozen(self) -> list[str]:
        return [f"towers/{n}" for n, spec in self.specs.items() if spec["frozen"]]

    def _apply(self, params: dict, name: str, prepared: jax.Array) -> jax.Array:
        vectors = self.towers[name].apply({"params": params["towers"][name]}, prepared)
        return constrain(vectors, "batch", None)

    def _side(
        self, params: dict, field: jax.Array, name: str, seen: str, key: jax.Array
    ) -> jax.Array:
        """Vectors of a tower, of its field as it is `seen` where it has other views."""
        tower, views = self.towers[name], self.seen[seen]
        prepared = tower.prepared(field)
        if tower.views:
            prepared = view(key, prepared, views)
        elif views["swap"] and isinstance(tower, towers.CodeTower):
            prepared = swapped(key, prepared, tower.num_codes, views["swap"])
        return self._apply(params, name, prepared)

    def _field(self, batch: Mapping, name: str) -> jax.Array:
        field = self.specs[name]["field"]
        return batch[TOKENS] if field == TOKENS else batch["condition"][field]

    def _same(self, batch: Mapping) -> jax.Array | None:
        """bool [B, B], which examples say the same in the field of `model.same`."""
        if not self.settings["model"]["same"]:
            return None
        field = self._field(batch, self.settings["model"]["same"])
        return jnp.all(field[:, None] == field[None], axis=-1)


def _check_fields(specs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UsageError unless all read another field, and one of them the tokens."""
    fields = [spec["field"] for spec in specs.values()]
    if TOKENS not in fields or len(set(fields)) < len(fields):
        told = {name: spec["field"] for name, spec in specs.items()}
        raise UsageError(
            f"Found model.towers with the fields {told}; expected one tower that reads "
            f"{TOKENS!r}, and each other one a condition of its own; correct them."
        )


def _check_views(made: Mapping[str, towers.Tower]) -> None:
    """Raises UsageError for a single tower of what has no other views."""
    if len(made) == 1 and not any(tower.views for tower in made.values()):
        raise UsageError(
            f"Found model.towers of {', '.join(made)} alone, of whose field there are "
            "no other views; expected pixels, or a second tower; add one."
        )


def _labels(batch: Mapping[str, Any], name: str) -> np.ndarray:
    """The labels to judge by.

    Raises:
        UsageError: the records have none of this name.
    """
    if name not in batch["condition"]:
        raise UsageError(
            f"Found eval.probe = {name!r}; expected a condition of the records "
            f"({', '.join(batch['condition']) or 'they have none'}), or '' for no "
            "probe; correct it."
        )
    return batch["condition"][name]
