"""Figures of motion, and the program that makes videos of them."""

import json

import numpy as np
import pytest
from stub_ffmpeg import WORKS

from cdcd_jax.data.smpl import rotation_matrices
from cdcd_jax.reporting import skeleton, sound, video


def motion_of(angles: np.ndarray) -> np.ndarray:
    """[F, 219] of rotation vectors [F, 24, 3], 1 m above the ground."""
    turns = rotation_matrices(angles).reshape(len(angles), -1)
    return np.concatenate([np.tile([0.0, 1.0, 0.0], (len(angles), 1)), turns], axis=1)


@pytest.fixture
def sounds(tmp_path):
    """A directory with two wav files."""
    for i in range(2):
        sound.write_wav(tmp_path / f"sample_{i:05d}.wav", np.zeros(800), 8000)
    return tmp_path


def test_the_body_at_rest_stands_upright_and_is_the_same_on_both_sides():
    joints = skeleton.smpl_joints(motion_of(np.zeros((1, 24, 3))))[0]
    head, toes, hands = joints[15], joints[[10, 11]], joints[[22, 23]]
    assert head[1] > joints[0][1] > toes[0][1]
    assert 1.4 < head[1] - toes[0][1] < 1.8
    assert np.allclose(toes[0] * (-1, 1, 1), toes[1])
    assert np.allclose(hands[0] * (-1, 1, 1), hands[1]) and hands[0][0] > 0.5


def test_bones_keep_their_length_and_children_follow():
    rng = np.random.default_rng(0)
    joints = skeleton.smpl_joints(motion_of(rng.standard_normal((5, 24, 3))))
    for a, b in skeleton.SMPL_LIMBS:
        length = np.linalg.norm(joints[:, b] - joints[:, a], axis=-1)
        assert np.allclose(length, np.linalg.norm(skeleton.OFFSETS[b]))
    angles = np.zeros((1, 24, 3))
    angles[0, 18] = (0, 0, np.pi / 2)  # the left elbow bends up
    rest, bent = (skeleton.smpl_joints(motion_of(a))[0] for a in (angles * 0, angles))
    assert np.allclose(bent[20] - bent[18], [0, np.linalg.norm(rest[20] - rest[18]), 0])
    moved = ~np.isclose(rest, bent).all(-1)
    assert np.flatnonzero(moved).tolist() == [20, 22]


def test_keypoints_without_confidence_are_not_drawn():
    motion = np.tile([100.0, 50.0, 0.9], (2, 25))
    motion[0, 4 * 3 + 2] = 0
    figure = skeleton.skeleton_of(motion)
    assert np.count_nonzero(~figure.known) == 1 and not figure.known[0, 4]
    assert figure.points[0, 0].tolist() == [100, -50]
    assert len(list(video.frames_of(figure, 64))) == 2
    assert skeleton.skeleton_of(np.zeros((2, 10))) is None


def test_pictures_show_the_whole_figure():
    angles = np.random.default_rng(1).standard_normal((3, 24, 3)) * 0.3
    for picture in video.frames_of(skeleton.skeleton_of(motion_of(angles)), 64):
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        drawn = (picture < 150).any(-1)
        assert drawn.any() and not drawn[:3].any() and not drawn[:, :3].any()


def test_the_program_gets_all_frames_and_the_sound(ffmpeg, sounds):
    calls = ffmpeg()
    motion = np.stack([motion_of(np.zeros((6, 24, 3)))] * 2)
    written = video.write_videos(sounds, motion, 60, 4)
    assert [f.name for f in written] == ["sample_00000.mp4", "sample_00001.mp4"]
    assert written[0].read_bytes() == b"video"
    lines = calls.read_text().splitlines()
    arguments, size = json.loads(lines[0])
    assert len(lines) == 2 and size == 6 * video.SIZE**2 * 3
    assert str(sounds / "sample_00000.wav") in arguments
    assert arguments[arguments.index("-framerate") + 1] == "60"
    assert not list(sounds.glob(".*"))


def test_codecs_that_are_missing_are_left_to_the_program(ffmpeg, sounds):
    calls = ffmpeg(f"'libx264' in sys.argv and sys.exit(1)\n{WORKS}")
    motion = motion_of(np.zeros((2, 24, 3)))[None]
    assert len(video.write_videos(sounds, motion, 60, 1)) == 1
    assert len(calls.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("print('bad luck', file=sys.stderr)\nsys.exit(3)", "with 3: bad luck"),
        ("pass", "with 0: no message"),
    ],
)
def test_a_failure_is_told_and_the_sound_stays(then, says, ffmpeg, sounds, capsys):
    ffmpeg(then)
    motion = np.stack([motion_of(np.zeros((2, 24, 3)))] * 2)
    assert video.write_videos(sounds, motion, 60, 2) == []
    text = capsys.readouterr().err
    assert says in text and text.count("\n") == 1
    assert not list(sounds.glob("*.mp4")) and not list(sounds.glob(".*"))
    assert len(list(sounds.glob("*.wav"))) == 2


def test_a_program_that_ends_early_is_told(tmp_path, monkeypatch, sounds, capsys):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no such muxer >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    motion = motion_of(np.zeros((9, 24, 3)))[None]
    assert video.write_videos(sounds, motion, 60, 1) == []
    assert "no such muxer" in capsys.readouterr().err


def test_without_the_program_or_a_body_a_line_says_so(
    sounds, monkeypatch, capsys, ffmpeg
):
    monkeypatch.setenv("PATH", str(sounds))
    assert video.write_videos(sounds, np.zeros((1, 2, 219)), 60, 1) == []
    assert "no program ffmpeg" in capsys.readouterr().err
    ffmpeg()
    assert video.write_videos(sounds, np.zeros((1, 2, 5)), 60, 1) == []
    assert "5 channels" in capsys.readouterr().err
    assert video.write_videos(sounds, np.zeros((1, 2, 219)), 60, 0) == []
    assert not capsys.readouterr().err
