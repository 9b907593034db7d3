"""Tables of the page, made from the columns that an analysis declares."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from warmstart.evidence.cells import Shown, hours_cell, interval_cell, number_cell, text_cell
from warmstart.evidence.columns import (
    ARM,
    CONTRAST,
    HOURS,
    LANG,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import GAP
from warmstart.evidence.recognition import OK, SAYS_NOT


@dataclass(frozen=True)
class Head:
    """What stands above a column.

    Attributes:
        label: its name.
        title: its meaning, shown when asked for; may be empty.
        numeric: numbers stand to the right.
    """

    label: str
    title: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Filter:
    """A choice of rows by the text in a column; `chosen` at first, None: all."""

    label: str
    column: int
    choices: tuple[str, ...]
    chosen: str | None = None


@dataclass(frozen=True)
class Sheet:
    """A table as the template shows it."""

    name: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Shown, ...], ...]
    sortable: bool = False
    filters: tuple[Filter, ...] = ()

    @property
    def id(self) -> str:
        """Of the element of the page."""
        return f"table-{self.name}"


@dataclass(frozen=True)
class Field:
    """A column of a sheet, and how its cell is made of a row."""

    head: Head
    cell: Callable[[Any], Shown]


def field(label: str, cell: Callable[[Any], Shown], title: str = "") -> Field:
    """A field that no column stands for."""
    return Field(Head(label, title), cell)


def sheet(
    name: str,
    fields: Sequence[Field],
    rows: Iterable[Any],
    *,
    sortable: bool = False,
    filters: Sequence[str] = (),
    chosen: dict[str, str] | None = None,
) -> Sheet:
    """A sheet.

    Args:
        name: unique on the page.
        fields: its columns.
        rows: whatever the fields read.
        sortable: whether a reader may sort it.
        filters: labels of the fields that a reader may choose rows by.
        chosen: label -> what is chosen at first.
    """
    cells = tuple(tuple(field.cell(row) for field in fields) for row in rows)
    heads = tuple(
        Head(field.head.label, field.head.title, any(row[place].kind == "n" for row in cells))
        for place, field in enumerate(fields)
    )
    places = [place for place, head in enumerate(heads) if head.label in filters]
    return Sheet(
        name,
        heads,
        cells,
        sortable,
        tuple(
            Filter(
                heads[place].label,
                place,
                _choices([row[place] for row in cells]),
                (chosen or {}).get(heads[place].label),
            )
            for place in places
        ),
    )


def _choices(cells: Sequence[Shown]) -> tuple[str, ...]:
    """What a reader may choose among: budgets by hours, tiers by latency, names as they come."""
    numbers = {cell.text: cell.sort for cell in cells if isinstance(cell.sort, int | float)}
    order = sorted(numbers, key=lambda text: numbers[text])
    return tuple(dict.fromkeys([*order, *(cell.text for cell in cells)]))


class Fields:
    """Fields of a table's own columns: heads and meanings as declared.

    Args:
        columns: of the table.
        display: names and choices of the study.
    """

    def __init__(self, columns: Iterable[Column], display: Display):
        self._columns = {column.name: column for column in columns}
        self._display = display

    def _of(self, name: str, cell: Callable[[Any], Shown], head: str = "") -> Field:
        column = self._columns[name]
        unit = f" ({column.unit})" if column.unit else ""
        meaning = column.meaning.replace("`", "") + unit
        return Field(Head(head or column.label, meaning[:1].upper() + meaning[1:]), cell)

    def text(
        self,
        name: str,
        make: Callable[[Any], str] | None = None,
        tag: Callable[[Any], str] | None = None,
        *,
        head: str = "",
        wide: bool = False,
    ) -> Field:
        """A column of text.

        Args:
            name: of the column.
            make: row -> text, where it is not the value itself.
            tag: row -> class of a coloured tag.
            head: what stands above it, where that depends on the study.
            wide: long text may break.
        """
        display = self._display
        names = {
            TIER.name: display.tier,
            TEST_SET.name: display.test_set,
            PRECISION.name: display.precision,
        }
        named = names.get(name, lambda value: value)
        return self._of(
            name,
            lambda row: text_cell(
                make(row) if make else named(getattr(row, name)),
                tag=tag(row) if tag else "",
                wide=wide,
            ),
            head,
        )

    def number(
        self,
        name: str,
        digits: int,
        *,
        unit: str = "",
        signed: bool = False,
        scale: Callable[[float], float] | None = None,
        head: str = "",
    ) -> Field:
        """A column of numbers, rounded to so many digits after the point."""
        return self._of(
            name,
            lambda row: number_cell(
                scale(getattr(row, name)) if scale else getattr(row, name),
                digits,
                unit=unit,
                signed=signed,
            ),
            head,
        )

    def cell(self, name: str, make: Callable[[Any], Shown], *, head: str = "") -> Field:
        """A column with cells of one's own making."""
        return self._of(name, make, head)

    def interval(
        self,
        name: str,
        suffix: str,
        digits: int = 2,
        *,
        signed: bool = True,
        scale: Callable[[float], float] = float,
        head: str = "",
    ) -> Field:
        """The two bounds of an estimate in one field; `head`: where it is of something else than
        the study's other intervals."""
        low, high = f"{name}_low_{suffix}", f"{name}_high_{suffix}"
        return self._of(
            low,
            lambda row: interval_cell(
                scale(getattr(row, low)), scale(getattr(row, high)), digits, signed=signed
            ),
            head or self._display.interval,
        )

    # ---- axes

    def language(self) -> Field:
        """The language of a row."""
        return self._of(LANG.name, lambda row: text_cell(self._display.language_of(row)))

    def arm(self) -> Field:
        """The arm of a row."""
        return self._of(ARM.name, lambda row: text_cell(self._display.arm(row.arm)))

    def arm_or_gap(self) -> Field:
        """The arm of a row; of a row about a contrast its two arms."""

        def shown(row: Any) -> str:
            if row.arm != GAP:
                return self._display.arm(row.arm)
            found = next(each for each in self._display.contrasts if each.name == row.contrast)
            return " − ".join(map(self._display.arm, found.arms))

        return self.text("arm", shown)

    def hours(self) -> Field:
        """The budget of a row."""
        return self._of(HOURS.name, lambda row: hours_cell(float(row.hours)))

    def tier(self) -> Field:
        """The tier of a row, sorted by its latency."""
        return self._of(
            TIER.name,
            lambda row: Shown(
                self._display.tier(row.tier), self._display.tier_place(row.tier), "short"
            ),
        )

    def recognition(self, table: pd.DataFrame) -> list[Field]:
        """Whether the systems of a row recognise; nothing where all do."""
        if (table[RECOGNITION.name] == OK).all():
            return []
        return [
            self.text(
                RECOGNITION.name,
                lambda row: (
                    "yes"
                    if row.recognition == OK
                    else str(row.recognition).replace(SAYS_NOT, "no", 1)
                ),
                tag=lambda row: "plain" if row.recognition == OK else "no",
                head="Recognises",
            )
        ]

    def training_set(self) -> list[Field]:
        """What a row's model was trained on; nothing where that is always the language itself."""
        if not self._display.several_parts:
            return []
        return [
            self._of(
                TRAINING_SET.name,
                lambda row: text_cell(self._display.training_set(row.training_set)),
            )
        ]

    def contrast(self) -> list[Field]:
        """The contrast of a row; nothing where there is one."""
        if not self._display.several_contrasts:
            return []
        return [self._of(CONTRAST.name, lambda row: text_cell(row.contrast))]

    def all(self, table: pd.DataFrame) -> list[Field]:
        """Every column, numbers where the table has numbers: the sheet of an analysis that makes
        none of its own."""
        axes = {
            CONTRAST.name: self.contrast,
            TRAINING_SET.name: self.training_set,
            LANG.name: lambda: [
                self.language() if "languages" in self._columns else self._named_language()
            ],
            ARM.name: lambda: [self.arm()],
            HOURS.name: lambda: [self.hours()],
            TIER.name: lambda: [self.tier()],
        }
        found: list[Field] = []
        for name in self._columns:
            if name in axes:
                found += axes[name]()
            elif pd.api.types.is_numeric_dtype(table[name]):
                whole = pd.api.types.is_integer_dtype(table[name])
                found.append(self.number(name, 0 if whole else 2))
            else:
                found.append(self.text(name))
        return found

    def _named_language(self) -> Field:
        return self._of(LANG.name, lambda row: text_cell(self._display.language(row.lang)))
