"""Opens the networks that `metrics.features` reads with, and keeps what is real.

judge = FeatureJudge(dict(inception="runs/inception", clip="", audio="", cache=DIR))
figures = judge.figures({"unguided": {"images": images}}, {"images": real})
"""

import hashlib
import itertools
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.metrics.audio_distance import open_embedding
from cdcd_jax.metrics.clip_score import Clip
from cdcd_jax.metrics.features import (
    InceptionReader,
    Readers,
    Statistics,
    feature_figures,
)
from cdcd_jax.networks.clip_image import ClipImage
from cdcd_jax.networks.clip_text import ClipText
from cdcd_jax.networks.inception import parameter_shapes
from cdcd_jax.reporting import files
from cdcd_jax.runtime import hosts
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.runtime.leaf_table import weights_digest

SETTINGS = dict(
    inception="",  # work directory of convert --family=inception; "" for no FID
    clip="",  # work directory of convert --family=clip_score; "" for no CLIPScore
    audio="",  # package.module:function of an embedding; "" for no FAD
    cache=None,  # folder where statistics of real data are kept; None for nowhere
)
_FORM = b"1"  # of kept statistics; another one makes them anew


class FeatureJudge:
    """The readers that some settings name, ready before anything is drawn."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Opens them.

        Args:
            settings: as SETTINGS, whose values are the defaults.

        Raises:
            UsageError: an unknown setting, or no such function.
            InputError: no such converted weights.
        """
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown:
            raise UsageError(
                f"Found the setting {unknown[0]!r} of features; expected of "
                f"{', '.join(SETTINGS)}. Correct its name."
            )
        settings = {**SETTINGS, **settings}
        self._cache = settings["cache"]
        # by reader; without one nothing of it is kept
        self._fingerprints: dict[str, str] = {}
        readers: dict[str, Any] = {}
        if settings["inception"]:
            params = _load(settings["inception"], "inception", _inception_shapes)[1]
            readers["inception"] = InceptionReader(params)
            self._fingerprints["inception"] = weights_digest(params).hexdigest()
        if settings["clip"]:
            config, params = _load(settings["clip"], "clip_score", _clip_shapes)
            readers["clip"] = Clip(config["text"], config["image"], params).cosines
        if settings["audio"]:
            readers["audio"] = open_embedding(settings["audio"])
            own = getattr(readers["audio"], "fingerprint", None)
            if own:
                self._fingerprints["audio"] = f"{settings['audio']} {own}"
        self.readers = Readers(**readers)

    def needs(self) -> tuple[str, ...]:
        """Which of images, texts and audio the samples must have."""
        readers = self.readers
        pictures = readers.inception or readers.clip
        wanted = dict(images=pictures, texts=readers.clip, audio=readers.audio)
        return tuple(name for name, reader in wanted.items() if reader)

    def figures(
        self, samples: Mapping[str, Mapping[str, Any]], real: Mapping[str, Any]
    ) -> dict[str, float]:
        """See `metrics.features.feature_figures`.

        Raises:
            UsageError: samples or real data without what a reader reads.
        """
        # one set at a time: they may be decoded when they are looked at
        for name, part in itertools.chain(samples.items(), [("real", real)]):
            told = name not in ("real", "reconstructed")
            needed = [n for n in self.needs() if n != "texts" or told]
            missing = [key for key in needed if key not in part]
            if missing:
                raise UsageError(
                    f"Found no {missing[0]} among the {name} examples, only "
                    f"{', '.join(part)}; expected {', '.join(needed)} for the features "
                    "that are asked for. Leave the other settings of features empty."
                )
        keep = lambda name, make: self._kept(name, real, make)
        return feature_figures(samples, real, self.readers, keep)

    def _kept(
        self, name: str, real: Mapping[str, Any], make: Callable[[], Statistics]
    ) -> Statistics:
        """The statistics from their file, or made and written there."""
        if self._cache is None or name not in self._fingerprints:
            return make()
        key = hashlib.sha256(_FORM + self._fingerprints[name].encode())
        media = {"inception": "images", "audio": "audio"}[name]
        key.update(_digest(real[media]))
        if name == "audio":
            key.update(f"{real['sample_rate']}".encode())
        folder = files.as_path(self._cache)
        path = folder / f"{name}_{key.hexdigest()[:32]}.npz"
        known = _read(path)
        if known is None:
            known = make()
            if hosts.is_main():
                files.write_npz(path, **known)
        return known


def _digest(array: Any) -> bytes:
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(array.data)
    return digest.digest()


def _read(path: Any) -> Statistics | None:
    """The arrays of a file; None if it is not there or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _load(
    workdir: str, family: str, shapes_of: Callable[[Mapping[str, Any]], Any]
) -> tuple[dict[str, Any], Any]:
    """Config and parameters of what a converter wrote.

    Raises:
        InputError: nothing, or of another family.
    """
    try:
        config = json.loads((files.as_path(workdir) / "config.json").read_text("utf-8"))
        if config["task"] != family:
            raise ValueError(f"its task is {config['task']!r}")
        shapes = shapes_of(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Found no weights of the family {family} in {workdir} "
            f"({type(error).__name__}: {error}); expected what `python -m "
            f"cdcd_jax.convert --family={family}` wrote. Convert them, or correct the "
            "path."
        ) from error
    return config, load_parts(workdir, shapes, {})[1]


def _inception_shapes(config: Mapping[str, Any]) -> Any:
    del config
    return parameter_shapes()


def _clip_shapes(config: Mapping[str, Any]) -> Any:
    text, image = ClipText(**config["text"]), ClipImage(**config["image"])
    if text.vocabulary != bpe.NUM_TOKENS:
        raise ValueError(f"{text.vocabulary} tokens, not CLIP's {bpe.NUM_TOKENS}")
    tokens = jax.ShapeDtypeStruct((1, text.length), jnp.int32)
    side = image.resolution
    pixels = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shape = lambda net, x: jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    return {"text": shape(text, tokens), "image": shape(image, pixels)}


def check_media(needs: Sequence[str], media: str, texts: bool) -> None:
    """Whether a model's samples will have what the readers read.

    Args:
        needs: `FeatureJudge.needs()`.
        media: 'image' or 'audio'.
        texts: whether the model's conditions hold a text.

    Raises:
        UsageError: they will not.
    """
    there = {"images": media == "image", "audio": media == "audio", "texts": texts}
    for name in needs:
        if not there[name]:
            kept = "a text" if texts else "no text"
            raise UsageError(
                f"Found features of {name} asked for of a model of {media} with {kept} "
                f"among its conditions; expected those of what it has. Leave the "
                "settings of features that read others empty."
            )
