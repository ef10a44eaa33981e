"""configs/codi: every stage of the tiny variant, then each modality from the others."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

import cdcd_jax
from cdcd_jax.models.saved import saved_config
from configs.codi import digits

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import alignment
import together

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages."""
    folder = tmp_path_factory.mktemp("codi")
    config = "--config=configs/codi/digits.py:tiny"
    code, said = tiny.run(config, f"--workdir={folder}")
    assert code == 0, said
    return folder


def test_each_modality_from_the_others(workdir: Path) -> None:
    code, said = tiny.generate(
        *(workdir, "both", "--condition.text=a seven"),
        "--config.sampling.outputs=image,sound",
    )
    assert code == 0, said
    drawn = workdir / "samples" / "both"
    sound, picture = drawn / "sound_00000.wav", drawn / "image_00000.png"
    given = f"--condition.sound={sound}", f"--condition.image={picture}"
    weight = "--config.sampling.prompt_weights.sound=0.7"
    code, said = tiny.generate(workdir, "words", *given, weight)
    assert code == 0, said
    assert (workdir / "samples" / "words" / "text_00000.txt").exists()
    code, said = tiny.generate(
        workdir, "same", given[0], "--config.sampling.outputs=sound"
    )
    assert code and "sound given and sound to be drawn" in said
    code, said = tiny.generate(workdir, "sum", *given, f"{weight[:-3]}1.2")
    assert code and "which sum to 1.2" in said


def test_every_route_is_judged(workdir: Path) -> None:
    """Also those from sounds, which lie in records of their own."""
    figures = json.loads((workdir / "evaluation.json").read_text())
    for one, other in itertools.permutations(("image", "text", "sound"), 2):
        assert figures[f"route_{one}_{other}/n"] == 20
    assert figures["retrieval_sound_image/n"] == 400
    assert figures["sound_accuracy_real"] == 1
    mixed = [figures[f"{k}_text_image_sound_mixed_50"] for k in ("route", "swapped")]
    assert sum(mixed) == pytest.approx(figures["either_text_image_sound_mixed_50"])
    assert (workdir / "samples" / "sound_to_image" / "contact_sheet.png").exists()
    # and what is drawn of no prompt, two at once and all
    for pair in ("image_sound", "image_text", "sound_text"):
        assert figures[f"coherence_{pair}/n"] == 20
        assert figures[f"class_entropy_bits_{pair}"] <= np.log2(11)
    assert figures["coherence_mean"] >= figures["coherence_all"]
    assert {"coherence_image_sound_text_to_image_sound"} <= set(figures)


def test_together_by_turns_and_apart(workdir: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = f"--workdir={workdir}", "--number=12", "--steps=4", f"--json={report}"
    outputs = "--outputs=sound,text;image,sound,text"
    ways = "--ways=apart,together,turns:text", "--scales=0,2"
    together.main([*flags, outputs, *ways])
    rows = json.loads(report.read_text())["rows"]
    found = {(row["outputs"], row["way"], row["scale"]): row for row in rows}
    assert len(rows) == len(found) == 8
    whole = lambda *how: found["image,sound,text", *how]
    assert whole("together", "2")["rows"] == 2 * whole("apart", "")["rows"] == 24
    assert whole("turns:text", "")["rows"] == 4 * (1 + 2 + 2)
    assert len(together.asked_for("", ("image", "sound", "text"))) == 4
    for row in rows:
        assert 0 <= row["all"] <= row["agree"] <= 1 and row["seconds"] > 0
        assert np.isnan(row["distance"]) == ("image" not in row["outputs"])


def test_alignments_with_some_things_changed(workdir: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = f"--workdir={workdir}", f"--out={tmp_path}", f"--json={report}"
    few = "--steps=2", "--number=6", "--outputs=image,text"
    change = "sampling.steps=2+model.environment.slots=2+optim.num_steps=3"
    alignment.main([*flags, *few, f"--changes={change}"])
    rows = json.loads(report.read_text())["rows"]
    assert [row["change"] for row in rows] == [change]
    assert [row["rows"] for row in rows] == [2 * 2 * 2]
    folder = tmp_path / workdir.name / change.partition("+")[2]
    made = saved_config(folder / "align_image")
    assert made["model"]["environment"]["slots"] == 2
    assert made["optim"]["num_steps"] == 3  # not --steps
    alignment.main([*flags, *few, f"--changes={change}"])  # which is there
    assert json.loads(report.read_text())["rows"] == rows


def test_the_handle(workdir: Path, tmp_path: Path) -> None:
    model = cdcd_jax.open(workdir)
    found = model.sample(sound=np.zeros(6144, np.float32), number=2, steps=4)
    assert found.outputs["image"].shape == (2, 8, 8, 1)
    asked = dict(text="a two", outputs=("sound",), number=2, steps=4)
    found = model.sample(**asked)
    assert found.outputs["sound"].shape == (2, 6144)
    # passed on, with the tokenizer of sounds and the words of captions
    shared = cdcd_jax.open(model.save(tmp_path / "shared")).sample(**asked)
    np.testing.assert_array_equal(shared.outputs["sound"], found.outputs["sound"])
    assert (tmp_path / "shared" / "tokenizer" / "model.safetensors").exists()


def test_a_diffuser_alone_is_an_ordinary_run(workdir: Path) -> None:
    code, said = tiny.generate(workdir / "sound", "alone", "--condition.text=a seven")
    assert code == 0, said
    assert (workdir / "sound" / "samples" / "alone" / "sample_00000.wav").exists()


def test_variants_and_what_they_leave_out() -> None:
    whole = digits.get_config("").stages
    without = digits.get_config("text_image")
    assert "sound" not in without.model.diffusers
    assert not {"tokenizer", "records_sound", "prompts_sound"} & set(without.stages)
    # what is left is the same
    for name in without.stages:
        assert without.stages[name] == whole[name]
    for name in ("gaussian", "unaligned"):
        alone = digits.get_config(name)
        assert not [stage for stage in alone.stages if stage.startswith("align")]
        assert not [one for one, own in alone.eval.sets.items() if not own.given]
    assert digits.get_config("gaussian").stages.image.task == "mt_diffusion"


def test_recordings_that_are_not_there_are_missed_at_once(tmp_path: Path) -> None:
    config = "--config=configs/codi/digits.py:spoken"
    nowhere = f"--config.stages.tokenizer.data.path={tmp_path / 'nowhere'}"
    code, said = tiny.run(config, f"--workdir={tmp_path / 'run'}", nowhere)
    assert code and "nowhere" in said
    assert not list((tmp_path / "run").glob("*/"))  # nothing was made before


def test_recordings_lie_where_one_flag_says() -> None:
    spoken = digits.get_config("spoken")
    spoken.stages.tokenizer.data.path = "elsewhere"
    assert spoken.stages.records_sound.data.path == "elsewhere"
    assert spoken.stages.records_image.data.path == ""
    for stage in (spoken.stages.tokenizer, spoken.stages.records_sound):
        assert stage.data.options.media == "spoken"
