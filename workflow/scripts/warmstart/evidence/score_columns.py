"""Columns of a score file, with their types. Standard library only."""

from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    PRECISION,
    SEED,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
)

_WORDS = "reference words and jiwer's counts"
_CHARACTERS = "the same for characters, spaces included"
_NUMBERS = (
    "reference words that say a number (vocabulary of num2words without the word for one), and "
    "those of them substituted or deleted"
)
_RARE = (
    "reference words that the whole pool has fewer than `scoring.rare_below` times, and those of "
    "them wrong; 0 without a pool"
)
_TEXTS = "normalised texts"
_LEADERBOARD = (
    "reference words and word errors by the rules of the Open ASR Leaderboard; 0 where it leaves "
    "the utterance out"
)
_LEADERBOARD_RULE = (
    "reference words and errors that a rule of the leaderboard adds to ours, those before it "
    "applied (leaderboard.csv explains them)"
)

LEADERBOARD_RULES = {
    "apostrophes": "apostrophes, hyphens and other marks are spaces, and English contractions and "
    "titles are written out",
    "numbers": "number words and digits are read in another way",
    "spellings": "fillers go in English, and British spellings and initialisms become one",
    "other": "words in brackets and utterances without a reference are left out, and no letters "
    "or words are exchanged",
    "compounds": "compounds cost nothing, written together or apart",
}
"""Rules of the Open ASR Leaderboard that are not ours, in the order in which a difference is
counted."""

SCORES: tuple[tuple[Column, str], ...] = (
    *((column, "string") for column in (TRAINING_SET, LANG, ARM)),
    (HOURS, "float64"),
    (SEED, "int64"),
    *((column, "string") for column in (PRECISION, TIER, TEST_SET)),
    (Column("id", "", "of the utterance"), "string"),
    (Column("block", "", "unit of resampling (speaker, or sentence)"), "string"),
    (Column("speaker", "", "the corpus's id of who speaks; empty where nobody knows"), "string"),
    (
        Column("gender", "", "`male`, `female` or `other`, as stated; empty where it is not"),
        "string",
    ),
    (Column("accent", "", "as the corpus writes it; empty where it does not"), "string"),
    (Column("duration_s", "s", "length of the audio"), "float64"),
    *(
        (Column(name, "words", _WORDS), "int32")
        for name in ("ref_words", "hits", "substitutions", "deletions", "insertions")
    ),
    *(
        (Column(name, "characters", _CHARACTERS), "int32")
        for name in (
            *("ref_chars", "char_hits"),
            *("char_substitutions", "char_deletions", "char_insertions"),
        )
    ),
    (Column("empty", "", "the normalised hypothesis has no word"), "bool"),
    (
        Column(
            "looping",
            "",
            "1 to 4 words are repeated four times in a row or more, and more often than in the "
            "reference",
        ),
        "bool",
    ),
    *((Column(name, "words", _NUMBERS), "int32") for name in ("number_words", "number_errors")),
    *((Column(name, "words", _RARE), "int32") for name in ("rare_words", "rare_errors")),
    (
        Column(
            "emission_delay_ms",
            "ms",
            "median over the tokens shared with the offline decode of the same run: how much later "
            "they came out; empty without one",
        ),
        "float64",
    ),
    (Column("reference", "", _TEXTS), "string"),
    (Column("hypothesis", "", _TEXTS), "string"),
    (Column("normaliser_version", "", "`warmstart.data.text.VERSION`"), "int32"),
    (
        Column(
            "leaderboard_status",
            "",
            "`ok`, `left out: ...` (the leaderboard does not score the utterance), or `not "
            "estimable: ...` (its rules are not for the language)",
        ),
        "string",
    ),
    *(
        (Column(f"leaderboard_{what}", "words", _LEADERBOARD), "int32")
        for what in ("words", "errors")
    ),
    *(
        (Column(f"leaderboard_{rule}_{what}", "words", _LEADERBOARD_RULE), "int32")
        for rule in LEADERBOARD_RULES
        for what in ("words", "errors")
    ),
    (Column("leaderboard_version", "", "`warmstart.data.leaderboard_text.VERSION`"), "int32"),
)
"""Column and type of Arrow, in the order of the file."""
