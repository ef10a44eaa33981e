"""Which parameters are trained, said by the paths of those that are not."""

from collections.abc import Mapping
from typing import Any

import jax

from cdcd_jax.errors import UsageError


def labels_by_prefix(params: Any, table: Mapping[str, str]) -> Any:
    """The tree of labels: of the longest prefix of a path that `table` has, or 'train'.

    Args:
        params: dicts within dicts, of any depth.
        table: path with slashes -> label, such as {"diffusers/image": "frozen"}. A
            prefix is of whole names: "a/b" is none of "a/bc".

    Raises:
        UsageError: a prefix of no parameter, which would be trained in silence.
    """
    used = set()

    def label(path: Any, _: Any) -> str:
        names = [entry.key for entry in path]
        for depth in range(len(names), 0, -1):
            prefix = "/".join(names[:depth])
            if prefix in table:
                used.add(prefix)
                return table[prefix]
        return "train"

    labels = jax.tree_util.tree_map_with_path(label, params)
    covered = lambda prefix: any(name.startswith(f"{prefix}/") for name in used)
    unused = [name for name in table if name not in used and not covered(name)]
    if unused:
        raise UsageError(
            f"Found a label for {', '.join(unused)}; expected the path of parameters "
            f"below {', '.join(params)}; correct it."
        )
    return labels
