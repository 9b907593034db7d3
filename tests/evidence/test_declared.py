"""What analyses declare is what their tables, the documentation and the rules have."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import write_docs
import yaml
from conftest import ROOT
from made.planted import CONTRASTS, SEVERAL, Truth, score_table
from made.tables import make_tables

import plot
from warmstart.evidence import analyses, documentation
from warmstart.evidence.columns import AXES, Column, estimate
from warmstart.evidence.display import Display
from warmstart.evidence.score_columns import SCORES
from warmstart.evidence.settings import Settings
from warmstart.evidence.tables import read_table, write_table
from warmstart.run.imports import code_of
from warmstart.study import config as configuration
from warmstart.study import grid, slices
from warmstart.study.stages import filled


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """Tables of a study of one arm and one budget: most of them have no row."""
    folder = tmp_path_factory.mktemp("sparse")
    truth = Truth(hours=(1.0,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=4)
    table = score_table(truth, np.random.default_rng(0), "it")
    return make_tables(folder, {"it": table[(table.arm == "ml") & (table.precision == "full")]})


@pytest.mark.parametrize("name", analyses.tables())
def test_a_table_has_the_declared_header_whether_it_has_rows_or_not(sparse, name):
    assert list(sparse[name].columns) == [column.name for column in analyses.load(name).columns]


def test_most_tables_of_that_study_are_empty(sparse):
    empty = {name for name, table in sparse.items() if table.empty}
    gaps = {"gap", "fit", "guideline", "gap_by_tier", "power"}
    # No decode kept candidates, nothing was labelled, no arm writes phones, no list of phones,
    # nothing was routed, no arm is made of experts, all labels were clean, nobody asked what is
    # kept, no run is in rounds.
    nothing_asked = {"saturation", "topics", "per", "phone_coverage", "routing", "confusion"}
    nothing_asked |= {"experts", "label_noise", "retention", "rounds"}
    assert empty == gaps | nothing_asked | {"latency", "quantization", "leaderboard"}


def test_a_row_with_something_undeclared_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no column is declared for b"):
        write_table(tmp_path / "t.csv", [{"a": 1, "b": 2}], [Column("a", "", "")])


def test_only_an_empty_cell_is_a_missing_value(tmp_path):
    """nan is the code of a language, and an arm may be called null."""
    rows = [{"lang": "nan", "arm": "null", "x": float("nan")}, {"lang": "NA", "x": np.inf}]
    write_table(tmp_path / "t.csv", rows, [Column(name, "", "") for name in ("lang", "arm", "x")])
    table = read_table(tmp_path / "t.csv")
    assert table.lang.tolist() == ["nan", "NA"]
    assert table.arm.tolist()[0] == "null"
    assert pd.isna(table.arm[1])
    assert pd.isna(table.x[0])
    assert table.x[1] == np.inf


def test_columns_of_one_table_have_different_names_and_a_meaning():
    declared = {name: analyses.load(name).columns for name in analyses.tables()}
    for name, columns in {**declared, "scores": tuple(column for column, _ in SCORES)}.items():
        assert len({column.name for column in columns}) == len(columns), name
        assert all(column.meaning for column in columns), name


def test_docs_and_captions_are_what_the_code_declares():
    assert [str(path) for path in write_docs.stale(ROOT)] == [], "run make docs"


def test_a_column_that_is_added_makes_the_docs_stale(monkeypatch):
    wer = analyses.load("wer")
    monkeypatch.setattr(type(wer), "columns", (*wer.columns, Column("new", "", "a thing")))
    assert write_docs.stale(ROOT) == [ROOT / "docs/outputs.md"]
    with pytest.raises(SystemExit):
        write_docs.main(["--check"])
    assert "| new |  | a thing |" in documentation.filled(
        (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    )


def test_an_interval_is_three_columns_with_one_meaning():
    columns = estimate("wer", "pct", "%", "word error rate")
    assert [column.name for column in columns] == ["wer_pct", "wer_low_pct", "wer_high_pct"]
    assert documentation.column_table(columns).splitlines()[-1] == (
        "| wer_pct, wer_low_pct, wer_high_pct | % | word error rate |"
    )


def test_every_axis_is_explained_once():
    text = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    for column in AXES:
        rows = [line for line in text.splitlines() if line.startswith(f"| {column.name} |")]
        # gap_by_tier has budgets and their mean, quantization has gaps among the arms.
        assert len(rows) == {"hours": 2, "contrast": 2, "arm": 2}.get(column.name, 1), column


def test_the_list_of_analyses_needs_nothing_but_the_standard_library():
    """The rules read it while the DAG is built."""
    heavy = ("numpy", "pandas", "scipy", "matplotlib", "torch")
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'workflow/scripts')!r})\n"
        "from warmstart.evidence import analyses, settings\n"
        "print(analyses.tables(), analyses.figures(['a', 'b']))\n"
        f"assert not set({heavy}) & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("program", ["aggregate", "plot", "build_report"])
def test_an_edit_of_an_analysis_makes_what_it_makes_stale(program):
    """Analyses are loaded by name, which no import line says."""
    path = ROOT / f"workflow/scripts/{program}.py"
    found = {Path(name).name for name in code_of(path, *analyses.modules())}
    assert {f"{name}.py" for name in analyses.ANALYSES} <= found
    assert {"laws.py", "plotting.py", "means.py"} <= found, "and what they import"
    rules = (ROOT / "workflow/rules/report.smk").read_text(encoding="utf-8")
    assert f'code=code("{program}", *analyses.modules())' in rules


def test_what_is_drawn_for_each_contrast_has_its_name_but_for_the_first():
    assert analyses.figures(["warm_start", "adapter"]) == {
        "gap_by_hours": "gap_by_hours",
        "gap_by_hours_adapter": "gap_by_hours",
        "wer_by_hours": "wer_by_hours",
        "speakers_by_hours": "speakers_by_hours",
        "wer_law": "wer_law",
        "phone_coverage": "phone_coverage",
        "phone_coverage_adapter": "phone_coverage",
        "label_noise": "label_noise",
        "topics": "topics",
        "routing": "routing",
        "experts": "experts",
        "retention": "retention",
        "rounds": "rounds",
        "semi_supervised": "semi_supervised",
        "gap_by_tier": "gap_by_tier",
        "gap_by_tier_adapter": "gap_by_tier",
        "quantization": "quantization",
        "saturation": "saturation",
        "power": "power",
        "power_adapter": "power",
        "adaptation": "adaptation",
        "training": "training",
        "validation": "validation",
    }


@pytest.mark.slow
def test_the_plots_are_those_that_the_rules_expect(tmp_path):
    arms = SEVERAL.arms
    truth = Truth(arms=arms, hours=(1.0, 4.0), speakers=10)
    table = score_table(truth, np.random.default_rng(0), "it")
    make_tables(tmp_path, {"it": table}, contrasts=CONTRASTS)
    display = {
        "study": {"name": "t", "title": "T"},
        "statistics": filled(
            "statistics", {"headline_test_set": "fleurs", "reference_tier": "160ms"}
        ),
        "contrasts": CONTRASTS,
        "languages": {"it": "Italian"},
        "targets": ["it"],
        "training_sets": {"it": {"name": "Italian", "languages": ["it"]}},
        "arms": {name: {"name": name, "init": name} for name, _ in arms},
        "tiers": ["160ms", "560ms"],
        "test_sets": ["fleurs"],
    }
    arguments = ["--tables", str(tmp_path / "tables"), "--settings", json.dumps(display)]
    plot.main([*arguments, "--output-dir", str(tmp_path / "figures")])
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    wanted = analyses.figures(CONTRASTS)
    assert drawn == {f"{name}.{kind}" for name in wanted for kind in ("svg", "png")}


def test_an_analysis_that_does_not_do_what_the_list_says_is_refused(monkeypatch):
    monkeypatch.setitem(analyses.ANALYSES, "wer", analyses.Files(figures=("other",)))
    with pytest.raises(ValueError, match="analysis 'wer' declares"):
        analyses.load("wer")


def test_a_study_that_asks_some_of_its_languages_and_reads_others_can_be_shown():
    """Languages without a training set have names and no place in figures; replayed ones too."""
    config = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    config["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["same_voices"],
    }
    config["support_languages"]["en"]["corpora"]["spoken"] = "en"
    config["training_sets"] = {
        "italian": {"languages": {"it": 1}, "replay": {"lang": "en", "fraction": 0.1}}
    }
    config["arms"] = {name: {"init": name} for name in ("en", "ml")}
    config["contrasts"] = {
        "zeta": {"baseline": "ml", "challenger": "en"},
        "alpha": {"baseline": "en", "challenger": "ml"},
    }
    config["statistics"] |= {"baseline": None, "challenger": None}
    configuration.validate(config)
    study = grid.Study(config)
    display = Display.of(slices.display(study))
    assert list(display.languages) == ["it"]
    assert display.language("fr") == "French"
    assert display.language("en") == "English"
    assert display.training_set("italian") == "Italian"
    assert [contrast.name for contrast in display.contrasts] == ["zeta", "alpha"]
    settings = Settings.of(filled("statistics", slices.statistics(study)))
    assert [contrast.name for contrast in settings.contrasts] == ["zeta", "alpha"]
    assert settings.is_for("italian", "it")
    assert not settings.is_for("italian", "en")
