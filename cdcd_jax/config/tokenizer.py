"""Settings of a tokenizer that is trained here: `task` = "tokenizer"."""

from typing import Any


def settings() -> dict[str, Any]:
    """Its sections with their defaults: of pictures (model.kind vqgan, patches), or of
    sound (vqvae1d).

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
            kind="vqgan",  # vqgan, patches (pictures), vqvae1d (sound)
            resolution=32,  # pixels
            image_channels=3,  # 3, or 1 for grey
            channels=64,  # of the first level
            channel_mult=(1, 2, 2),  # one a level; each but the last halves the size
            num_res_blocks=2,  # a level
            attention_resolutions=(),  # grid heights
            mid_attention=True,  # in the middle, whatever the coarsest grid's height
            groups=32,  # of each norm, at most; of the features' divisors the largest
            latent_channels=128,  # before the codes
            patch=1,  # pixels a side that are one position from the start
            dtype="float32",  # of convolutions
        ),
        quantizer=dict(
            kind="nearest",  # nearest, gumbel
            num_codes=1024,  # K, how many codes there are
            dim=64,  # of a code
            normalize=False,  # codes and vectors have length 1 (nearest)
            update="ema",  # of a nearest codebook: ema, gradient
            decay=0.99,  # of the averages
            revive_below=1.0,  # codes with fewer uses a step begin anew; 0 for never
            commitment=0.25,  # weight of the encoder's distance to its codes
            temperature=1.0,  # of gumbel
            remap=0,  # codes that are left after a table that came with the weights
        ),
        losses=dict(
            l1=0.0,  # of absolute differences
            l2=1.0,  # of squared ones
            pyramid=0.0,  # l1 of pixels and their gradients at halved sizes (images)
            perceptual=0.0,  # LPIPS; its weights come by init_parts (images)
            adversarial=0.0,  # of a patch discriminator, adaptive (images)
            adversarial_start=0,  # the first step that has it
            spectral=0.0,  # magnitudes of spectrograms, several resolutions (sound)
            log_spectral=0.0,  # their logarithms (sound)
            kl=0.0,  # of gumbel's codes from uniform ones
        ),
        eval=dict(
            at_end=True,  # evaluate when training is done
            split="test",  # of the source
            num_samples=1000,  # most examples that are judged
            figures="",  # labelled_sound: what a classifier hears in reconstructions
            shown=32,  # reconstructions in the reports
        ),
    )
