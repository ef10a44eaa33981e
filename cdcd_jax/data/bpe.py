"""CLIP's byte-pair tokens of texts, equal to those of openai/CLIP, and back.

The vocabulary (49,408 tokens: 256 bytes, the same at the end of a word, 48,894 merges,
a start and an end) is read from the file beside this one. OpenAI first passes texts
through the package ftfy. What it does to text that was decoded rightly is done here
(entities, curly quotes, ligatures, full-width letters, control characters, composed
accents); its repair of text that was decoded wrongly ("cafÃ©") is not: such text is
tokenized as it stands. What a letter is, is what Python's Unicode tables say.
"""

import functools
import gzip
import html
import itertools
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from cdcd_jax.errors import InputError

NUM_TOKENS = 49408
START, END = NUM_TOKENS - 2, NUM_TOKENS - 1
_FILE = pathlib.Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
_NUM_MERGES = NUM_TOKENS - 2 * 256 - 2
_MOST_BYTES = 32  # of a token
_SPECIAL = {"<|startoftext|>": START, "<|endoftext|>": END}
_WHOLE = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d", re.IGNORECASE
)
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TERMINAL = re.compile("\x1b\\[((?:\\d|;)*)([a-zA-Z])")
# Control characters that were letters of Windows-1252.
_WINDOWS = {n: bytes([n]).decode("cp1252", "ignore") or chr(n) for n in range(128, 160)}
# How single characters are cleaned: None drops them.
_CLEANED: dict[int, str | None] = {
    **{ord(c): unicodedata.normalize("NFKC", c) for c in "ĲĳǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬆ"},
    **{n: unicodedata.normalize("NFKC", chr(n)) for n in range(0xFF01, 0xFFF0)},
    **dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'"),
    **dict.fromkeys(range(0x201C, 0x2020), '"'),
    **dict.fromkeys((*range(9), 0x0B, *range(0x0E, 0x20), 0x7F)),
    **dict.fromkeys((*range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))),
    **{ord("ŉ"): "'n", ord("ﬅ"): "ſt"},
}


