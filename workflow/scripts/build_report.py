"""Build the report: one HTML page that opens without a network.

Reads the tables, the figures, run.json of each run, the quality reports of pools and manifests,
what each tokenizer cannot write, and optionally score files (examples of errors). Writes
results/report.html.

    python workflow/scripts/build_report.py --tables results/tables --figures results/figures \\
        --runs results/runs/*/*/*/*/run.json --qc results/pools/*.qc.json --settings @display.json
        --output results/report.html
"""

from pathlib import Path

import pandas as pd

from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.run.files import read_json, write_text

TEMPLATES = Path(__file__).resolve().parents[1] / "report"
TABLES = ["wer", "gap", "gap_by_tier", "quantization", "fit", "latency", "guideline"]
FIGURES = ["gap_by_hours", "wer_by_hours", "gap_by_tier", "quantization", "training", "validation"]
SECTIONS = [
    ("answer", "Answer"),
    ("gap", "Gap"),
    ("wer", "Error rates"),
    ("latency", "Latency"),
    ("quantization", "Quantisation"),
    ("errors", "Errors"),
    ("training", "Training"),
    ("data", "Data"),
    ("audit", "Fairness"),
    ("provenance", "Provenance"),
    ("methods", "Methods"),
]
FIT_NOTE = (
    "Law gap = a·h^(−b). The last four numbers are Akaike weights of the families, higher is "
    "better supported; they need more "
    "budgets than parameters. ∞ in an interval means that the data do not bound the value on that "
    "side."
)
QUANTIZATION_NOTE = (
    "ΔWER is against the same model at full precision (PyTorch) in the same tier. Every size ratio "
    "names its denominator's "
    "precision; sizes are of the encoder alone."
)


def main(argv: list[str] | None = None) -> None:
    """Build the page."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument(
        "--runs", action=cli.Paths, nargs="*", default=[], help="run.json of each run"
    )
    parser.add_argument("--qc", type=Path, nargs="*", default=[], help=".qc.json of each pool")
    parser.add_argument(
        "--manifests", type=Path, nargs="*", default=[], help=".qc.json of each manifest"
    )
    parser.add_argument(
        "--coverage",
        type=Path,
        nargs="*",
        default=[],
        help="coverage.json of each tokenizer, in {lang}/",
    )
    parser.add_argument(
        "--scores", type=Path, nargs="*", default=[], help="score files, for examples of errors"
    )
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help="names and choices of the study (Study.display_settings)",
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    import jinja2
    from markupsafe import Markup

    from warmstart.report.page import Page, Quality, aligned_examples, inline_svg

    tables = {}
    for name in TABLES:
        path = arguments.tables / f"{name}.csv"
        if not path.exists():
            raise UserError(f"{path} is not there; run aggregate.py first")
        tables[name] = pd.read_csv(path)
    runs = sorted(
        (read_json(path) for path in arguments.runs),
        key=lambda run: (run["lang"], run["init"], float(run["hours"]), run["seed"]),
    )
    settings = arguments.settings
    study = settings["study"]
    quality = Quality(
        pools={path.name.removesuffix(".qc.json"): read_json(path) for path in arguments.qc},
        manifests=[read_json(path) for path in arguments.manifests],
        coverage={path.parent.name: read_json(path) for path in arguments.coverage},
    )
    page = Page(tables, runs, quality, settings)
    examples = []
    for path in arguments.scores:
        examples += aligned_examples(pd.read_parquet(path), page)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    figures = {name: arguments.figures / f"{name}.svg" for name in FIGURES}
    budgets = sorted(hours for hours in tables["wer"].hours.unique() if hours > 0)
    subtitle = " · ".join(
        [
            ", ".join(settings["languages"].values()),
            " and ".join(page.init(init) for init in settings["inits"]),
            ", ".join(f"{hours:g}" for hours in budgets) + " h",
            ", ".join(settings["tiers"]),
        ]
    )
    commit = next((run["git_commit"] for run in runs if run.get("git_commit")), None)
    text = environment.get_template("template.html").render(
        # Files of this repository and our own figures: the only parts that are not escaped.
        css=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        figures={
            name: Markup(inline_svg(path)) if path.exists() else ""
            for name, path in figures.items()
        },
        study=study,
        subtitle=subtitle,
        sections=[(anchor, label) for anchor, label in SECTIONS if anchor != "errors" or examples],
        answer=page.answer(),
        cards=page.cards(),
        banners=page.banners(),
        gap_text=page.gap_text(),
        fit_note=FIT_NOTE,
        guideline_text=page.guideline_text(),
        block_text="speakers, or sentences where speakers are unknown",
        quantization_note=QUANTIZATION_NOTE,
        guard_text=page.guard_text(),
        donor_text=page.donor_text(),
        tables=page.sheets(),
        captions=page.captions(),
        examples=examples,
        methods=page.methods(),
        citation=(
            f"warmstart, study “{study['name']}”, commit {commit or 'not recorded'}: "
            f"{study['title']}.\n"
            "Reproduces and extends: N. Banfic, arXiv:2606.24169 (2026)."
        ),
        footer=f"Code {commit[:12]}." if commit else "",
    )
    write_text(arguments.output, text)
    logger.info("%s: %.1f MB", arguments.output, arguments.output.stat().st_size / 1e6)


if __name__ == "__main__":
    cli.run(main)
