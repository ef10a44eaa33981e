"""Negatives as CDCD publishes them: whose names they are, and what is refused."""

import json
import re

import numpy as np
import pytest
from made_captions import ANNOTATIONS, BIRDS, write_coco, write_cub
from made_dances import write_segments

from cdcd_jax.data.negatives_file import NamedNegatives, NegativesFile
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError

DANCES = [
    "gLO_sBM_c01_d14_mLO5_ch04_seg1",
    "gMH_sFM_c01_d24_mMH5_ch20_seg2",
    "gJS_sFM_c01_d02_mJS1_ch02_seg5",
]
SOUND = "/data/author/aistplus/audio_s6/train/{}.wav"


@pytest.fixture
def resolved(tmp_path):
    """Writes rows as a file and resolves them against names."""

    def resolve(rows, names, number=2, views=1):
        path = tmp_path / "negatives.json"
        path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
        return NegativesFile(str(path)).resolve(names, number, views)

    return resolve


def names_of(source, path, **options):
    return open_source(source, str(path), options).split("train").names()


def test_dances_by_absolute_path(resolved, tmp_path):
    lists = dict(train=DANCES, test=["gBR_sBM_c01_d04_mBR0_ch02_seg1"])
    write_segments(tmp_path, 6, names_of=lists)
    names = names_of("aist", tmp_path, seconds=6)
    assert names == [f"train/{dance}" for dance in DANCES]
    rows = [[1, 2], [2, 0], [0, 1]]
    paths = [[SOUND.format(DANCES[i]) for i in row] for row in rows]
    named = resolved(paths, names)
    assert named.others.tolist() == rows
    table = named.table([0, 1, 2])
    assert table.dtype == np.uint32 and table.tolist() == rows


def test_pictures_by_image_id_a_row_an_annotation(resolved, tmp_path):
    """The first caption of a picture stands for it."""
    names = names_of("captions", write_coco(tmp_path), format="coco")
    assert len(names) == len(ANNOTATIONS) == 6 and len(set(names)) == 4
    rows = [[9, 30], [25, 30], [581929, 9], [25, 9], [9, 25], [30, 581929]]
    first = {25: 0, 9: 1, 581929: 3, 30: 4}
    wanted = [[first[i] for i in row] for row in rows]
    assert resolved(rows, names).table(range(6)).tolist() == wanted


def test_pictures_by_path_a_row_a_picture(resolved, tmp_path):
    """Each caption of a picture has the row of it."""
    write_cub(tmp_path)
    names = names_of("captions", tmp_path, format="cub", cub_split="classes")
    assert names == [bird for bird in BIRDS[::-1] for _ in range(3)]
    rows = [[f"{BIRDS[i]}.jpg" for i in row] for row in ([1, 0], [0, 2], [2, 1])]
    wanted = [[3, 6]] * 3 + [[6, 0]] * 3 + [[0, 3]] * 3
    assert resolved(rows, names).table(range(9)).tolist() == wanted
    # the lists of captions="first" have as many examples as there are rows
    assert resolved(rows, names[::3]).table(range(3)).tolist() == [
        [1, 2],
        [2, 0],
        [0, 1],
    ]


@pytest.mark.parametrize(
    "entry", ["b/x.jpg", "x.jpg", "x", "/far/away/a/b/x.JPG", "a/b/x"]
)
def test_one_is_the_end_of_the_other(resolved, entry):
    names = ["a/b/x.png", "a/b/xx.png", "b/y.v2", "c/y"]
    rows = [["xx", "b/y.v2"], [entry, "c/y.wav"], [entry, "xx"], [entry, "xx"]]
    wanted = [[1, 2], [0, 3], [0, 1], [0, 1]]
    assert resolved(rows, names).others.tolist() == wanted


