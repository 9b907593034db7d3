"""Drawings as elements of the page."""

import re
from pathlib import Path

from markupsafe import Markup

_PIXELS_PER_POINT = 1.46  # three panels of a figure fill the page


def inline(path: Path) -> Markup:
    """An SVG file of ours as an element of the page: no XML head, its ids made unique by the file's
    name. It is not escaped, because matplotlib has escaped every name in it."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    prefix = path.stem + "-"
    for name in set(re.findall(r'\bid="([^"]+)"', text)):
        text = (
            text.replace(f'id="{name}"', f'id="{prefix}{name}"')
            .replace(f'#{name}"', f'#{prefix}{name}"')
            .replace(f"#{name})", f"#{prefix}{name})")
        )
    # As wide as the page at most, and as large as drawn times the same factor in every figure, so
    # that letters match.
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', text)
    if width is None:
        raise ValueError(f"{path}: not a drawing of ours, it has no width in points")
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return Markup(f'{head} style="--natural: {float(width[1]) * _PIXELS_PER_POINT:.0f}px">{rest}')
