"""Make the tokenizer of a training set from whole pools and report which characters or phones it
cannot write.

Its tokens are pieces of words (SentencePiece BPE), characters, or phones of espeak-ng.

Pools, not budgets: every budget of a training set must share one tokenizer, or the hours axis would
move the vocabulary too. Of several languages, each has its share of the text; so has what is
replayed, which must be writable too. Dirty labels are learnt as the recogniser is shown them.

Reads pools and test CutSets; writes tokenizer.model, tokenizer.vocab, vocab.txt and coverage.json.

    python workflow/scripts/train_tokenizer.py --pools it=results/pools/it.jsonl.gz \\
        --tests fleurs=results/manifests/fleurs/it/test.jsonl.gz --settings @tokenizer.yaml \\
        --output-dir results/tokenizers/it
"""

from pathlib import Path

from warmstart.data import coverage, labels, mixing, tokenizer, unwritable
from warmstart.data.targets import BPE, Targets
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
            "tokens (bpe, char or ipa; bpe unless given), vocab_size and character_coverage of "
            "bpe, text (language -> block `text`, for ipa with espeak_voice); of several languages "
            "also languages (language -> weight, 1 where it is not given); with replay also "
            "replay (lang, fraction); with dirty labels also labels (as corrupt_labels.py takes "
            "them)"
        ),
    )
    parser.add_argument(
        "--unwritable-share-max",
        type=float,
        metavar="SHARE",
        help="of the characters of a text; more is refused",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = cli.start(arguments)

    settings, pools = arguments.settings, dict(arguments.pools)
    tokens, targets = settings["tokens"], Targets(settings["tokens"], settings["text"])
    every = dict(pools)
    replay = None
    if replayed := settings.get("replay"):
        lang = replayed["lang"]
        if lang not in pools:
            raise UserError(f"--pools has none of {lang}, which is replayed; add {lang}=POOL")
        replay = mixing.Replay(lang, pools.pop(lang), replayed["fraction"])
    if not pools:
        raise UserError("--pools has only what is replayed; add the pool of what is trained on")
    dirty = {}
    if how := settings.get("labels"):
        tests = [path for _, path in arguments.tests]
        dirty = {
            lang: labels.pool_texts(pool, tests, how, settings["text"][lang])
            for lang, pool in pools.items()
        }
    if tokens == BPE:
        if "vocab_size" not in settings:
            raise UserError("--settings lacks vocab_size: how many pieces a BPE has")
        weights = settings.get("languages") or {}
        parts = [mixing.Part(lang, pool, weights.get(lang, 1)) for lang, pool in pools.items()]
        tokenizer.train(
            mixing.texts(parts, replay, dirty),
            arguments.output_dir,
            settings["vocab_size"],
            settings["character_coverage"],
        )
    else:
        units = (
            unit
            for lang, pool in every.items()
            for text in tokenizer.supervision_texts(pool, dirty.get(lang))
            for unit in targets.units(targets.of(text, lang))
        )
        tokenizer.train_units(units, arguments.output_dir)
    report = coverage.report(
        arguments.output_dir / "tokenizer.model",
        pools,
        dict(arguments.tests),
        settings["text"],
        targets,
    )
    if phonemiser := targets.about():
        report["phonemiser"] = phonemiser
    unwritable.require(report, arguments.unwritable_share_max, f"{arguments.output_dir} ({tokens})")
    write_json(arguments.output_dir / "coverage.json", report)
    logger.info(
        "%.2f pieces per word on %d sentences",
        report["train"]["pieces_per_word"] or 0,
        report["train"]["sentences"],
    )


if __name__ == "__main__":
    cli.run(main)
