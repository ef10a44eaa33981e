"""configs/codi/folders.py on three folders: routes, and a modality that is added."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import made_captioned
import numpy as np
import pytest
import tiny
from PIL import Image

from cdcd_jax.config.files import run_config
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import saved_config
from cdcd_jax.runtime.leaf_table import weights_digest
from configs.codi import folders

LINE = '    sketches=dict(kind="image", path="data/sketches", tokenizer="pictures"),\n'


def write_config(path: Path, without: str = "") -> str:
    """The template as it is edited, a line of its table taken out; for --config."""
    text = Path(folders.__file__).read_text()
    assert LINE in text
    path.write_text(text.replace(without, "") if without else text)
    return f"{path}:tiny"


# -- the settings alone ----------------------------------------------------------------


def test_a_modality_more_is_four_stages_more(tmp_path: Path) -> None:
    less = run_config(write_config(tmp_path / "less.py", LINE)).to_dict()
    more = run_config(write_config(tmp_path / "more.py")).to_dict()
    names = {f"{stage}sketches" for stage in ("records_", "prompts_", "", "align_")}
    assert set(more["stages"]) - set(less["stages"]) == names
    assert {name: more["stages"][name] for name in less["stages"]} == less["stages"]


# -- a run, and the same with a modality more ------------------------------------------


class Run(NamedTuple):
    """Digests of the joined model's parts, and when checkpoints were written."""

    workdir: Path
    digests: list[dict[str, str]]
    written: list[dict[str, int]]
    said: str


def digests(workdir: Path) -> dict[str, str]:
    params: Mapping[str, Any] = Trained(saved_config(workdir), workdir).weights[1]
    return {
        f"{kind}/{name}": weights_digest(jax.device_get(part)).hexdigest()
        for kind, parts in params.items()
        for name, part in parts.items()
    }


def written(workdir: Path) -> dict[str, int]:
    """By stage, but for the joined model itself."""
    places = workdir.glob("*/checkpoints")
    return {place.parent.name: place.stat().st_mtime_ns for place in places}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("folders")
    made_captioned.write_folders(root / "data")
    found = Run(root / "run", [], [], "")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # paths of the table are relative
        for without in (LINE, ""):
            config = write_config(root / "own.py", without)
            code, said = tiny.run(f"--config={config}", f"--workdir={found.workdir}")
            assert code == 0, said
            found.digests.append(digests(found.workdir))
            found.written.append(written(found.workdir))
    return found._replace(said=said)


@pytest.mark.slow
def test_a_modality_more_trains_its_own_stages_alone(run: Run) -> None:
    less, more = run.digests
    kinds = ("prompts", "diffusers", "environments")
    parts = {f"{k}/{name}" for k in kinds for name in ("pictures", "sounds", "text")}
    assert set(less) == parts
    assert set(more) - parts == {f"{kind}/sketches" for kind in kinds}
    assert {part: more[part] for part in parts} == less
    before, after = run.written
    assert {name: after[name] for name in before} == before
    new = {f"{stage}sketches" for stage in ("prompts_", "", "align_")}
    assert set(after) - set(before) == new
    assert "a run that joined other parts; they are replaced" in " ".join(
        run.said.split()
    )


@pytest.mark.slow
def test_routes(run: Run) -> None:
    data, picture = run.workdir.parent / "data", run.workdir.parent / "red.png"
    sound = data / "sounds/test0.wav"
    Image.new("RGB", (8, 8), "red").save(picture)

    def drawn(name: str, outputs: str, *given: str) -> Path:
        flags = ("--mode=generate", f"--name={name}", "--config.sampling.steps=4")
        number = "--config.sampling.num_samples=1"
        wanted = f"--config.sampling.outputs={outputs}"
        code, said = tiny.run(
            f"--workdir={run.workdir}", *flags, number, wanted, *given
        )
        assert code == 0, said
        return run.workdir / "samples" / name

    made = drawn("hum", "sounds", f"--condition.pictures={picture}")
    assert (made / "sounds_00000.wav").exists()
    text = "--condition.text=one blue stroke"  # words that the pictures' captions lack
    made = drawn("line", "sketches", f"--condition.sounds={sound}", text)
    with np.load(made / "samples.npz") as samples:
        assert samples["sketches"].shape == (1, 8, 8, 3)
    made = drawn("words", "text", f"--condition.sketches={data}/sketches/test1.png")
    assert (made / "text_00000.txt").exists()
    made = drawn("both", "pictures,sounds")  # which see each other
    assert (made / "pictures_00000.png").exists()
    assert (made / "sounds_00000.wav").exists()
