"""docs/extend/analysis.md, followed: its module and its line, in a copy of the checkout."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from made.planted import Truth, score_table

from warmstart.evidence.tables import read_table
from warmstart.study.stages import filled

GUIDE = (ROOT / "docs/extend/analysis.md").read_text(encoding="utf-8")
SETTINGS = {
    "baseline": "en",
    "challenger": "ml",
    "headline_test_set": "fleurs",
    "reference_tier": "160ms",
    "replicates": 100,
}
DISPLAY = {
    "study": {"name": "toy", "title": "Toy"},
    "statistics": filled("statistics", SETTINGS),
    "languages": {"it": "Italian", "de": "German"},
    "targets": ["it", "de"],
    "training_sets": {
        "it": {"name": "Italian", "languages": ["it"]},
        "de": {"name": "German", "languages": ["de"]},
    },
    "arms": {name: {"name": name.upper(), "init": name} for name in ("en", "ml")},
    "tiers": ["160ms", "560ms"],
    "test_sets": ["fleurs"],
}


def run(folder, *command):
    """A program of the copy, as somebody at its root runs it."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def followed(checkout, tmp_path_factory):
    """A copy in which somebody has done what the guide says."""
    copy = checkout.copy(tmp_path_factory.mktemp("guide") / "warmstart")
    module, line = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    name, place = re.search(r"`(\w+\.py)` in `(\S+)` is the whole example", GUIDE).groups()
    (copy.folder / place / name).write_text(module, encoding="utf-8")
    names = copy.folder / re.search(r"`ANALYSES` of `(\S+)`", GUIDE)[1]
    text = names.read_text(encoding="utf-8")
    names.write_text(text.replace("ANALYSES = {\n", f"ANALYSES = {{\n{line}"), encoding="utf-8")
    assert "make docs" in GUIDE
    run(copy.folder, "tools/write_docs.py")
    return copy


@pytest.mark.slow
def test_the_analysis_of_the_guide_is_in_tables_figures_page_and_docs(followed, tmp_path):
    folder, random = followed.folder, np.random.default_rng(0)
    for lang in ("it", "de"):
        table = score_table(Truth(speakers=10), random, lang)
        half = table.substitutions // 2
        table = table.assign(substitutions=table.substitutions - half, deletions=half)
        table.to_parquet(tmp_path / f"{lang}.parquet")
    for name, value in (("tables", SETTINGS), ("display", DISPLAY)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    scores = [tmp_path / "it.parquet", tmp_path / "de.parquet"]
    tables, figures = tmp_path / "tables", tmp_path / "figures"
    asked = ["--settings", f"@{tmp_path}/tables.yaml", "--output-dir", tables]
    run(folder, "workflow/scripts/aggregate.py", "--scores", *scores, *asked)
    made = read_table(tables / "deletions.csv")
    assert list(made.columns)[-1] == "deletion_share_pct"
    assert made.deletion_share_pct.to_numpy() == pytest.approx(50, abs=3)
    assert set(made.lang) == {"it", "de"}
    shown = ["--tables", tables, "--settings", f"@{tmp_path}/display.yaml"]
    run(folder, "workflow/scripts/plot.py", *shown, "--output-dir", figures)
    assert (figures / "deletions_by_hours.png").stat().st_size > 5000
    page = tmp_path / "report.html"
    run(folder, "workflow/scripts/build_report.py", *shown, "--figures", figures, "--output", page)
    text = page.read_text(encoding="utf-8")
    assert '<a href="#deletions">Deletions</a>' in text
    section = re.search(r'<section id="deletions">.*?</section>', text, flags=re.DOTALL)[0]
    assert "<h2>Does a model say too little?</h2>" in section
    assert 'id="figure-deletions_by_hours"' in section
    assert "Deletions among errors on fleurs at 160 ms." in section
    assert 'title="Deletions among the word errors (%)"' in section
    assert section.count("<tr>") == 1 + len(made)


@pytest.mark.slow
def test_the_analysis_of_the_guide_is_in_the_documents(followed):
    page = (followed.folder / "docs/outputs.md").read_text(encoding="utf-8")
    section = page.split("## results/tables/deletions.csv\n")[1].split("\n## ")[0]
    assert "Share of deletions among the word errors of every decode." in section
    assert "| deletion_share_pct | % | deletions among the word errors |" in section
    assert "- `deletions_by_hours`: Deletions among errors on the headline test set" in page
    for name in ("table_deletions", "figure_deletions_by_hours"):
        assert (followed.folder / f"workflow/report/captions/{name}.rst").exists()
    run(followed.folder, "tools/write_docs.py", "--check")


@pytest.mark.slow
def test_the_rules_make_the_table_and_the_figure_of_the_guide(followed):
    wanted = ["results/tables/deletions.csv", "results/figures/deletions_by_hours.svg"]
    jobs = followed.planned(*wanted, config="demo.yaml")
    assert {"aggregate", "plot"} <= set(jobs)
