"""configs/codi/digits_video.py: what a fourth modality changes; the tiny variant."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from configs.codi import digits_video

NEW = {f"{stage}video" for stage in ("records_", "prompts_", "", "align_")}


def test_a_fourth_modality_changes_no_stage_of_the_others() -> None:
    three = digits_video.get_config("three").to_dict()
    four = digits_video.get_config("").to_dict()
    assert set(four["stages"]) - set(three["stages"]) == NEW
    for name, stage in three["stages"].items():
        assert four["stages"][name] == stage
    for part in ("prompts", "diffusers"):
        kept = {k: v for k, v in four["model"][part].items() if k != "video"}
        assert kept == three["model"][part]
    assert set(four["init_parts"]) - set(three["init_parts"]) == {
        "prompts/video",
        "diffusers/video",
        "environments/video",
    }
    for part, source in three["init_parts"].items():
        assert four["init_parts"][part] == source


def test_what_is_evaluated() -> None:
    sets = digits_video.get_config("").eval.sets
    assert sets.text_to_video.records == sets.video_to_text.records == "video"
    assert sets.sound_to_video.records == "sound" and sets.text_to_image.records == ""
    assert sets.image_sound_text_video.num_samples == sets.alone.num_samples == 1000
    three = digits_video.get_config("three").eval
    assert set(three.sets) == {"text_to_image", "image_sound_text", "alone"}
    assert set(three.others) == {"sound"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages."""
    folder = tmp_path_factory.mktemp("codi_video")
    config = "--config=configs/codi/digits_video.py:tiny"
    code, said = tiny.run(config, f"--workdir={folder}")
    assert code == 0, said
    return folder


@pytest.mark.slow
def test_videos_are_drawn_and_given(workdir: Path) -> None:
    said = "--condition.text=a seven to the left"
    video = "--config.sampling.outputs=video"
    code, told = tiny.generate(workdir, "drawn", said, video)
    assert code == 0, told
    file = workdir / "samples" / "drawn" / "video_00000.png"
    with Image.open(file) as drawn:
        assert drawn.n_frames == 3 and drawn.size == (8, 8)
    rest = "--config.sampling.outputs=image,text"
    code, told = tiny.generate(workdir, "given", f"--condition.video={file}", rest)
    assert code == 0, told
    names = {path.name for path in (workdir / "samples" / "given").iterdir()}
    assert {"image_00000.png", "text_00000.txt"} <= names
    still = workdir / "samples" / "given" / "image_00000.png"
    code, told = tiny.generate(workdir, "still", f"--condition.video={still}")
    assert code and "of 1 frame; expected 3" in told
    together = "--config.sampling.outputs=image,text,video"
    code, told = tiny.generate(workdir, "all", together)
    assert code == 0, told
    with np.load(workdir / "samples" / "all" / "samples.npz") as arrays:
        assert arrays["video"].shape == (1, 3, 8, 8, 1)
    # by its diffuser alone
    code, told = tiny.generate(workdir / "video", "alone", said)
    assert code == 0, told
    assert (workdir / "video" / "samples" / "alone" / "sample_00000.png").exists()
    edit = f"--edit.input={file}", "--edit.mask=left"
    code, told = tiny.generate(workdir / "video", "edit", *edit)
    assert code and "frames of a video" in told


@pytest.mark.slow
def test_digit_and_side_are_judged(workdir: Path) -> None:
    figures = json.loads((workdir / "evaluation.json").read_text())
    assert figures["video_accuracy_side_real"] > 0.99
    assert figures["video_accuracy_label_real"] > 0.95
    for route in ("text_video", "video_text", "image_video", "video_image"):
        for part in ("", "label_", "side_"):
            assert figures[f"route_{part}{route}/n"] == 20
    assert "coherence_side_image_video" in figures
    assert (workdir / "samples" / "text_to_video" / "contact_sheet.png").exists()
