"""Checkpoints of other projects -> our parameters, one file a family.

`python -m cdcd_jax.convert` reads a file, checks all of it, and writes a work directory
as a training run leaves it; nothing here trains or samples. In reading order:

    __main__     the command line, and the families by name
    families     what a file or a folder is, by its names
    torch_files, safetensors_files    what such files hold, as views of the file
    files        tensors by name, from either, checked
    folders      models as the hub has them, with config.json
    taming, ithq, diffusers_vq, llamagen, flax_vqgan    tokenizers of pictures
    jukebox                     tokenizers of sound
    split_parts  files that come in parts, joined
    remap        tables that leave out codes which data never use
    clip, clip_score            CLIP's text tower, and both of its towers
    lpips, inception            networks that losses and figures look through
    transformer  transformers of VQ-Diffusion and CDCD
    vqdiffusion, diffusers_vqdiffusion, cdcd            whole models
"""
