"""Columns of a file of phone scores, with their types. Standard library only."""

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

KINDS = ("substitutions", "deletions", "insertions")
_PHONES = "phones of the reference, and jiwer's counts of errors against the hypothesis's"
_MAPPED = (
    "the same after the phones of a model of 0 hours went to the nearest of the language's "
    "(`data.phone_features.mapping`); empty of other models"
)

PHONE_SCORES: tuple[tuple[Column, str], ...] = (
    *((column, "string") for column in (TRAINING_SET, LANG, ARM)),
    (HOURS, "float64"),
    (SEED, "int64"),
    *((column, "string") for column in (PRECISION, TIER, TEST_SET)),
    (Column("id", "", "of the utterance"), "string"),
    (Column("block", "", "unit of resampling (speaker, or sentence)"), "string"),
    (Column("speaker", "", "the corpus's id of who speaks; empty where nobody knows"), "string"),
    (Column("duration_s", "s", "length of the audio"), "float64"),
    *((Column(name, "phones", _PHONES), "int32") for name in ("phones", *KINDS)),
    (
        Column(
            "feature_errors",
            "phones",
            "edit distance in which a substitution costs the share of articulatory features that "
            "differ (`data.phone_features.edit_distance`)",
        ),
        "float64",
    ),
    *((Column(f"mapped_{name}", "phones", _MAPPED), "int32") for name in KINDS),
    (Column("empty", "", "the hypothesis has no phone"), "bool"),
    (
        Column(
            "looping",
            "",
            "1 to 4 words are repeated four times in a row or more, and more often than in the "
            "reference",
        ),
        "bool",
    ),
    (Column("reference", "", "phones, as they are compared"), "string"),
    (Column("hypothesis", "", "phones, as they are compared"), "string"),
    (Column("normaliser_version", "", "`warmstart.data.text.VERSION`"), "int32"),
    (Column("phones_version", "", "`warmstart.data.phones.VERSION`"), "int32"),
)
"""Column and type of Arrow, in the order of the file."""
