"""Who could judge the samples of a model whose config names no judge."""

from collections.abc import Collection, Mapping
from typing import Any

from cdcd_jax.models.vocabularies import TEXTS

_INCEPTION = "--config.eval.features.inception=DIR (convert --family=inception)"
_CLIP = "--config.eval.features.clip=DIR (convert --family=clip_score)"
_SOUND = "--config.eval.features.audio=package.module:function"
_DANCE = "--config.eval.figures=danced_music"


def judges_for(
    conditions: Mapping[str, Mapping[str, Any]], media: Collection[str]
) -> str:
    """How this model gets judges, in a few lines of at most 80 columns.

    Args:
        conditions: of the model, name -> spec.
        media: kinds of what it draws, such as image or audio.
    """
    kinds = {name: spec["kind"] for name, spec in conditions.items()}
    flags = []
    if "image" in media:
        if kinds.get("label") == "label":  # which the judges of classes ask for by name
            fits = "labelled_pictures", "labelled_pixels (up to 16 x 16)"
            flags += [f"--config.eval.figures={name}" for name in fits]
        flags.append(_INCEPTION)
        if any(kind in TEXTS for kind in kinds.values()):
            flags.append(_CLIP)
    if "audio" in media:
        flags += [_DANCE] * ("motion" in kinds) + [_SOUND]
    if not flags:
        return "nothing judged the samples: nothing here judges tokens or numbers alone"
    lines = ["nothing judged the samples; judges (docs/metrics.md) come with"]
    return "\n".join([*lines, *(f"  {flag}" for flag in flags)])
