"""How the numbers were made, in short lines."""

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
        "logarithmic scale. p-values invert the same intervals.",
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
        "Tiers: 'equivalent' means two one-sided tests put the change of the gap inside "
        f"±{settings.tier_margin_pp:g} pp, 'different' that its interval excludes zero; each row "
        "by itself. p (Holm) is after all rows of the test set.",
        "Lookahead is the audio that a chunk waits for: an algorithmic figure, not the delay a "
        "user feels.",
    ]
