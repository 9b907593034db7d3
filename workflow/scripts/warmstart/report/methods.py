"""How the numbers were made, in short lines."""

from warmstart.evidence import trainings
from warmstart.evidence.display import Display


def methods(display: Display) -> list[str]:
    """One line for each choice that a reader would ask about."""
    settings = display.settings
    return [
        "Text: one normaliser for training text, references and hypotheses, by language block; raw "
        "hypotheses are stored.",
        "Rates: jiwer counts per utterance, summed over the corpus; never a mean of per-utterance "
        "rates.",
        f"Intervals: paired block bootstrap, {settings.replicates} replicates, the same blocks for "
        f"all systems of a language and test set; {settings.level} % by Student's t, of rates on a "
        f"logarithmic scale{_once(display)}. p-values invert the same intervals.",
        "Noise of training: one variance for each arm and contrast, pooled over languages and "
        "hours (REML), in all intervals as soon as some runs have several seeds. Seeds of two arms "
        "are paired by number.",
        "Mean over languages: the languages of this study as they are. gap.csv also has the mean "
        "with languages as a sample, for statements about other languages, when there are at least "
        "three.",
        "Law: gap = a·h^(−b), weighted least squares in percentage points through every replicate, "
        "so that zero and negative gaps count like any other; an amplitude per language; pooled = "
        "the mean exponent of the population of languages (random effects), or one exponent where "
        "fewer than three languages have three budgets. Hours to a small gap: the size of the gap, "
        "by a law with a floor, all languages fitted together. Families are compared by AIC with "
        "the variances known from the bootstrap.",
        f"Verdicts: size before sign. Two one-sided tests say whether a gap is inside "
        f"±{settings.threshold_pp:g} pp ('either'), or its change with the tier inside "
        f"±{settings.tier_margin_pp:g} pp ('equivalent'); then a test against that bound says "
        "whether an arm is taken; then one against zero, whether it is ahead or the change is "
        "'different'. All are adjusted by Holm, of a contrast over all rows of the guideline, and "
        "over all rows of a test set for tiers: rows depend on each other, which Holm allows, and "
        "a reader may take any one of them. Intervals are not adjusted.",
        "Lookahead is the audio that a chunk waits for: an algorithmic figure, not the delay a "
        "user feels.",
    ]


def _once(display: Display) -> str:
    """What intervals leave out where something was trained once."""
    of = trainings.of_trainings(display.training_errors)
    return f",{of}: what another training would give is not in them" if of else ""
