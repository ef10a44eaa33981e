"""What the configs of large data sets have in common.

Their records are made once, by a mode of their own, and their models are laid out for
many chips: blocks that are computed again on the way back, heads over as many devices
as the rows of a batch leave over.
"""

from typing import Any

from cdcd_jax.config.keys import experiment


def large_records(
    raw: str, path: str, options: dict[str, Any], views: int = 1, **rest: Any
) -> dict[str, Any]:
    """A stage of records that --mode=pretokenize makes; see `records`.

    Args:
        raw: the source, with the `path` and the `options` of its files.
        views: of each training example.
        rest: tokenizer, grid, and what else differs from the defaults.
    """
    data = dict(raw=raw, path=path, options=options, views=views, threads=16)
    return dict(mode="pretokenize", on_request=True, seed=0, data=data, **rest)


def large_experiment(records: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """An experiment on the stage `records`, with their tokenizer and their grid.

    `sections` are laid over what large ones share.
    """
    shared: dict[str, Any] = dict(
        data=dict(path="@records", threads=8),
        model=dict(grid=records["grid"], remat="full", head_chunk=64),
        mesh=dict(data=-1, fsdp=1, tensor=-1),
        sampling=dict(batch_size=64, num_samples=8),
        report=dict(log_every=100, checkpoint_every=2500),
    )
    for name, section in sections.items():
        shared[name] = {**shared.get(name, {}), **section}
    stages = dict(records=records)
    return experiment(stages=stages, tokenizer=records["tokenizer"], **shared)


def captioned(path: str, options: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Pictures of 256 x 256 under the captions that CLIP's tower reads.

    Args:
        path: where the captions and pictures lie, with the `options` of their source.
        sections: what is the experiment's own.
    """
    records = large_records(
        "captions",
        path,
        dict(**options, size=256),
        tokenizer=dict(
            kind="checkpoint", path="runs/tokenizers/openimages_f8", sample=False
        ),
        grid=(32, 32),
        text=dict(vocabulary="clip", length=77, truncate=True),
        negatives=dict(number=10, rule="caption", file=""),
    )
    model = dict(
        conditions=dict(text=dict(kind="clip_text", shape=(77,), frozen=True)),
        scan_layers=True,
    )
    diffusion = dict(timesteps=80)
    return large_experiment(records, model=model, diffusion=diffusion, **sections)


# A variant of a tokenizer of pictures whose LPIPS weights are converted.
PERCEPTUAL = dict(
    init_parts=dict(perceptual="runs/converted/lpips"),
    losses=dict(perceptual=1.0, pyramid=0.0),
)


def large_vqgan(
    data: dict[str, Any],
    model: dict[str, Any],
    quantizer: dict[str, Any],
    losses: dict[str, Any],
) -> dict[str, Any]:
    """A VQGAN of pictures of 256 x 256, as taming-transformers trains them.

    `data`, `model`, `quantizer` and `losses` are laid over what such ones share.
    """
    return experiment(
        task="tokenizer",
        data=dict(threads=16, **data),
        model=dict(
            resolution=256,
            channels=128,
            num_res_blocks=2,
            latent_channels=256,
            dtype="bfloat16",
            **model,
        ),
        quantizer=dict(dim=256, **quantizer),
        losses=dict(
            l1=1.0,
            l2=0.0,
            pyramid=1.0,
            adversarial=0.8,
            adversarial_start=50_000,
            **losses,
        ),
        optim=dict(
            num_steps=500_000,
            learning_rate=1e-4,
            warmup_steps=5000,
            betas=(0.5, 0.9),
            weight_decay=0.0,
            ema_decay=0.9999,
        ),
        eval=dict(num_samples=5000),
        report=dict(log_every=100, sample_every=5000, checkpoint_every=2500),
    )
