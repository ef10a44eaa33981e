"""Training of several modalities in one z: a start that is refused, and going on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_joint as tj

from cdcd_jax.errors import UsageError
from cdcd_jax.training import loop
from cdcd_jax.training.inputs import input_stream


def train(workdir: Path, config: Any) -> dict[int, dict[str, float]]:
    """Rows of metrics by step."""
    loop.train(config, workdir, input_stream(config), lambda *_: {})
    return tiny.rows(workdir)


def settings(steps: int, **own: Any) -> dict[str, Any]:
    return tj.settings(
        tj.chosen("image", "label", "holes", **own),
        data=dict(synthetic=True),
        model=dict(modality_dropout=0.2),
        diffusion=dict(schedule="sqrt_linear", timesteps=20),
        optim=dict(num_steps=steps, schedule="constant"),
    )


def test_weights_that_do_not_fit_are_refused_with_their_number(tmp_path: Path) -> None:
    """Before the step is compiled; sqrt_linear leaves 7 % of the code at T."""
    config = settings(2, image=dict(weight=3.0))
    with pytest.raises(UsageError, match=r"that do not fit: .* is 0\.0\d+ nats a dim"):
        train(tmp_path, config)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Also where the codes were learned, and may have left what a start is held to."""
    own = dict(label=dict(gradient="learn", weight=1.5))
    whole = train(tmp_path / "whole", settings(4, **own))
    train(tmp_path / "parts", settings(2, **own))
    assert train(tmp_path / "parts", settings(4, **own)) == whole
    assert sorted(whole) == [1, 2, 3, 4]
    assert all(np.isfinite(row["loss"]) for row in whole.values())
    assert {"values", "of_label", "prior_kl"} <= set(whole[4])


def test_only_a_start_is_held_to_its_weights(monkeypatch: Any, tmp_path: Path) -> None:
    """What goes on has learned codes, and would be refused after it was stopped."""
    asked = []
    monkeypatch.setattr(loop, "check_first", lambda *_: asked.append(1))
    train(tmp_path, settings(2))
    assert asked == [1]
    train(tmp_path, settings(4))
    assert asked == [1]
