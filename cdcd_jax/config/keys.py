"""Every configuration key, its default and its meaning, in one place.

Plain nested dicts, so that the core runs where ml_collections is absent. A file in
`configs/` calls `experiment(...)` with what differs; a key that is not here is an
error.
"""

import copy
import difflib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from cdcd_jax.errors import UsageError

Config = Mapping[str, Any]


def defaults(task: str = "conditional") -> dict[str, Any]:
    """Settings of a training run of a task.

    Raises:
        UsageError: unknown task.
    """
    if task not in _SECTIONS:
        raise UsageError(
            f"task = {task!r} is unknown: choose one of {', '.join(_SECTIONS)}"
        )
    return {**_common(), "task": task, **_SECTIONS[task]()}


def _common() -> dict[str, Any]:
    return dict(
        seed=0,
        # name -> settings of what must exist first; each runs under <workdir>/<name>,
        # and "@<name>" in a path stands for that directory. A stage with
        # on_request=True is only made by its own mode
        stages={},
        # a work directory whose newest averaged parameters to start from, "" for none
        init_from="",
        # part of the parameters -> the work directory that it comes from; of a/b the
        # directory of that part alone, such as text/tower of a converted CLIP
        init_parts={},
        optim=dict(
            num_steps=1000,
            learning_rate=1e-3,
            schedule="cosine",  # cosine (to 0), plateau, constant
            warmup_steps=100,
            plateau=dict(metric="loss", factor=0.5, patience=1000, threshold=0.1),
            betas=(0.9, 0.96),
            weight_decay=0.045,  # on arrays of two or more axes
            clip_norm=1.0,
            ema_decay=0.999,
            accumulate=1,  # microbatches a step
        ),
        mesh=dict(
            data=-1,  # shards of the batch; -1: what the other axes and the batch leave
            fsdp=1,  # shards of the batch and of every large parameter
            tensor=1,  # shards of heads, hidden features and codes; -1: all devices
            # that the rows of a batch leave over
        ),
        report=dict(
            log_every=50,
            sample_every=0,  # 0 for never
            checkpoint_every=500,
            keep_checkpoints=2,
        ),
    )


def _conditional() -> dict[str, Any]:
    """Weights are relative to nats per token."""
    return dict(
        data=dict(
            path="",  # directory of records
            batch_size=64,  # examples a step, over all devices and microbatches
            threads=2,  # that read records
            synthetic=False,  # random batches of the right shape instead of records
            reuse_batch=False,  # the first batch again and again, to time the step
        ),
        # of the records: dict(kind="palette", levels=..), dict(kind="checkpoint",
        # path=..), or dict(kind="none") for tokens only; see tokenizers.py
        tokenizer=dict(kind="palette", levels=17),
        model=dict(
            form="modern",  # modern, or the reference's self, selfcondition, selfcross
            num_codes=17,  # K
            grid=(8, 8),  # (H, W) of the tokens; (1, L) for sound
            width=128,
            depth=4,
            heads=4,
            mlp="fc",  # fc, or conv: 3 x 3 on the grid
            mlp_ratio=4,
            activation="gelu",
            embedding_scale=0.02,  # deviation of tokens' and positions' first tables
            position_grid=(),  # of the reference forms' tables; () for `grid`
            # modality -> dict(kind="label", num_classes=..), dict(kind="text", ..), ..:
            # kinds and keys in networks.conditioners; frozen=True keeps its weights
            conditions={},
            join="concat",  # of the conditions' sequences: concat, or add as CDCD does
            condition_dropout=0.1,  # share of examples that see the learned null
            scan_layers=False,  # stack the blocks and scan over them
            remat="none",  # none, dots, full
            dtype="float32",  # of matrix products
            attention="auto",  # auto (by platform), xla, cudnn, splash
            head_chunk=0,  # tokens of a sequence at once through head and loss; 0: all
        ),
        diffusion=dict(
            schedule="vq_diffusion_paper",  # a key of diffusion.schedule.CURVES
            timesteps=100,  # T
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
            steps=25,  # network evaluations
            # of times: uniform, cosine, geometric, optimised (by --mode=evaluate)
            grid="uniform",
            guidance_scale=1.0,  # 1 needs no second half of rows
            guidance_schedule="constant",  # constant, rising, falling
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            order_temperature=1.0,  # of confidence: noise in the order, at first
            purity_weight=0.0,  # of purity: sharpens what is sure
            remask=0.1,  # of remasking: its strength, 0 to 1
            batch_size=250,  # samples at once
            num_samples=10,  # `--mode=generate`: samples of each condition
            overlap=0.5,  # of a window of long music, continued from the one before
            videos=4,  # of dances with their music that `--mode=generate` draws
        ),
        eval=dict(
            at_end=False,
            split="test",
            num_samples=1000,  # spread evenly over the conditions
            guidance_scale=2.0,  # of the `guided` samples
            bound_samples=16,  # times t an example, spread evenly over 1..T
            # a key of metrics.figures.FIGURES, or "" for the bound alone
            figures="",
            # sets of samples to draw and judge: name -> dict(given=conditions that it
            # gets, outputs=what is kept, and changes of `sampling`), where the first
            # two may be left out; {} for unguided and guided ones
            sets={},
            # samplers to compare: values of options of `sampling`, of which every
            # combination is drawn and judged; () leaves an option as it is
            sweep=dict(
                method=(),
                steps=(),
                grid=(),
                guidance_scale=(),
                guidance_schedule=(),
                temperature=(),
                top_p=(),
                top_k=(),
                order_temperature=(),
                purity_weight=(),
                remask=(),
            ),
            # networks whose features are compared as well (see docs/metrics.md): work
            # directories of convert --family=inception and --family=clip_score, and
            # package.module:function of an embedding of sounds; "" for none
            features=dict(inception="", clip="", audio=""),
            # what trains their classifiers: records (decoded tokens), or raw (the
            # examples that the records were made of)
            judge="records",
        ),
    )


