"""Records whose negatives a file names, as CDCD's do: made, gone on with, repaired."""

import json
import shutil

import numpy as np
import pytest
import tiny
from made_captions import ANNOTATIONS, BIRDS, IMAGES, write_coco, write_cub
from made_dances import write_segments
from made_records import kill_at_second_shard
from untrained import untrained

from cdcd_jax.config import experiment
from cdcd_jax.config.records import default_config
from cdcd_jax.data.card import read_card
from cdcd_jax.data.pipeline import RecordExamples
from cdcd_jax.data.records import RecordSource
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.modes.inspect_data import describe
from cdcd_jax.stages import pretokenize as module
from cdcd_jax.stages.pretokenize import pretokenize

DANCES = [
    "gLO_sBM_c01_d14_mLO5_ch04_seg1",
    "gMH_sFM_c01_d24_mMH5_ch20_seg2",
    "gJS_sFM_c01_d02_mJS1_ch02_seg5",
]


class Level:
    """A tokenizer of pictures of one level or of sounds: which of 16 levels it has."""

    num_codes, rows_at_once, fingerprint, grid = 16, 2, "level", (1, 2)

    def __init__(self, media):
        self.media, self.settings = media, dict(kind="level")

    def start_encoding(self, media, numbers):
        level = np.abs(media.astype(np.float32)).reshape(len(media), -1).mean(axis=1)
        level = level / 256 if self.media["kind"] == "image" else level
        tokens = np.clip(level * 16, 0, 15).astype(np.int32)
        return lambda: np.repeat(tokens[:, None], 2, axis=1)


PICTURE = dict(kind="image", shape=[8, 8, 3])
SOUND = dict(kind="audio", shape=[132300], sample_rate=22050)


def coco(path):
    rows = [[IMAGES[(IMAGES.index(i) + k) % 4] for k in (1, 2, 3)] for i in ANNOTATIONS]
    return write_coco(path), PICTURE, dict(raw="captions", options=dict(size=8)), rows


def cub(path):
    rows = [[f"{b}.jpg" for b in BIRDS if b != own] for own in BIRDS[::-1]]
    options = dict(size=8, format="cub", cub_split="classes")
    return write_cub(path), PICTURE, dict(raw="captions", options=options), rows


