"""The networks: flax modules from arrays to arrays, which know no task and no file.

A denoiser reads noisy tokens and what its conditioners made of the conditions.

    partition.py              where an activation lies on the mesh
    attention.py              one function, by platform
    positions.py              grids of any axes; angles of rotary positions
    layers.py                 attention, MLP, norms, heads
    encoded.py                what a condition becomes; the base of conditioners
    array_conditioners.py     labels, finished arrays, features
    image_conditioners.py     pictures, whole or in part
    text_encoder.py, clip_text.py, text_conditioners.py
    motion.py, reference_motion.py, motion_conditioners.py
    prompt_conditioners.py    prompts of any modality, mixed into one vector
    conditioners.py           the table of kinds, and their descriptions
    presence.py               which conditions are there, and whose nulls are taken
    blocks.py, denoiser.py    the denoiser and its conditioners in one tree
    environment.py            what a denoiser shows to those that draw beside it
    codes.py, joint.py        codes of modalities, and a denoiser of several
    towers.py                 a side of an example as a vector of length 1
    quantizer.py, patches.py, vqgan.py, vqvae1d.py, tokenizer.py
                              media to codes and back
    log_mel.py                spectra of sounds, and sounds that have them
    discriminator.py, perceptual.py, spectral.py
                              what their losses look at
    clip_image.py, inception.py
                              networks of others, whose features are compared
"""
