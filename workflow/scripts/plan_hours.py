"""Print what a study's data will take before anything is downloaded: hours, the budgets that fit,
disk, licences.

Reads a configuration and the pinned statistics in workflow/data/. Writes to the terminal only;
imports the standard library and PyYAML.

    python workflow/scripts/plan_hours.py --config config.yaml
"""

import argparse
from typing import Any

from warmstart.run import cli
from warmstart.study.config import read_config
from warmstart.study.consistency import corpus_block
from warmstart.study.planning import aligned, is_local
from warmstart.study.published import (
    available_hours,
    format_hours,
    gigabytes,
    replayed_hours,
    shared_gigabytes,
    table,
)

# The budgets of the full study's axis, for languages that might reach further than their block
# asks.
_SCALES = (100, 250, 500, 1000, 2500)


def plan(config: dict[str, Any]) -> str:
    """The whole report for a configuration."""
    return "\n\n".join([_hours(config), _disk(config), _licences(config)]) + "\n"


def _hours(config: dict[str, Any]) -> str:
    blocks = {**config["languages"], **_replayed(config)}
    corpora = [
        name
        for name in config["corpora"]
        if any(name in block["training_corpora"] for block in blocks.values())
    ]
    rows = [["lang", *corpora, "sum", "budgets"]]
    for lang, block in blocks.items():
        codes = block["corpora"]
        hours = {
            name: available_hours(corpus_block(config, name, lang, codes.get(name, lang)), lang)
            for name in block["training_corpora"]
        }
        total, unknown = (
            sum(value for value in hours.values() if value is not None),
            None in hours.values(),
        )
        cells = [_number(hours.get(name)) if name in hours else "-" for name in corpora]
        last = (
            _budgets(block["budgets_hours"], total, unknown)
            if lang in config["languages"]
            else _replay(config, total, unknown)
        )
        rows.append([lang, *cells, _number(total), last])
    return (
        "Hours of training speech, as published, before cleaning (? = known only when read)\n"
        + aligned(rows)
    )


def _budgets(asked: list[float], total: float, unknown: bool) -> str:
    fit = [format_hours(hours) for hours in asked if hours <= total]
    too_large = [format_hours(hours) for hours in asked if hours > total]
    more = [format_hours(hours) for hours in _SCALES if max(asked) < hours <= total]
    text = " ".join(fit) or "none"
    if too_large:
        text += f"; {'perhaps' if unknown else 'TOO LARGE:'} {' '.join(too_large)}"
    return text + (f"; would fit: {' '.join(more)}" if more else "")


def _replayed(config: dict[str, Any]) -> dict[str, Any]:
    """The replayed language's block, with the corpora that are read of it."""
    if not (replay := (config.get("training") or {}).get("replay")):
        return {}
    block = config["support_languages"][replay["lang"]]
    tested = {source["corpus"] for source in config["test_sets"].values()}
    used = {
        name: code
        for name, code in block["corpora"].items()
        if name in block["training_corpora"] or name in tested
    }
    return {replay["lang"]: {**block, "corpora": used}}


def _replay(config: dict[str, Any], total: float, unknown: bool) -> str:
    most = max(hours for block in config["languages"].values() for hours in block["budgets_hours"])
    needed = replayed_hours(most, config["training"]["replay"]["fraction"])
    fits = needed <= total
    return f"replayed: {_number(needed)} beside {format_hours(most)}" + (
        "" if fits else "; perhaps" if unknown else "; TOO LARGE"
    )


def _disk(config: dict[str, Any]) -> str:
    rows, total, rough = [["corpus", "GB", "languages"]], 0.0, False
    blocks = {**config["languages"], **_replayed(config)}
    for name, settings in config["corpora"].items():
        users = {
            lang: corpus_block(config, name, lang, block["corpora"][name])
            for lang, block in blocks.items()
            if name in block["corpora"]
        }
        here = {str(own["source"]) for own in [*users.values(), settings] if is_local(own)}
        users = {lang: own for lang, own in users.items() if not is_local(own)}
        if here and not users:
            rows.append([name, "0", f"taken from {', '.join(sorted(here))}"])
            continue
        sizes = {lang: gigabytes(own, own["code"], lang) for lang, own in users.items()}
        known = {lang: size for lang, (size, _) in sizes.items() if size is not None}
        shared, exact = shared_gigabytes(settings["kind"]) if users else (None, True)
        size = sum(known.values()) + (shared or 0.0)
        about = any(not stated for _, stated in sizes.values()) if shared is None else not exact
        if not size:
            rows.append(
                [
                    name,
                    "0",
                    "nothing is downloaded"
                    if settings["kind"] in ("local", "granary", "synthetic")
                    else "?",
                ]
            )
            continue
        total, rough = total + size, rough or about
        detail = (
            ", ".join(f"{lang} {value:.1f}" for lang, value in known.items())
            or f"one download for {', '.join(users)}"
        )
        rows.append([name, f"{'~' if about else ''}{size:.1f}", detail])
    rows.append(
        [
            "all",
            f"{'~' if rough else ''}{total:.1f}",
            "for a moment an archive and its contents lie side by side: allow the largest twice",
        ]
    )
    return "Disk for the releases (~ = estimated)\n" + aligned(rows)


def _licences(config: dict[str, Any]) -> str:
    kinds = {settings["kind"] for settings in config["corpora"].values()}
    lines = [
        f"{row['kind']}: {row['licence']}. To do: {row['to_do']}."
        for row in table("licences.tsv")
        if row["kind"] in kinds
    ]
    return "Licences\n" + "\n".join(line.replace(" To do: -.", "") for line in lines)


def _number(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:.0f}" if hours >= 10 else f"{hours:.2f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default="config.yaml", help="the study's configuration: a file, or JSON"
    )
    arguments = parser.parse_args(argv)
    print(plan(read_config(arguments.config)), end="")


if __name__ == "__main__":
    cli.run(main)
