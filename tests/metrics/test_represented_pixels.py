"""Pictures with vectors: figures of samples whose right ones are known."""

import made_pairs
import numpy as np
import pytest

from cdcd_jax.errors import InputError
from cdcd_jax.metrics.figures import FIGURES

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(64, 32)).astype(np.float32)
represented_pixels = FIGURES["represented_pixels"]


def encode(tokens):
    """Unit vectors of pictures, which a linear map makes."""
    found = (tokens - 8) @ MAP
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def splits(vectors=encode):
    return [{**p, "vector": vectors(p["tokens"])} for p in made_pairs.splits()]


TRAIN, TEST = splits()


def sets(known, **more):
    true = known["truth"]
    samples = {
        "image_to_vector": {"vector": 3 * true["vector"]},  # of any length
        "image_to_vector_guidance": {"vector": np.roll(true["vector"], 4, axis=0)},
        "vector_to_image": {"tokens": true["tokens"]},
        "vector_to_image_guidance": {"tokens": np.roll(true["tokens"], 4, axis=0)},
    }
    return {k: {**v, **known, "encode": encode} for k, v in samples.items()}


def test_own_vectors_and_those_of_others():
    known = made_pairs.repeated(TEST, 2)
    figures = represented_pixels(sets(known), TRAIN, TEST)
    for name in ("representation_retrieval", "image_retrieval"):
        assert figures[name] == 1 and figures[f"{name}_guidance"] == 0
        assert figures[f"{name}/n"] == 600
        assert figures[f"{name}/standard_error"] == 0
    assert figures["image_retrieval_real"] == 1
    assert figures["image_retrieval_real/n"] == 300


def test_class_means_are_found_by_chance():
    """Though each sample is right about its class."""
    labels = TEST["condition"]["label"]
    means = np.stack([TEST["vector"][labels == c].mean(0) for c in range(10)])
    test = {**TEST, "vector": means[labels]}
    known = made_pairs.repeated(test, 1)
    figures = represented_pixels(sets(known), TRAIN, test)
    # a record in a class of n is found with 1 / n: 10 classes of 300 records
    assert figures["representation_retrieval"] == pytest.approx(10 / 300)
    assert figures["image_retrieval"] <= 10 / 300


def test_drawn_together():
    pictures = dict(images=TEST["images"], tokens=TEST["tokens"], encode=encode)
    other = np.roll(TEST["vector"], 1, axis=0)
    figures = represented_pixels(
        {
            "joint": {**pictures, "vector": TEST["vector"]},
            "joint_mixed": {**pictures, "vector": other},
        },
        TRAIN,
        TEST,
    )
    assert figures["joint_similarity"] == pytest.approx(1)
    mixed = figures["joint_similarity_mixed"]
    assert mixed < 0.9
    assert figures["joint_similarity_shuffled_mixed"] == pytest.approx(1)
    assert figures["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert figures["frechet_distance_real"] > 0.3
    assert figures["joint_similarity/n"] == 300


def test_pictures_without_an_encoder():
    known = made_pairs.repeated(TEST, 1)
    with pytest.raises(InputError, match="samples vector_to_image without 'encode'"):
        drawn = {"tokens": TEST["tokens"], **known}
        represented_pixels({"vector_to_image": drawn}, TRAIN, TEST)
