"""Which licences let a few recordings stand in a page that is passed on. Standard library only."""

import re

_OPEN = re.compile(
    r"\bCC[- ]?0\b|\bCC[- ]BY(?:[- ]SA)?\b|\bCREATIVE COMMONS (?:ZERO|ATTRIBUTION)\b"
    r"|\bPUBLIC DOMAIN\b|\bPDDL\b|\bPDM\b|\bODC-BY\b|\bODBL\b|\b[AL]?GPL\b|\bMIT\b|\bAPACHE\b"
    r"|\bBSD\b|\bUNLICENSE\b"
)
# Forbids trade, changes (a page has them in another format), or passing on as such.
_CLOSED = re.compile(
    r"\bNC\b|\bNON-?\s?COMMERCIAL\b|\bND\b|\bNO-?\s?DERIV|\bPROPRIETARY\b|\bRESERVED\b|(?<!-)\bONLY\b"
    r"|\bNOT?\b|\bUNKNOWN\b|\bCONFIDENTIAL\b|\bRESEARCH\b|\bLDC\b|\bELRA\b"
)


def allows_passing_on(licence: str | None) -> bool:
    """Whether a licence, as a configuration names it, is known to let recordings be passed on.

    Several licences stand with commas between; each must be known. What stands in brackets, the
    source as a rule, is no licence, but may forbid.

    Args:
        licence: e.g. `CC-BY-4.0`, or `it CC-BY-3.0, fr CC-BY-SA-3.0 (README.md)`; None: not
            stated, which allows nothing.
    """
    text = (licence or "").upper().replace("_", "-")
    if _CLOSED.search(text):
        return False
    parts = [part.strip() for part in re.split(r"[,;/]|\bAND\b", re.sub(r"\([^)]*\)", "", text))]
    parts = [part for part in parts if part]
    return bool(parts) and all(_OPEN.search(part) for part in parts)
