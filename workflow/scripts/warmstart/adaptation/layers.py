"""Which linear layers an adaptation means, and whether it fits them. Standard library only, because
a dry run asks it of donors whose files are here."""

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

from warmstart.run.errors import did_you_mean

Linears = Mapping[str, tuple[int, int]]
"""Name -> (in, out)."""


def chosen(glob: str, linears: Linears) -> list[str]:
    """Names of the layers that a glob means, in their order."""
    return fnmatch.filter(linears, glob)


def lora_fault(options: Mapping[str, Any], linears: Linears) -> str | None:
    """Why a LoRA of these options cannot be put beside these layers, with a remedy; None if it
    can."""
    glob, rank = options["layers"], options["rank"]
    names = chosen(glob, linears)
    if not names:
        # `layers.0.linear` and `layers.1.linear` are one line.
        there = list(dict.fromkeys(re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name) for name in linears))
        return (
            f"adaptation lora.layers is {glob!r}, which no linear layer is called"
            f"{did_you_mean(glob, there)}; these are there: {', '.join(there)}"
        )
    width, narrowest = min((min(linears[name]), name) for name in names)
    if rank > width:
        return (
            f"adaptation lora.rank is {rank}, above the width {width} of {narrowest}; take {width} "
            "at most, or leave that layer out of lora.layers"
        )
    return None