def merges() -> list[str]:
    """The pairs that are merged, the first first, as their file writes them: 'a b'."""
    with gzip.open(_FILE, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[1 : 1 + _NUM_MERGES]


def vocabulary() -> dict[str, int]:
    """The token of each piece, as Hugging Face's vocab.json has them."""
    pieces = [*_letters(), *(f"{letter}</w>" for letter in _letters())]
    pieces += [pair.replace(" ", "") for pair in merges()]
    return {piece: i for i, piece in enumerate(pieces)} | _SPECIAL


def _letters() -> dict[str, int]:
    """How the file writes a byte: as it is, or by another letter if not printable."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [n for n in range(256) if n not in printable]
    letters = {chr(n): n for n in printable}
    return letters | {chr(256 + i): n for i, n in enumerate(others)}


class _Vocabulary:
    """Tokens of byte strings, ranks of merges. A word's last byte carries an end.

    A piece is a tuple (bytes, whether it ends a word).
    """

    def __init__(self) -> None:
        letters = _letters()

        def piece(text: str) -> tuple[bytes, bool]:
            letters_only = text.removesuffix("</w>")
            value = bytes(letters[letter] for letter in letters_only)
            return value, text != letters_only

        pairs = [tuple(map(piece, line.split())) for line in merges()]
        self.rank = {pair: i for i, pair in enumerate(pairs)}
        self.pieces = [
            *((bytes([n]), False) for n in letters.values()),
            *((bytes([n]), True) for n in letters.values()),
            *((a + b, end) for (a, _), (b, end) in pairs),
        ]
        self.token = {piece: i for i, piece in enumerate(self.pieces)}
        self.cache: dict[str, list[int]] = {}

    def word(self, text: str) -> list[int]:
        """Tokens of one word: the pair of least rank is merged until none is left."""
        if text in self.cache:
            return self.cache[text]
        if text.lower() in _SPECIAL:
            return [_SPECIAL[text.lower()]]
        data = text.encode()
        parts = [(bytes([n]), False) for n in data[:-1]] + [(data[-1:], True)]
        while len(parts) > 1:
            pairs = set(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.rank.get(pair, _NUM_MERGES))
            if best not in self.rank:
                break
            parts = _merge(parts, best)
        tokens = [self.token[part] for part in parts]
        if len(self.cache) < 1_000_000:
            self.cache[text] = tokens
        return tokens


def _merge(parts: list[tuple], pair: tuple) -> list[tuple]:
    """`parts` with every occurrence of the pair joined, from the left."""
    out, i = [], 0
    while i < len(parts):
        if (parts[i], *parts[i + 1 : i + 2]) == pair:
            out.append((pair[0][0] + pair[1][0], pair[1][1]))
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


_vocabulary = functools.cache(_Vocabulary)


def clean(text: str) -> str:
    """What is tokenized of a text: entities resolved, one space between words, lower.

    `words` splits it.
    """
    if "<" not in text:
        text = _ENTITY.sub(_resolve, text)
    text = _TERMINAL.sub("", text).translate(_WINDOWS).translate(_CLEANED)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = unicodedata.normalize("NFC", text)
    text = html.unescape(html.unescape(text))
    return " ".join(text.split()).lower()


def _resolve(entity: re.Match[str]) -> str:
    """The character of an entity, also of one in capitals such as &NTILDE;."""
    text = html.unescape(entity[0])
    if text == entity[0] and text.isupper():
        return html.unescape(text.lower()).upper()
    return text


def words(text: str) -> Iterator[str]:
    """Splits clean text into runs of letters, single digits, runs of signs, and 's."""
    start = 0
    while start < len(text):
        kind = _kind(text[start])
        whole = _WHOLE.match(text, start)
        end = whole.end() if whole else start + 1
        while not whole and kind in "LO" and end < len(text):
            if _kind(text[end]) != kind:
                break
            end += 1
        if kind != " ":
            yield text[start:end]
        start = end


@functools.lru_cache(65536)
def _kind(letter: str) -> str:
    """L letter, N number, ' ' space, O other."""
    if letter.isspace():
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "O"


class TooLong(InputError):
    """A text has more tokens than a row, and is not to be cut."""


def encode(
    texts: str | Sequence[str], length: int = 77, truncate: bool = False
) -> np.ndarray:
    """Tokens int32 [N, length]: a start, those of the text, an end, zeros.

    Args:
        texts: N texts, or one.
        length: tokens of a row, at least 2.
        truncate: cut texts that are too long, keeping the end token.

    Raises:
        InputError: a text is too long and `truncate` is false, or is not a string.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    vocabulary = _vocabulary()
    out = np.zeros((len(texts), length), np.int32)
    for row, text in zip(out, texts, strict=True):
        if not isinstance(text, str):
            raise InputError(
                f"Found {text!r} of type {type(text).__name__}; expected a text; "
                "decode bytes and write '' for an empty caption."
            )
        tokens = []
        for word in words(clean(text)):
            # a longer word does not fit, and would take long
            tokens += vocabulary.word(word[: _MOST_BYTES * length])
            if len(tokens) > length - 2:
                break
        if len(tokens) > length - 2 and not truncate:
            raise TooLong(
                f"Found a text of more than {length - 2} tokens, {text[:60]!r} ...; "
                "expected at most these; shorten it or allow truncation."
            )
        tokens = [START, *tokens[: length - 2], END]
        row[: len(tokens)] = tokens
    return out


def decode(tokens: Sequence[int] | np.ndarray) -> str:
    """The clean text of one row of tokens; start, end and what follows are left out.

    Raises:
        InputError: a token outside [0, 49408).
    """
    pieces = _vocabulary().pieces
    text = b""
    for token in map(int, tokens):
        if not 0 <= token < NUM_TOKENS:
            raise InputError(
                f"Found the token {token}; expected 0 to {NUM_TOKENS - 1}; give tokens "
                "that `encode` made."
            )
        if token == END:
            break
        if token != START:
            piece, ends_word = pieces[token]
            text += piece + b" " * ends_word
    return text.decode("utf-8", errors="replace").strip()
