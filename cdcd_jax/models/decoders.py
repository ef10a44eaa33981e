"""What a model draws -> what people look at and listen to, output by output.

A task that draws one stream of tokens calls it `tokens`: what it is decoded to keeps
the tokenizer's name (images, videos, audio). Of several outputs, or of one with another
name, `<m>` is what people see and `tokens/<m>` the tokens behind it. The names are
those of samples.npz.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from cdcd_jax.data.card import Card
from cdcd_jax.errors import UsageError
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.models.vocabularies import open_texts
from cdcd_jax.reporting.sheets import Medium, sample_rate_of

SINGLE = "tokens"
# name in what a tokenizer decodes to -> kind of medium
_MEDIA = {"images": "image", "videos": "video", "audio": "audio"}


class Decoders:
    """One decoder for each output of a task.

    Args:
        outputs: name -> spec, as the task's `describe()` has it. Kind 'tokens' is
            decoded by a tokenizer, 'text' by a vocabulary; 'image' (uint8 [H, W, C]),
            'audio' (float32 [S], `sample_rate`), 'label' (`names`, if they are known)
            and 'vector' are finished as they are.
        opened: (name, spec) -> the tokenizer or the vocabulary of an output.
    """

    def __init__(
        self,
        outputs: Mapping[str, Mapping[str, Any]],
        opened: Callable[[str, Mapping[str, Any]], Any],
    ) -> None:
        self.outputs = dict(outputs)
        self._opened = {
            name: opened(name, spec)
            for name, spec in outputs.items()
            if spec["kind"] in ("tokens", "text")
        }

    def of(self, name: str) -> Any:
        """The tokenizer or vocabulary of an output; None if it has none."""
        return self._opened.get(name)

    @property
    def tokenizer(self) -> Any:
        """Of the one stream of tokens that canvases are made of.

        Raises:
            UsageError: the task has no output of this name.
        """
        if SINGLE not in self._opened:
            raise UsageError(
                f"Found outputs {', '.join(self.outputs)}; expected one called "
                f"{SINGLE!r}, which alone can be edited or drawn in windows; leave "
                "edits out, and give motion of the length that the model takes"
            )
        return self._opened[SINGLE]

    @property
    def media(self) -> dict[str, Medium]:
        """Name in what `decode` gives -> what it is."""
        return self.media_of(lambda name: True)

    def media_of(self, keeps: Callable[[str], bool]) -> dict[str, Medium]:
        """The same of the outputs that are kept."""
        return dict(self._media(keeps))

    def _media(self, keeps: Callable[[str], bool]) -> Iterator[tuple[str, Medium]]:
        for name, spec in self.outputs.items():
            if not keeps(name):
                continue
            if spec["kind"] != "tokens":
                rate, names = spec.get("sample_rate"), tuple(spec.get("names", ()))
                yield name, Medium(spec["kind"], name, rate, names)
                continue
            tokenizer = self._opened[name]
            for decoded in tokenizer.outputs:
                key, stem = (decoded, "sample") if name == SINGLE else (name, name)
                yield key, Medium(_MEDIA[decoded], stem, tokenizer.sample_rate)

    @property
    def sample_rate(self) -> int | None:
        """Of what is decoded to sound, Hz."""
        return sample_rate_of(self.media)

    @property
    def tokens(self) -> dict[str, int]:
        """Name of an output that is tokens of a codebook -> K."""
        return {
            name: spec["num_codes"]
            for name, spec in self.outputs.items()
            if spec["kind"] == "tokens"
        }

    def decode(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs, decoded; arrays that are no output pass as they are."""
        found = {}
        for name, array in outputs.items():
            kind = self.outputs.get(name, {}).get("kind")
            if kind == "tokens":
                key = name if name == SINGLE else f"tokens/{name}"
                decoded = self._opened[name].decode(array)
                if name != SINGLE and decoded:
                    (decoded[name],) = map(decoded.pop, list(decoded))
                found |= {key: array, **decoded}
            elif kind == "text":
                texts = [self._opened[name].decode(row) for row in array]
                found |= {f"tokens/{name}": array, name: np.array(texts)}
            else:
                found[name] = array
        return found


def open_decoders(
    config: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, Any]],
    workdir: Any = None,
    card: Card | None = None,
) -> Decoders:
    """The decoders of a model.

    Args:
        config: a whole experiment; `tokenizer` is that of every output of tokens whose
            spec names no `tokenizer` of its own.
        outputs: of the task's `describe()`.
        workdir: of the model, which may hold its vocabulary.
        card: of its records, if they are at hand.

    Raises:
        InputError: no such tokenizer or vocabulary.
    """

    def opened(name: str, spec: Mapping[str, Any]) -> Any:
        if spec["kind"] == "text":
            return open_texts(name, spec, card, workdir)
        settings = spec["tokenizer"] if "tokenizer" in spec else config["tokenizer"]
        return open_tokenizer(settings, spec["grid"])

    return Decoders(outputs, opened)
