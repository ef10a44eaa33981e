"""Records vq_folder.npz: what diffusers' classes make of a tiny VQ-Diffusion folder.

    python tests/golden/make_vqdiffusion_folder.py tests/golden/vq_folder.npz

Needs diffusers and transformers (`versions` in the file says which). The arrays hold
the folder itself, so that the test needs neither.
"""

import json
import pathlib
import sys
import tempfile

import diffusers
import numpy as np
import torch
import transformers
from diffusers import Transformer2DModel, VQDiffusionScheduler, VQModel
from safetensors.numpy import load_file
from transformers import CLIPTextConfig, CLIPTextModel


def main(target: str) -> None:
    """Random weights; log p(x_0) with and without the text, pictures, the folder."""
    torch.manual_seed(0)
    codes, times, side, length = 24, 5, 4, 6
    transformer = Transformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        cross_attention_dim=64,
        attention_bias=True,
        sample_size=side,
        num_vector_embeds=codes + 1,
        activation_fn="geglu-approximate",
        num_embeds_ada_norm=times,
    ).eval()
    vqvae = VQModel(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        num_vq_embeddings=codes,
        vq_embed_dim=4,
    ).eval()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=30,
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=length,
        )
    ).eval()
    null = torch.randn(length, 64) / 8
    scheduler = VQDiffusionScheduler(
        num_vec_classes=codes + 1, num_train_timesteps=times
    )
    words = torch.tensor([[28, 3, 9, 29, 0, 0], [28, 5, 29, 0, 0, 0]])
    tokens = torch.randint(0, codes + 1, (2, side * side))
    with torch.no_grad():
        features = text(words)[0]
        features = features / features.norm(dim=-1, keepdim=True)
        both = torch.stack([features[0], null])
        at = 3
        logp = transformer(
            tokens, encoder_hidden_states=both, timestep=torch.tensor(at)
        )
        picked = tokens.clamp(max=codes - 1)
        shape = (2, side, side, 4)
        entries = vqvae.quantize.get_codebook_entry(picked, shape=shape)
        image = vqvae.decode(entries, force_not_quantize=True).sample
        image = (image / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
    out = dict(
        picked=picked,
        image=image,
        words=words,
        tokens=tokens,
        logp=logp.sample,
        t=at + 1,
    )
    out = {name: np.asarray(value) for name, value in out.items()}
    versions = [torch.__version__, diffusers.__version__, transformers.__version__]
    out["versions"] = np.array(versions)
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        for name, part in dict(
            transformer=transformer, vqvae=vqvae, text_encoder=text, scheduler=scheduler
        ).items():
            part.save_pretrained(root / name)
        for file in root.rglob("*.json"):
            out[f"folder/{file.relative_to(root)}"] = np.array(file.read_text())
        for file in root.rglob("*.safetensors"):
            for name, value in load_file(file).items():
                key = f"folder/{file.relative_to(root)}/{name}"
                out[key] = value
    learned = "folder/learned_classifier_free_sampling_embeddings"
    out[f"{learned}/config.json"] = np.array(json.dumps(dict(learnable=True)))
    weights = "diffusion_pytorch_model.safetensors"
    out[f"{learned}/{weights}/embeddings"] = null.numpy()
    config = json.dumps(dict(pad_token="!", model_max_length=length))
    out["folder/tokenizer/tokenizer_config.json"] = np.array(config)
    np.savez_compressed(target, **out)


if __name__ == "__main__":
    main(sys.argv[1])
