"""Digits and their labels in one diffusion space, drawn together or one of the other.

    ./launch/local.sh --config=configs/mt_diffusion/digits_joint.py
    ./launch/local.sh --config=configs/mt_diffusion/digits_joint.py:unconditional
    ./launch/local.sh --config=configs/mt_diffusion/digits_joint.py:conditional
    ./launch/local.sh --config=configs/mt_diffusion/digits_joint.py:classifier

The second draws digits alone (one modality); the third takes the label as an ordinary
condition; the last draws labels of given digits, which are never drawn themselves. All
have the same trunk and steps.

Expect 99.9 % of drawn labels to be those of their digits, 98.5 % of labels of given
digits to be right, by one evaluation too, and a Fréchet distance of 0.65; 9 minutes on
2 CPU cores beside other work, of which 7 train (docs/mt_diffusion.md).
"""

from ml_collections import ConfigDict

from cdcd_jax.config import variant
from cdcd_jax.config.small import digits_records, several_modalities

IMAGE = dict(kind="image", field="tokens")
LABEL = dict(kind="label", num_classes=10, weight=0.7, loss_weight=0.1)
SETS = dict(
    joint=dict(given=()),
    label_to_image=dict(given=("label",)),
    image_to_label=dict(given=("image",)),
    one_pass=dict(given=("image",), outputs=("label",), method="ddim", steps=1),
    label_to_image_guidance=dict(given=("label",), known="guidance"),
    image_to_label_guidance=dict(given=("image",), known="guidance"),
    label_to_image_substitution=dict(given=("label",), known="substitution"),
    image_to_label_substitution=dict(given=("image",), known="substitution"),
)
# modalities, other conditions, and the sets of samples that are judged
VARIANTS = {
    "": (dict(image=IMAGE, label=LABEL), {}, SETS),
    "unconditional": (dict(image=IMAGE), {}, dict(joint={})),
    "conditional": (
        dict(image=IMAGE),
        dict(label=dict(kind="label", num_classes=10)),
        dict(label_to_image={}, label_to_image_guided=dict(guidance_scale=1.5)),
    ),
    "classifier": (
        dict(
            image={**IMAGE, "weight": 0.0, "loss_weight": 0.0},
            label={**LABEL, "given": False},
        ),
        {},
        dict(one_pass=SETS["one_pass"]),
    ),
}


def get_config(name: str = "") -> ConfigDict:
    """name: '', 'unconditional', 'conditional' or 'classifier'."""
    modalities, conditions, sets = variant(name, VARIANTS)
    model = dict(modalities=modalities, conditions=conditions)
    model["known"] = 1.0 if name == "classifier" else 0.5
    judged = dict(num_samples=1800, figures="joint_pixels", sets=sets)
    config = several_modalities(dict(records=digits_records()), model, judged)
    return ConfigDict(config)
