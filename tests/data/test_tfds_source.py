"""Tests of the source `tfds`: its mock, and a real builder, both without TensorFlow."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdcd_jax.data.sources import Unreadable, open_source
from cdcd_jax.errors import InputError, UsageError

CLASSES = ["tench", "goldfish", "shark"]


def to_bytes(level: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (12, 8), level).convert(mode).save(file, kind)
    return file.getvalue()


def build(folder: Path) -> None:
    """Prepares a dataset of file bytes, as imagenet2012's builder does."""
    import tensorflow_datasets as tfds

    class SmallFishes(tfds.core.GeneratorBasedBuilder):
        """Three classes of plain pictures."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=CLASSES),
                "file_name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._examples(7), "validation": self._examples(3)}

        def _generate_examples(self):
            raise NotImplementedError

        def _examples(self, count: int):
            for number in range(count):
                modes = ("RGB", "L", "CMYK")
                data = to_bytes(30 * number, modes[number % 3])
                if count == 7 and number == 5:
                    data = data[: len(data) // 2]
                label = -1 if count == 3 and number == 2 else number % 3
                yield (
                    number,
                    {
                        "image": io.BytesIO(data),
                        "label": label,
                        "file_name": f"{number}.jpg",
                    },
                )

    builder = SmallFishes(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()


@pytest.fixture(scope="module")
def fishes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    build(folder)
    return folder


def open_fishes(folder: Path, **options):
    options = {"name": "small_fishes", "test": "validation", "size": 8, **options}
    return open_source("tfds", str(folder), options)


def test_prepared_builder(fishes: Path) -> None:
    source = open_fishes(fishes)
    card = source.card()
    assert card["name"] == "tfds/small_fishes"
    assert card["splits"] == ("train", "test")
    assert card["conditions"]["label"]["names"] == CLASSES
    assert card["conditions"]["label"]["num_classes"] == 3
    assert card["media"] == {"kind": "image", "shape": [8, 8, 3]}
    train = source.split("train")
    assert len(train) == 7 and len(source.split("test")) == 3
    seen, bad = set(), []
    for index in range(7):
        try:
            example = train.example(index)
        except Unreadable as error:
            bad.append(error.name)
            continue
        number = round(example["image"].mean() / 30)
        assert example["image"].shape == (8, 8, 3)
        assert abs(example["image"].astype(int) - 30 * number).max() < 4
        assert example["condition"]["label"] == number % 3
        assert example["groups"] == {"label": str(number % 3)}
        assert example["key"] == f"small_fishes/train/{index:08d}"
        seen.add(number)
    assert seen == {0, 1, 2, 3, 4, 6}
    assert len(bad) == 1 and bad[0].startswith("small_fishes/train/")


def test_labels_outside_the_classes_are_reported(fishes: Path) -> None:
    split = open_fishes(fishes).split("test")
    bad = 0
    for index in range(3):
        try:
            split.example(index)
        except Unreadable as error:
            assert error.reason == "label -1 outside [0, 3)"
            bad += 1
    assert bad == 1
    unlabelled = open_fishes(fishes, label="").split("test")
    examples = [unlabelled.example(index) for index in range(3)]
    assert all(e["condition"] == {} and e["groups"] == {} for e in examples)


def test_slices_and_views(fishes: Path) -> None:
    source = open_fishes(fishes, train="train[:3]", test="")
    assert source.card()["splits"] == ("train",)
    split = source.split("train")
    assert len(split) == 3
    one, two = (split.example(0, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one["image"], two["image"])


def test_threads_may_share(fishes: Path) -> None:
    split = open_fishes(fishes, label="").split("test")  # three sound pictures
    work = [index % 3 for index in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(split.example, work))
    for index, example in zip(work, found, strict=True):
        np.testing.assert_array_equal(example["image"], split.example(index)["image"])


def test_missing_data(fishes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare it there with `tfds build"):
        open_fishes(tmp_path)
    with pytest.raises(InputError, match="no_such_set"):
        open_fishes(fishes, name="no_such_set")
    with pytest.raises(InputError, match=r"'test'.*small_fishes"):
        open_fishes(fishes, test="test")
    with pytest.raises(InputError, match="tfds build"):
        open_source("tfds", str(tmp_path), {"name": "cifar10"})
    with pytest.raises(UsageError, match=r"no data\.options\.name"):
        open_source("tfds", str(fishes))


def test_other_features(fishes: Path) -> None:
    with pytest.raises(UsageError, match=r"image = 'label'.*file_name \(Text\)"):
        open_fishes(fishes, image="label")
    with pytest.raises(UsageError, match=r"label = 'file_name'"):
        open_fishes(fishes, label="file_name")
    with pytest.raises(UsageError, match=r"label = 'class'"):
        open_fishes(fishes, label="class")


@pytest.mark.parametrize(
    ("name", "classes", "test"),
    [
        ("imagenet2012", 1000, "validation"),
        ("cifar10", 10, "test"),
        ("caltech_birds2011", 200, "test"),
    ],
)
def test_mock(name: str, classes: int, test: str) -> None:
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=4):
        options = {"name": name, "test": test, "size": 16}
        source = open_source("tfds", "", options)
        split = source.split("test")
        assert len(split) == 4
        for index in range(4):
            example = split.example(index)
            assert example["image"].shape == (16, 16, 3)
            assert 0 <= example["condition"]["label"] < classes
    assert source.card()["conditions"]["label"]["num_classes"] == classes


def test_no_tensorflow_is_imported(fishes: Path) -> None:
    code = (
        "import sys\n"
        "from cdcd_jax.data.sources import open_source\n"
        f"o = {{'name': 'small_fishes', 'test': '', 'size': 8}}\n"
        f"open_source('tfds', {str(fishes)!r}, o).split('train').example(0)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
