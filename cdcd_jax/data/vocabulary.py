"""Vocabularies of text conditions: one trained on the records' texts, or CLIP's.

A trained one, made with the library `tokenizers`, has a token for each word where all
words of its texts fit into its size (`kind` "words"), and byte pairs otherwise
("pairs") or where these are asked for. Texts are cleaned and lower-cased as for CLIP
(`bpe.clean`). Token 0 is padding, token 1 ends a text; there is no token for what is
unknown: words without a token are an error that names them. Byte pairs spell
everything. Same texts, same bytes.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.errors import InputError

FILE_NAME = "text-vocabulary.json"
PADDING, END = 0, 1
_SPECIAL = ["<padding>", "<end>"]
_BYTES = 256
_SHOWN = 60  # words that an error lists whole


def train(texts: Iterable[str], size: int, pairs: bool = False) -> "Vocabulary":
    """A vocabulary of at most `size` tokens, padding and end among them.

    Args:
        texts: in any order, which does not matter.
        pairs: of byte pairs, and of exactly that size.

    Raises:
        InputError: more words than that, and too small a size for byte pairs; or texts
            that do not give as many pairs.
    """
    # threads would gain little and make `tokenizers` warn in processes forked later
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [bpe.clean(text) for text in texts]
    words = Tokenizer(models.WordLevel())
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    every = trainers.WordLevelTrainer(
        vocab_size=2**31, special_tokens=_SPECIAL, show_progress=False
    )
    words.train_from_iterator(texts, every)
    number = words.get_vocab_size()
    if number <= size and not pairs:
        return Vocabulary(words.to_str())
    least = len(_SPECIAL) + _BYTES
    if size < least:
        raise InputError(
            f"Found {number - len(_SPECIAL)} different words in the texts; expected at "
            f"most {size - len(_SPECIAL)} for a vocabulary of {size} tokens, or room "
            f"for byte pairs; set text.size to {number} or more for one token a word, "
            f"or to {least} or more (better thousands) for pieces of words."
        )
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    found = pieces.get_vocab_size()
    if pairs and found < size:
        raise InputError(
            f"Found {found - least} pairs of bytes to be had from the texts; expected "
            f"{size - least} for a vocabulary of {size} tokens; set text.size "
            f"to {found} or less, and a model's vocabulary with it."
        )
    return Vocabulary(pieces.to_str())


class Vocabulary:
    """See the top of this file.

    Attributes:
        kind: words, pairs.
        num_tokens: with padding and end.
    """

    def __init__(self, description: str) -> None:
        """Args: what `tokenizers` writes; ValueError if it is no such thing."""
        from tokenizers import Tokenizer

        # its own errors are bare Exceptions
        try:
            self._tokenizer = Tokenizer.from_str(description)
        except Exception as error:
            raise ValueError(str(error)) from error
        self._tokenizer.encode_special_tokens = True  # "<end>" in a text is text
        self._tokens = self._tokenizer.get_vocab()
        self.num_tokens = len(self._tokens)
        model = type(self._tokenizer.model).__name__
        self.kind = {"WordLevel": "words", "BPE": "pairs"}.get(model, "")
        found = [self._tokens.get(name) for name in _SPECIAL]
        if not self.kind or found != [PADDING, END]:
            raise ValueError(f"a {model} model with {_SPECIAL} at {found}")
        content = json.loads(description)
        self._bytes = (
            json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        ).encode()

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """From the file of `save`, or the directory of records where it lies.

        Raises:
            InputError: there is none, or it holds something else.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"Found no vocabulary in {path} ({error}); expected the file "
                f"{FILE_NAME} that lies beside the records whose texts it encodes; "
                "copy it anew, or make the records again."
            ) from error

    def save(self, path: str | Path) -> None:
        """Writes it; the file appears whole or not at all."""
        temporary = Path(f"{path}.tmp")
        with temporary.open("wb") as file:
            file.write(self._bytes)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    @property
    def sha256(self) -> str:
        """Of the file that `save` writes, hexadecimal."""
        return hashlib.sha256(self._bytes).hexdigest()

    def encode(
        self, texts: str | Sequence[str], length: int, truncate: bool = False
    ) -> np.ndarray:
        """Tokens int32 [N, length]: those of the text, an end, zeros.

        Args:
            texts: N texts, or one.
            length: tokens of a row, 1 or more.
            truncate: cut texts that are too long, keeping the end token.

        Raises:
            InputError: a word without a token, or a text that is too long while
                `truncate` is false, or is not a string.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        out = np.zeros((len(texts), length), np.int32)
        for row, text in zip(out, texts, strict=True):
            tokens = self._encode(text)
            if len(tokens) >= length and not truncate:
                raise bpe.TooLong(
                    f"Found a text of {len(tokens)} tokens, {text[:60]!r} ...; "
                    f"expected at most {length - 1}; shorten it or allow truncation."
                )
            tokens = [*tokens[: length - 1], END]
            row[: len(tokens)] = tokens
        return out

    def _encode(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise InputError(
                f"Found {text!r} of type {type(text).__name__}; expected a text; "
                "decode bytes and write '' for an empty caption."
            )
        text = bpe.clean(text)
        if self.kind == "pairs":
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        words = [w for w, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        unknown = [w for w in dict.fromkeys(words) if w not in self._tokens][:10]
        if unknown:
            raise InputError(
                f"Found {', '.join(map(repr, unknown))} in {text[:60]!r}; expected "
                "words of the texts that the vocabulary was made of, "
                f"{self._shown(unknown)}; say it in those. (If the records are still "
                "to be made: with a text.size below the number of words, words are "
                "spelled in pieces.)"
            )
        return [self._tokens[word] for word in words]

    def _shown(self, unknown: Sequence[str]) -> str:
        """All words where they are few, otherwise the nearest."""
        words = sorted(self._tokens.keys() - set(_SPECIAL))
        if len(words) <= _SHOWN:
            return f"{len(words)} words: {' '.join(words)}"
        near = [n for word in unknown for n in difflib.get_close_matches(word, words)]
        nearest = f", the nearest: {' '.join(near)}" if near else ", none of them near"
        return f"{len(words)} words{nearest}"

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The clean text of one row of tokens, up to its end.

        Raises:
            InputError: a token outside [0, num_tokens).
        """
        kept = []
        for token in map(int, tokens):
            if not 0 <= token < self.num_tokens:
                raise InputError(
                    f"Found the token {token}; expected 0 to {self.num_tokens - 1}; "
                    "give tokens that this vocabulary made."
                )
            if token == END:
                break
            kept += [token] if token != PADDING else []
        if self.kind == "pairs":
            return self._tokenizer.decode(kept).strip()
        return " ".join(self._tokenizer.id_to_token(token) for token in kept)


class ClipVocabulary:
    """CLIP's byte pairs (`data.bpe`) as a vocabulary."""

    kind, num_tokens = "clip", bpe.NUM_TOKENS

    def encode(
        self, texts: str | Sequence[str], length: int, truncate: bool = False
    ) -> np.ndarray:
        """See `bpe.encode`."""
        return bpe.encode(texts, length, truncate)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """See `bpe.decode`."""
        return bpe.decode(tokens)


def open_vocabulary(
    spec: Mapping[str, Any], directory: str | Path
) -> Vocabulary | ClipVocabulary:
    """The vocabulary of a text condition of records.

    Args:
        spec: the condition in the records' card.
        directory: of the records, where a trained vocabulary lies.

    Raises:
        InputError: there is none, or another one than the card says.
    """
    if spec["vocabulary"] == "clip":
        return ClipVocabulary()
    path = Path(directory) / spec["file"]
    vocabulary = Vocabulary.load(path)
    if vocabulary.sha256 != spec["sha256"]:
        raise InputError(
            f"Found the vocabulary {path} with sha256 {vocabulary.sha256}; expected "
            f"{spec['sha256']}, as the records' card says; copy it anew, or make the "
            "records again."
        )
    return vocabulary
