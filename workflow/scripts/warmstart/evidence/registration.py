"""What the first tables of a study were asked for, and whether later ones were asked for something
else: a margin, a threshold or a headline that is chosen after the data proves less.

The file lies beside the tables and is no output of a rule, so that Snakemake neither deletes it
before a job nor runs one for it. Whoever changes the question on purpose, and says so, deletes it:
the next tables are the first ones then (docs/outputs.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from warmstart.evidence.settings import Settings
from warmstart.run import files

NAME = "statistics.json"
TITLE = "Settings of the statistics that changed after the first tables"
_NOT_KEPT = "what the first tables were asked for is not compared"


@dataclass(frozen=True)
class Change:
    """A setting that is another than when tables were first made with it.

    Attributes:
        key: of the block `statistics`, or `contrasts`.
        first, now: its values, as they are written in JSON.
    """

    key: str
    first: str
    now: str


@dataclass(frozen=True)
class Registration:
    """Records of a study's tables: the first, and one whenever settings or code were others than
    before.

    Attributes:
        records: `made` (ISO 8601, UTC), `git_commit` (None: not known), `statistics`.
    """

    records: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> Mapping[str, Any]:
        """Of the first tables."""
        return self.records[0]

    @property
    def now(self) -> Mapping[str, Any]:
        """Of those that lie there."""
        return self.records[-1]

    def changes(self) -> list[Change]:
        """What is another now. A key that an older version did not have counts from the first
        record that has it; what went back to its first value has not changed."""
        baseline: dict[str, Any] = {}
        for record in self.records:
            baseline = {**record["statistics"], **baseline}
        return [
            Change(key, json.dumps(baseline[key]), json.dumps(value))
            for key, value in self.now["statistics"].items()
            if baseline[key] != value
        ]


def asked(settings: Settings) -> dict[str, Any]:
    """What is registered of the settings: the block `statistics` and the contrasts. Languages, test
    sets and tiers are of the study, and one that comes later changes no answer of those before."""
    return {
        "contrasts": [
            f"{one.name}: {one.baseline} against {one.challenger}" for one in settings.contrasts
        ],
        **{
            name: getattr(settings, name)
            for name in (
                *("headline_test_set", "reference_tier", "tier_margin_pp", "threshold_pp"),
                *("confidence", "replicates", "seed"),
            )
        },
        "wer_targets_pct": list(settings.wer_targets_pct),
        "forecast_hours": list(settings.forecast_hours),
    }


def record(
    folder: Path, settings: Settings, commit: str | None, now: datetime | None = None
) -> Registration:
    """Note what tables are asked for; the first note stays.

    Args:
        folder: of the tables.
        settings: of these.
        commit: of the code; None: not known.
        now: when; None: this moment.
    """
    known = read(folder, aside=True)
    records = known.records if known else ()
    new = {
        "made": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "git_commit": commit,
        "statistics": asked(settings),
    }
    if not records or any(records[-1][key] != new[key] for key in ("git_commit", "statistics")):
        records = (*records, new)
        files.write_json(folder / NAME, list(records))
    return Registration(records)


def read(folder: Path, *, aside: bool = False) -> Registration | None:
    """The records beside the tables of a folder; None where there are none that can be read.

    Args:
        folder: of the tables.
        aside: a damaged file makes room for a new one.
    """
    found = files.read_if_whole(folder / NAME, list, _NOT_KEPT, aside=aside)
    if not found or not all(map(_whole, found)):
        return None
    return Registration(tuple(found))


def _whole(one: Any) -> bool:
    keys = {"made", "git_commit", "statistics"}
    return isinstance(one, dict) and keys <= set(one) and isinstance(one["statistics"], dict)


def lines(registration: Registration) -> list[str]:
    """A line for each setting that changed, then one that says since when; nothing where none
    did."""
    changed = registration.changes()
    if not changed:
        return []
    return [
        *(
            f"statistics.{one.key} was {one.first} for the first tables and is {one.now} now."
            if one.key != "contrasts"
            else f"contrasts were {one.first} for the first tables and are {one.now} now."
            for one in changed
        ),
        f"First tables: {_when(registration.first)}. These: {_when(registration.now)}. What the "
        "tables answer was changed after there were results; a reader should know why.",
    ]


def sentence(registration: Registration) -> str:
    """When the settings of the statistics were written down, and with which code."""
    first, now = registration.first, registration.now
    same = "" if registration.changes() else ", and are the same now"
    code = (
        "" if first["git_commit"] == now["git_commit"] else f" Code of these tables: {_code(now)}."
    )
    return (
        f"Settings of the statistics were written down with the first tables, {_when(first)}"
        f"{same}.{code}"
    )


def _when(one: Mapping[str, Any]) -> str:
    return f"{str(one['made'])[:10]}, {_code(one)}"


def _code(one: Mapping[str, Any]) -> str:
    commit = one["git_commit"]
    return f"commit {commit[:12]}" if commit else "commit not known"
