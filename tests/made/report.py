"""A small study for the page: names, records of runs and of pools, and the page itself, made by the
real programs."""

import json

import build_report
import plot
from made.tables import SETTINGS
from warmstart.evidence.display import Display
from warmstart.study.stages import filled

DISPLAY = {
    "study": {"name": "test", "title": "A <test> study & its report"},
    "statistics": filled("statistics", SETTINGS),
    "contrasts": {"warm_start": {"baseline": "en", "challenger": "ml"}},
    "languages": {"de": "German", "fr": "French", "it": "Italian"},
    "targets": ["de", "fr", "it"],
    "training_sets": {
        "de": {"name": "German", "languages": ["de"]},
        "fr": {"name": "French", "languages": ["fr"]},
        "it": {"name": "Italian", "languages": ["it"]},
    },
    "arms": {
        "en": {"name": "English only", "init": "en", "seen": []},
        "ml": {"name": "Multilingual", "init": "ml", "seen": ["fleurs"]},
    },
    "tiers": {"160ms": {"lookahead_ms": 160}, "560ms": {"lookahead_ms": 560}},
    "test_sets": ["fleurs"],
}
SHOWN = Display.of(DISPLAY)
(WARM_START,) = SHOWN.contrasts


def run_record(arm, **changes):
    """A run.json as train.py writes it, as far as the page reads it."""
    record = {
        **{"training_set": "de", "arm": arm, "hours": "100", "seed": 1, "steps": 500},
        **{"hours_seen": 2.0, "epochs": 20.0, "wall_s": 60.5, "gpu_hours": 0.0, "peak_mb": 900},
        "settings": {"optimizer": {"lr": 1.0e-3}, "model": {"n_layers": 2}},
        "git_commit": "0123456789abcdef",
        "versions": {"torch": "2.11.0"},
        "hardware": {"machine": "x86_64", "cpus": 4, "threads": 1, "gpu": None},
        "final": {"loss": 1.5, "dev_loss": None, "dev_wer": None},
        **{"model_sha256": "f" * 64, "encoder_tensors": 86, "encoder_tensors_loaded": 86},
        "input_digests": {"train_cuts": "a", "dev_cuts": "b", "tokenizer": "c", "init": arm},
        "start_digests": {"encoder": arm, "decoder": "d", "joint": "e"},
        "init_facts": {"donor_contexts": [[70, 13], [70, 0]]},
        "init_source": {"source": "nvidia/donor", "revision": "abcdef0123456789"},
        "starts": [{"wall_s": 60.5}],
    }
    record |= changes
    # As in a record: defaults filled in.
    return record | {"settings": record["settings"] and filled("train", record["settings"])}


def rows_of(sheet):
    """A sheet as text."""
    return [[cell.text for cell in row] for row in sheet.rows]


def build(folder, tables, runs=(), extra=(), report=(), figures=None, display=DISPLAY):
    """Draw the figures (unless there are some), build the page, return its text."""
    if figures is None:
        figures = folder / "figures"
        plot.main(
            [
                "--tables",
                str(tables),
                "--settings",
                json.dumps(display),
                "--output-dir",
                str(figures),
                *extra,
            ]
        )
    paths = []
    for record in runs:
        path = folder / f"{record['arm']}-{record['hours']}.json"
        path.write_text(json.dumps(record))
        paths.append(str(path))
    arguments = [
        "--tables",
        str(tables),
        "--figures",
        str(figures),
        "--settings",
        json.dumps(display),
    ]
    arguments += [*(["--runs", *paths] if paths else []), *map(str, report)]
    build_report.main([*arguments, "--output", str(folder / "report.html")])
    return (folder / "report.html").read_text(encoding="utf-8")


def pool_report(**changes):
    """A pool's .qc.json as build_pool.py writes it, as far as the page reads it."""
    entry = {
        "read": {"cuts": 100, "hours": 2.0},
        "kept": {"cuts": 90, "hours": 1.8, "speakers": 3},
        "dropped": {"foreign_alphabet": {"cuts": 7, "hours": 0.125}},
    }
    guard = {
        "on": ["sentence"],
        "removed": {"fleurs": {"sentence_in_test": {"cuts": 3, "hours": 0.01}}, "mls": {}},
    }
    return {"corpora": {"mls": entry | changes}, "guard": guard}
