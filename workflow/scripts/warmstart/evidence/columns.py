"""Columns of tables, each declared once: the header of the file, docs/outputs.md and the page read
them. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the header; the unit stands at its end.
        unit: as docs/outputs.md writes it; empty where there is none.
        meaning: what it says, in plain text; neighbours of one meaning are explained together.
        head: what stands above it on the page; empty: the name, readable.
    """

    name: str
    unit: str
    meaning: str
    head: str = ""

    @property
    def label(self) -> str:
        """What stands above it on the page."""
        return self.head or self.name.replace("_", " ").capitalize()


def tested(of: str, over: str) -> tuple[Column, ...]:
    """The tests of a change against zero and against `statistics.threshold_pp`, adjusted by Holm.

    Args:
        of: what the first one denies, in plain text.
        over: the rows that are adjusted together.
    """
    return (
        Column("p_value", "", f"two-sided, of “{of}”"),
        Column("p_holm", "", f"`p_value` after Holm over {over}", "p (Holm)"),
        Column("margin_pp", "pp", "`statistics.threshold_pp`"),
        Column("equivalence_p_value", "", "larger p of the two one-sided tests"),
        Column("equivalence_p_holm", "", "`equivalence_p_value` after Holm"),
    )


def estimate(name: str, suffix: str, unit: str, meaning: str, head: str = "") -> tuple[Column, ...]:
    """An estimate and the bounds of its interval: `wer_pct`, `wer_low_pct`, `wer_high_pct`."""
    return (
        Column(f"{name}_{suffix}", unit, meaning, head),
        *(Column(f"{name}_{side}_{suffix}", unit, meaning) for side in ("low", "high")),
    )


CONTRAST = Column("contrast", "", "which two arms are compared (`contrasts:`)")
TRAINING_SET = Column(
    "training_set",
    "",
    "what the model was trained on; `own` in a mean where each language has its own",
    "Trained on",
)
LANG = Column(
    "lang",
    "",
    "language of the test set; `mean`: mean over languages; `pooled`: all together",
    "Language",
)
LANGUAGES_AS = Column(
    "languages_as",
    "",
    "`one` language; `fixed`: mean of exactly these languages; `sampled`: mean with the languages "
    "as a sample of languages (Student interval over their estimates, three or more)",
)
LANGUAGES = Column("languages", "", "how many languages are in it")
ARM = Column("arm", "", "init, family and adaptation of the model (`arms:`)")
HOURS = Column(
    "hours", "h", "budget; 0: a donor as it is, without fine-tuning, which enters no law"
)
SEED = Column("seed", "", "of the training")
PRECISION = Column("precision", "", "`full`, or how the encoder was quantised")
TIER = Column("tier", "", "latency tier")
TEST_SET = Column("test_set", "", "its name, the same in all languages")

TRAINING_ERROR = Column(
    "training_error_pp",
    "pp",
    "part of the standard error that is noise of training (training_noise.csv); empty where "
    "nothing is known of it, and the interval is of these very trainings",
)
RECOGNITION = Column(
    "recognition",
    "",
    "`ok`, or `not recognising: ...`: WER above 90 % (without spaces between words: CER above "
    "80 %), more than half of the outputs empty or looping, or a loss that did not fall with a "
    "rate above 50 %; with `ok` alone there is a verdict",
)

AXES = (
    *(CONTRAST, TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES),
    *(ARM, HOURS, SEED, PRECISION, TIER, TEST_SET),
)
"""What rows are told apart by, the same in all tables."""
