"""Single values of a configuration that no program could work with, whatever their key: found in
one walk over the whole of it, before the schema is asked.

JSON Schema bounds hold for NaN, a whole number may be written 3.2e1, and YAML reads 010 as eight.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from warmstart.run.errors import UserError
from warmstart.study import config_faults

# The largest seed that numpy takes; no other key comes near it.
LARGEST_INTEGER = 2**32 - 1
# Beyond these a product of two settings leaves the range of a double.
_LARGEST, _SMALLEST = 1e15, 1e-30
# Names are parts of file names, which end at 255 bytes, with others beside them.
_LONGEST_NAME = 100
# Said in words, on the page and in READMEs: a line break is a blank there.
_IN_WORDS = {"title": 1000, "name": 200, "licence": 2000}
# What normalises a language's text may hold any character.
_RAW = re.compile(r"(support_)?languages\.[^.]*\.text\.")
_NODES = 200_000
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def check(config: dict[str, Any]) -> None:
    """Look at every value of a configuration, and make one line of those that are said in words.

    Raises:
        UserError: with the place of the first fault, its value and what is allowed: a text or a
            name that is empty, too long or holds control characters, a block within itself.
    """
    _Walk().block(config, "")


def check_numbers(value: Any, place: str = "") -> None:
    """Look at every number of a configuration that the schema has accepted, whose bounds hold for
    NaN.

    Raises:
        UserError: with the place of the first number that is not finite or beyond all bounds.
    """
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            check_numbers(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, place)


class _Walk:
    """Counts what it has seen: a file of a few lines can stand for a billion values."""

    def __init__(self) -> None:
        self.seen = 0

    def block(self, value: Any, place: str, above: tuple[int, ...] = ()) -> None:
        self.seen += 1 + len(value)
        if id(value) in above or self.seen > _NODES:
            raise UserError(
                f"config: {place} is a block within itself, or one of very many values that "
                "anchors (&, *) stand for; write it out"
            )
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            here = f"{place}.{key}" if place else str(key)
            if isinstance(value, dict):
                _check_name(key, place)
            if isinstance(item, dict | list):
                self.block(item, here, (*above, id(value)))
            elif isinstance(item, str):
                if key in _IN_WORDS:
                    item = value[key] = " ".join(item.split())
                if not _RAW.match(here):
                    _check_text(item, here, _IN_WORDS.get(key) if isinstance(key, str) else None)
                _check_encodable(item, here)


def _check_name(key: Any, place: str) -> None:
    if not isinstance(key, str):
        # JSON Schema looks at names that are text only, and YAML reads the code of Norwegian as
        # False.
        raise UserError(config_faults.not_text(key, place))
    place = place or "the top level"
    if len(key) > _LONGEST_NAME:
        raise UserError(
            f"config: {place} has a name of {len(key)} letters ({key[:30]!r}...); allowed: "
            f"{_LONGEST_NAME}, because names are parts of file names"
        )
    if _control(key):
        raise UserError(
            f"config: {place} has the name {key!r} with a line break or another control character; "
            "take it out"
        )
    _check_encodable(key, place)


def _check_text(value: str, place: str, longest: int | None) -> None:
    if not value.strip():
        raise UserError(
            f"config: {place} is {value!r}, an empty text; fill it in or remove the key"
        )
    if longest is not None and len(value) > longest:
        raise UserError(f"config: {place} has {len(value)} letters; allowed: {longest}")
    if _control(value):
        raise UserError(
            f"config: {place} is {value[:60]!r}, with a line break or another control character; "
            "take it out"
        )


def _check_encodable(value: str, place: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"config: {place} has {value[error.start]!r}, half of a character, which no file can "
            "hold; write the whole character"
        ) from None


def _control(value: str) -> bool:
    return any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value)


def _check_number(value: float, place: str) -> None:
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            said = str(value) if abs(value) < 10**30 else "a number of more than 30 digits"
            raise UserError(
                f"config: {place} is {said}; allowed: whole numbers from {-LARGEST_INTEGER} to "
                f"{LARGEST_INTEGER}"
            )
    elif not math.isfinite(value):
        raise UserError(f"config: {place} is {value}, which is no number; allowed: finite numbers")
    elif value and not _SMALLEST <= abs(value) <= _LARGEST:
        raise UserError(
            f"config: {place} is {value:g}; allowed: 0, and sizes from {_SMALLEST:g} to "
            f"{_LARGEST:g}"
        )


def whole(value: Any, node: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value with whole numbers as such where its schema asks for them: YAML writes 32 as 3.2e1
    too, and JSON Schema takes 32.0 for an integer, which no program does.

    Args:
        value: of a configuration; blocks and lists are changed in place.
        node: its JSON Schema.
        root: the schema that `$ref` of `node` are looked up in.

    Returns:
        The value, or the integer that it stands for.
    """
    while "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{key: item for key, item in node.items() if key != "$ref"}}
    branches = node.get("oneOf", ())
    if isinstance(value, dict):
        properties, extra = node.get("properties", {}), node.get("additionalProperties")
        for key in value:
            child = properties.get(key, extra if isinstance(extra, dict) else {})
            value[key] = whole(value[key], child, root)
    elif isinstance(value, list):
        items = node.get("items") or next((one["items"] for one in branches if "items" in one), {})
        value[:] = [whole(item, items, root) for item in value]
    elif isinstance(value, float) and value.is_integer():
        types = node.get("type", ())
        listed = [one for one in node.get("enum", ()) if type(one) is int]
        if "integer" in ([types] if isinstance(types, str) else types) or value in listed:
            return int(value)
    return value


def misread(text: str) -> str | None:
    """What YAML makes of a number that is written in a way people mean otherwise, or None.

    Args:
        text: a scalar without quotes, as it stands in the file.
    """
    if _OCTAL.fullmatch(text) and not set(text) & set("89"):
        return f"{int(text.replace('_', ''), 8)}, because a 0 in front means octal"
    if _SEXAGESIMAL.fullmatch(text):
        return "a number to the base of 60"
    return None
