"""Whether somebody looks on from a notebook, where a line can be written anew."""

import sys


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules and "IPython" in sys.modules
