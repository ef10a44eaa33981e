"""Settings of a model that draws tokens under a condition: `task` = "conditional"."""

from typing import Any


def settings() -> dict[str, Any]:
    """Its sections with their defaults; weights are relative to nats per token."""
    return dict(
        data=dict(
            path="",  # directory of records
            batch_size=64,  # examples a step, over all devices and microbatches
            threads=2,  # that read records
            synthetic=False,  # random batches of the right shape instead of records
            reuse_batch=False,  # the first batch again and again, to time the step
        ),
        # of the records: dict(kind="palette", levels=..), dict(kind="checkpoint",
        # path=..), or dict(kind="none") for tokens only; see models.tokenizers
        tokenizer=dict(kind="palette", levels=17),
        model=dict(
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
            position_grid=(),  # of the reference forms' tables; () for `grid`
            # modality -> dict(kind="label", num_classes=..), dict(kind="text", ..), ..:
            # kinds and keys in networks.conditioners; frozen=True keeps its weights
            conditions={},
            join="concat",  # of the conditions' sequences: concat, or add as CDCD does
            condition_dropout=0.1,  # share of examples that see the learned null
            # the weights that a run starts from know the null already, so that guidance
            # may be used without dropout
            null_trained=False,
            scan_layers=False,  # stack the blocks and scan over them
            remat="none",  # none, dots, full
            dtype="float32",  # of matrix products
            attention="auto",  # auto (by platform), xla, cudnn, splash
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
            steps=25,  # network evaluations
            # of times: uniform, cosine, geometric, optimised (by --mode=evaluate)
            grid="uniform",
            guidance_scale=1.0,  # 1 needs no second half of rows
            guidance_schedule="constant",  # constant, rising, falling
            temperature=1.0,  # of tokens; above 1 more even
            top_p=1.0,  # the likeliest codes with this probability; 1 for all
            top_k=0,  # so many of the likeliest codes; 0 for all
            order_temperature=1.0,  # of confidence: noise in the order, at first
            purity_weight=0.0,  # of purity: sharpens what is sure
            remask=0.1,  # of remasking: its strength, 0 to 1
            batch_size=250,  # samples at once
            num_samples=10,  # `--mode=generate`: samples of each condition
            overlap=0.5,  # of a window of long music, continued from the one before
            videos=4,  # of dances with their music that `--mode=generate` draws
        ),
        eval=dict(
            at_end=False,  # evaluate when training is done
            split="test",  # of the records, for the bound and for conditions
            num_samples=1000,  # spread evenly over the conditions
            guidance_scale=2.0,  # of the `guided` samples
            bound_samples=16,  # times t an example, spread evenly over 1..T
            # who judges samples, a key of metrics.figures.FIGURES: labelled_pixels,
            # labelled_pictures, captioned_pixels, danced_music; "" for nobody
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
