"""Settings of a model that draws tokens under a condition: `task` = "conditional"."""

from typing import Any

from cdcd_jax.config import sections

_SWEPT = (
    *("method", "steps", "grid", "guidance_scale", "guidance_schedule"),
    *("temperature", "top_p", "top_k", "order_temperature", "purity_weight", "remask"),
)


def settings() -> dict[str, Any]:
    """Its sections with their defaults; weights are relative to nats per token."""
    return dict(
        data=sections.data(),
        # of the records: dict(kind="palette", levels=..), dict(kind="checkpoint",
        # path=..), or dict(kind="none") for tokens only; see models.tokenizers
        tokenizer=dict(kind="palette", levels=17),
        model=dict(
            **sections.backbone(),
            # what it draws: the records' tokens, or a condition of theirs that is a
            # text, whose length is the grid's (1, S) and whose vocabulary num_codes
            target="tokens",
            position_grid=(),  # of the reference forms' tables; () for `grid`
            head_chunk=0,  # tokens of a sequence at once through head and loss; 0: all
        ),
        diffusion=dict(
            schedule="vq_diffusion_paper",  # a key of diffusion.schedule.CURVES
            timesteps=100,  # T, steps from data to noise
            time_sampling="stratified",  # uniform, stratified, importance
            mask_weight=(1.0, 1.0),  # of masked and unmasked positions
            auxiliary_weight=5e-4,  # of -log p(x_0 | x_t)
            auxiliary_ramp="falling",  # falling (images), rising (music), none
        ),
        contrastive=dict(
            level="step",  # step, sample
            negatives="inter",  # intra, inter, both (num_negatives of each)
            path="shared",  # shared, parallel
            form="infonce",  # difference, difference_paper, infonce
            critic="conditional",  # conditional, ratio (infonce only)
            # lambda; of infonce 0.1 with guidance, 0.5 without (docs/results.md)
            weight=0.0,
            num_negatives=10,  # N; 0 makes none
            temperature=1.0,  # of infonce, nats a token
            cap=70.0,  # nats a token, bounds what the differences subtract
            ramp="rising",  # over time, of form=difference
            inter_from="batch",  # where they come from: batch, records (their table)
            group=64,  # examples of a batch among which inter negatives are found
            chunks=(2, 2),  # pieces along H and W that intra negatives permute
            key="label",  # the condition that must differ for inter negatives
        ),
        sampling=dict(
            # how (see diffusion.sampler): ancestral, strided, skip, random, spread,
            # purity, confidence, first_hitting, remasking
            method="strided",
            **sections.drawing(),
            overlap=0.5,  # of a window of what is larger, continued from one before
            guidance_schedule="constant",  # constant, rising, falling
            temperature=1.0,  # of tokens; above 1 more even
            top_p=1.0,  # the likeliest codes with this probability; 1 for all
            top_k=0,  # so many of the likeliest codes; 0 for all
            order_temperature=1.0,  # of confidence: noise in the order, at first
            purity_weight=0.0,  # of purity: sharpens what is sure
            remask=0.1,  # of remasking: its strength, 0 to 1
            videos=4,  # of dances with their music that `--mode=generate` draws
        ),
        eval=sections.evaluation(_SWEPT),
    )