def _tokenizer() -> dict[str, Any]:
    """A tokenizer of pictures (model.kind vqgan, patches) or of sound (vqvae1d).

    Weights of losses are relative to means over pixels or samples in [-1, 1].
    """
    return dict(
        data=dict(
            raw="",  # a name of data.sources.SOURCES
            path="",  # where the source's files lie
            options={},  # of the source
            batch_size=64,  # examples a step, over all devices and microbatches
            threads=2,  # that read and decode
            augment=True,  # crops, flips, amplitudes as the source's options allow
            synthetic=False,  # random batches of the right shape instead of files
            reuse_batch=False,  # the first batch again and again, to time the step
        ),
        model=dict(
            kind="vqgan",
            resolution=32,  # pixels
            image_channels=3,
            channels=64,  # of the first level
            channel_mult=(1, 2, 2),  # one a level; each but the last halves the size
            num_res_blocks=2,
            attention_resolutions=(),  # grid heights
            latent_channels=128,
            patch=1,  # pixels a side that are one position from the start
            dtype="float32",
        ),
        quantizer=dict(
            kind="nearest",  # nearest, gumbel
            num_codes=1024,  # K
            dim=64,  # of a code
            update="ema",  # of a nearest codebook: ema, gradient
            decay=0.99,  # of the averages
            revive_below=1.0,  # codes with fewer uses a step begin anew; 0 for never
            commitment=0.25,
            temperature=1.0,  # of gumbel
            remap=0,  # codes that are left after a table that came with the weights
        ),
        losses=dict(
            l1=0.0,
            l2=1.0,
            pyramid=0.0,  # l1 of pixels and their gradients at halved sizes (images)
            perceptual=0.0,  # LPIPS; its weights come by init_parts (images)
            adversarial=0.0,  # of a patch discriminator, adaptive (images)
            adversarial_start=0,  # the first step that has it
            spectral=0.0,  # magnitudes of spectrograms, several resolutions (sound)
            log_spectral=0.0,  # their logarithms (sound)
            kl=0.0,  # of gumbel's codes from uniform ones
        ),
        eval=dict(
            at_end=True,
            split="test",
            num_samples=1000,  # most examples that are judged
            figures="",  # labelled_sound: what a classifier hears in reconstructions
            shown=32,  # reconstructions in the reports
        ),
    )


