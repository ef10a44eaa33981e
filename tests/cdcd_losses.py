"""The losses of CDCD's PyTorch code by our `Contrast`, in its ten settings."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from cdcd_golden import FLOOR, RELEASED, Golden, K, T

from cdcd_jax import config
from cdcd_jax.diffusion import objective, schedule
from cdcd_jax.tasks.contrast import Contrast, Network

RAMPS = {"class": "falling", "text": "falling", "d2m": "rising"}
MODES = (
    "vb_only",
    "aux",
    "aux_nonadaptive",
    "aux_maskweight",
    "intra_step",
    "intra_sample",
    "inter_step",
    "inter_sample",
    "intra_step_nonadaptive",
    "all",
)


class Mode(NamedTuple):
    """Settings of one of the reference's runs."""

    auxiliary: float
    adaptive: bool
    intra: float
    intra_level: str
    inter: float
    inter_level: str
    mask_weight: tuple[float, float]

    @classmethod
    def of(cls, golden: Golden, name: str) -> "Mode":
        read = json.loads(str(golden[f"loss_{name}/config_json"]))
        inter = "extra" if golden.name == "d2m" else "inter"
        return cls(
            read["auxiliary_loss_weight"],
            read["adaptive_auxiliary_loss"],
            read["contrastive_intra_loss_weight"],
            read["intra_mode"],
            # the model of music calls them extra
            read[f"contrastive_{inter}_loss_weight"],
            read[f"{inter}_mode"],
            tuple(read["mask_weight"]),
        )


def settings_of(
    golden: Golden, mode: Mode, level: str, strength: float, number: int
) -> dict[str, Any]:
    """An experiment of ours with one of the reference's contrastive terms, or none."""
    return config.experiment(
        sampling=dict(steps=T),
        model=dict(num_codes=K, grid=golden.grid, conditions={}, condition_dropout=0.0),
        diffusion=dict(
            schedule=RELEASED,
            timesteps=T,
            mask_weight=mode.mask_weight,
            auxiliary_weight=mode.auxiliary,
            auxiliary_ramp=RAMPS[golden.name] if mode.adaptive else "none",
        ),
        contrastive=dict(
            form="difference",
            negatives="inter",
            inter_from="records",  # both kinds come with the batch
            level=level,
            weight=strength,
            num_negatives=number if strength else 0,
            cap=FLOOR,
            ramp="rising" if mode.adaptive else "none",
        ),
    )


def loss_terms(golden: Golden, logits: jax.Array, mode: Mode) -> dict[str, jax.Array]:
    """The reference's terms, [B] in nats over p(t), and its scalar, by our `Contrast`.

    A run of ours has one kind of negatives; the reference's may add two.
    """
    network = Network(None, lambda _, logits: logits, {})
    ramp = objective.ramp(golden.t, T, RAMPS[golden.name] if mode.adaptive else "none")
    terms: dict[str, jax.Array] = {}
    total = jnp.zeros(())
    for name, others, level, strength in (
        ("loss3", golden.intra, mode.intra_level, mode.intra),
        ("loss4", golden.inter, mode.inter_level, mode.inter),
    ):
        number = others.shape[1]
        settings = settings_of(golden, mode, level, strength, number)
        contrast = Contrast(settings, schedule.make_schedule(RELEASED, K, T))
        contrast.jumps = golden.steps  # those of the model of music are of K + 1 codes
        z = jnp.concatenate([golden.x_0[:, None], others], axis=1)
        d = contrast.divergences(network, logits, z, golden.x_t, golden.t)
        terms["loss1"] = d.step[:, 0] / golden.p_t
        terms["loss2"] = mode.auxiliary * ramp * d.sample[:, 0] / golden.p_t
        if strength:
            valid = jnp.ones(others.shape[:2], bool)
            term = contrast.term(d.level(level), valid, golden.t, golden.p_t)
            term = strength * contrast.length * term
            total = total + term
            # the reference's is the sum over the negatives
            terms[name] = -term * number
    total = terms["loss1"] + terms["loss2"] + total
    return {**terms, "vb_loss": total, "loss": jnp.sum(total) / golden.x_0.size}
