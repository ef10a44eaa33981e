"""Settings of towers that give vectors, learned without labels: `task` = "bridge"."""

from typing import Any

from cdcd_jax.config import sections


def settings() -> dict[str, Any]:
    """Its sections with their defaults; the loss is in nats."""
    return dict(
        data=sections.data(
            batch_size=256,  # (each is told from all of its microbatch)
        ),
        model=dict(
            # name -> dict(kind="pixels", field="tokens", grid=.., num_codes=.., ..), or
            # of kind "codes" with the same keys, or dict(kind="text", field=..,
            # shape=(S,), vocabulary=.., ..): networks.towers has all keys. field is
            # `tokens` or a condition of the records. One tower, of pixels, sees two
            # views of each example, of several each pair is aligned; frozen=True keeps
            # weights that come by init_parts, as {"towers/<name>": <work directory>}
            towers={},
            features=32,  # of a vector, whose length is 1
            # a tower; examples whose fields of it are equal are no negatives of each
            # other. "" where every example is one of its own
            same="",
            dtype="float32",  # of matrix products
        ),
        # by how much two views of a picture differ, in training; evenly from -x to x;
        # and of codes, which are not pictures, swap alone
        views=dict(
            shift=0.5,  # pixels along each side
            rotation=10.0,  # degrees
            zoom=0.1,  # logarithm of the size
            noise=0.2,  # deviation, of pixels in [-1, 1]
            erase=0.0,  # share of each side of a block that is erased
            swap=0.0,  # share of codes that are any others
        ),
        eval=dict(
            at_end=True,  # evaluate when training is done
            split="test",  # of the records
            num_samples=10_000,  # most examples of a split that are looked at
            # deviation of the noise on pixels in [-1, 1] under which a vector is to
            # stay nearest to its own; 0 for none
            noise=0.1,
            # a condition whose classes the nearest training vectors are to tell, and of
            # several towers the nearest other side; read to judge alone, "" for none
            probe="",
        ),
    )
