"""A denoiser of several modalities in one z: codes, conditioners, backbone and heads.

In come z_t and what is known; out go a head for the values of z as a whole (noise, x_0
or v) and one for each modality, where there are several or what it is cannot be read
off z. All read the same features, at every t.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cdcd_jax.diffusion.predictions import Predicted
from cdcd_jax.networks import codes
from cdcd_jax.networks.denoiser import ConditionalDenoiser
from cdcd_jax.networks.encoded import Encoded
from cdcd_jax.networks.layers import normal_init

VALUES = "values"  # the head of z as a whole
_HEAD = "of_{}"  # that of a modality
ENCODER = "code_{}"  # where the parameters of a modality's code lie


def make_code(
    spec: Mapping[str, Any], space: tuple[int, int], **place: Any
) -> codes.Code:
    """A code by its kind and attributes; its `name` in a module, or none, unbound."""
    settings = {k: v for k, v in spec.items() if k != "kind"}
    return codes.KINDS[spec["kind"]](space, **settings, **(place or {"parent": None}))


def outputs_of(
    modalities: Mapping[str, Mapping[str, Any]], space: tuple[int, int]
) -> dict[str, int]:
    """Sizes of the heads by name, see `Denoiser.outputs`.

    What one picture or vector alone is, the values say.
    """
    made = {name: make_code(spec, space) for name, spec in modalities.items()}
    heads = {VALUES: space[1]}
    if len(made) > 1 or any(code.discrete for code in made.values()):
        heads |= {_HEAD.format(name): code.size for name, code in made.items()}
    return heads


class JointDenoiser(ConditionalDenoiser, kw_only=True):
    """See the file's head.

    Attributes:
        modalities: name -> kind and attributes of its code, see `codes`.
        space: (L, C) of z.
        absent: modalities may be left out of z, which the network is then told.
    """

    modalities: Mapping[str, Mapping[str, Any]]
    space: tuple[int, int]
    absent: bool = False

    def setup(self) -> None:
        super().setup()
        self.codes = {
            name: make_code(spec, self.space, name=ENCODER.format(name))
            for name, spec in self.modalities.items()
        }
        if self.absent:
            shape = (len(self.modalities), self.denoiser["width"])
            self.absence = self.param("absence", normal_init, shape)

    def code(self, name: str, x: jax.Array) -> jax.Array:
        """E_i(x_i), float32 [B, L, C]."""
        return self.codes[name](x)

    def told_absent(self, encoded: Encoded, gone: Mapping[str, jax.Array]) -> Encoded:
        """What is given, and beside the time which modalities are not in z.

        Args:
            gone: bool [B] by name.
        """
        said = jnp.stack([gone[name] for name in self.modalities], axis=1)
        vector = said.astype(jnp.float32) @ self.absence
        if encoded.vector is not None:
            vector = vector + encoded.vector
        return encoded._replace(vector=vector)

    def said(
        self, z_t: jax.Array, t: jax.Array, encoded: Encoded
    ) -> dict[str, jax.Array]:
        """What the heads say: 'values' [B, L, C], and by modality as codes read it."""
        read = self.network(z_t, t, encoded)
        said = {VALUES: read.pop(VALUES)}
        for name in self.modalities if read else ():
            own = read[_HEAD.format(name)]
            said[name] = jnp.mean(own, axis=1) if self.codes[name].pooled else own
        return said

    def predicted(self, said: Mapping[str, jax.Array]) -> Predicted:
        """The same as a Gaussian process takes it."""
        names = [name for name in said if name != VALUES]
        return Predicted(
            said[VALUES],
            {n: self.codes[n].recode(said[n]) for n in names} or None,
        )

    def losses(
        self, said: Mapping[str, jax.Array], x: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """What each head is trained by, [B] by name."""
        return {n: self.codes[n].loss(said[n], x[n]) for n in said if n != VALUES}

    def nats(self, name: str, said: jax.Array, x: jax.Array) -> jax.Array:
        """-log p(x_i | z_t) of what its head said, [B]."""
        return self.codes[name].nats(said, x)

    def normalised(self, said: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The same with logarithms of probabilities in place of logits."""
        kept = lambda n: n == VALUES or not self.codes[n].discrete
        return {n: a if kept(n) else self.codes[n].log_p(a) for n, a in said.items()}

    def cut(self, name: str, of_pixels: jax.Array) -> jax.Array:
        """What is said of each pixel of a picture, [B, N], as z lies: [B, L, C]."""
        return self.codes[name].cut(of_pixels)

    def drawn(self, name: str, said: jax.Array) -> jax.Array:
        """The modality itself, of what its head said."""
        return self.codes[name].drawn(said)

    def initialise(
        self,
        x: Mapping[str, jax.Array],
        t: jax.Array,
        condition: Mapping[str, jax.Array],
        drop: Any,
    ) -> Any:
        """Everything once, which makes all parameters."""
        z = sum(self.code(name, x[name]) for name in self.modalities)
        encoded = self.encode(condition, drop)
        if self.absent:
            gone = dict.fromkeys(self.modalities, jnp.zeros(len(t), bool))
            encoded = self.told_absent(encoded, gone)
        return self.predicted(self.said(z, t, encoded))
