"""Figures of photographs with a class, by a small convolutional network trained here.

The network sees real training pictures for a few minutes on one CPU core. Its figures
compare with each other only: not with distances in the features of other networks, nor
with a judge that was trained on other pictures.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from cdcd_jax.metrics.frechet import frechet_distance, spread_rows
from cdcd_jax.metrics.names import suffix

Decoded = Mapping[str, Any]
EPOCHS, BATCH, PEAK_RATE, WIDTH = 4, 128, 4e-3, 40
SHIFT = 2  # pixels that a training picture is moved by, at most


class PictureNet(nn.Module):
    """Patches of 2x2 pixels, then four convolutions with two poolings, then the mean.

    Attributes:
        classes: how many.
        width: channels of the first convolution.
    """

    classes: int
    width: int = WIDTH

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Logits [B, classes] and features [B, 4 * width] of pictures [B, H, W, C].

        H and W must be multiples of 8.
        """

        def layer(x: jax.Array, width: int) -> jax.Array:
            x = nn.Conv(width, (3, 3), use_bias=False)(x)
            return nn.relu(nn.BatchNorm(not train, momentum=0.9)(x))

        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
        x = layer(x.reshape(b, h // 2, w // 2, 4 * c), self.width)
        x = layer(nn.max_pool(x, (2, 2), (2, 2)), 2 * self.width)
        x = x + layer(x, 2 * self.width)
        x = layer(nn.max_pool(x, (2, 2), (2, 2)), 4 * self.width)
        features = jnp.mean(x, (1, 2))
        return nn.Dense(self.classes)(features), features


class PictureClassifier:
    """A `PictureNet`, trained: the same pictures and seed give the same judge.

    AdamW with one cycle of the learning rate; pictures are mirrored and moved by up to
    two pixels, labels smoothed by 0.1.

    Args:
        images: uint8 [N, H, W, C].
        labels: int [N], from 0.
        epochs: passes over the pictures.
        width: channels of the first convolution.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        epochs: int = EPOCHS,
        width: int = WIDTH,
        seed: int = 0,
    ):
        images, labels = np.asarray(images), np.asarray(labels, np.int32)
        net = PictureNet(int(labels.max()) + 1, width)
        init = jax.jit(net.init, static_argnums=2)
        # rbg: compiles in 1 s where the default generator takes 9
        key = jax.random.key(seed, impl="rbg")
        variables = init(key, _scaled(images[:1]), False)
        size = min(BATCH, len(images))
        steps = len(images) // size
        rate = optax.cosine_onecycle_schedule(max(epochs * steps, 5), PEAK_RATE, 0.25)
        optimizer = optax.adamw(rate, b2=0.99, weight_decay=0.05)
        state = optimizer.init(variables["params"])
        step = jax.jit(lambda *given: _step(net, optimizer, *given))
        rng = np.random.default_rng(seed)
        # no lax.scan: XLA's convolutions are slow inside of loops on a CPU
        for _ in range(epochs):
            order = rng.permutation(len(images))
            for rows in order[: steps * size].reshape(steps, size):
                views = _views(images[rows], rng)
                variables, state = step(variables, state, views, labels[rows])
        self._variables = variables
        self._apply = jax.jit(lambda v, x: net.apply(v, _scaled(x), False))

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes int [N] and features float [N, D] of pictures uint8 [N, H, W, C]."""
        images = np.asarray(images)
        size, classes, features = min(BATCH, len(images)), [], []
        for i in range(0, len(images), size):
            rows = np.arange(i, i + size) % len(images)  # one shape for all
            logits, feature = self._apply(self._variables, images[rows])
            classes.append(np.argmax(logits, 1))
            features.append(feature)
        number = len(images)
        return np.concatenate(classes)[:number], np.concatenate(features)[:number]

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of pictures [N, H, W, C] that are assigned to their label [N]."""
        return float(np.mean(self.read(images)[0] == labels))


def _step(
    net: PictureNet,
    optimizer: optax.GradientTransformation,
    variables: Any,
    state: Any,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[Any, Any]:
    """One update; the variables and the optimizer's state after it."""

    def loss_of(params: Any) -> tuple[jax.Array, Any]:
        (logits, _), new = net.apply(
            {**variables, "params": params},
            _scaled(images),
            True,
            mutable=["batch_stats"],
        )
        aim = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), 0.1)
        return jnp.mean(optax.softmax_cross_entropy(logits, aim)), new

    params = variables["params"]
    grads, new = jax.grad(loss_of, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    return {"params": optax.apply_updates(params, updates), **new}, state


def _scaled(images: jax.Array) -> jax.Array:
    return (jnp.asarray(images, jnp.float32) - 127.5) / 64


def _views(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of the pictures mirrored, and all moved alike by a few pixels."""
    mirrored = rng.random(len(images)) < 0.5
    images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    edge = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
    down, right = rng.integers(2 * SHIFT + 1, size=2)
    h, w = images.shape[1:3]
    return np.pad(images, edge, "reflect")[:, down : down + h, right : right + w]


def labelled_pictures(
    samples: Mapping[str, Decoded], train: Decoded, test: Decoded
) -> dict[str, float]:
    """Pictures with a class, judged by a `PictureClassifier` of the training pictures.

    Args:
        samples: 'unguided', 'guided' and, where the judge sees raw pictures,
            'reconstructed' ones of the test split; each with images uint8 [N, H, W, C]
            (H and W multiples of 8) and condition['label'] [N].
        train, test: decoded records, or real pictures, of the same kind.

    Returns:
        For unguided samples class_accuracy and frechet_distance (in the classifier's
        last features, to the test split); the same with the suffixes _guided and
        _reconstructed; and with _real of the test split (the distance: of as many
        training pictures as there are unguided samples). `<name>/n` is the number of
        pictures judged.
    """
    labels = np.asarray(train["condition"]["label"])
    judge = PictureClassifier(np.asarray(train["images"]), labels)
    found, held_out = judge.read(test["images"])
    right = np.mean(found == np.asarray(test["condition"]["label"]))
    number = len(samples["unguided"]["images"])
    _, real = judge.read(spread_rows(np.asarray(train["images"]), number))
    figures: dict[str, float] = {}
    for name, decoded in samples.items():
        end = suffix(name)
        found, features = judge.read(decoded["images"])
        correct = np.mean(found == np.asarray(decoded["condition"]["label"]))
        figures |= {
            f"class_accuracy{end}": float(correct),
            f"class_accuracy{end}/n": len(found),
            f"frechet_distance{end}": frechet_distance(features, held_out),
            f"frechet_distance{end}/n": len(found),
        }
    return figures | {
        "class_accuracy_real": float(right),
        "class_accuracy_real/n": len(held_out),
        "frechet_distance_real": frechet_distance(real, held_out),
        "frechet_distance_real/n": len(real),
    }
