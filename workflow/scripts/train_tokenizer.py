"""Train a language's SentencePiece BPE on its whole pool and report which test characters it cannot
write.

The pool, not a budget: every budget of a language must share one tokenizer, or the hours axis would
move the vocabulary too.

Reads a pool and test CutSets; writes tokenizer.model, tokenizer.vocab, vocab.txt and coverage.json.

    python workflow/scripts/train_tokenizer.py --pool results/pools/it.jsonl.gz \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz --output-dir results/tokenizers/it
        \\ --settings '{"vocab_size": 1024, "character_coverage": 1.0, "text": {"alphabet": "..."}}'
"""

from pathlib import Path

from warmstart.data import tokenizer
from warmstart.run import cli
from warmstart.run.files import write_json


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--tests", type=cli.named_path, nargs="*", default=[], metavar="NAME=CUTS")
    parser.add_argument(
        "--settings",
        type=cli.json_value,
        required=True,
        help=(
            "vocab_size, character_coverage, text; with replay also replay (pool, fraction), "
            "test_set_text (test set -> text)"
        ),
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    settings = arguments.settings
    if replay := settings.get("replay"):
        texts = tokenizer.texts_with_replay(arguments.pool, replay["pool"], replay["fraction"])
    else:
        texts = tokenizer.supervision_texts(arguments.pool)
    tokenizer.train(
        texts,
        arguments.output_dir,
        settings["vocab_size"],
        settings["character_coverage"],
    )
    report = tokenizer.coverage_report(
        arguments.output_dir / "tokenizer.model",
        arguments.pool,
        dict(arguments.tests),
        settings["text"],
        settings.get("test_set_text"),
    )
    write_json(arguments.output_dir / "coverage.json", report)
    logger.info(
        "%.2f pieces per word on %d sentences",
        report["train"]["pieces_per_word"] or 0,
        report["train"]["sentences"],
    )


if __name__ == "__main__":
    cli.run(main)
