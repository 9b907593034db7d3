"""The device that decodes, and its name beside every speed that is reported."""

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from warmstart.run.errors import UserError

if TYPE_CHECKING:
    pass


def resolve_device(wanted: str) -> str:
    """`auto` is `cuda` where torch sees one, else `cpu`.

    Raises:
        UserError: `cuda` wanted and none there, or an unknown name.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {wanted!r} is unknown; allowed: auto, cpu, cuda")
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UserError(
            "device 'cuda' asked, but torch sees no GPU; set decoding.device to auto or cpu"
        )
    return "cpu"


def device_name(device: str) -> str:
    """What a speed was measured on: the GPU's name, or the processor's."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        about = ""
    named = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", about, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()
