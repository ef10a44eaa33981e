"""Figures of pictures drawn with vectors that represent them, or one of the other."""

from collections.abc import Mapping

import numpy as np

from cdcd_jax.metrics.estimates import estimate, part_of, records_of
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.metrics.names import of_kinds
from cdcd_jax.metrics.pixels import Decoded, pixels_of
from cdcd_jax.metrics.retrieval import own_found, unit

KINDS = ("image_to_vector", "vector_to_image", "joint")


def represented_pixels(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Vectors and pictures: does each lead to its own other among the held-out ones?

    Vectors are compared by the cosine between them. Where several held-out records have
    the very same vector, each is found by chance.

    Args:
        samples: sets by name. `image_to_vector` has `vector` float32 [N, F], drawn, and
            `vector_to_image` tokens int32 [N, L]; both the record's own vector in
            `truth`. `joint` has both, drawn. More of a kind are called
            `<kind>_<ending>`. `encode` turns tokens [N, L] into vectors [N, F].
        train, test: records with images, tokens and `vector`.

    Returns:
        representation_retrieval, the share of drawn vectors whose nearest among the
        test split's is their record's own; image_retrieval, the same of what `encode`
        gives of drawn pictures, with _real of the test split's own. Of `joint`:
        joint_similarity, the mean cosine of the drawn vector with that of the drawn
        picture, joint_similarity_shuffled with that of another sample's, and
        frechet_distance (to the test split, in pixels), with _real of the training
        split. All with the set's ending; `<name>/n` counts samples, and
        `<name>/standard_error` is over records.

    Raises:
        InputError: a set does not have what it is judged by.
    """
    held_out = np.asarray(part_of("of the test split", test, "vector"))
    figures: dict[str, float] = {}
    for name, kind, end, decoded in of_kinds(samples, KINDS):
        if kind == "joint":
            figures |= _together(name, end, decoded, test)
            continue
        own = np.asarray(part_of(name, part_of(name, decoded, "truth"), "vector"))
        if kind == "image_to_vector":
            figure, vectors = "representation_retrieval", decoded["vector"]
        else:
            figure, vectors = "image_retrieval", _encoded(name, decoded, decoded)
            real = own_found(_encoded(name, decoded, test), held_out, held_out)
            figures |= estimate(f"{figure}_real", real)
        right = own_found(vectors, own, held_out)
        figures |= estimate(f"{figure}{end}", right, records=records_of(decoded))
    real = frechet_distance(pixels_of(train), pixels_of(test))
    number = len(train["images"])
    return figures | {"frechet_distance_real": real, "frechet_distance_real/n": number}


def _encoded(name: str, decoded: Decoded, pictures: Decoded) -> np.ndarray:
    """What the encoder of a set makes of pictures."""
    tokens = np.asarray(part_of(name, pictures, "tokens"))
    return np.asarray(part_of(name, decoded, "encode")(tokens))


def _together(name: str, end: str, decoded: Decoded, test: Decoded) -> dict[str, float]:
    """Figures of pictures and vectors that were drawn together."""
    seen = unit(_encoded(name, decoded, decoded))
    drawn = unit(part_of(name, decoded, "vector"))
    pixels = pixels_of(decoded)
    figures = estimate(f"joint_similarity{end}", np.sum(seen * drawn, axis=1))
    other = np.sum(np.roll(seen, 1, axis=0) * drawn, axis=1)
    figures |= estimate(f"joint_similarity_shuffled{end}", other)
    distance = frechet_distance(pixels, pixels_of(test))
    figures[f"frechet_distance{end}"] = distance
    figures[f"frechet_distance{end}/n"] = len(pixels)
    return figures