NAMES = ["t/a", "t/b", "t/c", "s/c"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[[1,", "no JSON"),
        ("\xff", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([], "no rows"),
        ({"a": ["b"]}, "no rows"),
        ([["b", "t/c"], "a"], 'Found "a" in row 1'),
        ([["b", 1.5]], r"1\.5\] in row 0.*names or numbers"),
        ([["b", True]], r"true\] in row 0"),
        ([["b", None]], r"null\] in row 0"),
        ([["b", "t/c"], ["a"]], "2 names in row 0 but 1 in row 1"),
        ([["b"]] * 4, "1 names in each row.*negatives.number = 2.*set it to 1"),
        ([["b", "t/c"]] * 3, "3 rows.*expected 4, one for each training example, in"),
        (
            [["b", "d"], ["x/a", "e"], ["f", "a"], ["a", 7]],
            "5 of 7 names that no training example has, such as 'd', 'x/a', 'e' in",
        ),
        ([["b", "c"], ["a", "t/c"], ["a", "b"], ["a", "b"]], "1 of 4 .*fit several"),
        ([["b", "t/c"], ["a", "b"], ["a", "t/c"], ["a", "b"]], "2 examples that are"),
        ([["", "."]] * 4, "2 of 2 names that no"),
    ],
)
def test_what_is_refused(resolved, tmp_path, rows, message):
    with pytest.raises(InputError, match=message) as caught:
        resolved(rows, NAMES)
    assert str(tmp_path / "negatives.json") in str(caught.value)


def test_own_negatives_are_named(resolved):
    rows = [["b", "t/c"], ["a", "b"], ["a", "s/c"], ["a", "b"]]
    with pytest.raises(InputError, match=r"1 examples .* of their own, such as 't/b'"):
        resolved(rows, NAMES)
    # another caption of the own picture is no negative either
    with pytest.raises(InputError, match="'t/a'"):
        resolved([["b", "a"], ["a", "a"], ["b", "b"]], ["t/a", "t/b", "t/a"])


def test_rows_of_examples_or_of_pictures(resolved):
    names = ["a", "b", "a", "c", "b"]
    with pytest.raises(
        InputError, match=r"4 rows.*expected 5, .*or 3, one for each pic"
    ):
        resolved([["c", "b"]] * 4, names)


def test_no_such_file(tmp_path):
    path = str(tmp_path / "none.json")
    with pytest.raises(InputError, match=re.escape(path)):
        NegativesFile(path)
    with pytest.raises(InputError, match="no readable"):
        NegativesFile(str(tmp_path))


def test_views_have_that_view_of_their_negatives(resolved):
    named = resolved([["b", "c"], ["c", "a"], ["a", "b"]], ["a", "b", "c"], views=2)
    table = named.table(range(6))
    assert table.tolist() == [[2, 4], [3, 5], [4, 0], [5, 1], [0, 2], [1, 3]]


def test_what_could_not_be_read_gives_its_place_to_others_of_the_row(capsys):
    own = np.array([0, 1, 0, 2, 3])  # pictures of five captions
    others = np.array([[1, 2, 3], [0, 2, 3], [1, 2, 3], [0, 1, 3], [0, 1, 2]])
    named = NamedNegatives("x.json", "", own, others, 1)
    assert named.table(range(5))[1].tolist() == [0, 3, 4]
    assert not capsys.readouterr().err
    # without its first caption, the second stands for picture 0
    assert named.table([1, 2, 3, 4]).tolist() == [
        [1, 2, 3],
        [0, 2, 3],
        [1, 0, 3],
        [1, 0, 2],
    ]
    # without picture 2
    assert named.table([0, 1, 2, 4]).tolist() == [
        [1, 1, 3],
        [0, 0, 3],
        [1, 1, 3],
        [0, 1, 0],
    ]
    told = capsys.readouterr().err
    assert "4 of 12 in x.json could not be read" in told
    with pytest.raises(InputError, match=r"none of whose negatives in x\.json"):
        named.table([0, 2])
