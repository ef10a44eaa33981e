"""Outputs by name: decoded, written, shown, whatever their number."""

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.config import experiment
from cdcd_jax.data import vocabulary
from cdcd_jax.errors import UsageError
from cdcd_jax.models.decoders import Decoders, open_decoders
from cdcd_jax.reporting import sheets
from cdcd_jax.reporting.samples import write_samples

RATE = 8000


class Pictures:
    outputs, sample_rate = {"images": (4, 4, 1)}, None

    def decode(self, tokens):
        return {"images": tokens.reshape(-1, 4, 4, 1).astype(np.uint8)}


class Sounds:
    outputs, sample_rate = {"audio": (800,)}, RATE

    def decode(self, tokens):
        return {"audio": tokens.repeat(400, axis=1).astype(np.float32) / 10}


WORDS = vocabulary.train(["a one", "a two"], 16)
OUTPUTS = dict(
    image=dict(kind="tokens", shape=(16,), num_codes=9, grid=(4, 4)),
    audio=dict(kind="tokens", shape=(2,), num_codes=5, grid=(1, 2)),
    caption=dict(kind="text", shape=(4,), vocabulary=16),
    label=dict(kind="label", shape=(), num_classes=3, names=("nil", "one", "two")),
    vector=dict(kind="vector", shape=(5,)),
)
OPENED = dict(image=Pictures(), audio=Sounds(), caption=WORDS)


@pytest.fixture
def decoders():
    return Decoders(OUTPUTS, lambda name, spec: OPENED[name])


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return dict(
        image=rng.integers(0, 9, (3, 16), dtype=np.int32),
        audio=rng.integers(0, 5, (3, 2), dtype=np.int32),
        caption=WORDS.encode(["a one", "a two", "a one"], 4),
        label=np.array([1, 2, 1], np.int32),
        vector=rng.standard_normal((3, 5)).astype(np.float32),
    )


def test_several_outputs_have_names_of_their_own(decoders, drawn):
    found = decoders.decode(drawn)
    assert set(found) == {
        *("image", "tokens/image", "audio", "tokens/audio"),
        *("caption", "tokens/caption", "label", "vector"),
    }
    assert found["image"].shape == (3, 4, 4, 1) and found["image"].dtype == np.uint8
    assert np.array_equal(found["tokens/image"], drawn["image"])
    assert found["audio"].shape == (3, 800)
    assert found["caption"].tolist() == ["a one", "a two", "a one"]
    assert found["label"] is drawn["label"] and found["vector"] is drawn["vector"]
    media = decoders.media
    assert {k: m.kind for k, m in media.items()} == {
        **dict(image="image", audio="audio", caption="text"),
        **dict(label="label", vector="vector"),
    }
    assert media["audio"].sample_rate == RATE and media["image"].sample_rate is None
    assert set(decoders.media_of(lambda name: name == "label")) == {"label"}
    assert decoders.tokens == {"image": 9, "audio": 5}
    with pytest.raises(UsageError, match="which alone can be edited"):
        _ = decoders.tokenizer


def test_one_stream_of_tokens_keeps_its_names():
    spec = dict(kind="tokens", shape=(16,), num_codes=9, grid=(4, 4))
    decoders = Decoders({"tokens": spec}, lambda name, spec: Pictures())
    tokens, weight = np.ones((2, 16), np.int32), np.zeros(2)
    found = decoders.decode({"tokens": tokens, "edit/weight": weight})
    assert set(found) == {"tokens", "images", "edit/weight"}
    assert decoders.media == {"images": sheets.Medium("image", "sample")}
    assert isinstance(decoders.tokenizer, Pictures)


def test_an_output_may_have_a_tokenizer_of_its_own():
    config = experiment(tokenizer=dict(kind="palette", levels=9))
    own = dict(OUTPUTS["image"], tokenizer=dict(kind="palette", levels=5))
    decoders = open_decoders(config, dict(image=OUTPUTS["image"], mask=own))
    drawn = dict(image=np.full((1, 16), 8), mask=np.full((1, 16), 4))
    found = decoders.decode(drawn)
    assert found["image"].max() == found["mask"].min() == 255


def test_files_and_sheet_of_several_outputs(decoders, drawn, tmp_path):
    outputs, condition = decoders.decode(drawn), {"genre": np.array([0, 1, 2])}
    folder = tmp_path / "joint"
    sheet = write_samples(folder, outputs, condition, decoders.media)
    with np.load(folder / "samples.npz") as found:
        assert int(found["audio/sample_rate"]) == RATE and "sample_rate" not in found
        assert found["caption"].tolist() == ["a one", "a two", "a one"]
        assert found["condition/genre"].tolist() == [0, 1, 2]
        assert set(found.files) == {*outputs, "audio/sample_rate", "condition/genre"}
    names = {file.name for file in folder.iterdir()}
    assert names == {
        *("samples.npz", "contact_sheet.png"),
        *(f"image_{i:05d}.png" for i in range(3)),
        *(f"audio_{i:05d}.wav" for i in range(3)),
        *(f"caption_{i:05d}.txt" for i in range(3)),
        *(f"label_{i:05d}.txt" for i in range(3)),
    }
    assert (folder / "caption_00001.txt").read_text() == "a two\n"
    assert (folder / "label_00001.txt").read_text() == "two\n"
    with Image.open(folder / "image_00002.png") as picture:
        assert np.array_equal(np.asarray(picture), outputs["image"][2, ..., 0])
    with Image.open(folder / "contact_sheet.png") as picture:
        assert picture.size == sheet.shape[1::-1]
    # three columns; in each the picture, enlarged, above a spectrogram and a title
    alone = sheets.contact_sheet(
        outputs, {"image": decoders.media["image"]}, np.arange(3), ["x"] * 3
    )
    assert sheet.shape[0] > alone.shape[0]
    shown = sheets.contact_sheet(outputs, decoders.media, np.arange(3))
    untitled = {k: m for k, m in decoders.media.items() if m.kind in ("image", "audio")}
    assert (
        shown.shape[0] > sheets.contact_sheet(outputs, untitled, np.arange(3)).shape[0]
    )
    # another draw of fewer outputs leaves nothing of this one
    (folder / "holiday_00001.png").write_text("mine")
    fewer = {k: v for k, v in outputs.items() if k in ("label", "vector")}
    media = decoders.media_of(lambda name: name in fewer)
    assert write_samples(folder, fewer, {}, media, titles=["a"] * 3) is None
    assert {file.name for file in folder.iterdir()} == {
        *("samples.npz", "holiday_00001.png"),
        *(f"label_{i:05d}.txt" for i in range(3)),
    }
