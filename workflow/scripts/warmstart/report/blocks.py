"""What a page is made of: sections of blocks, each shown by the template in one way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from warmstart.evidence.sheets import Sheet


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, of level 3 or 4."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 3


@dataclass(frozen=True)
class Text:
    """A paragraph; `style` is `lead`, `note` or empty."""

    kind: ClassVar[str] = "text"
    text: str
    style: str = ""


@dataclass(frozen=True)
class Drawn:
    """A figure: its name, a drawing of our own that is not escaped, what it shows."""

    kind: ClassVar[str] = "figure"
    name: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Table:
    """A table, or a sentence that there is nothing in it."""

    kind: ClassVar[str] = "table"
    sheet: Sheet


@dataclass(frozen=True)
class Card:
    """A key figure."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Cards:
    """Key figures side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Banner:
    """Something that a reader must not miss; green where it is good."""

    kind: ClassVar[str] = "banner"
    title: str
    lines: Sequence[str]
    fine: bool = False


@dataclass(frozen=True)
class Example:
    """Utterances of one decode, aligned word by word."""

    title: str
    blocks: Sequence[str]


@dataclass(frozen=True)
class Examples:
    """Examples, the first one open."""

    kind: ClassVar[str] = "examples"
    examples: Sequence[Example]


@dataclass(frozen=True)
class Lines:
    """A list."""

    kind: ClassVar[str] = "lines"
    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text as it is typed."""

    kind: ClassVar[str] = "code"
    text: str


Block = Heading | Text | Drawn | Table | Cards | Banner | Examples | Lines | Code


@dataclass
class Section:
    """A section of the page.

    Attributes:
        anchor: of its element.
        label: in the navigation.
        title: its heading.
        blocks: in order.
    """

    anchor: str
    label: str
    title: str
    blocks: list[Block] = field(default_factory=list)
