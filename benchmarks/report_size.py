"""What the tables, the figures and the page of a study of some size take: seconds and memory of
each program, on score files, records and logs that are made up for it.

Figures observed: benchmarks/RESULTS.md. The study of the default size has eight languages with 480
decodes of 10,000 utterances each, 38 million rows in all: 2 GB of disk, and some minutes to make.

    python benchmarks/report_size.py --folder /tmp/size
    python benchmarks/report_size.py --folder /tmp/size --languages 2 --utterances 1000
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "workflow" / "scripts"
sys.path[:0] = [str(PROGRAMS), str(ROOT / "tests")]

from made.report import pool_report, run_record  # noqa: E402

from warmstart.evidence.score_columns import SCORES  # noqa: E402
from warmstart.study.stages import filled  # noqa: E402

HOURS = (100.0, 250.0, 500.0, 1000.0, 2500.0)
ARMS = {"en": 1.0, "ml": 0.0}
TIERS = {"160ms": 160, "560ms": 560, "1120ms": 1120, "offline": 1120}
TEST_SETS = ("fleurs", "mls", "voxpopuli", "commonvoice")
WORDS = 20  # a reference
LOGGED = 10_000  # lines of a training log


def names(count: int) -> list[str]:
    """Codes of languages."""
    return [f"l{chr(ord('a') + place)}" for place in range(count)]


def write_scores(path: Path, lang: str, utterances: int, seeds: int, blocks: int) -> int:
    """A score file, a row group for each decode as score.py writes it; its rows."""
    random = np.random.default_rng(len(lang) + ord(lang[-1]))
    schema = pyarrow.schema([(c.name, pyarrow.type_for_alias(kind)) for c, kind in SCORES])
    words = np.array(["ein", "zwei", "hundert", "sieben", "und", "drei", "tausend", "acht"])
    texts = [" ".join(words[random.integers(0, 8, WORDS)]) for _ in range(utterances)]
    block = [f"speaker{number}" for number in random.integers(0, blocks, utterances)]
    total = 0
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for test_set, arm, hours, seed, tier in itertools.product(
            TEST_SETS, ARMS, HOURS, range(1, seeds + 1), TIERS
        ):
            rate = 0.08 + 0.06 * (hours / 100) ** -0.4 + ARMS[arm] * 0.04 * (100 / hours)
            wrong = random.binomial(WORDS, rate, utterances).astype(np.int32)
            counts: dict[str, Any] = dict.fromkeys(
                [column.name for column, kind in SCORES if kind == "int32"],
                np.zeros(utterances, np.int32),
            )
            counts |= {
                "ref_words": np.full(utterances, WORDS, np.int32),
                "ref_chars": np.full(utterances, 5 * WORDS, np.int32),
                "hits": WORDS - wrong,
                "substitutions": wrong,
                "char_substitutions": 2 * wrong,
                "normaliser_version": np.ones(utterances, np.int32),
            }
            rows = {
                **{"training_set": lang, "lang": lang, "arm": arm, "hours": hours, "seed": seed},
                **{"precision": "full", "tier": tier, "test_set": test_set},
                **counts,
                "id": [f"{test_set}-{number}" for number in range(utterances)],
                "block": block,
                "duration_s": np.full(utterances, 8.0),
                "empty": np.zeros(utterances, bool),
                "looping": np.zeros(utterances, bool),
                "emission_delay_ms": np.full(utterances, 100.0),
                "reference": texts,
                "hypothesis": [text[wrong[place] :] for place, text in enumerate(texts)],
            }
            full = {
                name: value
                if hasattr(value, "__len__") and not isinstance(value, str)
                else [value] * utterances
                for name, value in rows.items()
            }
            writer.write_table(pyarrow.table({n: full[n] for n in schema.names}, schema=schema))
            total += utterances
    return total


def write_runs(folder: Path, langs: list[str], seeds: int) -> tuple[list[str], list[str]]:
    """Records and logs of all runs."""
    records, logs = [], []
    for lang, arm, hours, seed in itertools.product(langs, ARMS, HOURS, range(1, seeds + 1)):
        run = folder / "runs" / lang / arm / f"{hours:g}h" / f"seed{seed}"
        run.mkdir(parents=True)
        keys = {"training_set": lang, "hours": f"{hours:g}", "seed": seed}
        (run / "run.json").write_text(json.dumps(run_record(arm, **keys)))
        step = np.arange(1, LOGGED + 1)
        loss = 3.0 * step**-0.3 * np.random.default_rng(seed).normal(1, 0.1, LOGGED)
        lines = ["step,loss,lr,hours_seen,dev_wer"]
        for number, value in zip(step, loss, strict=True):
            dev = f"{0.1 + 10 / number:.4f}" if number % 500 == 0 else ""
            lines.append(f"{number},{value:.5f},0.001,{number * 0.01:.4f},{dev}")
        (run / "train.csv").write_text("\n".join(lines) + "\n")
        records.append(str(run / "run.json"))
        logs.append(str(run / "train.csv"))
    return records, logs


def display(langs: list[str], statistics: dict[str, Any]) -> dict[str, Any]:
    """Names and choices of the study."""
    return {
        "study": {"name": "size", "title": "A study of full size"},
        "statistics": statistics,
        "contrasts": {"warm_start": {"baseline": "en", "challenger": "ml"}},
        "languages": {lang: lang.upper() for lang in langs},
        "targets": langs,
        "training_sets": {lang: {"name": lang.upper(), "languages": [lang]} for lang in langs},
        "arms": {arm: {"name": arm.upper(), "init": arm, "seen": []} for arm in ARMS},
        "tiers": {
            name: {"lookahead_ms": ms, "offline": name == "offline"} for name, ms in TIERS.items()
        },
        "test_sets": list(TEST_SETS),
        "test_sets_of": {lang: list(TEST_SETS) for lang in langs},
    }


def measured(program: str, *arguments: str) -> None:
    """Run a program, and print what it took."""
    before = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / f"{program}.py"), *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said)
    seconds, cpu = time.monotonic() - before, usage.ru_utime + usage.ru_stime
    print(
        f"{program:<14}{seconds:>8.1f} s {cpu:>8.1f} s of CPU {usage.ru_maxrss / 1024:>8.0f} MB",
        flush=True,
    )


def main() -> None:
    """Make the study unless it is there, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--languages", type=int, default=8)
    parser.add_argument("--utterances", type=int, default=10_000, help="of a test set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=350, help="of a test set")
    parser.add_argument("--replicates", type=int, default=10_000)
    arguments = parser.parse_args()
    folder, langs = arguments.folder, names(arguments.languages)
    rows = 0
    if not folder.exists():
        folder.mkdir(parents=True)
        for lang in langs:
            rows += write_scores(
                folder / f"{lang}.parquet",
                lang,
                arguments.utterances,
                arguments.seeds,
                arguments.blocks,
            )
            (folder / f"{lang}.qc.json").write_text(json.dumps(pool_report()))
        records, logs = write_runs(folder, langs, arguments.seeds)
        (folder / "runs.txt").write_text("\n".join(records) + "\n")
        (folder / "logs.txt").write_text("\n".join(logs) + "\n")
        print(
            f"{rows} rows, {sum(p.stat().st_size for p in folder.glob('*.parquet')) / 1e6:.0f} MB"
        )
    statistics = filled(
        "statistics",
        {
            **{"baseline": "en", "challenger": "ml", "headline_test_set": "fleurs"},
            **{"reference_tier": "160ms", "replicates": arguments.replicates},
        },
    )
    shown = folder / "display.json"
    shown.write_text(json.dumps(display(langs, statistics)))
    chosen = folder / "statistics.json"
    chosen.write_text(
        json.dumps(
            {**statistics, "tiers": list(TIERS), "test_sets": dict.fromkeys(langs, TEST_SETS)}
        )
    )
    scores = [str(folder / f"{lang}.parquet") for lang in langs]
    tables, figures = str(folder / "tables"), str(folder / "figures")
    logs = f"@{folder / 'logs.txt'}"
    measured(
        "aggregate",
        *("--scores", *scores, "--train-logs", logs),
        *("--settings", f"@{chosen}", "--output-dir", tables),
    )
    measured(
        "plot",
        *("--tables", tables, "--train-logs", logs),
        *("--settings", f"@{shown}", "--output-dir", figures),
    )
    measured(
        "build_report",
        *("--tables", tables, "--figures", figures, "--runs", f"@{folder / 'runs.txt'}"),
        *("--qc", *(str(folder / f"{lang}.qc.json") for lang in langs), "--scores", *scores),
        *("--settings", f"@{shown}", "--output", str(folder / "report.html")),
    )
    for name in ("report.html", "figures/training.svg"):
        print(f"{name:<22}{(folder / name).stat().st_size / 1e6:>8.2f} MB")


if __name__ == "__main__":
    main()
