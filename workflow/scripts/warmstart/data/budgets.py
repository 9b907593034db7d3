"""Hour budgets: prefixes of the pool, so each is nested in the next and keeps every corpus's share.
Standard library only."""

import logging
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines
from warmstart.run import files
from warmstart.run.errors import UserError

log = logging.getLogger(__name__)


def subset(pool: Path, hours: float, output: Path, report: Path) -> dict[str, Any]:
    """Write the longest prefix of the pool that is not longer than the budget: at most one cut
    short of it.

    Args:
        pool: written by `pool.build`.
        hours: the budget, > 0.

    Returns:
        The report: hours, cuts, and per corpus cuts, hours and share of the hours.

    Raises:
        UserError: the budget is larger than the pool, or not even one cut long.
    """
    limit_s = hours * 3600
    total_s, count, lang, full = 0.0, 0, pool.name.partition(".")[0], False
    corpora: dict[str, dict[str, float]] = {}
    with cut_lines.writing(output) as stream:
        for number, line in enumerate(cut_lines.read_lines(pool), start=1):
            cut = cut_lines.parse(line, pool, number)
            length, corpus = cut_lines.duration_s(cut), cut_lines.custom(cut)["corpus"]
            # A microsecond: sums of sample-exact lengths are off by less, and no cut is that short.
            if total_s + length > limit_s + 1e-6:
                full = True
                break
            stream.write(line + b"\n")
            total_s += length
            count += 1
            entry = corpora.setdefault(corpus, {"cuts": 0, "hours": 0.0})
            entry["cuts"] += 1
            entry["hours"] += length / 3600
        if not full and total_s < limit_s - 1e-6:
            # The other budgets are not passed in to be listed here: a new one would make all stale.
            # A dry run knows them.
            raise UserError(
                f"{lang}: {hours:g} h asked, {total_s / 3600:.4g} h available in {pool}; lower the "
                "budget or add a corpus "
                f"(a dry run, `snakemake -n`, now lists the budgets that fit)"
            )
        if not count:
            raise UserError(f"{lang}: a budget of {hours:g} h is shorter than one cut; raise it")
    result = {
        "lang": lang,
        "budget_hours": hours,
        "hours": total_s / 3600,
        "cuts": count,
        "corpora": {
            name: {**entry, "share": entry["hours"] * 3600 / total_s}
            for name, entry in sorted(corpora.items())
        },
    }
    files.write_json(report, result)
    log.info("%s: %d cuts, %.4g h of %g h", lang, count, total_s / 3600, hours)
    return result
