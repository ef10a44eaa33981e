"""How figures are named after the set of samples that they judge."""


def suffix(name: str) -> str:
    """'' of unguided samples, '_guided' of guided ones, '@steps=8' of a sweep's point.

    Args:
        name: of a set of samples; those of a sweep say options as `option=value`.
    """
    if name == "unguided":
        return ""
    return f"@{name}" if "=" in name else f"_{name}"
