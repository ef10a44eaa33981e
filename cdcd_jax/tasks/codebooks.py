"""The codebooks of a tokenizer, one a level: where they live and how they are trained.

Gradients move `params["codebooks"]`, and `extra["counts"]` tells how often codes are
used; averages move `extra["codebooks"]`. `extra["remap"]` is a table that came with
converted weights: `to` [K_full] gives codes, `back` [K] one full code of each.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cdcd_jax.networks import quantizer as vq
from cdcd_jax.tasks.settings import choose

UPDATES = ("ema", "gradient")
QUANTIZERS = ("nearest", "gumbel")


class Codebooks:
    """How vectors become codes under `quantizer.*`.

    Raises:
        UsageError: settings that do not exist.
    """

    def __init__(self, settings: Mapping[str, Any]):
        choose("quantizer", "update", settings["update"], UPDATES)
        self.settings = settings
        self.gumbel = settings["kind"] == "gumbel"
        self.ema = settings["update"] == "ema" and not self.gumbel

    @property
    def kept(self) -> list[str]:
        """Parts of extra that belong to trained weights."""
        remap = ["remap"] if self.settings["remap"] else []
        return [*(["codebooks"] if self.ema else []), *remap]

    def init(self, key: jax.Array, levels: int) -> tuple[dict, dict]:
        """The parts of parameters and extra."""
        number, dim = self.settings["num_codes"], self.settings["dim"]
        books = {
            str(i): jax.random.normal(jax.random.fold_in(key, i), (number, dim))
            / np.sqrt(dim)
            for i in range(levels)
        }
        extra: dict[str, Any] = {}
        if self.settings["remap"]:
            to = jnp.zeros(number, jnp.int32)
            extra["remap"] = {
                "to": to,
                "back": jnp.zeros(self.settings["remap"], jnp.int32),
            }
        if self.ema:  # no uses yet: the first step takes codes from the data
            averages = {k: vq.init_ema(book, 0.0) for k, book in books.items()}
            return {}, {**extra, "codebooks": averages}
        counts = {level: jnp.zeros(number) for level in books}
        return {"codebooks": books}, {**extra, "counts": counts}

    def book(self, params: Mapping, extra: Mapping, level: int) -> jax.Array:
        """The codebook of a level, [K, D], at length 1 where codes are normalized."""
        if "codebooks" in params:
            return self.vectors(params["codebooks"][str(level)])
        return self.vectors(extra["codebooks"][str(level)].codebook)

    def vectors(self, z: jax.Array) -> jax.Array:
        """[..., D] as it is compared with the codebook."""
        return vq.unit(z) if self.settings["normalize"] else z

    def quantize(
        self, params: Mapping, extra: Mapping, level: int, z: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict, dict, dict]:
        """A training step's quantization.

        Args:
            z: [..., D], or logits [..., K] of Gumbel codes.

        Returns:
            z_q [..., D] with a gradient to z; terms of the loss; figures; new extra.
        """
        book = self.book(params, extra, level)
        if self.gumbel:
            temperature = self.settings["temperature"]
            z_q, kl = vq.gumbel_embed(z, book, key, temperature)
            figures, extra = self._count(extra, level, vq.gumbel_codes(z))
            return z_q, {"kl": kl}, figures, extra
        z = self.vectors(z)
        codes = vq.nearest_codes(z, book)
        z_q = book[codes]
        terms = {"commitment": vq.commitment_loss(z, z_q)}
        rows = z.reshape(-1, z.shape[-1])
        if self.ema:
            figures, extra = self._average(extra, level, rows, codes.reshape(-1), key)
        else:
            figures, extra = self._count(extra, level, codes)
            counts = extra["counts"][str(level)]
            terms["codebook"] = vq.codebook_loss(z, z_q)
            terms["revival"] = self._revival(book, rows, counts, key)
        return vq.straight_through(z, z_q), terms, figures, extra

    def _average(
        self, extra: Mapping, level: int, rows: jax.Array, codes: jax.Array, key: Any
    ) -> tuple[dict, dict]:
        """Moves the averages; figures and extra."""
        name = str(level)
        state, figures = vq.update_ema(
            extra["codebooks"][name],
            rows,
            codes,
            key,
            decay=self.settings["decay"],
            revive_below=self.settings["revive_below"],
        )
        return figures, {**extra, "codebooks": {**extra["codebooks"], name: state}}

    def _count(self, extra: Mapping, level: int, codes: jax.Array) -> tuple[dict, dict]:
        """Counts the codes' use; figures and extra."""
        name, decay = str(level), self.settings["decay"]
        now = vq.code_counts(codes.reshape(-1), self.settings["num_codes"])
        counts = decay * extra["counts"][name] + (1 - decay) * now
        figures = {
            "usage": vq.usage(counts, self.settings["revive_below"]),
            "perplexity": vq.perplexity(now),
        }
        return figures, {**extra, "counts": {**extra["counts"], name: counts}}

    def _revival(
        self, book: jax.Array, rows: jax.Array, counts: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Pulls unused codes to random vectors of the batch, [], a mean over codes."""
        unused = counts < self.settings["revive_below"]
        chosen = jax.random.randint(key, (len(book),), 0, len(rows))
        target = jax.lax.stop_gradient(rows[chosen])
        squares = jnp.mean(jnp.square(book - target), axis=-1)
        return jnp.mean(jnp.where(unused, squares, 0.0))
