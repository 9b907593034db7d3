"""Drawings as elements of the page."""

import re
from pathlib import Path

from markupsafe import Markup

from warmstart.evidence.palette import COLOURS, EDGE, GRID, INK, NOTHING, PAPER
from warmstart.run import files

_PIXELS_PER_POINT = 1.6
_COLOURS = {
    **{colour.lower(): f"c{place}" for place, colour in enumerate(COLOURS)},
    INK.lower(): "figure-ink",
    GRID.lower(): "figure-grid",
    EDGE.lower(): "figure-edge",
    PAPER.lower(): "paper",
}
"""Colour of a figure -> its variable in the page's style, which has others in the dark."""


def is_empty(path: Path) -> bool:
    """Whether there was nothing to draw."""
    return f'id="{NOTHING}"' in path.read_text(encoding="utf-8")


def inline(path: Path) -> Markup:
    """An SVG file of ours as an element of the page: no XML head, its ids made unique by the file's
    name. It is not escaped, because matplotlib has escaped every name in it."""
    files.require_end(path, b"</svg>")
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
    # Only whole values of style: a name in the drawing is drawn as a path, not written.
    text = re.sub(
        r"(?<=: )#[0-9a-f]{6}(?=[;\"])",
        lambda found: f"var(--{_COLOURS[found[0]]})" if found[0] in _COLOURS else found[0],
        text,
    )
    # As wide as the page at most, and as large as drawn times the same factor in every figure, so
    # that letters match.
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', text)
    if width is None:
        raise ValueError(f"{path}: not a drawing of ours, it has no width in points")
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return Markup(f'{head} style="--natural: {float(width[1]) * _PIXELS_PER_POINT:.0f}px">{rest}')
