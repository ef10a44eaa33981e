"""The figures of features with readers of three lines, and what is kept of them."""

import json
import pathlib

import named_weights
import numpy as np
import pytest
from safetensors.numpy import save_file

from cdcd_jax.convert import clip_score, inception
from cdcd_jax.convert.__main__ import main
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.metrics import features
from cdcd_jax.metrics.clip_score import Clip
from cdcd_jax.metrics.features import InceptionReader, Readers, feature_figures
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.metrics.inception_score import inception_score
from cdcd_jax.metrics.manifold import overlap
from cdcd_jax.models import feature_judge
from cdcd_jax.models.feature_judge import FeatureJudge, check_media

EXTRACT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "features.npz"
RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(48, 26)).astype(np.float32)
PICTURES = ("fid", "inception_score", "inception_score_std")
MANIFOLD = ("precision", "recall", "density", "coverage")


class Fake:
    """Inception of one product, that counts the pictures it has read."""

    def __init__(self, params: object = None) -> None:
        self.read = 0

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.read += len(images)
        found = images.reshape(len(images), -1) @ MATRIX / 255
        return found[:, :16], found[:, 16:]


def shown(number: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200 + 5 * seed, (number, 4, 4, 3)).astype(np.uint8)
    audio = rng.normal(seed, 1, (number, 8)).astype(np.float32)
    texts = [f"text {i}" for i in range(number)]
    return dict(images=images, audio=audio, texts=texts, sample_rate=4)


REAL, UNGUIDED, GUIDED = shown(40, 0), shown(25, 1), shown(30, 2)
SAMPLES = {"unguided": UNGUIDED, "guided": GUIDED}


def sound_features(audio: np.ndarray, rate: int) -> np.ndarray:
    return audio.reshape(len(audio), -1, rate).std(2)[..., None]


def test_all_figures() -> None:
    cosines = lambda images, texts: images.mean((1, 2, 3)) / 255 - 0.4
    readers = Readers(Fake(), cosines, sound_features)
    found = feature_figures(SAMPLES, REAL, readers)
    values = {n: v for n, v in found.items() if "/" not in n}
    both = (*PICTURES, *MANIFOLD, "clip_score", "clip_cosine", "frechet_audio_distance")
    alone = (*PICTURES[1:], "clip_score", "clip_cosine")
    names = {f"{n}{s}" for n in both for s in ("", "_guided")}
    assert set(values) == names | {f"{n}_real" for n in alone}
    compared = {f"{n}{s}" for n in both if n not in alone for s in ("", "_guided")}
    assert {n for n in found if n.endswith("/n_real")} == {
        f"{n}/n_real" for n in compared
    }
    for name in values:
        number = {"guided": 30, "real": 40}.get(name.split("_")[-1], 25)
        assert found[f"{name}/n"] == number, name
        assert found.get(f"{name}/n_real", 40) == 40
    real, logits = Fake()(REAL["images"])
    ours, scored = Fake()(GUIDED["images"])
    assert found["fid_guided"] == pytest.approx(frechet_distance(ours, real))
    assert found["inception_score_guided"] == inception_score(scored)[0]
    assert found["inception_score_real"] == inception_score(logits)[0]
    for name, value in overlap(real, ours)._asdict().items():
        assert found[f"{name}_guided"] == value
    heard = [sound_features(x["audio"], 4).reshape(-1, 1) for x in (UNGUIDED, REAL)]
    expected = pytest.approx(frechet_distance(*heard))
    assert found["frechet_audio_distance"] == expected
    raw = UNGUIDED["images"].mean((1, 2, 3)) / 255 - 0.4
    assert found["clip_cosine"] == pytest.approx(raw.mean())
    assert found["clip_score"] == pytest.approx(100 * np.maximum(raw, 0).mean())


def test_too_few_samples_are_not_defined() -> None:
    few = {"unguided": {n: v[:1] for n, v in UNGUIDED.items() if n != "sample_rate"}}
    few["unguided"]["sample_rate"] = 4
    readers = Readers(Fake(), None, lambda audio, rate: audio)
    found = feature_figures(few, REAL, readers)
    for name in (*PICTURES, *MANIFOLD, "frechet_audio_distance"):
        assert np.isnan(found[name]) and found[f"{name}/n"] == 1, name
    few["unguided"] = {n: v[:3] for n, v in UNGUIDED.items() if n != "sample_rate"}
    found = feature_figures(few, REAL, Readers(Fake()))
    few, real = (Fake()(part["images"])[0] for part in (few["unguided"], REAL))
    assert found["fid"] == pytest.approx(frechet_distance(few, real))
    assert np.isnan(found["precision"])


def test_neighbours_of_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_ROWS", 28)
    found = feature_figures(SAMPLES, REAL, Readers(Fake()))
    assert (found["fid/n_real"], found["recall/n_real"]) == (40, 28)
    assert (found["recall/n"], found["recall_guided/n"]) == (25, 28)
    assert found["fid_guided/n"] == 30


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    """Makes judges with a cache, whose Inception is `Fake` with weights of a number."""
    monkeypatch.setattr(feature_judge, "InceptionReader", Fake)
    load = lambda path, *_: (None, {"w": np.float32(path)})
    monkeypatch.setattr(feature_judge, "_load", load)

    def make(weights: str = "1", **more: object) -> FeatureJudge:
        return FeatureJudge(dict(inception=weights, cache=tmp_path / "kept") | more)

    return make


