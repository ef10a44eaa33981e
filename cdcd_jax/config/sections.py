"""Sections, or what is common of them, that several tasks of diffusion share.

Each function returns keys with their defaults, so that a meaning stands once: a task's
settings call it for a section, or unpack it into one beside the task's own keys.
"""

from collections.abc import Sequence
from typing import Any


def data(batch_size: int = 64) -> dict[str, Any]:
    """The section `data` of a model that is trained on records."""
    return dict(
        path="",  # directory of records
        batch_size=batch_size,  # examples a step, over all devices and microbatches
        threads=2,  # that read records
        synthetic=False,  # random batches of the right shape instead of records
        reuse_batch=False,  # the first batch again and again, to time the step
    )


def backbone() -> dict[str, Any]:
    """Of `model`: the transformer, and the conditions that it sees."""
    return dict(
        form="modern",  # modern, or the reference's self, selfcondition, selfcross
        num_codes=17,  # K, of the tokenizer that made the records
        grid=(8, 8),  # (H, W) of the tokens; (1, L) for sound
        width=128,  # features of a token
        depth=4,  # blocks
        heads=4,  # of attention, a divisor of width
        mlp="fc",  # fc, or conv: 3 x 3 on the grid
        mlp_ratio=4,  # hidden features over width
        activation="gelu",  # of the MLP
        embedding_scale=0.02,  # deviation of tokens' and positions' first tables
        # modality -> dict(kind="label", num_classes=..), dict(kind="text", ..), ..:
        # kinds and keys in networks.conditioners; frozen=True keeps its weights
        conditions={},
        join="concat",  # of the conditions' sequences: concat, or add as CDCD does
        condition_dropout=0.1,  # share of examples that see the learned null
        # the weights that a run starts from know the null already, so that guidance
        # may be used without dropout
        null_trained=False,
        # of conditions of kind prompt: deviation of what is added to a mixed vector in
        # training, of its numbers at order 1; 0 for nothing
        prompt_noise=0.0,
        scan_layers=False,  # stack the blocks and scan over them
        remat="none",  # none, dots, full
        dtype="float32",  # of matrix products
        attention="auto",  # auto (by platform), xla, cudnn, splash
    )


def drawing() -> dict[str, Any]:
    """Of `sampling`: what the sampler of any process has; which one is the task's."""
    return dict(
        steps=25,  # network evaluations
        # of times: uniform, cosine, geometric, optimised (by --mode=evaluate)
        grid="uniform",
        guidance_scale=1.0,  # 1 needs no second half of rows
        # of conditions of kind prompt: name -> share of the mixture, which sum to one;
        # those that are given and not named, or at -1, have equal parts of what is left
        prompt_weights={},
        batch_size=250,  # samples at once
        num_samples=10,  # `--mode=generate`: samples of each condition
    )


def evaluation(options: Sequence[str]) -> dict[str, Any]:
    """The section `eval`.

    Args:
        options: names of `sampling` over which samplers may be compared; what the
            process has no use for is left out, so that asking for it is an error.
    """
    return dict(
        at_end=False,  # evaluate when training is done
        split="test",  # of the records, for the bound and for conditions
        num_samples=1000,  # spread evenly over the conditions
        guidance_scale=2.0,  # of the `guided` samples
        bound_samples=16,  # times t an example, spread evenly over 1..T
        # who judges samples, a key of metrics.figures.FIGURES: labelled_pixels,
        # labelled_pictures, captioned_pixels, danced_music, joint_pixels,
        # paired_pixels, masked_pixels, represented_pixels, any_to_any; "" for nobody
        figures="",
        # sets of samples to draw and judge: name -> dict(given=conditions that it
        # gets, outputs=what is kept, hidden=share of the pixels that are unknown in
        # masked pictures, swapped=conditions that it gets of another record than the
        # rest, num_samples=if they are not as many as above, and changes of
        # `sampling`), where each may be left out; {} for unguided and guided ones
        sets={},
        # samplers to compare: values of options of `sampling`, of which every
        # combination is drawn and judged; () leaves an option as it is
        sweep=dict.fromkeys(options, ()),
        # networks whose features are compared as well (see docs/metrics.md): work
        # directories of convert --family=inception and --family=clip_score, and
        # package.module:function of an embedding of sounds; "" for none
        features=dict(inception="", clip="", audio=""),
        # what trains their classifiers: records (decoded tokens), or raw (the examples
        # that the records were made of)
        judge="records",
    )
