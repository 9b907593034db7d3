"""Choose what a round of a run is trained on, by the model of the round before.

`--data pseudo`: decodes the speech beyond a budget, whose texts stay hidden, and keeps what the
model is sure of, free of the sentences and speakers of the test sets. `clean` and `hardest`:
decodes the budget and keeps the cuts whose texts the model agrees with most, or least. Writes
`--output`, the training cuts; `--labels`, what became of each cut and how many words are wrong; and
`--report`, cuts and hours by reason. What a killed process has decoded is not decoded again.

    python workflow/scripts/label_pool.py --run it_rounds/ml/0.02h/seed1 --round 2 --data pseudo \\
        --keep 0.7 --model results/runs/it_rounds/ml/0.02h/seed1/round1/model.nemo \\
        --tier offline:70:13:offline --labelled it=results/budgets/it/0.02h.jsonl.gz \\
        --heard it=results/budgets/it/0.32h.jsonl.gz --pools @pool-settings.yaml \\
        --tests it/human=results/manifests/human/it/test.jsonl.gz --settings '{"batch_size": 8}' \\
        --output cuts.jsonl.gz --labels labels.parquet --report labels.json
"""

import argparse
import contextlib
from pathlib import Path

from warmstart.data.mixing import Replay
from warmstart.decoding.arguments import SETTINGS
from warmstart.decoding.label_pool import Job, Spoken, label
from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli, locks
from warmstart.run.errors import UserError
from warmstart.study import stages
from warmstart.study.grid import Run
from warmstart.study.versions import VERSIONS


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--run", type=Run.of_path, required=True, help="training set, arm, hours and seed"
    )
    parser.add_argument("--round", type=int, required=True, help="that is trained on it, from 2")
    parser.add_argument("--data", required=True, help="pseudo, clean or hardest")
    parser.add_argument("--keep", type=float, default=1.0, help="share of the audio, up to 1")
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, help="with which a label is kept at least"
    )
    parser.add_argument("--model", type=Path, required=True, help="of the round before")
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of the model, a name or module:OBJECT"
    )
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument(
        "--labelled", type=cli.named_path, nargs="+", required=True, metavar="LANG=BUDGET"
    )
    parser.add_argument(
        "--heard",
        type=cli.named_path,
        nargs="*",
        default=[],
        metavar="LANG=BUDGET",
        help="larger budgets: what they have beyond the others is labelled",
    )
    parser.add_argument(
        "--weights", type=cli.json_value, default={}, help="JSON: language -> its weight, else 1"
    )
    parser.add_argument(
        "--pools",
        type=cli.json_value,
        required=True,
        help="@FILE or JSON: language -> settings of its pool",
    )
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="*", default=[], metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument("--replay", type=cli.named_path, metavar="LANG=POOL")
    parser.add_argument("--fraction", type=float, help="of replayed audio in all audio")
    parser.add_argument(
        "--settings", type=stages.argument("decode"), required=True, help="@FILE or JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="training cuts, .jsonl.gz")
    parser.add_argument("--labels", type=Path, required=True, help="a row a cut, .parquet")
    parser.add_argument("--report", type=Path, required=True, help="counts, .json")
    cli.version(parser, VERSIONS["label_pool"])
    arguments = parser.parse_args(argv)
    arguments.run.require_own(arguments.output)
    if not 0 < arguments.keep <= 1:
        raise UserError(f"--keep is {arguments.keep:g}; a share is above 0 and at most 1")
    if (arguments.replay is None) != (arguments.fraction is None):
        raise UserError("--replay and --fraction belong together; give both or neither")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    arguments = parse(argv)
    cli.start(arguments)
    heard, tests = dict(arguments.heard), arguments.tests
    languages = []
    for lang, labelled in arguments.labelled:
        if lang not in arguments.pools:
            raise UserError(
                f"--pools has no settings of {lang}; it has {', '.join(arguments.pools)}"
            )
        languages.append(
            Spoken(
                lang,
                float(arguments.weights.get(lang, 1.0)),
                labelled,
                heard.get(lang),
                stages.filled("pool", arguments.pools[lang]),
                [
                    (name.partition("/")[2], path)
                    for name, path in tests
                    if name.partition("/")[0] == lang
                ],
            )
        )
    replay = None
    if arguments.replay:
        lang, pool = arguments.replay
        replay = Replay(lang, pool, arguments.fraction)
    job = Job(
        run=arguments.run,
        number=arguments.round,
        data=arguments.data,
        model=arguments.model,
        tier=arguments.tier,
        languages=languages,
        output=arguments.output,
        labels=arguments.labels,
        report=arguments.report,
        keep=arguments.keep,
        min_confidence=arguments.min_confidence,
        family=arguments.family,
        replay=replay,
        version=arguments.version,
        **{key: arguments.settings[key] for key in SETTINGS},
    )
    with locks.hold(job.output.parent) or contextlib.nullcontext():
        label(job)


if __name__ == "__main__":
    cli.run(main)
