r"""Any to any of your own: folders of pictures, sounds, sketches and captions (CoDi).

    python -m cdcd_jax.main --config=configs/codi/folders.py            # all stages
    python -m cdcd_jax.main --config=configs/codi/folders.py --stage=sounds  # up to one
    M="python -m cdcd_jax.main --workdir=runs/codi/folders --mode=generate"
    $M --condition.text="a dog barks" --config.sampling.outputs=pictures,sounds
    $M --condition.pictures=dog.png --config.sampling.outputs=sounds
    $M --condition.sounds=bark.wav --condition.text=night \
        --config.sampling.outputs=sketches
    $M --config.sampling.outputs=pictures,sounds,text  # which see each other

A folder is a modality, a line of MODALITIES below. In it lie files of any names and
lists of them; a file of several captions has several lines:

    data/pictures/train.jsonl, test.jsonl    {"image": "a/1.jpg", "caption": "a dog"}
    data/sounds/train.jsonl, test.jsonl      {"audio": "1.wav", "caption": "it barks"}

Nothing has to stand in two folders. Captions alone bring modalities together, those of
the first folder teach what they mean: let it be the largest, and of all the others'
subjects.

A modality more is a line more in MODALITIES and the same command: its records, its
tower, its diffuser and how that sees captions are trained (and a tokenizer, unless it
has another's), and all that there is stays as it is. Take it out again and the model
does without it. The first line and the sizes stay what they are; for others, take
another --workdir.

Steps take 3 to 12 GiB, as XLA plans them for a CPU, so that a GPU with 24 GB should do;
nobody has trained it to the end. `tiny` is for tests.
"""

import itertools
from typing import Any

from ml_collections import ConfigDict

from cdcd_jax.config import experiment, variant
from cdcd_jax.config.any_to_any import any_to_any, shortened

# name -> its kind, its folder and, of a second kind of pictures or sounds, perhaps
# whose tokenizer it has in place of one of its own; truncate=True cuts long captions
MODALITIES: dict[str, dict[str, Any]] = dict(
    pictures=dict(kind="image", path="data/pictures"),
    sounds=dict(kind="audio", path="data/sounds"),
    sketches=dict(kind="image", path="data/sketches", tokenizer="pictures"),
)

SIZES: dict[str, Any] = dict(
    words=4096,  # pieces of words of the first folder, which spell all captions
    length=48,  # most pieces of a caption, with its end
    features=256,  # of a prompt's vector
    image=dict(side=64, num_codes=1024, grid=(16, 16)),
    audio=dict(rate=16_000, length=32_768, num_codes=1024, grid=(1, 256)),
    tower=dict(width=256, depth=4),
    backbone=dict(width=384, depth=8, heads=6, activation="silu"),
    environment=dict(width=256, depth=4, heads=4),  # how diffusers see each other
    tokenizer=dict(
        image=dict(channels=64, channel_mult=(1, 2, 4)),
        audio=dict(patch=8, downs=(2,), strides=(4,), width=128, depth=4),
    ),
)
STEPS = dict(tokenizer=50_000, prompts=20_000, diffusers=100_000, alignments=50_000)
TINY: dict[str, Any] = dict(
    words=260,
    length=24,
    features=16,
    image=dict(side=8, num_codes=4, grid=(8, 8, 3)),
    audio=dict(rate=8000, length=2048, num_codes=16, grid=(1, 8)),
    tower=dict(width=32, depth=1),
    backbone=dict(width=32, depth=1, heads=2),
    environment=dict(width=32, depth=1, heads=2),
    tokenizer=dict(audio=dict(patch=64, downs=(1,), strides=(4,), width=16, depth=1)),
)
VARIANTS: dict[str, dict[str, Any]] = {"": {}, "tiny": TINY}


