"""All stages of any to any, of a table of modalities: settings alone."""

from typing import Any

import pytest

from cdcd_jax.config.any_to_any import any_to_any, shortened
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks import make_task

DIFFUSER = dict(task="conditional", model=dict(width=16, depth=1, heads=2))
WORDS = dict(vocabulary="trained", size=9, length=5)


def modality(codes: int, **more: Any) -> dict[str, Any]:
    return dict(
        data=dict(raw="captions", path=f"data/{codes}"),
        tokenizer=dict(kind="palette", levels=codes),
        num_codes=codes,
        grid=(2, 2),
        tower=dict(kind="pixels", width=8),
        diffuser=DIFFUSER,
        **more,
    )


def made(words: dict[str, Any], /, **modalities: Any) -> dict[str, Any]:
    tower = dict(vocabulary=9, width=8, depth=1, heads=2)
    changes = dict(optim=dict(num_steps=7))
    return any_to_any(dict(words, tower=tower), modalities, 6, changes, changes)


def test_the_first_modality_teaches_what_captions_mean() -> None:
    long = modality(4, text=dict(truncate=True))
    found = made({**WORDS, "diffuser": DIFFUSER}, a=modality(3), b=long)
    stages, parts = found["stages"], found["init_parts"]
    assert set(stages) == {
        f"{k}{m}" for k in ("records_", "prompts_", "") for m in "ab"
    } | {"text"}
    vocabulary = "@records_a/text-vocabulary.json"
    assert stages["records_a"]["text"] == WORDS
    words = {**WORDS, "vocabulary": vocabulary, "size": 0, "truncate": True}
    assert stages["records_b"]["text"] == words
    assert not stages["prompts_a"]["init_parts"]
    assert stages["prompts_b"]["init_parts"] == {"towers/text": "@prompts_a"}
    frozen = [stages[f"prompts_{m}"]["model"]["towers"]["text"]["frozen"] for m in "ab"]
    assert frozen == [False, True]
    source = dict(path="@prompts_a", part="towers/text")
    assert parts["prompts/text"] == stages["b"]["init_parts"]["text/tower"] == source
    assert stages["text"]["data"]["path"] == found["data"]["path"] == "@records_a"
    assert set(stages["text"]["model"]["conditions"]) == {"text", "a"}
    assert parts["diffusers/text"] == dict(path="@text", part="")
    for stage in stages.values():
        if stage["mode"] == "train":
            make_task({k: v for k, v in stage.items() if k != "mode"})
            assert stage["optim"]["num_steps"] == 7


def test_diffusers_are_aligned_with_that_of_captions() -> None:
    words = dict(WORDS, tower=dict(vocabulary=9, width=8, depth=1, heads=2))
    words["diffuser"] = DIFFUSER
    changes, steps = dict(optim=dict(num_steps=7)), dict(optim=dict(num_steps=8))
    size = dict(slots=2, width=8, depth=1, heads=2)
    pair = dict(a=modality(3), b=modality(4))
    found = any_to_any(words, pair, 6, changes, changes, size, steps)
    stages, parts = found["stages"], found["init_parts"]
    first, second = stages["align_a"], stages["align_b"]
    assert first["model"]["environment"]["trained"] == ("a", "text")
    assert second["model"]["environment"]["trained"] == ("b",)
    assert set(second["model"]["diffusers"]) == {"b", "text"}
    # what captions learned with the first one stays
    for part in ("diffusers/text", "environments/text"):
        source = dict(path="@align_a", part=part)
        assert second["init_parts"][part] == parts[part] == source
    assert "environments/text" not in first["init_parts"]
    assert parts["environments/b"]["path"] == parts["diffusers/b"]["path"] == "@align_b"
    assert stages["a"]["model"]["environment"] == 6  # of a prompt
    for stage in (first, second):
        task = make_task({k: v for k, v in stage.items() if k != "mode"})
        assert stage["optim"]["num_steps"] == 8
        assert set(task.describe()["given"]) == set(stage["init_parts"])
    with pytest.raises(UsageError, match="without a diffuser of captions"):
        del words["diffuser"]
        any_to_any(words, pair, 6, changes, changes, size, steps)


def test_a_vocabulary_that_there_is_serves_all() -> None:
    clip = dict(vocabulary="clip", size=0, length=5, truncate=True)
    found = made(clip, a=modality(3), b=modality(4))
    assert all(found["stages"][f"records_{m}"]["text"] == clip for m in "ab")
    # captions are given, and not drawn
    assert "text" in found["model"]["prompts"]
    assert "text" not in {**found["stages"], **found["model"]["diffusers"]}


def test_stages_that_a_modality_brings_and_fewer_steps() -> None:
    own = dict(mode="pretokenize")
    found = made(WORDS, a=modality(3, stages=dict(codec=own)))
    assert found["stages"]["codec"] == own
    short = shortened(found["stages"], 2, prompts_a=3)
    assert short["codec"] == own and short["records_a"] == found["stages"]["records_a"]
    assert [short[n]["optim"]["num_steps"] for n in ("a", "prompts_a")] == [2, 3]


@pytest.mark.parametrize("modalities", [{}, {"text": modality(3)}])
def test_what_modalities_cannot_be(modalities: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected one or more beside captions"):
        made(WORDS, **modalities)
