"""Vocabularies of texts: trained ones, CLIP's, and their place beside records."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import tiny

from cdcd_jax.config.records import check_config
from cdcd_jax.data import bpe
from cdcd_jax.data.captioned_digits import CaptionedDigits
from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.data.vocabulary import (
    END,
    FILE_NAME,
    Vocabulary,
    open_vocabulary,
    train,
)
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.stages import pretokenize as module
from cdcd_jax.stages import shard_set
from cdcd_jax.stages.pretokenize import pretokenize
from cdcd_jax.tasks import make_task

TEXTS = ["a three above a seven", "An eight to the left of a ZERO", "a seven"]


def many_texts(seed: int) -> list[str]:
    """The same texts of 600 words, in an order by seed."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(600)
    ]
    texts = [" ".join(rng.choices(words, k=9)) for _ in range(1000)]
    random.Random(seed).shuffle(texts)
    return texts


def test_words() -> None:
    vocabulary = train(TEXTS, 20)
    assert (vocabulary.kind, vocabulary.num_tokens) == ("words", 2 + 11)
    tokens = vocabulary.encode([*TEXTS, ""], 9)
    assert tokens.dtype == np.int32 and tokens.shape == (4, 9)
    assert [vocabulary.decode(row) for row in tokens] == [*map(str.lower, TEXTS), ""]
    assert tokens[3].tolist() == [END, *[0] * 8]
    assert tokens[2, 2] == END and not tokens[2, 3:].any()
    np.testing.assert_array_equal(vocabulary.encode("A  Seven", 9), tokens[2:3])


def test_pieces_spell_everything() -> None:
    vocabulary = train(many_texts(0), 400)
    assert (vocabulary.kind, vocabulary.num_tokens) == ("pairs", 400)
    for text in ("añ café's naïve dog! 日本 🙂", "say <end> or <padding>", "", "a b"):
        tokens = vocabulary.encode(text, 80)[0]
        assert vocabulary.decode(tokens) == text
        assert np.count_nonzero(tokens == END) == 1
    seen = many_texts(0)[0]
    assert np.count_nonzero(vocabulary.encode(seen, 80)) < len(seen)


@pytest.mark.parametrize("size", [400, 2000])
def test_the_order_of_texts_does_not_matter(size: int, tmp_path: Path) -> None:
    one, other = train(many_texts(1), size), train(many_texts(2), size)
    assert one.sha256 == other.sha256
    one.save(tmp_path / "one.json")
    again = Vocabulary.load(tmp_path / "one.json")
    assert again.sha256 == one.sha256
    text = many_texts(3)[0]
    np.testing.assert_array_equal(again.encode(text, 80), one.encode(text, 80))


def test_what_has_no_token() -> None:
    vocabulary = train(TEXTS, 20)
    with pytest.raises(InputError, match=r"Found 'nine', '\?' in .*11 words: a above"):
        vocabulary.encode(["a nine above a nine?"], 9)
    names = [f"{kind}bird{i}" for i in range(40) for kind in ("black", "blue")]
    many = train([*names, "seventeen sparrows"], 99)
    with pytest.raises(InputError, match=r"82 words, the nearest: sparrows; say"):
        many.encode("sparow", 9)
    with pytest.raises(InputError, match="82 words, none of them near"):
        many.encode("a", 9)
    with pytest.raises(InputError, match=r"8 tokens.*at most 6"):
        vocabulary.encode(TEXTS[1], 7)
    cut = vocabulary.encode(TEXTS[1], 7, truncate=True)[0]
    assert vocabulary.decode(cut) == "an eight to the left of" and cut[-1] == END
    with pytest.raises(InputError, match="expected a text"):
        vocabulary.encode([b"a seven"], 9)
    with pytest.raises(InputError, match="Found the token 13"):
        vocabulary.decode([13])


def test_too_small_a_size() -> None:
    with pytest.raises(InputError, match=r"Found 11 different.*text\.size to 13 .*258"):
        train(TEXTS, 12)


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": 3}', "tokens"])
def test_files_that_are_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / FILE_NAME
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="Found no vocabulary"):
        Vocabulary.load(path)


def test_clip(tmp_path: Path) -> None:
    vocabulary = open_vocabulary({"vocabulary": "clip"}, tmp_path)
    tokens = vocabulary.encode("a seven", 8)
    np.testing.assert_array_equal(tokens, bpe.encode("a seven", 8))
    assert vocabulary.decode(tokens[0]) == "a seven"
    assert vocabulary.num_tokens == bpe.NUM_TOKENS


