"""The config of any modality from any others (CoDi): all stages, of a table.

Each modality has records, pairs of what it is with captions. The first one's stage of
towers trains the tower of texts too; the others keep that one as it is, so that all
prompts meet in one space. Each diffuser is a run of its own, prompted by captions and
by what it draws. Stages, of a modality <m> where the first one is <f>:

    records_<m>    its pairs; all have the vocabulary of records_<f>
    prompts_<m>    its tower, and with records_<f> the one of texts
    <m>            its diffuser; `text`, the one of captions, is trained on records_<f>
    align_<m>      where diffusers are to draw together: what <m> and captions show
                   each other, trained on records_<m>; captions learn it with <f> alone

and what a modality brings itself, such as a tokenizer's training. So a modality more is
three stages more, four where diffusers are aligned, and none of the others changes.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from cdcd_jax.config.keys import experiment
from cdcd_jax.config.merging import merge
from cdcd_jax.errors import UsageError

TEXT = "text"  # the name of captions, in records and among the modalities
OF_TOKENS = dict(field="tokens")  # in place of a condition of the same name


def any_to_any(
    text: Mapping[str, Any],
    modalities: Mapping[str, Mapping[str, Any]],
    features: int,
    prompts: Mapping[str, Any],
    diffusers: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    alignments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sections for `experiment`: all but `sampling` and `eval`.

    Args:
        text: of captions, dict(
            vocabulary=.., size=.., length=..  of records, see config.records; further
                                               keys of `text` there may stand beside
            tower=dict(vocabulary=..)          number of tokens, and sizes
            diffuser=dict(task=.., ..)         what draws captions; may be left out).
        modalities: name -> dict(
            data=dict(raw=.., ..)              of records, see config.records
            tokenizer=dict(kind=.., ..)        what makes tokens of it
            num_codes=.., grid=..              of these tokens
            tower=dict(kind=.., ..)            what reads them, see networks.towers
            diffuser=dict(task=.., ..)         what draws them: sections of a config
            text=dict(..)                      of its records, laid over `text` above
            stages=dict(..)                    what else it needs).
            The last two may be left out.
        features: of a prompt's vector.
        prompts: changes of each stage of towers.
        diffusers: changes of each stage of a diffuser.
        environment: `model.environment` but for `size` (that of a prompt) and
            `trained`, if diffusers are aligned to draw together, each with that of
            captions; None for no alignment.
        alignments: changes of each stage that aligns.

    Raises:
        UsageError: no modality, one that is called as captions are, or an alignment
            without a diffuser of captions.
    """
    if not modalities or TEXT in modalities:
        raise UsageError(
            f"Found the modalities {', '.join(modalities) or '(none)'}; expected one "
            f"or more beside captions, which are called {TEXT!r}; name them otherwise."
        )
    first = next(iter(modalities))
    towers = {name: _tower(own) for name, own in modalities.items()}
    words = {k: v for k, v in text.items() if k not in ("tower", "diffuser")}
    towers[TEXT] = dict(kind="text", shape=(words["length"],), **text["tower"])
    specs = {name: _spec(own) for name, own in modalities.items()}
    if "diffuser" in text:
        specs[TEXT] = _spec_of_text(text["diffuser"], towers[TEXT])
    came_from = {
        name: dict(path=f"@prompts_{first if name == TEXT else name}", part=part)
        for name, part in ((name, f"towers/{name}") for name in towers)
    }
    if environment is not None:
        if TEXT not in specs:
            raise UsageError(
                "Found an environment without a diffuser of captions, with which each "
                "modality is aligned; expected text.diffuser; name it."
            )
        environment = dict(environment, size=features)
        for spec in specs.values():
            spec["model"] = dict(spec["model"], environment=features)
    stages: dict[str, Any] = {}
    for name, own in modalities.items():
        stages |= own.get("stages", {})
        texts = {**words, **own.get("text", {})}
        stages[f"records_{name}"] = _records(own, _words(texts, name, first))
        parts = {} if name == first else {f"towers/{TEXT}": f"@prompts_{first}"}
        pair = {name: towers[name], TEXT: towers[TEXT]}
        stages[f"prompts_{name}"] = _prompts(name, pair, features, parts, prompts)
    for name, spec in specs.items():
        pair_of = first if name == TEXT else name
        pair = {one: (towers[one], came_from[one]) for one in (TEXT, pair_of)}
        stages[name] = _diffuser(pair_of, spec, pair, features, diffusers)
    parts_of_all = {f"prompts/{name}": source for name, source in came_from.items()}
    sources = {f"diffusers/{name}": dict(path=f"@{name}", part="") for name in specs}
    model = dict(features=features, stream=first, prompts=towers, diffusers=specs)
    if environment is not None:
        for name in modalities:
            new = (name, TEXT) if name == first else (name,)
            stages[f"align_{name}"] = _alignment(
                name, model, {**parts_of_all, **sources}, environment, new, alignments
            )
            for one, kind in itertools.product(new, ("diffusers", "environments")):
                part = f"{kind}/{one}"
                sources[part] = dict(path=f"@align_{name}", part=part)
        model["environment"] = environment
    return dict(
        task="composable",
        stages=stages,
        data=dict(path=f"@records_{first}"),
        init_parts={**parts_of_all, **sources},
        model=model,
        optim=dict(num_steps=0),
    )