def aist(path):
    write_segments(path, 6, names_of=dict(train=DANCES, test=DANCES[:1]))
    at = "/data/author/audio_s6/train"
    rows = [[f"{at}/{d}.wav" for d in DANCES if d != own] for own in DANCES]
    return path, SOUND, dict(raw="aist", options=dict(seconds=6)), rows


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Writes a source with its file of negatives; returns the config of records."""

    def write(source=coco, views=1):
        path, media, data, rows = source(tmp_path / "raw")
        file = tmp_path / "negatives.json"
        file.write_text(json.dumps(rows))
        monkeypatch.setattr(module, "open_tokenizer", lambda *_: Level(media))
        config = default_config() | dict(grid=(1, 2))
        config["data"] |= dict(data, path=str(path), views=views, shard_records=3)
        config["negatives"] = dict(number=len(rows[0]), file=str(file))
        return config

    return write


def picture_of(key):
    """What a record's key says of its picture or sound; "#1" of views stays."""
    return key.split("/")[1] if key.startswith("train2014") else key


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("source", [coco, cub, aist])
def test_records_name_the_right_examples(settings, tmp_path, source, views):
    config = settings(source, views)
    card = read_card(pretokenize(config, tmp_path / "records"))
    records, table = (
        RecordSource(card, "train"),
        RecordSource(card, "train").negatives(),
    )
    keys = [records.key(i) for i in range(len(records))]
    rows = source(tmp_path / "again")[3]
    per_row = len(records) // len(rows)  # views, of CUB's captions
    for i, key in enumerate(keys):
        view = f"#{i % views}" * bool(i % views)
        wanted = [
            str(entry).split("/")[-1].split(".")[0] for entry in rows[i // per_row]
        ]
        found = [keys[j] for j in table[i]]
        for name, other in zip(wanted, found, strict=True):
            assert name in other.split("#")[0].split("/")
            # COCO and AIST++ number views alone, CUB captions before them
            assert other.count("#") == key.count("#") and other.endswith(view)
        assert not {picture_of(key)} & {picture_of(other) for other in found}
    assert card.splits["test"].negatives is None


def test_a_batch_brings_their_tokens(settings, tmp_path):
    card = read_card(pretokenize(settings(), tmp_path / "records"))
    examples = RecordExamples(card, "train", negatives=3)
    for i, image in enumerate(ANNOTATIONS):
        item = examples.example(i, np.random.default_rng(0))
        own = IMAGES.index(image)
        assert (item["tokens"] == own).all()
        wanted = [(own + k) % 4 for k in (1, 2, 3)]
        np.testing.assert_array_equal(item["negatives"], [[n, n] for n in wanted])


def test_the_card_knows_the_file(settings, tmp_path):
    config = settings()
    card = read_card(pretokenize(config, tmp_path / "records"))
    assert len(card.splits["train"].negatives.given) == 64
    assert f"named by {config['negatives']['file']}" in describe(card)
    drawn = {**config, "negatives": dict(number=2, rule="image")}
    card = read_card(pretokenize(drawn, tmp_path / "drawn"))
    assert "given" not in (card.directory / "dataset.json").read_text()
    assert "of another image, seed 0" in describe(card)


def test_a_file_that_changed_is_refused_one_that_moved_is_not(settings, tmp_path):
    config, records = settings(), tmp_path / "records"
    pretokenize(config, records)
    moved = shutil.move(config["negatives"]["file"], tmp_path / "moved.json")
    with pytest.raises(InputError, match=r"no readable .*negatives\.json"):
        pretokenize(config, records)
    config["negatives"]["file"] = str(moved)
    pretokenize(config, records)
    moved.write_text(moved.read_text() + "\n")
    with pytest.raises(InputError, match="negatives of a file of sha256"):
        pretokenize(config, records)
    with pytest.raises(InputError, match=r"'negatives.file': 'given'"):
        pretokenize({**config, "negatives": dict(number=3, rule="image")}, records)


def test_a_table_that_is_lost_is_made_again(settings, tmp_path):
    config, records = settings(views=2), tmp_path / "records"
    table = pretokenize(config, records) / "train-negatives.npy"
    before = table.read_bytes()
    table.unlink()
    pretokenize(config, records)
    assert table.read_bytes() == before


def test_a_job_goes_on_with_a_corrected_file(settings, tmp_path, monkeypatch):
    config, records = settings(), tmp_path / "records"
    whole = pretokenize(config, tmp_path / "whole")
    kill_at_second_shard(monkeypatch)
    file = tmp_path / "other.json"
    rows = json.loads((tmp_path / "negatives.json").read_text())
    file.write_text(json.dumps([row[::-1] for row in rows]))
    other = {**config, "negatives": dict(number=3, file=str(file))}
    with pytest.raises(KeyboardInterrupt):
        pretokenize(other, records)
    pretokenize(config, records)
    contents = lambda d: {path.name: path.read_bytes() for path in d.iterdir()}
    assert contents(records) == contents(whole)


def test_a_picture_that_is_left_out(settings, tmp_path, capsys):
    """The second caption stands in for an empty first, others for a bad picture."""
    config = settings()
    config["data"]["unreadable"] = 0.5
    notes = tmp_path / "raw" / "annotations" / "captions_train2014.json"
    notes.write_text(notes.read_text().replace("Picture 25, 0.", " "))
    (tmp_path / "raw/train2014/COCO_train2014_000000000030.jpg").write_bytes(b"")
    card = read_card(pretokenize(config, tmp_path / "records"))
    records, table = (
        RecordSource(card, "train"),
        RecordSource(card, "train").negatives(),
    )
    keys = [picture_of(records.key(i)) for i in range(len(records))]
    assert keys == ["9", "25", "581929", "9"]
    assert [[keys[j] for j in row] for row in table] == [
        ["25", "581929", "25"],
        ["581929", "581929", "9"],
        ["9", "9", "25"],
        ["25", "581929", "25"],
    ]
    assert "4 of 12 in" in capsys.readouterr().err


def test_what_is_wrong_is_said_before_anything_is_made(settings, tmp_path):
    config, records = settings(), tmp_path / "records"
    for change, kind, message in (
        (dict(number=0), UsageError, r"negatives\.number = 0"),
        (dict(number=2), InputError, r"3 names in each row.*negatives\.number = 2"),
        (dict(file="none.json"), InputError, r"no readable none\.json"),
    ):
        bad = {**config, "negatives": {**config["negatives"], **change}}
        with pytest.raises(kind, match=message):
            pretokenize(bad, records)
    first = {**config["data"]["options"], "captions": "first"}
    with pytest.raises(InputError, match=r"6 rows.*expected 4, one for each training"):
        pretokenize({**config, "data": {**config["data"], "options": first}}, records)
    assert not records.exists()


def test_other_sources_do_not_name_their_pictures(tmp_path):
    file = tmp_path / "negatives.json"
    file.write_text("[[1, 2]]")
    negatives = dict(number=2, file=str(file))
    with pytest.raises(UsageError, match=r"data.raw = 'digits'.*aist, tiktok or capt"):
        pretokenize(default_config() | dict(negatives=negatives), tmp_path / "records")


CONFIG = """
from ml_collections import ConfigDict
from cdcd_jax.config import experiment

CODES = dict(kind="checkpoint", path={codec!r})
RECORDS = dict(
    mode="pretokenize",
    data=dict(raw="captions", path={raw!r}, options=dict(size=8)),
    tokenizer=CODES,
    grid=(4, 4),
    text=dict(vocabulary="trained", size=32, length=8),
    negatives=dict(number=3, rule="caption", file=""),
)


def get_config(variant=""):
    return ConfigDict(experiment(
        stages=dict(records=RECORDS),
        data=dict(path="@records", batch_size=4),
        tokenizer=CODES,
        model=dict(
            num_codes=16, grid=(4, 4), width=16, depth=1, heads=2, mlp="fc",
            conditions=dict(text=dict(kind="text", vocabulary=32, shape=(8,))),
        ),
        diffusion=dict(timesteps=4),
        sampling=dict(steps=4),
        contrastive=dict(
            weight=0.1, negatives="inter", inter_from="records", num_negatives=3
        ),
        optim=dict(num_steps=2, warmup_steps=1),
        eval=dict(at_end=False, figures=""),
        report=dict(log_every=1, sample_every=0),
    ))
"""


@pytest.mark.slow
def test_from_the_command_line(tmp_path, monkeypatch):
    raw, _, _, rows = coco(tmp_path / "raw")
    codec = experiment(
        task="tokenizer",
        data=dict(synthetic=True, batch_size=2),
        model=dict(
            resolution=8, patch=2, channels=8, channel_mult=(1,), num_res_blocks=0
        ),
        quantizer=dict(num_codes=16, dim=4),
    )
    codec = str(untrained(codec, tmp_path / "codec", size=1.0))
    config, file = tmp_path / "pictures.py", tmp_path / "coco_negative_samples.json"
    config.write_text(CONFIG.format(codec=codec, raw=str(raw)))
    given = (f"--config={config}", f"--workdir={tmp_path / 'run'}")
    given += (f"--config.stages.records.negatives.file={file}",)
    file.write_text(json.dumps([*rows[:-1], [IMAGES[0], 77, 25]]))
    code, told = tiny.run(*given, "--mode=pretokenize")
    assert code == 1 and "1 of 5 names that no training example has, such as 77" in told
    assert "Traceback" not in told and not list(tmp_path.glob("run/records/*.array*"))
    file.write_text(json.dumps(rows))
    assert tiny.run(*given, "--mode=pretokenize")[0] == 0
    card = read_card(tmp_path / "run" / "records")
    records, table = (
        RecordSource(card, "train"),
        RecordSource(card, "train").negatives(),
    )
    for row, wanted in zip(table, rows, strict=True):
        assert [int(records.key(int(i)).split("/")[1]) for i in row] == wanted
    example, shown = RecordExamples.example, []

    def noted(self, index, rng):
        item = example(self, index, rng)
        others = [records[int(i)]["tokens"] for i in table[index]]
        shown.append((item.get("negatives"), others))
        return item

    monkeypatch.setattr(RecordExamples, "example", noted)
    assert tiny.run(*given)[0] == 0
    # each example of the two batches brought its row, in whatever order
    assert len(shown) >= 8
    for brought, others in shown:
        np.testing.assert_array_equal(brought, others)
    metrics = tiny.rows(tmp_path / "run")
    assert len(metrics) == 2 and all(np.isfinite(r["loss"]) for r in metrics.values())
    assert all("contrastive" in " ".join(row) for row in metrics.values())
