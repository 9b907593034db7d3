"""Credentials in a configuration: it goes into params, settings files, logs and records, which
others read and which are published."""

from collections.abc import Iterator
from typing import Any

from warmstart.run.errors import UserError
from warmstart.run.secrets import found_in


def check(config: dict[str, Any]) -> None:
    """Refuse a configuration with credentials in it.

    Raises:
        UserError: naming the key and the kind of credential, not the value.
    """
    for key, text in _texts(config, ""):
        if (kind := found_in(text)) is not None:
            raise UserError(
                f"{key} holds {kind}, and a configuration is copied into logs and records that "
                "others read: take it out. A password belongs into ~/.netrc, a token into the "
                "environment (HF_TOKEN, MDC_API_KEY); what only a signed address gives is fetched "
                "by hand and given as a folder"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text with the key that leads to it; keys are texts too."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _texts(inner, f"{key}[{place}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"a key of {key or 'the configuration'}", str(name)
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
