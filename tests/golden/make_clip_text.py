"""Records what Hugging Face's CLIPTextModelWithProjection computes, small.

    python tests/golden/make_clip_text.py

Needs torch and transformers (made with 2.15.0 and 5.23.0, on a CPU). Random weights of
a tower with 2 layers, 3 heads and 100 tokens, rounded to float16 so that the file holds
them exactly; tokens of 4 texts, of which one is empty and one fills all 77 places.
"""

import pathlib

import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

VOCABULARY, LENGTH, WIDTH = 100, 77, 48


def make_tokens() -> np.ndarray:
    """int32 [4, 77]: a start (98), a text, an end (99), zeros."""
    random = np.random.RandomState(1)
    tokens = np.zeros((4, LENGTH), np.int32)
    for row, number in zip(tokens, (0, 1, 20, LENGTH - 2), strict=True):
        row[: number + 2] = [98, *random.randint(0, 98, number), 99]
    return tokens


def main() -> None:
    """See the head of the file."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=LENGTH,
        bos_token_id=98,
        eos_token_id=99,
        pad_token_id=0,
    )
    model = CLIPTextModelWithProjection(config).eval()
    random = np.random.RandomState(0)
    state = {}
    for name, value in model.state_dict().items():
        scale = 0.3 if value.ndim == 1 else 1.5 * value.shape[1] ** -0.5
        noise = scale * random.standard_normal(tuple(value.shape))
        if "norm" in name and name.endswith("weight"):
            noise += 1
        state[name] = noise.astype(np.float16)
    model.load_state_dict({n: torch.tensor(v).float() for n, v in state.items()})
    tokens = make_tokens()
    with torch.no_grad():
        out = model(torch.tensor(tokens).long())
        pooled = model.text_model(torch.tensor(tokens).long()).pooler_output
    target = pathlib.Path(__file__).with_name("clip_text.npz")
    np.savez_compressed(
        target,
        tokens=tokens,
        sequence=out.last_hidden_state.numpy(),
        pooled=pooled.numpy(),
        projected=out.text_embeds.numpy(),
        **{f"params/{name}": value for name, value in state.items()},
    )
    print(f"{target.name}: {len(state)} weights, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
