"""The image codec of VQ-Diffusion's ITHQ models (PatchVQGAN) -> an image tokenizer.

A VQGAN as of `taming.py`, whose 4,096 codes follow moving averages.
"""

from collections.abc import Mapping
from typing import Any

from cdcd_jax.convert import taming
from cdcd_jax.convert.files import Converted, Tensors, read_tensors
from cdcd_jax.networks.quantizer import EmaCodebook
from cdcd_jax.networks.vqgan import ImageAutoencoder

OPTIONS = taming.OPTIONS
CODEBOOK = "quantize.embedding"


def convert(path: str, options: Mapping[str, Any]) -> Converted:
    """`ithq_vqvae.pth`: tensors in `model`, with the buffers of its codebook.

    Args:
        path: of the file.
        options: as OPTIONS.

    Raises:
        InputError: the file cannot be read, or is not exactly such a model.
    """
    state = taming.without(read_tensors(path, ("model", "state_dict")), ("loss.",))
    return from_tensors(state, options["resolution"], path)


def from_tensors(state: Tensors, resolution: int, path: str) -> Converted:
    """The same of tensors by name; the rest as `taming.from_tensors`."""
    sizes = taming.read_sizes(state, CODEBOOK, resolution, path)
    net = ImageAutoencoder(**sizes)
    codes = len(state[CODEBOOK])
    buffers = {
        CODEBOOK: (codes, net.code_dim),
        "quantize.embedding_avg": (codes, net.code_dim),
        "quantize.cluster_size": (codes,),
    }
    params = taming.autoencoder_params(net, state, buffers, path)
    codebook = EmaCodebook(*(state[name] for name in buffers))
    quantizer = dict(kind="nearest", update="ema")
    return Converted(
        taming.make_config(net, codes, quantizer),
        {"autoencoder": params},
        {"codebooks": {"0": codebook}},
    )
