"""Examples of errors, aligned word by word."""

import pandas as pd

from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL
from warmstart.report.blocks import Example

_COUNT = 6


def examples_of(scores: pd.DataFrame, display: Display, count: int = _COUNT) -> list[Example]:
    """The utterances with most errors of the headline's challenger at its largest budget, for each
    training set that the language was scored with.

    Args:
        scores: a score file.
        display: names and choices of the study.
        count: of utterances.
    """
    import jiwer

    settings, arm = display.settings, display.contrasts[0].challenger
    at = (
        (scores.test_set == scores.lang.map(settings.headline_in))
        & (scores.tier == settings.reference_tier)
        & (scores.precision == FULL)
        & (scores.arm == arm)
    )
    found = []
    for (lang, training_set), own in scores[at].groupby(["lang", "training_set"], sort=False):
        if not settings.is_for(training_set, lang):
            continue
        own = own[(own.hours == own.hours.max()) & (own.ref_words > 0)]
        own = own.assign(errors=own.substitutions + own.deletions + own.insertions).sort_values(
            ["errors", "id"], ascending=[False, True]
        )
        rows = own[own.seed == own.seed.min()].head(count)
        if rows.empty or not rows.errors.iloc[0]:
            continue
        blocks = []
        for row in rows.itertuples():
            aligned = jiwer.visualize_alignment(
                jiwer.process_words(row.reference, row.hypothesis), show_measures=False
            )
            lines = [line for line in aligned.splitlines() if line.startswith((" ", "REF", "HYP"))]
            blocks.append(f"{row.id}\n" + "\n".join(lines))
        after = "" if training_set == lang else f", trained on {display.training_set(training_set)}"
        title = (
            f"{display.language(lang)}: {display.arm(arm)}{after}, {own.hours.iloc[0]:g} h, "
            f"{settings.reference_tier}, {settings.headline_in(lang)}"
        )
        found.append(Example(title, blocks))
    return found
