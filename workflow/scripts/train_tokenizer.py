"""Train the SentencePiece BPE of a training set on whole pools and report which test characters it
cannot write.

Pools, not budgets: every budget of a training set must share one tokenizer, or the hours axis would
move the vocabulary too. Of several languages, each has its share of the text; so has what is
replayed, which must be writable too.

Reads pools and test CutSets; writes tokenizer.model, tokenizer.vocab, vocab.txt and coverage.json.

    python workflow/scripts/train_tokenizer.py --pools it=results/pools/it.jsonl.gz \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz --settings @tokenizer.yaml \\
        --output-dir results/tokenizers/it
"""

from pathlib import Path

from warmstart.data import mixing, tokenizer
from warmstart.run import cli
from warmstart.run.errors import UserError
from warmstart.run.files import write_json
from warmstart.study import stages


def _pool(text: str) -> tuple[str, Path]:
    """`it=some/pool.jsonl.gz`, or `results/pools/it.jsonl.gz`, which is named by its language."""
    return cli.named_path(text) if "=" in text else (Path(text).name.split(".")[0], Path(text))


def main(argv: list[str] | None = None) -> None:
    """Program entry; see the module docstring."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--pools",
        type=_pool,
        nargs="+",
        required=True,
        metavar="LANG=POOL",
        help=(
            "of each language of the training set, and of what is replayed; a pool alone has the "
            "language of its name"
        ),
    )
    parser.add_argument("--tests", type=cli.named_path, nargs="*", default=[], metavar="NAME=CUTS")
    parser.add_argument(
        "--settings",
        type=stages.argument("tokenizer"),
        required=True,
        help=(
            "vocab_size, character_coverage, text (language -> block `text`); of several languages "
            "also languages (language -> weight, 1 where it is not given); with replay also "
            "replay (lang, fraction)"
        ),
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    settings, pools = arguments.settings, dict(arguments.pools)
    replay = None
    if replayed := settings.get("replay"):
        lang = replayed["lang"]
        if lang not in pools:
            raise UserError(f"--pools has none of {lang}, which is replayed; add {lang}=POOL")
        replay = mixing.Replay(lang, pools.pop(lang), replayed["fraction"])
    if not pools:
        raise UserError("--pools has only what is replayed; add the pool of what is trained on")
    weights = settings.get("languages") or {}
    parts = [mixing.Part(lang, pool, weights.get(lang, 1)) for lang, pool in pools.items()]
    tokenizer.train(
        mixing.texts(parts, replay),
        arguments.output_dir,
        settings["vocab_size"],
        settings["character_coverage"],
    )
    report = tokenizer.coverage_report(
        arguments.output_dir / "tokenizer.model",
        pools,
        dict(arguments.tests),
        settings["text"],
    )
    write_json(arguments.output_dir / "coverage.json", report)
    logger.info(
        "%.2f pieces per word on %d sentences",
        report["train"]["pieces_per_word"] or 0,
        report["train"]["sentences"],
    )


if __name__ == "__main__":
    cli.run(main)