def _alignment(
    name: str,
    model: Mapping[str, Any],
    sources: Mapping[str, Any],
    environment: Mapping[str, Any],
    new: tuple[str, ...],
    changes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A modality and captions, which learn to see each other; those that are `new`."""
    pair = (name, TEXT)
    own = dict(model, stream=name, environment=dict(environment, trained=new))
    for part in ("prompts", "diffusers"):
        own[part] = {one: model[part][one] for one in pair}
    needed = {k: v for k, v in sources.items() if k.split("/")[1] in pair}
    config = experiment(
        task="composable",
        data=dict(path=f"@records_{name}"),
        init_parts=needed,
        model=own,
    )
    return dict(mode="train", **merge(config, changes or {}))


def shortened(stages: Mapping[str, Any], steps: int, **others: int) -> dict[str, Any]:
    """Stages that train for `steps`, or as `others` say by name: too few to learn."""
    return {
        name: merge(
            own, dict(optim=dict(num_steps=others.get(name, steps), warmup_steps=1))
        )
        if own["mode"] == "train"
        else own
        for name, own in stages.items()
    }


def _tower(own: Mapping[str, Any]) -> dict[str, Any]:
    return dict(own["tower"], grid=own["grid"], num_codes=own["num_codes"])


def _spec(own: Mapping[str, Any]) -> dict[str, Any]:
    """A diffuser of tokens."""
    sizes = dict(grid=own["grid"], num_codes=own["num_codes"])
    spec = own["diffuser"]
    return dict(
        spec, tokenizer=own["tokenizer"], model=dict(spec.get("model", {}), **sizes)
    )


def _spec_of_text(spec: Mapping[str, Any], tower: Mapping[str, Any]) -> dict[str, Any]:
    """A diffuser of what a text's tower reads."""
    sizes = dict(grid=(1, *tower["shape"]), num_codes=tower["vocabulary"])
    model = dict(spec.get("model", {}), target=TEXT, **sizes)
    return dict(spec, tokenizer=dict(kind="none"), model=model)


def _words(words: Mapping[str, Any], name: str, first: str) -> dict[str, Any]:
    """Of a modality's records; a vocabulary is trained once."""
    if name == first or not words["size"]:
        return dict(words)
    return dict(words, vocabulary=f"@records_{first}/text-vocabulary.json", size=0)


def _records(own: Mapping[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    return dict(
        mode="pretokenize",
        seed=0,
        data=own["data"],
        tokenizer=own["tokenizer"],
        grid=own["grid"],
        text=words,
    )


def _prompts(
    name: str,
    pair: Mapping[str, Any],
    features: int,
    parts: Mapping[str, str],
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    """The towers of text and of a modality; text's is frozen where it comes from."""
    text = dict(pair[TEXT], field=TEXT, frozen=bool(parts))
    own = experiment(
        task="bridge",
        data=dict(path=f"@records_{name}"),
        init_parts=parts,
        model=dict(towers={**pair, TEXT: text}, features=features, same=TEXT),
    )
    return dict(mode="train", **merge(own, changes))


def _diffuser(
    records: str,
    spec: Mapping[str, Any],
    pair: Mapping[str, Any],
    features: int,
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    """A run of its own, prompted by text, by what it draws, or by both."""
    prompt = dict(kind="prompt", features=features, frozen=True)
    conditions = {
        name: dict(prompt, encoder=tower, **({} if name == TEXT else OF_TOKENS))
        for name, (tower, _) in pair.items()
    }
    seen = dict(conditions=conditions, prompt_noise=0.1)
    own = experiment(
        **{**spec, "model": {**spec["model"], **seen}},
        data=dict(path=f"@records_{records}"),
        init_parts={f"{name}/tower": source for name, (_, source) in pair.items()},
    )
    return dict(mode="train", **merge(own, changes))
