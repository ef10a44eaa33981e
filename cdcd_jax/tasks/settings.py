"""From `model.*` of a conditional task to its conditions and its denoiser, checked."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import conditioners
from cdcd_jax.networks.attention import IMPLEMENTATIONS
from cdcd_jax.networks.denoiser import FORMS, REMAT, ConditionalDenoiser
from cdcd_jax.networks.encoded import JOINS
from cdcd_jax.networks.layers import ACTIVATIONS, MLPS
from cdcd_jax.networks.positions import Grid, grid_of, plane_of
from cdcd_jax.networks.prompt_conditioners import KIND as PROMPT
from cdcd_jax.networks.prompt_conditioners import check_prompts

# What the denoiser has under the same name.
_NAMES = (
    *("form", "num_codes", "width", "depth", "heads", "mlp", "mlp_ratio", "activation"),
    *("scan_layers", "remat", "attention", "embedding_scale"),
)
_WIDEST_HEAD = 2**14  # its rotations would take minutes to lay out

# Of matrix products.
DTYPES = ("float32", "bfloat16", "float16")
# What the network calls its own, where each condition has its module.
TAKEN = {
    *dir(ConditionalDenoiser),
    *("network", "encoders", "denoiser", "conditions", "prompt"),
}


def choose(section: str, key: str, value: Any, choices: Iterable[str]) -> None:
    """Raises UsageError unless the setting is one of the choices."""
    if value not in choices:
        raise UsageError(
            f"{section}.{key} = {value!r} is unknown: choose one of "
            f"{', '.join(map(str, choices))}"
        )


def dtype_of(model: Mapping[str, Any]) -> jnp.dtype:
    """The type of matrix products that `model.dtype` names.

    Raises:
        UsageError: none of `DTYPES`.
    """
    choose("model", "dtype", model["dtype"], DTYPES)
    return jnp.dtype(model["dtype"])


def make_network(config: Mapping[str, Any]) -> ConditionalDenoiser:
    """The network that a whole experiment describes.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """
    model = config["model"]
    conditions = full_conditions(model["conditions"])
    settings = denoiser_settings(config, conditions, grid_of(model["grid"]))
    settings["position_grid"] = tuple(model["position_grid"]) or None
    settings["environment"] = model["environment"]
    noise = model["prompt_noise"]
    check_prompts(conditions, noise)
    return ConditionalDenoiser(settings, conditions, model["join"], noise)


def full_conditions(
    conditions: Mapping[str, Any], taken: Collection[str] = TAKEN
) -> dict[str, dict[str, Any]]:
    """Descriptions of conditions by name, whole and checked.

    Args:
        conditions: `model.conditions`.
        taken: names that they may not have.

    Raises:
        UsageError: one that is none, or a name that cannot be.
    """
    check_names("model.conditions", conditions, taken)
    return {k: conditioners.full_spec(k, spec) for k, spec in conditions.items()}


def denoiser_settings(
    config: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]], grid: Grid
) -> dict[str, Any]:
    """What a config says of its denoiser, checked; see `Denoiser`.

    Args:
        config: a whole experiment.
        conditions: full descriptions of what it takes.
        grid: of what the denoiser sees.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """
    model = config["model"]
    choose("model", "form", model["form"], FORMS)
    choose("model", "join", model["join"], JOINS)
    choose("model", "attention", model["attention"], IMPLEMENTATIONS)
    choose("model", "remat", model["remat"], REMAT)
    choose("model", "mlp", model["mlp"], MLPS)
    choose("model", "activation", model["activation"], ACTIVATIONS)
    _check_sizes(model)
    _check_grid(model, grid)
    _check_conditions(model["form"], conditions)
    classes = _classes(conditions)
    return dict(
        {name: model[name] for name in _NAMES},
        grid=grid,
        timesteps=config["diffusion"]["timesteps"],
        num_classes=classes[0] if classes else 0,
        dtype=dtype_of(model),
    )


def missing_null(model: Mapping[str, Any]) -> str:
    """Why guidance has no null to lead away from, in words; "" where it has one.

    Args:
        model: the section of a config.
    """
    known = model.get("known", 0) if len(model.get("modalities", ())) > 1 else 0
    if known == 1:
        return "model.known = 1 never trained the null that guidance needs"
    if not model.get("conditions"):
        # of modalities the null is learned where they are not known
        return "" if known else "the model takes no condition"
    if model.get("condition_dropout", 0) > 0 or model.get("null_trained"):
        return ""
    return "model.condition_dropout = 0 never trained the null that guidance needs"


def check_null(model: Mapping[str, Any], asked: str) -> None:
    """Raises UsageError if what is `asked` leads away from a null that is missing.

    Args:
        model: the section of a config.
        asked: in words.
    """
    if fault := missing_null(model):
        raise UsageError(
            f"Found {asked}, but {fault}; expected sampling.guidance_scale = 1 for "
            "this model. Draw without guidance, or train with "
            "model.condition_dropout = 0.1. If the weights that it started from "
            "knew the null (init_from, a converted model), say "
            "model.null_trained = True."
        )


def contents_of(
    conditions: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """What full descriptions of conditions hold, for whoever gives or shows them."""
    found = {name: conditioners.content(spec) for name, spec in conditions.items()}
    for name in given_towers(conditions):
        found[name]["part"] = f"{name}/tower"
    return found


def given_towers(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Prompts whose towers come from elsewhere, names of full descriptions."""
    prompts = [name for name, spec in conditions.items() if spec["kind"] == PROMPT]
    return [name for name in prompts if conditions[name]["frozen"]]


