"""Cuts of another language among the training cuts, so that a model does not forget it. Standard
library only.

The replayed cuts are a prefix of that language's pool, the same for all inits and seeds of a
budget, spread evenly over the manifest: every epoch has each of them once.
"""

import logging
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines
from warmstart.run import files
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)

_MARK = "replay"


def language(cut: Any) -> str | None:
    """The language that a Lhotse cut replays; None for a cut of the budget."""
    part = cut.tracks[0].cut if hasattr(cut, "tracks") else cut
    return (part.custom or {}).get(_MARK)


def is_replayed(cut: dict[str, Any]) -> bool:
    """The same of a line of a manifest."""
    return _MARK in (cut_lines.first_part(cut).get("custom") or {})


def mix(
    budget: Path, pool: Path, lang: str, fraction: float, output: Path, report: Path
) -> dict[str, Any]:
    """Write a budget with cuts of another language's pool between its own.

    Args:
        budget: written by `budgets.subset`.
        pool: of the replayed language, written by `pool.build`.
        lang: code of the replayed language.
        fraction: share of the replayed audio in all audio, above 0 and below 1.
        output: all cuts of the budget in their order, and between them the replayed ones, under ids
            of their own.
        report: cuts and hours of both.

    Returns:
        The report.

    Raises:
        UserError: the pool has not enough audio.
    """
    ratio = fraction / (1 - fraction)
    total_s = {"budget": 0.0, "replay": 0.0}
    count = {"budget": 0, "replay": 0}
    others = cut_lines.read(pool)
    with cut_lines.writing(output) as stream:
        for cut in cut_lines.read(budget):
            stream.write(cut_lines.line(cut))
            total_s["budget"] += cut_lines.duration_s(cut)
            count["budget"] += 1
            while total_s["replay"] < ratio * total_s["budget"]:
                other = next(others, None)
                if other is None:
                    most = total_s["replay"] / (
                        total_s["replay"] + sum(map(cut_lines.duration_s, cut_lines.read(budget)))
                    )
                    raise UserError(
                        f"replay of {lang}: its pool {pool} has {total_s['replay'] / 3600:.4g} h, "
                        "too little for a share of "
                        f"{fraction:g}; lower training.replay.fraction (at most {most:.3g} here) "
                        "or give it more corpora"
                    )
                other["id"] = f"{_MARK}-{lang}-{other['id']}"
                cut_lines.first_part(other).setdefault("custom", {})[_MARK] = lang
                stream.write(cut_lines.line(other))
                total_s["replay"] += cut_lines.duration_s(other)
                count["replay"] += 1
    result = {
        "replayed": lang,
        "cuts": count,
        "hours": {name: seconds / 3600 for name, seconds in total_s.items()},
        "fraction": total_s["replay"] / sum(total_s.values()),
    }
    files.write_json(report, result)
    log.info(
        "%d cuts of the budget, %d of %s, %.2f %% of the audio",
        *count.values(),
        lang,
        100 * result["fraction"],
    )
    return result
