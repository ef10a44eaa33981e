"""Tokenizers as a task: pictures or sound -> codes -> pictures or sound.

An autoencoder with one or more levels of codes, a codebook a level, and the losses that
train them. Parameters: `autoencoder`; `codebooks` where gradients move them;
`discriminator` and `perceptual` where the losses have them. Extra: `codebooks` where
averages move them, else `counts` of the codes' use; `remap` where a table came with the
weights.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.networks import quantizer as vq
from cdcd_jax.networks.partition import constrain
from cdcd_jax.tasks.autoencoders import IMAGES, NETWORKS, spectra_of, whole_settings
from cdcd_jax.tasks.codebooks import Codebooks
from cdcd_jax.tasks.labels import labels_by_prefix
from cdcd_jax.tasks.reconstruction import ImageLosses, reconstruction_terms
from cdcd_jax.tasks.reconstruction_figures import figures_of

# Of its parameters and extra, what codes and reconstructions are made with.
OWN_PARTS = ("autoencoder", "codebooks", "remap")


class TokenizerTask:
    """The six functions of a task for an autoencoder with discrete codes.

    Raises:
        UsageError: settings that contradict each other or that do not exist.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.model, self.quantizer = whole_settings(config)
        self.settings, self.losses = config, config["losses"]
        self.codebooks = Codebooks(self.quantizer)
        self.gumbel = self.codebooks.gumbel
        kind = self.model["kind"]
        self.is_image = kind in IMAGES
        self.network = NETWORKS[kind](self.model, self.quantizer)
        self.hops, self.spectra = self.network.hops, spectra_of(self.model)
        self.media = self._media()
        self.image_losses = None
        if self.is_image and (self.losses["adversarial"] or self.losses["perceptual"]):
            self.image_losses = ImageLosses(self.losses, self.model)
        # whole on every device, so that every process can read them
        whole = lambda a: constrain(a, *[None] * a.ndim)
        self.encode_batch = jax.jit(
            lambda params, extra, media, level: whole(
                self.encode_media(params, extra, media, level=level)
            ),
            static_argnums=3,
        )
        self.decode_batch = jax.jit(
            lambda params, extra, codes, level: whole(
                self.decode_codes(params, extra, codes, level)
            ),
            static_argnums=3,
        )

    def _media(self) -> dict[str, Any]:
        if self.is_image:
            size = self.model["resolution"]
            shape = [size, size, self.model["image_channels"]]
            return {"kind": "image", "shape": shape}
        rate = self.model["sample_rate"]
        return {"kind": "audio", "shape": [self.model["length"]], "sample_rate": rate}

    def grid(self, level: int = 0) -> tuple[int, int]:
        """(H, W) of the codes of a level; (1, L) for sound."""
        positions = self.media["shape"][0] // self.hops[level]
        return (positions, positions) if self.is_image else (1, positions)

    @property
    def num_codes(self) -> int:
        """K, after the remap if there is one."""
        return self.quantizer["remap"] or self.quantizer["num_codes"]

    # -- the six functions ---------------------------------------------------------

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Parameters; codebooks or counts of their use, and the remap."""
        keys = jax.random.split(key, 3)
        media = jnp.zeros((1, *self.media["shape"]), jnp.float32)
        media = self.scaled({self.media["kind"]: media})
        params = {"autoencoder": self.network.init(keys[0], media)["params"]}
        books, extra = self.codebooks.init(keys[1], len(self.hops))
        params |= books
        if self.image_losses:
            params |= self.image_losses.init(keys[2], media)
        return params, extra

    def loss(
        self, params: dict, extra: dict, batch: Mapping, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], dict]:
        """Reconstruction, codebook and (for pictures) adversarial terms.

        Args:
            batch: image uint8 [B, H, W, C] or audio float32 [B, S].

        Returns:
            scalar loss, metrics (scalars), new extra.
        """
        x = self.scaled(batch)
        total, metrics, extra = 0.0, {}, dict(extra)
        for level, z in enumerate(self._apply(params, x, method="encode")):
            z_q, terms, figures, extra = self.codebooks.quantize(
                params, extra, level, z, jax.random.fold_in(key, level)
            )
            if self.image_losses:
                features = self._apply(params, z_q, method="decoder_features")
                y = self._apply(params, features, method="out")
                out = functools.partial(self._out, params, features)
                more, shown = self.image_losses.terms(
                    params, x, y, out, self._reweighted(x), step
                )
                total, metrics = total + more, {**metrics, **shown}
            else:
                y = self._apply(params, z_q, level, method="decode")
            terms |= self._reconstruction(x, y)
            end = f"_{level}" if len(self.hops) > 1 else ""
            metrics |= {k + end: v for k, v in {**terms, **figures}.items()}
            total += sum(self._weight(name) * value for name, value in terms.items())
        return total, metrics, extra

    def sample(
        self, params: dict, extra: dict, condition: Mapping, key: Any, options: Any
    ) -> dict[str, np.ndarray]:
        """Reconstructions of pictures or sounds, by their finest codes.

        Args:
            condition: {"image": uint8 [N, H, W, C]} or {"audio": float32 [N, S]}.

        Returns:
            tokens int32 [N, L], and images uint8 [N, H, W, C] or audio [N, S].
        """
        del key, options
        media = condition[self.media["kind"]]
        codes = self.encode_batch(params, extra, media, 0)
        name = "images" if self.is_image else "audio"
        drawn = {"tokens": codes, name: self.decode_batch(params, extra, codes, 0)}
        return jax.tree.map(np.asarray, drawn)

    def evaluate(
        self, params: dict, extra: dict, batches: Mapping[str, Any], key: jax.Array
    ) -> dict[str, float]:
        """How like the reconstructions of `batches['test']` are, by each level.

        Args:
            batches: 'test', dicts of `image` or `audio`; with `eval.figures`, their
                condition's `label`, and 'train', real examples for the classifier.

        Returns:
            `psnr` (dB, mean over examples; of pictures with a peak of 255, of sound
            `snr`, the ratio of powers), `codes_used` (share of K), `perplexity`, and
            `<name>/n`; level l > 0 has `_l` after the name. With labelled_sound,
            `class_accuracy` of reconstructions and `class_accuracy_real` of originals.
        """
        del key
        return figures_of(self, params, extra, batches)

    def labels(self, params: Any) -> Any:
        """The perceptual network is frozen; the discriminator has its own optimizer."""
        kinds = {"perceptual": "frozen", "discriminator": "discriminator"}
        present = {name: kind for name, kind in kinds.items() if name in params}
        return labels_by_prefix(params, present)

    def describe(self) -> dict[str, Any]:
        """What it is trained on and what it makes; see `tasks.Description`."""
        length, kind = int(np.prod(self.grid())), self.media["kind"]
        shape = tuple(self.media["shape"])
        field = dict(shape=shape, dtype="float32", low=-1.0, high=1.0)
        if self.is_image:
            field = dict(shape=shape, dtype="uint8", low=0, high=256)
        return {
            "conditions": {},
            "media": self.media,
            "outputs": {
                "tokens": dict(
                    kind="tokens",
                    shape=(length,),
                    num_codes=self.num_codes,
                    grid=self.grid(),
                ),
                "images" if self.is_image else "audio": {**self.media, "shape": shape},
            },
            "batch": {kind: field},
            "units": length,
            "group": 1,
            "negatives": 0,
            "given": [
                *(["perceptual"] if self.losses["perceptual"] else []),
                *(["remap"] if self.quantizer["remap"] else []),
            ],
            "kept": self.codebooks.kept,
        }

    # -- codes, for those who use the tokenizer ------------------------------------

    def scaled(self, batch: Mapping[str, jax.Array]) -> jax.Array:
        """What the network takes of a batch: float32 in about [-1, 1]."""
        if self.is_image:
            return batch["image"].astype(jnp.float32) / 127.5 - 1.0
        waves = batch["audio"].astype(jnp.float32)
        return self.spectra.spectra(waves) if self.spectra else waves

    def encode_media(
        self,
        params: dict,
        extra: dict,
        media: jax.Array,
        numbers: jax.Array | None = None,
        level: int = 0,
    ) -> jax.Array:
        """Tokens int32 [N, L] of pictures or sounds, for `jax.jit`.

        Args:
            media: uint8 [N, H, W, C] or float32 [N, S].
            numbers: int32 [N], by which the noise of sampled Gumbel codes is drawn;
                None for the most likely codes.
            level: whose codes.
        """
        x = self.scaled({self.media["kind"]: media})
        if self.is_image:
            (z,) = self._apply(params, x, method="encode")
        else:
            z = self._apply(params, x, level, method="encode_level")
        if self.gumbel:
            noise = None
            if numbers is not None:
                one = lambda n: jax.random.gumbel(
                    jax.random.fold_in(jax.random.key(0), n), z.shape[1:]
                )
                noise = jax.vmap(one)(numbers)
            codes = vq.gumbel_codes(z, gumbel=noise)
        else:
            z, book = (
                self.codebooks.vectors(z),
                self.codebooks.book(params, extra, level),
            )
            codes = vq.nearest_codes(z, book)
        codes = codes.reshape(len(codes), -1)
        return extra["remap"]["to"][codes] if "remap" in extra else codes

    def decode_codes(
        self, params: dict, extra: dict, codes: jax.Array, level: int = 0
    ) -> jax.Array:
        """Tokens [N, L] -> pictures uint8 [N, H, W, C] or sound float32 [N, S].

        Tokens of pictures may also be [N, H, W], of other sizes than the model's.
        """
        if "remap" in extra:
            codes = extra["remap"]["back"][codes]
        z_q = self.codebooks.book(params, extra, level)[codes]
        if not self.is_image:
            y = self._apply(params, z_q, level, method="decode")
            return jnp.clip(self.spectra.waves(y) if self.spectra else y, -1.0, 1.0)
        if codes.ndim == 2:
            z_q = z_q.reshape(len(codes), *self.grid(level), -1)
        y = self._apply(params, z_q, method="decode")
        return jnp.rint((jnp.clip(y, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)

    def own_parts(self, params: dict, extra: dict) -> tuple[dict, dict]:
        """What encoding and decoding need of parameters and extra."""
        books = {
            str(level): self.codebooks.book(params, extra, level)
            for level in range(len(self.hops))
        }
        own = {"autoencoder": params["autoencoder"], "codebooks": books}
        return own, {k: v for k, v in extra.items() if k == "remap"}

    # -- parts of them -------------------------------------------------------------

    def _apply(self, params: dict, *args: Any, method: str) -> Any:
        variables = {"params": params["autoencoder"]}
        return self.network.apply(variables, *args, method=method)

    def _out(self, params: dict, features: jax.Array, kernel: jax.Array) -> jax.Array:
        """Reconstructions by another kernel of the last convolution."""
        last = {**params["autoencoder"]["conv_out"], "kernel": kernel}
        params = {"autoencoder": {**params["autoencoder"], "conv_out": last}}
        features = jax.lax.stop_gradient(features)
        return self._apply(params, features, method="out")

    def _weight(self, name: str) -> float:
        weights = {"commitment": self.quantizer["commitment"]}
        return weights.get(name, self.losses.get(name, 1.0))

    def _reweighted(self, x: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """The reconstruction term as a function of the prediction alone."""

        def term(y: jax.Array) -> jax.Array:
            terms = self._reconstruction(x, y)
            return sum(self._weight(name) * value for name, value in terms.items())

        return term

    def _reconstruction(self, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        rate = None if self.is_image else self.model["sample_rate"]
        return reconstruction_terms(self.losses, x, y, rate)
