"""SentencePiece tokenizers of a training set: pieces of words, characters, phones."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece

from warmstart.data import cut_lines
from warmstart.data.targets import MOST_UNITS
from warmstart.run import files
from warmstart.run.errors import Damaged, UserError

# SentencePiece's own default, and NeMo's (process_asr_text_tokenizer.py); plenty for a BPE of a few
# thousand pieces.
_MAX_SENTENCES = 1_000_000
# SentencePiece leaves out what is longer (max_sentence_length). Not raised, because the number
# stands in tokenizer.model, whose bytes would be others for every text.
_LONGEST_BYTES = 4192

# Of a tokenizer of units: `<unk>`, and the mark of a word's begin.
_OTHER_PIECES = 2
# Far below `_LONGEST_BYTES`: units are short.
_UNITS_A_LINE = 200
_EMPTY = "sentences_.empty()"  # SentencePiece's word for no text


def supervision_texts(
    manifest: str | Path, dirty: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Text of every supervision of a CutSet, or what `dirty` has in its place by the cut's id; read
    line by line: a million cuts must not sit in memory."""
    for cut in cut_lines.read(manifest):
        said = cut_lines.supervision(cut)["text"]
        yield dirty.get(cut["id"], said) if dirty else said


def train(
    texts: Iterable[str],
    directory: str | Path,
    vocab_size: int,
    character_coverage: float = 1.0,
    key: str = "tokenizer.vocab_size",
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
        key: of the configuration that says `vocab_size`, for messages.

    Raises:
        UserError: no text, or a vocabulary smaller than the alphabet.
    """
    _train(
        texts,
        Path(directory),
        lambda said: (
            f"no tokenizer of {vocab_size} pieces can be made from this text: {_cause(said, key)}"
        ),
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=character_coverage,
    )


def train_units(units: Iterable[str], directory: str | Path) -> None:
    """Write a tokenizer with a piece for each character or phone, in the files of `train`.

    SentencePiece's kind `char`: a piece of its own marks the begin of a word. What has several
    characters (`ɑ̃`) is a symbol of the user's, which is never cut. Text is taken as it is, because
    SentencePiece's NFKC would make `h` of the phone `ʰ`. The vocabulary follows from the set of the
    units alone, not from how common they are.

    Args:
        units: as often as they occur, without blanks.
        directory: exists afterwards; earlier files of the same names are replaced.

    Raises:
        UserError: no unit, or more than `MOST_UNITS`.
    """
    known: set[str] = set()
    for unit in units:
        known.add(unit)
        if len(known) > MOST_UNITS:
            raise UserError(
                f"the text has more than {MOST_UNITS} different characters, and tokens: char makes "
                "a token of each; take tokens: bpe with tokenizer.character_coverage below 1, or "
                "take letters out of the languages' text.alphabet"
            )
    if not known:
        raise UserError(f"no tokenizer can be made from this text: {_cause(_EMPTY, '')}")
    symbols = sorted(unit for unit in known if len(unit) > 1)
    _train(
        _lines(sorted(known)),
        Path(directory),
        lambda said: f"no tokenizer can be made of {len(known)} characters or phones: {said}",
        model_type="char",
        # As many as there are: it is lowered.
        vocab_size=len(known) + _OTHER_PIECES,
        character_coverage=1.0,
        user_defined_symbols=symbols,
        normalization_rule_name="identity",
    )


def _lines(units: list[str]) -> Iterator[str]:
    """Units in lines that SentencePiece reads. Apart, because a letter and a mark that stand alone
    would be another unit."""
    for first in range(0, len(units), _UNITS_A_LINE):
        yield " ".join(units[first : first + _UNITS_A_LINE])


def _train(
    texts: Iterable[str], directory: Path, refusal: Callable[[str], str], **options: Any
) -> None:
    """Let SentencePiece train.

    Args:
        refusal: SentencePiece's words -> a message.
        options: of SentencePieceTrainer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    failed: list[Exception] = []
    # Part of the model's bytes.
    prefix = directory / ".training"
    model, vocabulary = prefix.with_suffix(".model"), prefix.with_suffix(".vocab")
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts, failed),
            model_prefix=str(prefix),
            hard_vocab_limit=False,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            unk_id=0,
            num_threads=1,
            input_sentence_size=_MAX_SENTENCES,
            shuffle_input_sentence=False,
            minloglevel=2,
            **options,
        )
        if failed:
            raise failed[0]
        _require_whole(model, vocabulary)
        _write(directory, model, vocabulary)
    except RuntimeError as error:
        if failed:  # SentencePiece has another word for it
            raise failed[0] from None
        raise UserError(refusal(str(error))) from error
    finally:
        model.unlink(missing_ok=True)
        vocabulary.unlink(missing_ok=True)


