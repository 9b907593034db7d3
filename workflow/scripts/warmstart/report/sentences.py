"""What a contrast is about, in words."""

from collections.abc import Mapping
from typing import Any

from warmstart.evidence.display import Display, listed
from warmstart.evidence.settings import Contrast


def contrast_title(display: Display, contrast: Contrast) -> str:
    """A heading for what is said about one of several contrasts."""
    name = contrast.name.replace("_", " ")
    return (
        f"{name[:1].upper()}{name[1:]}: {display.arm(contrast.baseline)} against "
        f"{display.arm(contrast.challenger)}"
    )


def differences(display: Display, contrast: Contrast) -> str:
    """What the two arms of a contrast are declared to differ in, with the values of both."""
    sides = [display.arms.get(name) for name in (contrast.baseline, contrast.challenger)]
    parts = []
    for key in display.about(contrast):
        if key == "architecture":
            parts.append(key)
            continue
        values = []
        for arm in sides:
            if arm is None:
                continue
            own = ("init", "family", "tokens", "adaptation")
            value = getattr(arm, key) if key in own else None
            value = arm.recipe.get(key, "as the study has it") if value is None else value
            values.append(_written(value))
        parts.append(f"{key} ({' against '.join(values)})" if values else key)
    what = listed(parts) if parts else "nothing that is declared"
    return (
        f"{display.arm(contrast.baseline)} and {display.arm(contrast.challenger)} differ in {what}."
    )


def _written(value: Any) -> str:
    """A setting in a sentence."""
    if isinstance(value, Mapping):
        if not value:
            return "the study's own"
        options = ", ".join(f"{key} {each}" for key, each in value.items() if key != "kind")
        return str(value.get("kind", "")) + (f": {options}" if options else "")
    return str(value) if value != "" else "the study's own"
