"""Credentials that must not be read by others: found in a text, and taken out of it. Standard
library only.

A credential gets into a message by ways that nobody wrote: a library logs the signed address that
it was redirected to, an exception quotes a header. So all that a program says passes `redact`.
"""

import functools
import netrc
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

HIDDEN = "[hidden]"

# Of environment variables whose value is a credential.
_SECRET_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY"
    r"|(?:^|_)(?:KEY|PASS|PWD|AUTH|PAT))(?:_ID|_\d+)?$",
    re.IGNORECASE,
)
# `PWD` is where a shell is; a password file is a path.
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
_SHORTEST = 6  # shorter ones stand in ordinary words

# Of the parts of an address after its `?`.
_SECRET_PART = re.compile(
    r"sig|secret|token|passw|credential|api_?key|access_?key|auth|key_?id|policy|security|^key$",
    re.IGNORECASE,
)

_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s\"'<>]+)", re.IGNORECASE)
_QUERY = re.compile(r"(/[^\s\"'<>?]*)\?([^\s\"'<>()]*=[^\s\"'<>()]*?)(?=[:;,.]?(?:[\s\"'<>()]|$))")
_PART = re.compile(
    r"([?&;#][\w.%-]*(?:sig|secret|token|passw|credential|key|auth|policy)[\w.%-]*=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-amz-security-token)"
    r"(['\"]?\s*[:=]\s*)(?:b?'[^']*'|b?\"[^\"]*\"|(?:\w+\s+)?[^\s'\",}]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer|Basic|Token)\s+[\w.~+/=-]{12,}")
_HUB = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
# Of GitHub, GitLab, AWS, Slack, Google; web tokens (JWT); the head of a private key. The forms that
# their publishers give to be searched for.
_KNOWN = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bxox[abeprs]-[\w-]{10,}|\bAIza[\w-]{35}|\bya29\.[\w-]{20,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\w\s+/=-]*"
)


def redact(text: str) -> str:
    """A text without credentials: user and password in an address, all that follows its `?`,
    headers that log in, and the values of environment variables and of `.netrc` that are secret."""
    for value, name in _values():
        text = text.replace(value, f"[{name}]")
    if "://" in text:
        text = _ADDRESS.sub(lambda found: found[1] + _without_user(found[2]), text)
    if "=" in text:
        text = _QUERY.sub(rf"\1?{HIDDEN}", text)
        text = _PART.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    return _KNOWN.sub(HIDDEN, _SCHEME.sub(rf"\1 {HIDDEN}", text))


def _without_user(rest: str) -> str:
    host, slash, path = rest.partition("/")
    user, at, name = host.rpartition("@")
    return f"{HIDDEN}@{name}{slash}{path}" if at and user else rest


def found_in(text: str) -> str | None:
    """What kind of credential a text of a configuration holds, in words; None if none."""
    for _, name in (pair for pair in _values() if pair[0] in text):
        return f"the value of {name}"
    if _HUB.search(text):
        return "a token of the hub"
    if _KNOWN.search(text) or _SCHEME.search(text):
        return "a token or a key"
    for address in re.findall(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", text, re.IGNORECASE):
        try:
            parts = urlsplit(address)
        except ValueError:
            continue
        # A name alone, as in ssh://git@host, lets nobody in over the web without a password.
        if parts.scheme.lower() in ("http", "https", "ftp", "ftps", "s3") and "@" in parts.netloc:
            return "a user or a password in an address"
        if any(_SECRET_PART.search(name) for name, _ in _parts(parts)):
            return "a signed address"
    return None


def _parts(address: SplitResult) -> list[tuple[str, str]]:
    return [*parse_qsl(address.query), *parse_qsl(address.fragment)]


def _values() -> Iterator[tuple[str, str]]:
    """Secret values, longest first, with the name that is shown instead."""
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        if name not in _NO_SECRETS and _SECRET_NAME.search(name) and _is_secret(value):
            found[value] = name
        elif "://" in value and "@" in value:  # a proxy with a password
            password = _password(value)
            if password and len(password) >= _SHORTEST:
                found[password] = name
    found |= dict.fromkeys(_netrc(os.environ.get("NETRC")), ".netrc")
    found |= dict.fromkeys(_hub_token(os.environ.get("HF_TOKEN_PATH")), "HF_TOKEN")
    for value, name in list(found.items()):
        found[quote(value, safe="")] = name
    yield from sorted(found.items(), key=lambda pair: len(pair[0]), reverse=True)


def _is_secret(value: str) -> bool:
    return (
        len(value) >= _SHORTEST
        and not value.isspace()
        and not value.startswith(("/", "./", "~/"))
        and value.lower() not in ("always", "disabled", "enabled", "default")
    )


def _password(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None


@functools.cache
def _netrc(given: str | None) -> tuple[str, ...]:
    path = Path(given) if given else Path(os.path.expanduser("~/.netrc"))
    try:
        hosts: Mapping[str, tuple] = netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError, ValueError):
        return ()
    return tuple(word for *_, word in hosts.values() if word and len(word) >= _SHORTEST)


@functools.cache
def _hub_token(given: str | None) -> tuple[str, ...]:
    """What `hf auth login` keeps."""
    home = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
    try:
        token = Path(given or f"{home}/token").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ()
    return (token,) if len(token) >= _SHORTEST else ()
