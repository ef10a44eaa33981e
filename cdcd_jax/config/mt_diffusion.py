"""Settings of a model of several modalities in one z: `task` = "mt_diffusion"."""

from typing import Any

from cdcd_jax.config import sections


def settings() -> dict[str, Any]:
    """Its sections with their defaults."""
    return dict(
        data=sections.data(),
        # of the records, whose tokens are pixels: dict(kind="palette", levels=..)
        tokenizer=dict(kind="palette", levels=17),
        model=dict(
            **sections.backbone(),
            patch=1,  # pixels a side of a token of z
            channels=0,  # features of a token of z; 0 for the pixels of a patch
            # name -> dict(kind="image", "masked_image", "label", "vector" or "tokens",
            # and what docs/mt_diffusion.md says of each: field, weight, loss_weight,
            # gradient, given, num_classes, ..)
            modalities={},
            known=0.5,  # share of examples of which the network knows a part, clean
            modality_dropout=0.0,  # share in which a modality is left out of z
        ),
        diffusion=dict(
            schedule="cosine",  # a key of diffusion.gaussian_schedule.GAUSSIAN_CURVES
            timesteps=100,  # T, steps from data to noise
            prediction="v",  # what the head of z says: noise, x_0, v
            loss="simple",  # of z: simple (mean squared error), bound (nats a token)
            variance="posterior",  # of p(z_s | z_t) in the bound: posterior, beta
            weight_ramp="linear",  # of weights (from, to): linear, sigmoid
        ),
        sampling=dict(
            method="ddpm",  # how: ddpm, ddim
            **sections.drawing(),
            overlap=0.5,  # of a window of what is larger, continued from one before
            eta=0.0,  # of ddim: fresh noise, from 0 to 1, as much as ddpm
            variance="posterior",  # of ddpm: posterior, beta
            # how what is given comes into the draw: context, guidance, substitution
            known="context",
        ),
        eval=sections.evaluation(
            ("method", "steps", "grid", "guidance_scale", "eta", "known")
        ),
    )