_SECTIONS = {"conditional": _conditional, "tokenizer": _tokenizer}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any], path: str = "") -> dict:
    """`base` with `changes` laid over it, section by section.

    Raises:
        UsageError: a key of `changes` that `base` does not have, or another type.
    """
    out = dict(copy.deepcopy(dict(base)))
    for key, value in changes.items():
        if key not in base:
            raise UsageError(unknown_key(f"{path}{key}", base, path))
        check_type(f"{path}{key}", base[key], value)
        nested = isinstance(value, Mapping) and isinstance(base[key], Mapping)
        # a section of another kind brings keys of its own
        other_kind = nested and value.get("kind") not in (None, base[key].get("kind"))
        # an empty default section (stages, conditions) takes any name
        if nested and base[key] and not other_kind:
            out[key] = merge(base[key], value, f"{path}{key}.")
        else:
            out[key] = copy.deepcopy(value)
    return out


def check_type(key: str, default: Any, value: Any) -> None:
    """Raises UsageError unless the types agree (an int may stand for a float)."""
    kinds = {
        bool: bool,
        int: int,
        float: (int, float),
        str: str,
        tuple: (tuple, list),
        list: (tuple, list),
        dict: Mapping,
    }
    fits = isinstance(value, kinds[type(default)])
    if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UsageError(
            f"config key {key!r} is {value!r}: expected a {type(default).__name__} "
            f"such as {default!r}"
        )


def unknown_key(key: str, known: Mapping[str, Any], path: str = "") -> str:
    """The message for a key that does not exist, with the nearest that do."""
    names = [f"{path}{name}" for name in known]
    if not names:
        return f"unknown config key {key!r}: {path[:-1]} has no keys below it"
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5) or names
    return f"unknown config key {key!r}: did you mean {' or '.join(near)}?"


def experiment(**sections: Any) -> dict[str, Any]:
    """The defaults of `task` (conditional) with `sections` laid over them.

    Raises:
        UsageError: an unknown key.
    """
    return merge(defaults(sections.get("task", "conditional")), sections)


def with_defaults(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, with today's defaults for keys that came after it.

    As json has it; a stage's own keys stay. Keys that are gone since are left as well,
    for `differences` to name.
    """

    def fill(base: Any, value: Any) -> Any:
        both = isinstance(base, Mapping) and isinstance(value, Mapping)
        if not both or value.get("kind") != base.get("kind"):
            return value
        return {**base, **{k: fill(base.get(k), v) for k, v in value.items()}}

    task = saved.get("task", "conditional")
    return fill(json.loads(json.dumps(defaults(task))), saved)


# A variant that needs no records: random batches of the right shape, nothing judged.
SYNTHETIC = dict(
    data=dict(synthetic=True),
    tokenizer=dict(kind="none"),
    eval=dict(at_end=False),
    report=dict(sample_every=0),
)


# The same for a tokenizer.
SYNTHETIC_MEDIA = {k: v for k, v in SYNTHETIC.items() if k != "tokenizer"}


def variant(name: str, variants: Mapping[str, Mapping]) -> Mapping:
    """The changes of a named variant, the part behind the colon of `--config=F:name`.

    Raises:
        UsageError: a name that the file does not offer.
    """
    if name not in variants:
        names = ", ".join(repr(v) for v in variants if v) or "none"
        raise UsageError(
            f"unknown config variant {name!r}: this file offers {names}; leave the "
            "colon away for the plain configuration"
        )
    return variants[name]


# What may differ between a work directory's run and one that continues it.
CONTINUABLE = (
    "report",
    "eval",
    "sampling",
    "stages",
    "optim.num_steps",
    "data.threads",
    "mesh",
    "model.attention",
    "model.head_chunk",
    "model.remat",
)


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str = ""
) -> list[str]:
    """Dotted keys whose values differ, except those that a continued run may change."""
    found = []
    for key in sorted(set(old) | set(new)):
        name = f"{path}{key}"
        a, b = old.get(key), new.get(key)
        if name in CONTINUABLE or a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{name}.")
        else:
            found.append(f"{name} ({a!r} there, {b!r} now)")
    return found


def resolve_stages(value: Any, workdir: pathlib.Path) -> Any:
    """Replaces every string "@<stage>" by that stage's directory."""
    if isinstance(value, Mapping):
        return {k: resolve_stages(v, workdir) for k, v in value.items()}
    if isinstance(value, str) and value.startswith("@"):
        return str(workdir / value[1:])
    return value
