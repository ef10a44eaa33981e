"""Cuts the small golden files of the parity tests out of the complete ones.

    python tests/golden/make_extract.py DIRECTORY

DIRECTORY holds `parity_class.npz` and `parity_text.npz`, arrays that the PyTorch code
of CDCD (its class- and text-conditional models with 2 layers, 24 codes, 16 tokens and
20 times) computed on a CPU. The extracts keep the inputs, the logits and all that
follows from them, the schedules, and one-layer networks with their weights; weights and
gradients of the two-layer networks stay behind. Of `parity_vqgan.npz` (the code of
taming-transformers, 64 codes, 8 x 8 tokens) they keep what surrounds the quantizers; of
`parity_sampling.npz` (the sampling of VQ-Diffusion) all but its oddities.
"""

import argparse
import fnmatch
import pathlib

import numpy as np

# Patterns of names, of the two files of CDCD.
CDCD = (
    "in/*",
    "sched/at",
    "sched/bt",
    "sched/ct",
    "sched/att",
    "sched/btt",
    "sched/ctt",
    "sched_T*",
    "out/logits",
    "out/q_*",
    "out/multinomial_kl",
    "out/decoder_nll_pos",
    "out/kl_aux_pos",
    "out/predict_start",
    "clampcase/q_posterior",
    "gumbel/uniform",
    "gumbel/sample",
    "negsampling/x_*",
    "negsampling/random_*",
    "importance/*",
    "loss_*/config_json",
    "loss_*/loss",
    "loss_*/loss[1-4]",
    "loss_*/vb_loss",
    "loss_*/neg_*",
    "loss_vb_only/Lt*",
    "variant_gelu_fc/*",
    "variant_uncond_self/*",
    "variant_fc_gelu/*",
)
VQGAN = (
    "out/quant_conv",
    "out/indices",
    "out/quant",
    "out/emb_loss*",
    "params/quantize.*",
    "codec/full_*",
    "codec/quantize_to_full",
    "codec/token",
    "gumbel_params/quantize.embed.weight",
    "gumbel/*noise",
    "gumbel/logits",
    "gumbel/*indices",
    "gumbel/quant",
    "gumbel/diff",
    "gumbel/soft_*",
)
SAMPLING = (
    "trunc/*",
    "model/params/transformer.*",
    "model/params/empty_text_embed",
    "model/cond",
    "cfg/*",
    "p_sample_*/[ntxsu]*",
    "p_sample_*/prob",
    "p_sample_*/final",
    "fast_time3/*",
)
KEEP = {
    "parity_sampling.npz": SAMPLING,
    "parity_class.npz": CDCD,
    "parity_text.npz": CDCD,
    "parity_vqgan.npz": VQGAN,
    "parity_jukebox.npz": ("full/*",),  # whose weights a recipe makes
}


def compact(array: np.ndarray) -> np.ndarray:
    """int32 for int64; all else as it is (schedules stay float64)."""
    return array.astype(np.int32) if array.dtype == np.int64 else array


def extract(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the kept arrays of one file."""
    with np.load(source) as arrays:
        kept = {
            name: compact(arrays[name])
            for name in arrays.files
            if any(fnmatch.fnmatch(name, pattern) for pattern in KEEP[target.name])
        }
    np.savez_compressed(target, **kept)
    print(f"{target.name}: {len(kept)} arrays, {target.stat().st_size:,} bytes")


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, help="of the complete files")
    directory = parser.parse_args().directory
    for name in KEEP:
        extract(directory / name, pathlib.Path(__file__).with_name(name))


if __name__ == "__main__":
    main()