def get_config(name: str = "") -> ConfigDict:
    """name: '' or 'tiny'."""
    sizes = {**SIZES, **variant(name, VARIANTS)}
    words = dict(vocabulary="pairs", size=sizes["words"], length=sizes["length"])
    tower = dict(sizes["tower"], vocabulary=sizes["words"])
    config = any_to_any(
        dict(**words, tower=tower, diffuser=_diffuser(sizes)),
        {one: _modality(one, own, sizes) for one, own in MODALITIES.items()},
        features=sizes["features"],
        prompts=dict(
            data=dict(batch_size=256),
            optim=dict(num_steps=STEPS["prompts"], learning_rate=5e-4),
        ),
        diffusers=dict(
            data=dict(batch_size=64),
            optim=dict(num_steps=STEPS["diffusers"], learning_rate=4e-4),
        ),
        environment=sizes["environment"],
        alignments=dict(
            data=dict(batch_size=64),
            optim=dict(num_steps=STEPS["alignments"], learning_rate=4e-4),
        ),
    )
    if name == "tiny":
        config["stages"] = shortened(config["stages"], 2)
    drawn = tuple(config["model"]["diffusers"])
    sampling = dict(
        steps=50, guidance_scale=2.0, prompt_weights=dict.fromkeys(drawn, -1.0)
    )
    others = {one: f"@records_{one}" for one in tuple(MODALITIES)[1:]}
    routes = {  # each is drawn for the records of what is given, for a look at it
        f"{one}_to_{other}": dict(
            given=(one,), outputs=(other,), records=one if one in others else ""
        )
        for one, other in itertools.permutations(drawn, 2)
    }
    looks = dict(num_samples=64, sets=routes, others=others)
    return ConfigDict(experiment(**config, sampling=sampling, eval=looks))


def _modality(name: str, own: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    """What `any_to_any` takes of a line of the table."""
    kind = own["kind"]
    spec = sizes[kind]
    options = dict(format="jsonl", media=kind)
    if kind == "image":
        options |= dict(size=spec["side"])
    else:
        options |= dict(sample_rate=spec["rate"], length=spec["length"])
    data = dict(raw="captions", path=own["path"], options=options)
    whose = own.get("tokenizer", name)
    tokenizer = dict(kind="checkpoint", path=f"@tokenizer_{whose}")
    tower, stages = dict(sizes["tower"], kind="codes"), {}
    if kind not in sizes["tokenizer"]:
        tokenizer = dict(kind="palette", levels=spec["num_codes"])
        tower["kind"] = "pixels"
    elif whose == name:
        stages = {f"tokenizer_{name}": _tokenizer(kind, data, sizes)}
    return dict(
        data=data,
        text=dict(truncate=own.get("truncate", False)),
        stages=stages,
        tokenizer=tokenizer,
        num_codes=spec["num_codes"],
        grid=spec["grid"],
        tower=tower,
        diffuser=_diffuser(sizes),
    )


def _diffuser(sizes: dict[str, Any]) -> dict[str, Any]:
    return dict(
        task="conditional",
        diffusion=dict(schedule="absorbing_linear", timesteps=100),
        model=sizes["backbone"],
    )


def _tokenizer(
    kind: str, data: dict[str, Any], sizes: dict[str, Any]
) -> dict[str, Any]:
    """A VQGAN of pictures, or a VQ-VAE of sounds; each file once."""
    spec, model = sizes[kind], sizes["tokenizer"][kind]
    once = dict(data, options=dict(data["options"], captions="first"))
    if kind == "image":
        model = dict(model, resolution=spec["side"])
        losses = dict(l2=1.0, pyramid=0.1)
    else:
        rate = dict(length=spec["length"], sample_rate=spec["rate"])
        model = dict(model, kind="vqvae1d", multipliers=(1,), dilation_growth=3, **rate)
        losses = dict(l2=20.0, spectral=0.1, log_spectral=0.1)
    own = experiment(
        task="tokenizer",
        data=dict(**once, batch_size=32),
        model=model,
        quantizer=dict(num_codes=spec["num_codes"]),
        losses=losses,
        optim=dict(num_steps=STEPS["tokenizer"], learning_rate=5e-4, weight_decay=0.0),
    )
    return dict(mode="train", **own)
