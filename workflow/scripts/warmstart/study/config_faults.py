"""What a fault that JSON Schema finds in a configuration means, in the words of somebody who edits
YAML."""

import datetime
from typing import Any

import jsonschema

from warmstart.run.errors import did_you_mean

_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a block of keys",
    "null": "null",
}
PATTERNS = {
    "^[a-z]{2,3}$": "two or three lower-case letters",
    "^[a-z][a-z0-9_]*$": "lower-case letters, digits and _, a letter first",
    "^[a-z][a-z0-9_]*([+][a-z0-9_]+)*$": "lower-case letters, digits and _, a letter first, parts "
    "joined by +",
    "^[a-z][a-z0-9_+]*$": "lower-case letters, digits, _ and +, a letter first",
    "^[a-z][a-z0-9]*$": "lower-case letters and digits, a letter first",
    "^[a-z0-9]+$": "lower-case letters and digits",
    "^[A-Za-z0-9_-]+$": "letters, digits, _ and -",
    "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$": "OWNER/NAME of letters, digits, ., _ and -",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters, digits, ., _ and -, a letter or digit first",
    "^[A-Za-z0-9][A-Za-z0-9.!+_-]*$": "a version, as pip writes it: 1.0.0",
    "^[0-9a-f]{64}$": "a SHA-256, 64 hexadecimal digits",
}
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} letters",
    "minItems": "a list of at least {}",
    "maxItems": "a list of at most {}",
    "minProperties": "a block of at least {}",
    "uniqueItems": "a list without repetitions",
}


def fault(error: jsonschema.ValidationError, within: str = "") -> str:
    """One line: the place in the file, its value, what is allowed, and a remedy where one is known.

    Args:
        error: of a schema that `jsonschema` has evaluated.
        within: place of what was validated, where that is not the whole file.
    """
    place = (
        ".".join(part for part in (within, *map(str, error.absolute_path)) if part)
        or "the top level"
    )
    # jsonschema types these as perhaps unset, which they never are in an error it raises.
    value: Any = error.instance
    asked: Any = error.validator_value
    schema: Any = error.schema
    validator = str(error.validator)
    if validator == "additionalProperties":
        allowed = sorted(schema.get("properties", {}))
        unknown = [str(key) for key in value if key not in allowed]
        # Where the keys depend on what the block is: what it is, and which others have this one.
        kind = f", {schema['title']}" if "title" in schema else ""
        elsewhere = schema.get("elsewhere", {}).get(unknown[0])
        hint = f" ({elsewhere})" if elsewhere else did_you_mean(unknown[0], allowed)
        return (
            f"config: unknown key {unknown[0]!r} at {place}{kind}{hint}; allowed keys: "
            f"{', '.join(allowed)}"
        )
    if validator == "required":
        missing = [key for key in asked if key not in value]
        return f"config: {place} lacks {', '.join(map(repr, missing))}"
    if "propertyNames" in error.absolute_schema_path:
        return f"config: {place} has the name {value!r}; allowed: {PATTERNS.get(asked, asked)}"
    if validator == "enum":
        near = (
            did_you_mean(value, [one for one in asked if isinstance(one, str)])
            if isinstance(value, str)
            else ""
        )
        hint = _hint(value, ["string"] if str(value) in asked else [])
        return f"config: {place} is {value!r}{near}; allowed: {', '.join(map(repr, asked))}{hint}"
    types: list[str] = []
    if validator == "type":
        types = [asked] if isinstance(asked, str) else asked
        allowed = " or ".join(_TYPES[name] for name in types)
    elif validator == "oneOf":
        types = [branch["type"] for branch in asked if "type" in branch]
        allowed = " or ".join(_branch(branch) for branch in asked)
    elif validator == "pattern":
        allowed = PATTERNS.get(asked, asked)
    elif validator in _BOUNDS:
        allowed = _BOUNDS[validator].format(asked)
    else:
        allowed = error.message
    said = " ".join(str(schema.get("description", "")).split()).rstrip(".")
    return (
        f"config: {place} is {value!r}; allowed: "
        f"{allowed}{f' ({said})' if said else ''}{_hint(value, types)}"
    )


def not_text(key: Any, place: str) -> str:
    """What to do about a name that YAML does not read as text."""
    return (
        f"config: {place or 'the top level'} has the name {key!r}, which is no text: YAML reads "
        "no, yes, on, off and numbers "
        f"as values of their own; put the name in quotes, for Norwegian 'no'"
    )


def _branch(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    many = f", each {_branch(schema['items'])}" if "items" in schema else ""
    above = f" above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
    return _TYPES[schema["type"]] + above + many


def _hint(value: Any, types: list[str]) -> str:
    if isinstance(value, str) and {"number", "integer"} & set(types):
        try:
            float(value)
        except ValueError:
            return ""
        return "; YAML reads 1e-4 and quoted numbers as text: write 1.0e-4, without quotes"
    if (
        isinstance(value, bool | int | float | datetime.date)
        and "string" in types
        and not {"number", "integer"} & set(types)
    ):
        return (
            "; YAML reads no, yes, on, off, numbers and dates as values of their own: put it in "
            "quotes"
        )
    # Nothing, in brackets, is no better.
    if "array" in types and value == value and value and not isinstance(value, list | dict):
        return f"; write [{value}]"
    return ""