def fields_of(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Conditions, full descriptions, as fields of a batch of records, by field.

    The records' own tokens are none of them.
    """
    fields = {}
    for name, spec in conditions.items():
        place = spec.get("field", name)
        if place != "tokens":
            own = conditioners.dtype_of(spec)
            fields[place] = field_of(conditioners.content(spec), own)
    return fields


def field_of(spec: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """What a condition holds as a field of a batch: classes, tokens, levels, numbers.

    Args:
        spec: see `conditioners.content`.
        dtype: of its values.
    """
    shape = tuple(spec.get("shape", ()))
    field: dict[str, Any] = dict(shape=shape, dtype=jnp.dtype(dtype).name)
    if spec.get("optional"):
        field["optional"] = True
    if "num_classes" in spec:
        return {**field, "low": 0, "high": spec["num_classes"]}
    if "levels" in spec:  # of whole pictures
        return {**field, "low": 0, "high": spec["levels"]}
    if "vocabulary" in spec:  # 0 fills up: random texts are full ones
        return {**field, "low": 1, "high": spec["vocabulary"]}
    return field


def check_names(section: str, names: Iterable[str], taken: Collection[str]) -> None:
    """Raises UsageError for a name of a section that cannot be, or is taken."""
    for name in names:
        if not re.fullmatch(r"\w[\w-]*", name) or name in taken:
            raise UsageError(
                f"Found {section}.{name}; expected a name of letters, digits, _ "
                "and -, which flags can carry, and none that the network itself uses "
                f"({'this one it does' if name in taken else 'such as network'}); "
                "choose another name."
            )


def _classes(conditions: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Numbers of classes of the labels."""
    specs = conditions.values()
    return [spec["num_classes"] for spec in specs if spec["kind"] == "label"]


def _check_sizes(model: Mapping[str, Any]) -> None:
    if model["width"] % model["heads"]:
        raise UsageError(
            f"model.width = {model['width']} is not a multiple of model.heads = "
            f"{model['heads']}: change one of both"
        )
    size = model["width"] // model["heads"]
    if size > _WIDEST_HEAD:
        raise UsageError(
            f"model.width / model.heads = {size}: expected at most {_WIDEST_HEAD} "
            "features a head, and 64 to 128 are usual; lower model.width, or raise "
            "model.heads"
        )
    if model["form"] == "modern" and size % 2:
        raise UsageError(
            f"model.width / model.heads = {size}: the modern form turns pairs of "
            "features of a head by their position; choose an even one"
        )


def _check_grid(model: Mapping[str, Any], grid: Grid) -> None:
    """What cannot go over any grid."""
    if model["form"] != "modern" and plane_of(grid) is None:
        raise UsageError(
            f"Found model.grid = {grid} with model.form = {model['form']!r}; expected "
            "rows and columns, for which this form has tables; take form 'modern', or "
            "a grid (H, W)."
        )
    one = not isinstance(grid[0], tuple)
    if model["mlp"] == "conv" and not (one and len(grid) in (2, 3)):
        raise UsageError(
            f"Found model.grid = {grid} with model.mlp = 'conv'; expected one grid of "
            "two or three axes to go over; take mlp 'fc', or another grid."
        )


def _check_conditions(form: str, conditions: Mapping[str, Mapping[str, Any]]) -> None:
    """What a form needs to be conditioned by."""
    sequences = [c for c in conditions.values() if conditioners.gives_sequence(c)]
    needs = {
        "selfcondition": (_classes(conditions), "kind='label'"),
        "selfcross": (sequences, "a sequence, such as kind='text'"),
    }
    found, kind = needs.get(form, (True, ""))
    if not found:
        raise UsageError(
            f"model.form = {form!r} needs a condition with {kind}, but "
            f"model.conditions = {dict(conditions)}: add one, or take form 'modern'"
        )
