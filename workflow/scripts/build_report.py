"""Build the report: one HTML page that opens without a network.

Reads the tables, the figures, run.json of each run, the quality reports of pools and manifests,
what each tokenizer cannot write, and optionally score files (examples of errors) with the test
manifests (their recordings). Writes results/report.html.

    python workflow/scripts/build_report.py --tables results/tables --figures results/figures \\
        --runs results/runs/*/*/*/*/run.json --qc results/pools/*.qc.json \\
        --settings @display.json --output results/report.html
"""

from pathlib import Path

from warmstart.evidence import analyses, registration
from warmstart.evidence.display import Display
from warmstart.evidence.tables import read_tables
from warmstart.run import cli
from warmstart.run.files import read_json, reading, write_text
from warmstart.study.stages import filled

TEMPLATES = Path(__file__).resolve().parents[1] / "report"


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
        help="coverage.json of each tokenizer, and the files of results/unwritable/",
    )
    parser.add_argument(
        "--scores", type=Path, nargs="*", default=[], help="score files, for examples of errors"
    )
    parser.add_argument(
        "--tests",
        nargs="*",
        default=[],
        metavar="LANG/TEST_SET=PATH",
        help="test manifests, for the recordings of the examples",
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

    from warmstart.report import examples, page, quality

    tables = read_tables(arguments.tables, analyses.tables())
    display = Display.of(arguments.settings).measured(tables)
    chosen = filled("page", arguments.settings.get("report") or {})
    picked = []
    for path in arguments.scores:
        with reading(path):
            picked += examples.pick(path, tables["wer"], display, chosen["examples"])
    if chosen["audio"] and picked:
        manifests = {
            tuple(name.split("/")): Path(path)
            for name, _, path in (test.partition("=") for test in arguments.tests)
        }
        room = int(chosen["audio_mb"] * 1e6)
        picked = examples.with_recordings(picked, manifests, display, room)
    writers = arguments.settings.get("writers") or {}
    material = page.Material(
        tables=tables,
        registered=registration.read(arguments.tables),
        display=display,
        runs=sorted(
            (read_json(path) for path in arguments.runs),
            key=lambda run: (run["training_set"], run["arm"], float(run["hours"]), run["seed"]),
        ),
        quality=quality.Quality(
            pools={path.name.removesuffix(".qc.json"): read_json(path) for path in arguments.qc},
            manifests=[read_json(path) for path in arguments.manifests],
            coverage=[
                quality.coverage_of(str(path), read_json(path), writers)
                for path in arguments.coverage
            ],
        ),
        figures=arguments.figures,
        examples=picked,
        rates_chosen_on=chosen["rates_chosen_on"] or "",
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    text = environment.get_template("template.html").render(
        # Files of this repository and our own figures: the only parts that are not escaped.
        css=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        name=display.name,
        title=display.title,
        subtitle=page.subtitle(material),
        sections=page.page(material),
        footer=page.footer(material),
    )
    write_text(arguments.output, text)
    logger.info("%s: %.1f MB", arguments.output, arguments.output.stat().st_size / 1e6)


if __name__ == "__main__":
    cli.run(main)
