"""SentencePiece BPE of a training set, and what it cannot write."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece

from warmstart.data import cut_lines, mixing
from warmstart.data.text import normalize
from warmstart.run.errors import UserError

logger = logging.getLogger(__name__)

# SentencePiece's own default, and NeMo's (process_asr_text_tokenizer.py); plenty for a BPE of a few
# thousand pieces.
_MAX_SENTENCES = 1_000_000


def supervision_texts(manifest: str | Path) -> Iterator[str]:
    """Text of every supervision of a CutSet, read line by line: a million cuts must not sit in
    memory."""
    for cut in cut_lines.read(manifest):
        yield cut_lines.supervision(cut)["text"]


def train(
    texts: Iterable[str], directory: str | Path, vocab_size: int, character_coverage: float = 1.0
) -> None:
    """Train a BPE and write what NeMo's `tokenizer.dir` expects: tokenizer.model, tokenizer.vocab,
    vocab.txt.

    No BOS, EOS or pad piece, `<unk>` is piece 0, as NeMo's process_asr_text_tokenizer.py makes them
    for transducers. Deterministic: one thread, no sampling of sentences.

    Args:
        texts: normalised sentences.
        directory: exists afterwards; earlier files of the same names are replaced.
        vocab_size: pieces, `<unk>` included; lowered by SentencePiece where the text has fewer.
        character_coverage: share of characters that get a piece of their own.

    Raises:
        UserError: no text, or a vocabulary smaller than the alphabet.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sentences = (text for text in texts if text)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_prefix=str(directory / ".training"),
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            hard_vocab_limit=False,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            unk_id=0,
            num_threads=1,
            input_sentence_size=_MAX_SENTENCES,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"no tokenizer of {vocab_size} pieces can be made from this text ({error}); change "
            "tokenizer.vocab_size"
        ) from error
    (directory / ".training.vocab").replace(directory / "tokenizer.vocab")
    pieces = [
        line.split("\t")[0]
        for line in (directory / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    ]
    # NeMo reads vocab.txt in WordPiece notation: continuation pieces carry ##, first pieces of a
    # word carry nothing.
    wordpieces = [piece[1:] if piece.startswith("▁") else f"##{piece}" for piece in pieces[1:]]
    (directory / "vocab.txt").write_text(
        "\n".join(word for word in wordpieces if word) + "\n", encoding="utf-8"
    )
    (directory / ".training.model").replace(directory / "tokenizer.model")


def coverage(model: str | Path, texts: Iterable[str]) -> dict[str, Any]:
    """How a tokenizer writes some text.

    Returns:
        `sentences`, `words`, `pieces`, `pieces_per_word`, and `unwritable`: character -> how often
            it occurs where the
        tokenizer can only write as `<unk>`.
    """
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    unwritable: Counter[str] = Counter()
    sentences = words = pieces = 0
    for text in texts:
        sentences += 1
        words += len(text.split())
        encoded = processor.encode(text, out_type=str)
        pieces += len(encoded)
        if processor.unk_id() in processor.encode(text):
            known = {
                character
                for character in set(text)
                if processor.unk_id() not in processor.encode(character)
            }
            unwritable.update(
                character
                for character in text
                if character not in known and not character.isspace()
            )
    return {
        "sentences": sentences,
        "words": words,
        "pieces": pieces,
        "pieces_per_word": pieces / words if words else None,
        "unwritable": dict(unwritable.most_common()),
    }


def coverage_report(
    model: str | Path,
    pools: Mapping[str, Path],
    tests: Mapping[str, Path],
    text_settings: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Coverage of the training text and of each test set's normalised text; warns where a test set
    cannot be written.

    Args:
        pools: language -> pool, of the languages that are trained on.
        tests: name -> manifest; each cut is normalised by the rules of its own language, of the
            first in `pools` where it names none.
        text_settings: language -> block `text`.

    Raises:
        UserError: a test set in a language without rules.
    """
    heard = (text for pool in pools.values() for text in supervision_texts(pool))
    report = {"train": coverage(model, heard), "tests": {}}
    for name, manifest in tests.items():
        found = coverage(model, _normalised(manifest, text_settings, next(iter(pools))))
        report["tests"][name] = found
        if found["unwritable"]:
            logger.warning(
                "%s has characters that no hypothesis can contain: %s", name, found["unwritable"]
            )
    return report


def _normalised(
    manifest: Path, text_settings: Mapping[str, dict[str, Any]], default: str
) -> Iterator[str]:
    for cut in cut_lines.read(manifest):
        lang = mixing.language(cut) or default
        if lang not in text_settings:
            raise UserError(
                f"{manifest}: cut {cut['id']} is of {lang}, and `text` has the rules of "
                f"{', '.join(text_settings)}; add those of {lang}"
            )
        yield normalize(cut_lines.supervision(cut)["text"], text_settings[lang])