# -- beside records --------------------------------------------------------------------


def settings(shard_records: int = 4096, **text) -> dict:
    options = dict(train_examples=60, test_examples=20)
    return dict(
        data=dict(raw="captioned_digits", options=options, shard_records=shard_records),
        grid=(16, 16),
        text=dict(vocabulary="trained", size=64, length=16, **text),
        negatives=dict(number=4, rule="caption"),
    )


def test_records(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    card = read_card(pretokenize(settings(), tmp_path))
    spec = card.conditions["text"]
    assert (spec["kind"], spec["shape"], spec["dtype"]) == ("tokens", [16], "int32")
    assert (spec["vocabulary"], spec["file"]) == ("trained", FILE_NAME)
    assert "Trained a vocabulary of" in capsys.readouterr().out
    vocabulary = open_vocabulary(spec, tmp_path)
    assert spec["num_tokens"] == vocabulary.num_tokens <= 64
    text = vocabulary.decode(RecordSource(card, "test")[3]["condition"]["text"])
    assert text.split()[0] in ("a", "an")
    train(["another", "one"], 64).save(tmp_path / FILE_NAME)
    with pytest.raises(InputError, match="with sha256"):
        open_vocabulary(spec, tmp_path)


class Killed(BaseException):
    pass


def test_killed_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretokenize(settings(20), tmp_path / "whole")
    write_shard, written = shard_set.write_shard, []

    def killed(path: Path, *args):
        written.append(path.name)
        if len(written) == 2:
            raise Killed
        return write_shard(path, *args)

    monkeypatch.setattr(shard_set, "write_shard", killed)
    with pytest.raises(Killed):
        pretokenize(settings(20), tmp_path / "parts")
    assert (tmp_path / "parts" / FILE_NAME).exists()
    pretokenize(settings(20), tmp_path / "parts")
    assert len(written) == 5  # the first shard is not made again
    files = [{p.name: p.read_bytes() for p in d.iterdir()} for d in tmp_path.iterdir()]
    assert files[0] == files[1] and FILE_NAME in files[0]
    assert read_card(whole).conditions["text"]["vocabulary"] == "trained"


def test_texts_that_changed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard = shard_set.write_shard

    def killed(path: Path, *args):
        write_shard(path, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shard_set, "write_shard", killed)
        with pytest.raises(Killed):
            pretokenize(settings(20), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "train", lambda texts, *of: train([*texts, "new"], *of))
        with pytest.raises(InputError, match="texts = "):
            pretokenize(settings(20), tmp_path)
    pretokenize(settings(20), tmp_path)


def test_words_of_the_test_split_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(CaptionedDigits, "texts")  # as of a source that has none
    config = settings()
    # one text, of two digits: the test split says more
    config["data"]["options"]["train_examples"] = 1
    config["negatives"]["number"] = 0
    with pytest.raises(InputError, match=r"expected words of the texts"):
        pretokenize(config, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (dict(vocabulary="bpe"), "'clip', 'trained', 'pairs'"),
        (dict(vocabulary="trained"), r"text\.size = 0"),
        (dict(size=64), r"text\.size = 64"),
        (dict(vocabulary="trained", size=64, features="x"), r"text\.features"),
        (dict(length=1), r"text\.length"),
    ],
)
def test_bad_settings(tmp_path: Path, text: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pretokenize({**settings(), "text": text}, tmp_path / "new")


def test_records_from_before_there_was_a_choice(tmp_path: Path) -> None:
    config = settings()
    config["text"] = dict(length=24)
    path = pretokenize(config, tmp_path) / "dataset.json"
    content = json.loads(path.read_text())
    del content["config"]["text"]["vocabulary"], content["config"]["text"]["size"]
    path.write_text(json.dumps(content))
    assert pretokenize(config, tmp_path) == tmp_path
    with pytest.raises(InputError, match=r"'text\.size': 0"):
        pretokenize(settings(), tmp_path)


# -- taken over from other records -----------------------------------------------------


def second(vocabulary: Path, **text) -> dict:
    """Records of a later stage, of other pictures and texts."""
    config = settings()
    config["data"]["options"] = dict(train_examples=20, test_examples=10)
    return config | {"text": dict(vocabulary=str(vocabulary), length=16, **text)}


def test_a_later_stage_takes_the_vocabulary_of_an_earlier_one(tmp_path: Path) -> None:
    first = read_card(pretokenize(settings(), tmp_path / "first"))
    given = tmp_path / "first" / FILE_NAME
    card = read_card(pretokenize(second(given), tmp_path / "second"))
    assert card.conditions["text"] == first.conditions["text"]
    assert (tmp_path / "second" / FILE_NAME).read_bytes() == given.read_bytes()
    row = RecordSource(card, "test")[3]["condition"]["text"]
    text = open_vocabulary(card.conditions["text"], card.directory).decode(row)
    np.testing.assert_array_equal(Vocabulary.load(given).encode(text, 16)[0], row)
    # the directory says the same as its file, and may lie anywhere
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    before = {p.name: p.read_bytes() for p in card.directory.iterdir()}
    assert pretokenize(second(moved), tmp_path / "second") == card.directory
    assert {p.name: p.read_bytes() for p in card.directory.iterdir()} == before


def test_another_vocabulary_than_that_of_the_records(tmp_path: Path) -> None:
    pretokenize(settings(), tmp_path / "first")
    given = tmp_path / "first" / FILE_NAME
    pretokenize(second(given), tmp_path / "second")
    with pytest.raises(InputError, match=r"'text\.vocabulary': 'of other records'"):
        pretokenize(second(given) | {"text": dict(length=16)}, tmp_path / "second")
    old = Vocabulary.load(given)
    train(["a", "zero"], 64).save(given)
    new = Vocabulary.load(given)
    says = rf"sha256 {old.sha256}; expected {new.sha256}, as .*{FILE_NAME} has"
    with pytest.raises(InputError, match=says):
        pretokenize(second(given), tmp_path / "second")
    with pytest.raises(InputError, match="expected words of the texts"):
        pretokenize(second(given), tmp_path / "third")


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_path_without_a_vocabulary(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(InputError, match=rf"Found no vocabulary in .*{FILE_NAME}"):
        pretokenize(second(tmp_path / FILE_NAME), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (dict(size=64), r"text\.size = 64 with .*expected .* 0 with .* that there is"),
        (dict(features="runs/clip"), r"text\.features with text\.vocabulary = '/x/"),
    ],
)
def test_settings_that_contradict_a_path(text: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_config(second(Path("/x") / FILE_NAME, **text))


# -- random batches of all kinds of conditions -----------------------------------------


def test_synthetic_conditions() -> None:
    shape = dict(shape=(7, 3))
    conditions = dict(
        text=dict(kind="text", shape=(5,), vocabulary=9),
        clip=dict(kind="clip_text", shape=(6,), vocabulary=4),
        motion=dict(kind="motion", **shape),
        video=dict(kind="features", **shape),
        dance=dict(kind="reference_motion", **shape),
        array=dict(kind="array", shape=(3,)),
        label=dict(kind="label", num_classes=4),
    )
    config = tiny.settings(contrastive=dict(num_negatives=0, weight=0.0))
    config["model"]["conditions"] = conditions
    description = make_task(config).describe()
    batch = next(synthetic_batches(description, np.arange(64)))["condition"]
    assert {k: v.shape[1:] for k, v in batch.items()} == {
        k: tuple(spec.get("shape", ())) for k, spec in conditions.items()
    }
    for name in ("text", "clip"):
        assert batch[name].dtype == np.int32
        used = np.unique(batch[name])
        assert used.tolist() == list(range(1, conditions[name]["vocabulary"]))
    for name in ("motion", "video", "dance", "array"):
        assert batch[name].dtype == np.float32
        assert abs(batch[name].mean()) < 0.2 and 0.8 < batch[name].std() < 1.2


def test_pieces_that_are_asked_for_spell_what_other_texts_say() -> None:
    vocabulary = train(TEXTS, 262, pairs=True)
    assert (vocabulary.kind, vocabulary.num_tokens) == ("pairs", 262)
    tokens = vocabulary.encode("a bell, far off", 20)[0]
    assert vocabulary.decode(tokens) == "a bell, far off"
    with pytest.raises(InputError, match=r"expected 1742 .* text\.size to \d+ or less"):
        train(TEXTS, 2000, pairs=True)
    text = dict(vocabulary="pairs", size=257)
    with pytest.raises(UsageError, match=r"size = 257 .*; expected 258 or more"):
        check_config(dict(text=text))
