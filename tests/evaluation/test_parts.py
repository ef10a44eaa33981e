"""What is drawn of a set, in parts: what they hold, when they are drawn again."""

import jax
import numpy as np

from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.evaluation import parts
from cdcd_jax.evaluation.hidden import Hidden
from cdcd_jax.evaluation.sets import DrawnSet
from cdcd_jax.models.decoders import Decoders


class TwoOutputs:
    """Draws its key's numbers under two names; notes under what."""

    def __init__(self):
        self.settings = dict(sampling=dict(batch_size=4))
        self.calls = []

    def sample(self, params, extra, condition, key, options, number):
        self.calls.append(sorted(condition))
        value = np.int32(jax.random.randint(key, (), 0, 100))
        return {
            "label": np.full(number, value),
            "tokens": np.full((number, 3), value),
        }


def test_all_outputs_of_a_part_are_kept(tmp_path):
    task, decoders = TwoOutputs(), Decoders({"label": {"kind": "label"}}, None)
    options = SamplingOptions()
    both = DrawnSet("both", options, {}, number=8)
    label = DrawnSet("label", options, {}, ("a",), ("label",), number=8)
    condition = {"a": np.arange(8), "b": np.arange(8)}
    for part in (both, label):
        fresh = parts.draw(
            task,
            *(({}, {}), part, tmp_path / part.name, condition),
            *(jax.random.key(0), {"step": 1}),
        )
        assert fresh == 8
    assert task.calls == [["a", "b"], ["a"]]
    found = parts.outputs_of(tmp_path / "both")
    assert found["label"].shape == (8,) and found["tokens"].shape == (8, 3)
    assert set(parts.outputs_of(tmp_path / "label")) == {"label"}
    known = {"condition": condition, "sample_rate": None}
    samples = parts.Sets(tmp_path, [both, label], decoders, {("", 8): known})
    assert set(samples["label"]) == {"label", "given", *known}
    assert set(samples["label"]["condition"]) == {"a", "b"}  # a judge needs all
    assert set(samples.media("label")) == {"label"}
    rows = np.array([1, 3])
    assert samples.some("both", rows)["tokens"].shape == (2, 3)
    again = parts.draw(
        task,
        *(({}, {}), label, tmp_path / "label", condition),
        *(jax.random.key(0), {"step": 1}),
    )
    assert again == 0  # nothing is drawn twice


def test_parts_are_no_copies(tmp_path, monkeypatch):
    """Each part has noise of its own and its own rows of the conditions it gets."""
    monkeypatch.setattr(parts, "PART", 4)
    seen, values = [], []

    class Shown(TwoOutputs):
        def sample(self, params, extra, condition, key, options, number):
            seen.append({name: rows.tolist() for name, rows in condition.items()})
            outputs = super().sample(params, extra, condition, key, options, number)
            values.append(outputs["label"])
            return outputs

    drawn = DrawnSet("some", SamplingOptions(), {}, given=("a",), number=10)
    condition = {"a": np.arange(10), "a/present": np.arange(10) > 4, "b": np.arange(10)}
    args = ({}, {}), drawn, tmp_path / "some", condition, jax.random.key(0), {}
    assert parts.draw(Shown(), *args) == 10
    assert [part["a"] for part in seen] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(set(part) == {"a", "a/present"} for part in seen)
    found = parts.outputs_of(tmp_path / "some")["label"]
    assert len(found) == 10 and len(set(found[[0, 4, 8]].tolist())) == 3
    np.testing.assert_array_equal(found, np.concatenate(values))  # in their order
    decoders = Decoders({"label": {"kind": "label"}}, None)
    samples = parts.Sets(tmp_path, [drawn], decoders, {})
    some = samples.some("some", np.array([9, 0, 5]))["label"]
    np.testing.assert_array_equal(some, found[[9, 0, 5]])
    # a part that is lost is drawn again as it was
    (tmp_path / "some" / "part_00001.npz").unlink()
    assert parts.draw(Shown(), *args) == 4 and seen[-1]["a"] == [4, 5, 6, 7]
    np.testing.assert_array_equal(parts.outputs_of(tmp_path / "some")["label"], found)


def test_parts_fill_whole_batches(tmp_path, monkeypatch):
    """At least `PART` samples, in batches of 4; the last part has what is left."""
    monkeypatch.setattr(parts, "PART", 5)
    task, numbers = TwoOutputs(), []
    sample = task.sample
    task.sample = lambda *args: numbers.append(args[-1]) or sample(*args)
    drawn = DrawnSet("some", SamplingOptions(), {}, number=19)
    args = ({}, {}), drawn, tmp_path / "some", {"a": np.arange(19)}
    assert parts.draw(task, *args, jax.random.key(0), {}) == 19
    assert numbers == [8, 8, 3]


def test_parts_of_other_settings_are_thrown_away(tmp_path):
    """By the sampling options, and by all else that the tokens depend on."""
    condition, key = {"a": np.arange(8)}, jax.random.key(0)

    def fresh(steps, **asked):
        drawn = DrawnSet("some", SamplingOptions(steps=steps), {}, number=8)
        args = ({}, {}), drawn, tmp_path / "some", condition, key, asked
        return parts.draw(TwoOutputs(), *args)

    assert [fresh(3, step=1), fresh(3, step=1)] == [8, 0]
    assert [fresh(4, step=1), fresh(4, step=2), fresh(4, step=2)] == [8, 8, 0]


def test_what_is_hidden_is_unknown_to_the_model_and_known_to_the_judge(tmp_path):
    """The same pixels in each part, and told beside the samples."""
    seen = []

    class Shown(TwoOutputs):
        def sample(self, params, extra, condition, key, options, number):
            seen.append(condition)
            return super().sample(params, extra, condition, key, options, number)

    hidden = Hidden(0.5, ("a",), 1, 0)
    options = SamplingOptions()
    masked = DrawnSet("masked_50", options, {}, ("a",), hidden=hidden, number=10)
    plain = DrawnSet("plain", options, {}, given=(), number=10)
    rows = {"a": np.repeat(np.arange(40), 8).reshape(10, 32), "b": np.arange(10)}
    for part in (masked, plain):
        folder = tmp_path / part.name
        args = ({}, {}), part, folder, rows, jax.random.key(0), {}
        assert parts.draw(Shown(), *args) == 10
    (under, nothing) = seen
    assert set(under) == {"a"} and nothing == {}
    expected = hidden.of(rows)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(under["a"], np.where(expected, -1, rows["a"]))
    decoders = Decoders({"label": {"kind": "label"}}, None)
    known = {("", 10): {"condition": rows}}
    samples = parts.Sets(tmp_path, [masked, plain], decoders, known)
    found = samples["masked_50"]
    np.testing.assert_array_equal(found["hidden"], expected)
    np.testing.assert_array_equal(found["condition"]["a"], under["a"])
    np.testing.assert_array_equal(found["condition"]["b"], rows["b"])
    assert "hidden" not in samples["plain"]
    assert found["given"] == ("a",) and samples["plain"]["given"] == ()
    np.testing.assert_array_equal(samples["plain"]["condition"]["a"], rows["a"])
