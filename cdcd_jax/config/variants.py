"""Variants of a config file, `--config=F:name`: by name, and those that many have."""

from collections.abc import Mapping

from cdcd_jax.errors import UsageError

# A variant that needs no records: random batches of the right shape, nothing judged.
SYNTHETIC = dict(
    data=dict(synthetic=True),
    tokenizer=dict(kind="none"),
    eval=dict(at_end=False),
    report=dict(sample_every=0),
)

# The same for a tokenizer.
SYNTHETIC_MEDIA = {k: v for k, v in SYNTHETIC.items() if k != "tokenizer"}


def variant(name: str, variants: Mapping[str, Mapping]) -> Mapping:
    """The changes of a named variant, the part behind the colon of `--config=F:name`.

    Raises:
        UsageError: a name that the file does not offer.
    """
    if name not in variants:
        names = ", ".join(repr(v) for v in variants if v) or "none"
        raise UsageError(
            f"unknown config variant {name!r}: this file offers {names}; leave the "
            "colon away for the plain configuration"
        )
    return variants[name]
