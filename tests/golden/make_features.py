"""Records what PyTorch's Inception, CLIP and the packages of figures compute.

    python tests/golden/make_features.py

Needs torch, torchvision, transformers, pytorch-fid, torch-fidelity and prdc (made with
2.14.1, 0.29.1, 5.24.0, 0.3.0, 0.4.0 and 0.2, on a CPU). Weights, pictures and features
come from `tests/named_weights.py`, so that only shapes and results are stored.
"""

import json
import pathlib
import sys

import numpy as np
import pytorch_fid.inception as fid_inception
import torch
import torch.nn.functional as F
import torch_fidelity.metric_fid as fidelity_fid
import torchvision.transforms as T
from PIL import Image
from prdc import compute_prdc
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from transformers import CLIPConfig, CLIPModel

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from named_weights import clouds, pictures, random_state  # noqa: E402

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def fill(module: torch.nn.Module) -> dict[str, list[int]]:
    """Gives a module random weights; their shapes."""
    state = module.state_dict()
    shapes = {n: list(v.shape) for n, v in state.items() if v.is_floating_point()}
    state = {n: torch.tensor(v) for n, v in random_state(shapes).items()}
    module.load_state_dict(state, strict=False)
    return shapes


def inception() -> dict[str, np.ndarray]:
    """Features and logits of pytorch-fid's network, and how it resizes."""
    load = torch.nn.Module.load_state_dict
    fid_inception.load_state_dict_from_url = lambda *_, **__: {}
    torch.nn.Module.load_state_dict = lambda *_: None
    net = fid_inception.fid_inception_v3().eval()
    torch.nn.Module.load_state_dict = load
    shapes = fill(net)
    outer = fid_inception.InceptionV3.__new__(fid_inception.InceptionV3)
    fid_inception.fid_inception_v3 = lambda: net
    outer.__init__()
    outer.eval()
    images = torch.tensor(pictures(2, 48, 40)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = outer(images)[0][:, :, 0, 0]
        logits = features @ net.fc.weight.T
    out = dict(features=features, logits=logits)
    for name, size in (("up", (40, 52)), ("down", (400, 310))):
        image = torch.tensor(pictures(1, *size)).permute(0, 3, 1, 2) / 255
        image = F.interpolate(image, (299, 299), mode="bilinear", align_corners=False)
        out[name] = image.permute(0, 2, 3, 1)[:, ::13, ::11]
    arrays = {f"inception/{n}": v.numpy() for n, v in out.items()}
    return arrays | {"inception/shapes": np.array(json.dumps(shapes))}


def figures() -> dict[str, float]:
    """Of `clouds`, as the packages compute them."""
    real, fake = clouds(300, 64, 0.0, 1), clouds(260, 64, 0.4, 2)
    # torch-fidelity takes covariances of float64 features alone exactly
    statistics = [
        fidelity_fid.fid_features_to_statistics(torch.tensor(x).double())
        for x in (fake, real)
    ]
    logits = clouds(263, 20, 0.0, 3)
    score = isc_features_to_metric(torch.tensor(logits))
    one = isc_features_to_metric(torch.tensor(logits), splits=1, shuffle=False)
    manifold = prc_features_to_metric(
        *(torch.tensor(x) for x in (fake, real)),
        prc_neighborhood=3,
        prc_batch_size=10000,
        save_cpu_ram=False,
        verbose=False,
    )
    found = fidelity_fid.fid_statistics_to_metric(*statistics, verbose=False)
    out = {**found, **score, **manifold}
    out["inception_score_of_one"] = one["inception_score_mean"]
    wider = compute_prdc(real, fake, nearest_k=5)
    out |= {f"{name}_5": value for name, value in wider.items()}
    return {f"figures/{name}": value for name, value in out.items()}


def clip() -> dict[str, np.ndarray]:
    """Embeddings and cosines of Hugging Face's CLIPModel."""
    text = dict(vocab_size=60, hidden_size=128, intermediate_size=512)
    text |= dict(max_position_embeddings=12, num_attention_heads=2)
    text |= dict(bos_token_id=58, eos_token_id=59, pad_token_id=0)
    image = dict(hidden_size=192, intermediate_size=768, num_attention_heads=3)
    image |= dict(image_size=32, patch_size=8)
    both = dict(projection_dim=24, num_hidden_layers=2)
    config = CLIPConfig(
        text_config=text | both, vision_config=image | both, projection_dim=24
    )
    model = CLIPModel(config).eval()
    shapes = fill(model)
    tokens = np.zeros((3, 12), np.int64)
    for row, n in zip(tokens, (2, 10, 1), strict=True):  # cosines of both signs
        row[: n + 2] = [58, *np.random.default_rng(13 + n).integers(1, 58, n), 59]
    prepare = T.Compose(
        [
            T.Resize(32, T.InterpolationMode.BICUBIC),
            T.CenterCrop(32),
            T.ToTensor(),
            T.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    images = [Image.fromarray(picture) for picture in pictures(3, 50, 41)]
    pixels = torch.stack([prepare(image) for image in images])
    with torch.no_grad():
        out = model(input_ids=torch.tensor(tokens), pixel_values=pixels)
    arrays = dict(
        tokens=tokens.astype(np.int32),
        pixels=pixels.permute(0, 2, 3, 1).numpy(),
        image=out.image_embeds.numpy(),
        text=out.text_embeds.numpy(),
        cosines=(out.logits_per_image / model.logit_scale.exp()).detach().numpy(),
        shapes=np.array(json.dumps(shapes)),
    )
    return {f"clip/{name}": value for name, value in arrays.items()}


def main() -> None:
    """See the head of the file."""
    arrays = {**inception(), **figures(), **clip()}
    target = HERE / "features.npz"
    np.savez_compressed(target, **arrays)
    for name, value in arrays.items():
        print(name, getattr(value, "shape", value), np.asarray(value).dtype)
    print(f"{target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
