"""Make the tables of the study: rates, gaps, intervals, the law of the gap, tiers, quantisation,
latency, guideline.

Reads score files, the headers of the hypothesis files, the reports of quantised encoders and the
training logs (with the `run.json` beside each). Writes a .csv for each analysis that has a table
(`warmstart/evidence/analyses`; columns: docs/outputs.md), and statistics.json: what the first
tables were asked for, kept.

    python workflow/scripts/aggregate.py --scores results/scores/*.parquet \\
        --headers results/hypotheses/*/*/*/*/*/*/*.json \\
        --quantize results/runs/*/*/*/*/*/*/quantize.json \\
        --train-logs results/runs/*/*/*/*/train.csv \\
        --settings '{"contrasts": {"warm_start": {"baseline": "en", "challenger": "ml"}},
            "headline_test_set": "fleurs", "reference_tier": "160ms"}' \\
        --output-dir results/tables
"""

from dataclasses import replace
from pathlib import Path

from warmstart.evidence import analyses, collected, phone_rates, registration, round_rates
from warmstart.evidence.settings import Settings
from warmstart.evidence.tables import write_table
from warmstart.run import cli
from warmstart.run.commit import git_commit
from warmstart.run.files import read_json
from warmstart.study import stages


def main(argv: list[str] | None = None) -> None:
    """Make all tables."""
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--headers",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="header JSON beside each hypothesis file",
    )
    parser.add_argument(
        "--quantize",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="quantize.json of each quantised encoder",
    )
    parser.add_argument(
        "--train-logs",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="train.csv of each run, with its run.json beside it: whether its loss fell",
    )
    parser.add_argument(
        "--candidates",
        type=Path,
        nargs="*",
        default=[],
        help="what count_candidates.py made of each language, where decodes kept candidates",
    )
    parser.add_argument(
        "--understood",
        type=Path,
        nargs="*",
        default=[],
        help="what understand.py made of each language, with its JSON beside it",
    )
    parser.add_argument(
        "--phone-scores",
        type=Path,
        nargs="*",
        default=[],
        help="what score_phones.py counted in each language, where models write phones",
    )
    parser.add_argument(
        "--phones",
        type=Path,
        nargs="*",
        default=[],
        help="what list_phones.py counted in each language",
    )
    parser.add_argument(
        "--routed",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="what route.py made of each run of several languages, with its JSON beside it",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="*",
        default=[],
        help="what corrupt_labels.py did to the texts of each budget",
    )
    parser.add_argument(
        "--round-scores",
        type=Path,
        nargs="*",
        default=[],
        help="counts of errors of the models of earlier rounds, a file a language, where runs are "
        "trained in rounds",
    )
    parser.add_argument(
        "--round-labels",
        action=cli.Paths,
        nargs="*",
        default=[],
        help="labels.parquet of each choice that a model made for a round",
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("statistics"),
        required=True,
        help="the block statistics: of the configuration; also contrasts, targets (training set -> "
        "languages it is for), exports (precisions that are the unquantised export), test_sets "
        "(language -> its test sets, the first stands in for the headline), tiers (by latency), "
        "unspaced (languages without spaces), shared_sentences (test set -> languages whose "
        "blocks of one name are one sentence, as in FLEURS), phone_contrasts (of arms that write "
        "phones), heard (arm -> languages that its init was pretrained on, or null), dirty "
        "(training set -> clean, corrupt, kind, word_error_rate of its labels), retention "
        "(languages, joint, and by training set or arm replay, plain, donors, full) and rounds "
        "(training set -> data of each round, total_hours, at_once, rank)",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)
    settings = Settings.of(arguments.settings)
    evidence = collected.collect(
        arguments.scores,
        settings,
        arguments.headers,
        arguments.quantize,
        arguments.train_logs,
        arguments.candidates,
        arguments.understood,
        arguments.routed,
    )
    evidence = replace(
        evidence,
        phones=phone_rates.read(arguments.phone_scores, settings, arguments.train_logs),
        inventories={about["lang"]: about for about in map(read_json, arguments.phones)},
        labels={
            (done["training_set"], done["lang"], float(done["budget_hours"])): done
            for done in map(read_json, arguments.labels)
        },
        rounds=round_rates.read(arguments.round_scores, arguments.round_labels),
    )
    for analysis in analyses.load_all():
        if analysis.columns:
            path = arguments.output_dir / f"{analysis.name}.csv"
            count = write_table(path, analysis.rows(evidence, settings), analysis.columns)
            logger.info("%s: %d rows", path.name, count)
    registered = registration.record(arguments.output_dir, settings, git_commit())
    for line in registration.lines(registered):
        logger.warning("%s", line)


if __name__ == "__main__":
    cli.run(main)
