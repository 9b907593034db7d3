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
class Side:
    """A rate of one side of a contrast."""

    name: str
    value: str


@dataclass(frozen=True)
class Advice:
    """What to do, in one sentence; the two rates behind it; the small print."""

    kind: ClassVar[str] = "advice"
    text: str
    sides: Sequence[Side] = ()
    small: str = ""
    lead: bool = True


@dataclass(frozen=True)
class Question:
    """A question, its answer in sentences or lines, and the section that has more."""

    question: str
    answer: Sequence[str]
    anchor: str


@dataclass(frozen=True)
class Questions:
    """Questions below each other."""

    kind: ClassVar[str] = "questions"
    questions: Sequence[Question]


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens."""

    kind: ClassVar[str] = "folded"
    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Banner:
    """Something that a reader must not miss; green where it is good."""

    kind: ClassVar[str] = "banner"
    title: str
    lines: Sequence[str]
    fine: bool = False


@dataclass(frozen=True)
class Piece:
    """A stretch of an alignment: `equal`, `substitute`, `delete` or `insert`."""

    kind: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Heard:
    """What one decode made of an utterance.

    Attributes:
        arm, tier: of the configuration.
        name: both for readers.
        count: its errors, in words.
        errors: their number.
        pieces: beside the reference.
        shown: before a reader chooses.
    """

    arm: str
    tier: str
    name: str
    count: str
    errors: int
    pieces: Sequence[Piece]
    shown: bool


@dataclass(frozen=True)
class Example:
    """An utterance.

    Attributes:
        group: language and training set, as the choice names them.
        test_set: of the configuration.
        title: for readers.
        lang: language code.
        reference: what was said.
        heard: what decodes made of it.
        audio: address of the recording; empty: there is none.
        shown: before a reader chooses.
    """

    group: str
    test_set: str
    title: str
    lang: str
    reference: str
    heard: Sequence[Heard]
    audio: str = ""
    shown: bool = True


@dataclass(frozen=True)
class Option:
    """One of several things to choose."""

    value: str
    name: str


@dataclass(frozen=True)
class Choice:
    """What a reader may choose; `every`: what all of them are called, empty where one is chosen."""

    label: str
    key: str
    options: Sequence[Option]
    chosen: str
    every: str = ""


@dataclass(frozen=True)
class Examples:
    """Utterances, and what chooses among them."""

    kind: ClassVar[str] = "examples"
    examples: Sequence[Example]
    choices: Sequence[Choice]


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


Block = (
    Heading
    | Text
    | Drawn
    | Table
    | Cards
    | Advice
    | Questions
    | Folded
    | Banner
    | Examples
    | Lines
    | Code
)


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
