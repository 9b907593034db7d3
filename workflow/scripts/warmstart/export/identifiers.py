"""What tells the language of an utterance in a bundle: the identifier that the study measured."""

from pathlib import Path

from warmstart.evidence.identified import WHOLE
from warmstart.models.base import LanguageScores
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.run.errors import UserError


def read(path: str | Path, model_sha256: str, tier: Tier) -> LanguageScores | None:
    """The identifier that heard most: whole utterances, else the most seconds.

    Args:
        path: JSON that `identify_language.py` wrote beside its Parquet.
        model_sha256: of the model whose states it hears.
        tier: at which they are computed.

    Returns:
        None where nothing could be learnt.

    Raises:
        UserError: no such file, damaged, of another model or tier, or without weights.
    """
    remedy = "run identify_language.py for this model again"
    about = files.read_json(path, remedy)
    try:
        if about["encoder_sha256"] != model_sha256 or about["tier"]["name"] != tier.name:
            raise UserError(
                f"{path}: of another model, or at another tier ({about['tier']['name']}) than this "
                f"bundle ({tier.name}); {remedy}"
            )
        learnt = {name: one for name, one in about["seconds"].items() if one["weights"]}
        if not learnt:
            return None
        name = WHOLE if WHOLE in learnt else max(learnt, key=float)
        weights = learnt[name]["weights"]
        return LanguageScores(
            tuple(about["languages"]),
            weights["coefficients"],
            weights["intercepts"],
            None if name == WHOLE else float(name),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not whole ({error!r}); {remedy}") from None