def _sentences(texts: Iterable[str], failed: list[Exception]) -> Iterator[str]:
    """The texts that say something, in parts that SentencePiece reads; an error on the way to them
    is kept in `failed`."""
    try:
        yield from (part for text in texts if text for part in _parts(text))
    except Exception as error:
        failed.append(error)
        raise


def require_whole(model: str | Path) -> None:
    """Check that a tokenizer can be read, before a library says of it what names no file.

    Raises:
        Damaged: it cannot.
    """
    try:
        sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (RuntimeError, OSError) as error:
        raise Damaged(
            f"{model}: damaged ({error}); delete it and run the workflow again"
        ) from error


def _require_whole(model: Path, vocabulary: Path) -> None:
    """SentencePiece looks at no result of its writes: what a full disk leaves is found here.

    Raises:
        OSError: no room was left.
    """
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model)).vocab_size()
    except (RuntimeError, OSError):
        pieces = -1
    lines = vocabulary.read_bytes().split(b"\n") if vocabulary.exists() else []
    if len(lines) - 1 != pieces or lines[-1]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(model))


def _write(directory: Path, model: Path, vocabulary: Path) -> None:
    """The three files under their final names, the model last."""
    lines = vocabulary.read_text(encoding="utf-8")
    files.write_text(directory / "tokenizer.vocab", lines)
    pieces = [line.split("\t")[0] for line in lines.splitlines()]
    # NeMo reads vocab.txt in WordPiece notation: continuation pieces carry ##, first pieces of a
    # word carry nothing.
    wordpieces = [piece[1:] if piece.startswith("▁") else f"##{piece}" for piece in pieces[1:]]
    files.write_text(directory / "vocab.txt", "\n".join(word for word in wordpieces if word) + "\n")
    with files.atomic_path(directory / "tokenizer.model") as temporary:
        shutil.copyfile(model, temporary)


def _cause(said: str, key: str) -> str:
    """What SentencePiece's refusal means, and the key that mends it."""
    if needed := re.search(r"required_chars\. \d+ vs (\d+)", said):
        return (
            f"it needs {needed[1]}, one for each of its characters, <unk>, and the mark of a "
            f"word's begin; raise {key} to {needed[1]} or more, or take letters out of the "
            "languages' text.alphabet"
        )
    if _EMPTY in said:
        return (
            "it is empty; look into results/pools/LANG.qc.json for what was dropped, and correct "
            "filters or text.alphabet"
        )
    return f"{said}; look at {key} and at the text"


def _parts(text: str) -> Iterator[str]:
    """A sentence in parts that SentencePiece reads: it leaves longer ones out.

    Cut between words, which changes nothing, because pieces never reach over a blank; a text
    without blanks between its characters.
    """
    if len(text) * 4 <= _LONGEST_BYTES or len(text.encode()) <= _LONGEST_BYTES:
        yield text
        return
    part: list[str] = []
    size = 0
    for word in _short_words(text):
        length = len(word.encode()) + 1
        if part and size + length > _LONGEST_BYTES:
            yield " ".join(part)
            part, size = [], 0
        part.append(word)
        size += length
    yield " ".join(part)


def _short_words(text: str) -> Iterator[str]:
    """The words of a text; one that is too long alone, in pieces."""
    longest = _LONGEST_BYTES // 4 - 1  # characters of at most four bytes
    for word in text.split(" "):
        yield from (word[start : start + longest] for start in range(0, len(word), longest))
