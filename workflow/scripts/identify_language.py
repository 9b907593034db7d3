"""Tell the language of test utterances from their first seconds, with the encoder that recognises
them: a logistic regression on the mean of its states, learnt from the run's own cuts.

Reads a model (or a donor, of models that share it) and Lhotse manifests. Writes one Parquet file, a
row for each utterance and each number of seconds (language said, posteriors, whether its speaker
was heard), and beside it a JSON file that says what was learnt from.

    python workflow/scripts/identify_language.py --languages it fr \\
        --model results/runs/it+fr/xlsr/1h/seed1/model.safetensors --family wav2vec2_ctc \\
        --tier offline:70:13:offline --train-cuts results/mixtures/it+fr/1h.jsonl.gz \\
        --dev-cuts results/manifests/fleurs/it/dev.jsonl.gz \\
            results/manifests/fleurs/fr/dev.jsonl.gz \\
        --tests it/fleurs=results/manifests/fleurs/it/test.jsonl.gz \\
            fr/fleurs=results/manifests/fleurs/fr/test.jsonl.gz \\
        --settings '{"seconds_heard": [0.5, "all"]}' \\
        --output results/languages/it+fr/xlsr/1h/seed1/offline.parquet
"""

from pathlib import Path

from warmstart.models import DEFAULT_FAMILY
from warmstart.models.tier import Tier
from warmstart.run import cli
from warmstart.study import stages
from warmstart.study.versions import VERSIONS


def main(argv: list[str] | None = None) -> None:
    """Learn, and say."""
    parser = cli.parser(__doc__)
    parser.add_argument("--languages", nargs="+", required=True, help="two or more")
    encoder = parser.add_mutually_exclusive_group(required=True)
    encoder.add_argument("--model", type=Path, help="a trained model")
    encoder.add_argument("--donor", type=Path, help="in its place: an init, as it is")
    parser.add_argument(
        "--random-seed",
        type=int,
        help="random weights in the donor's architecture, of an init from scratch",
    )
    parser.add_argument(
        "--family", default=DEFAULT_FAMILY, help="of models, a name or module:OBJECT"
    )
    parser.add_argument(
        "--tier",
        type=Tier.of_text,
        required=True,
        help="NAME:LEFT:RIGHT or NAME:LEFT:RIGHT:offline",
    )
    parser.add_argument("--train-cuts", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--dev-cuts", type=Path, nargs="*", default=[], help="on which the penalty is chosen"
    )
    parser.add_argument(
        "--tests", type=cli.named_path, nargs="+", required=True, metavar="LANG/TEST_SET=MANIFEST"
    )
    parser.add_argument(
        "--settings",
        type=stages.argument("identify"),
        required=True,
        help="@FILE or JSON: seconds_heard, most_utterances; speakers_of (language -> corpus -> "
        "whose speaker ids it has); batch_size, batch_duration_s, device, threads",
    )
    parser.add_argument("--output", type=Path, required=True)
    cli.version(parser, VERSIONS["identify_language"])
    arguments = parser.parse_args(argv)
    if len(set(arguments.languages)) < 2:
        parser.error(f"--languages {' '.join(arguments.languages)}: at least two are needed")
    tests = {}
    for name, path in arguments.tests:
        lang, slash, test_set = name.partition("/")
        if not (lang and slash and test_set):
            parser.error(f"--tests has {name!r}, which is not LANG/TEST_SET")
        tests[lang, test_set] = path
    cli.start(arguments)

    from warmstart.decoding.language import Job, identify

    settings = arguments.settings
    taken = ("seconds_heard", "most_utterances", "batch_size", "batch_duration_s", "device")
    identify(
        Job(
            encoder=arguments.model or arguments.donor,
            donor=arguments.donor is not None,
            family=arguments.family,
            tier=arguments.tier,
            languages=tuple(arguments.languages),
            train=arguments.train_cuts,
            held_out=arguments.dev_cuts,
            tests=tests,
            output=arguments.output,
            speakers_of=settings.get("speakers_of", {}),
            random_seed=arguments.random_seed,
            threads=settings["threads"],
            **{key: settings[key] for key in taken},
        )
    )


if __name__ == "__main__":
    cli.run(main)
