"""The Python of README and of docs/generate.md runs as it stands there."""

import pathlib
import re

import numpy as np
import pytest
import tiny
from PIL import Image

import cdcd_jax
from cdcd_jax import api
from cdcd_jax.config import merge

ROOT = pathlib.Path(__file__).resolve().parents[1]


def blocks(page, headline):
    """The Python below a headline, in one."""
    section = re.split(rf"^## {headline}$", (ROOT / page).read_text(), flags=re.M)[1]
    section = re.split(r"^## ", section, flags=re.M)[0]
    return "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.M | re.S))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which runs/digits was trained, by a digits config that is tiny."""
    place = tmp_path_factory.mktemp("checkout")
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        whole = api.load_config("configs/digits.py")
        seldom = dict(log_every=50, checkpoint_every=500)
        small = tiny.settings(data=dict(path="@records"), report=seldom)
        small = merge(small, {"stages": whole["stages"]})
        patch.setattr(api, "load_config", lambda text: small)
        patch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
        cdcd_jax.train("configs/digits.py")
        yield place, shown


@pytest.mark.slow
def test_the_readme_runs(place):
    names = {}
    exec(blocks("README.md", "From Python"), names)
    folder, shown = place
    assert names["out"].images.shape == (8, 8, 8, 1)
    assert (folder / "three_eight/samples.npz").exists()
    assert len(shown) == 3
    assert names["run"].step == 300 and (folder / "runs/mine").exists()


@pytest.mark.slow
def test_the_page_on_generating_runs(place):
    folder, _ = place
    image = np.zeros((8, 8), np.uint8)
    Image.fromarray(image).save(folder / "three.png")
    names = {"cdcd_jax": cdcd_jax}
    exec(blocks("docs/generate.md", "From Python"), names)
    assert len(names["samples"]) == 8