def test_real_statistics_are_kept(judge, tmp_path: pathlib.Path) -> None:
    first = judge()
    figures = first.figures(SAMPLES, REAL)
    assert first.readers.inception.read == 25 + 30 + 40
    (path,) = (tmp_path / "kept").iterdir()
    again = judge()
    assert again.figures(SAMPLES, REAL) == figures
    assert again.readers.inception.read == 25 + 30
    # other weights, other data, or a damaged file: made anew
    judge("2").figures(SAMPLES, REAL)
    judge().figures(SAMPLES, shown(40, 3))
    assert len(list((tmp_path / "kept").iterdir())) == 3
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 40])
    for damaged in (whole[:-30], b"", flipped + whole[middle + 40 :]):
        path.write_bytes(damaged)
        third = judge()
        assert third.figures(SAMPLES, REAL) == figures
        assert third.readers.inception.read == 25 + 30 + 40
    without = judge(cache=None)
    assert without.figures(SAMPLES, REAL) == figures
    assert without.readers.inception.read == 25 + 30 + 40


def test_sounds_are_kept_by_their_fingerprint(tmp_path: pathlib.Path) -> None:
    settings = dict(audio=f"{__name__}:sound_features", cache=tmp_path)
    figures = FeatureJudge(settings).figures(SAMPLES, REAL)
    assert not list(tmp_path.iterdir())
    sound_features.fingerprint = "a"
    try:
        assert FeatureJudge(settings).figures(SAMPLES, REAL) == figures
        assert len(list(tmp_path.glob("audio_*.npz"))) == 1
        assert FeatureJudge(settings).figures(SAMPLES, REAL) == figures
        sound_features.fingerprint = "b"
        FeatureJudge(settings).figures(SAMPLES, REAL)
        assert len(list(tmp_path.glob("audio_*.npz"))) == 2
    finally:
        del sound_features.fingerprint


def test_refusals(judge, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="Found no images among the guided"):
        judge().figures({**SAMPLES, "guided": {"audio": 0}}, REAL)
    with pytest.raises(UsageError, match="Found no images among the real"):
        judge().figures(SAMPLES, {"audio": 0})
    with pytest.raises(UsageError, match="the setting 'inceptoin'"):
        judge(inceptoin="x")
    assert judge().needs() == ("images",)
    check_media(("images", "texts"), "image", texts=True)
    with pytest.raises(UsageError, match=r"features of texts .* with no text among"):
        check_media(("images", "texts"), "image", texts=False)
    with pytest.raises(UsageError, match=r"features of images .* a model of audio"):
        check_media(("images",), "audio", texts=False)


@pytest.mark.parametrize("key", ["inception", "clip"])
def test_directories_without_weights(tmp_path: pathlib.Path, key: str) -> None:
    family = {"clip": "clip_score"}.get(key, key)
    for content in (None, "{", "[]", '{"task": "tokenizer"}', '{"task": "clip_score"}'):
        if content:
            (tmp_path / "config.json").write_text(content)
        if key == "inception" or content != '{"task": "clip_score"}':
            with pytest.raises(InputError, match=f"no weights of the family {family}"):
                FeatureJudge({key: str(tmp_path)})
    with pytest.raises(InputError, match="no weights of the family"):
        FeatureJudge({key: str(tmp_path / "none")})


def test_another_vocabulary_than_clips(tmp_path: pathlib.Path) -> None:
    config = dict(task="clip_score", text=dict(vocabulary=60), image={})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="60 tokens, not CLIP's 49408"):
        FeatureJudge(dict(clip=str(tmp_path)))


@pytest.mark.slow
def test_clip_from_a_work_directory(tmp_path: pathlib.Path) -> None:
    with np.load(EXTRACT) as arrays:
        shapes = json.loads(str(arrays["clip/shapes"]))
    name = "text_model.embeddings.token_embedding.weight"
    state = named_weights.random_state(shapes | {name: [49408, 128]})
    save_file(state, tmp_path / "a.safetensors")
    flags = [f"--input={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'out'}"]
    assert main(["--family=clip_score", *flags]) == 0
    judge = FeatureJudge(dict(clip=str(tmp_path / "out")))
    assert judge.needs() == ("images", "texts")
    samples = {"unguided": dict(images=UNGUIDED["images"], texts=["a frog"] * 25)}
    found = judge.figures(samples, dict(images=REAL["images"]))
    assert set(found) == {"clip_score", "clip_score/n", "clip_cosine", "clip_cosine/n"}
    made = clip_score.convert(str(tmp_path / "a.safetensors"), {})
    clip = Clip(made.config["text"], made.config["image"], made.params)
    cosines = clip.cosines(UNGUIDED["images"], ["a frog"] * 25)
    assert found["clip_cosine"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert found["clip_score"] >= 100 * found["clip_cosine"]


@pytest.mark.slow
def test_inception_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(EXTRACT) as arrays:
        shapes = json.loads(str(arrays["inception/shapes"]))
    state = named_weights.random_state(shapes)
    monkeypatch.setattr(inception, "read_tensors", lambda *_, **__: state)
    monkeypatch.setattr(features, "BATCH", 2)
    read = InceptionReader(inception.convert("file", {}).params)
    images = named_weights.pictures(5, 20, 20)
    found, logits = read(images)
    assert found.shape == (5, 2048) and logits.shape == (5, 1008)
    alone = read(images[4:])
    np.testing.assert_allclose(found[4:], alone[0], rtol=1e-4, atol=1e-4)
