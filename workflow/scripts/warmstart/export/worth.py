"""Whether a model is worth a bundle: what is deployed is used by people who have seen no table."""

import math
from pathlib import Path

from warmstart.evidence import recognition, training_logs
from warmstart.run.errors import UserError
from warmstart.run.files import read_json

REMEDY = (
    "train it longer or on more data (docs/training.md, Little data), write `bundle: null`, or "
    "have it all the same with bundle.force: true (--force)"
)


def doubts(model: Path, unspaced: bool = False) -> str:
    """Why the model of a run is said to recognise nothing, by what its training wrote beside it.

    Args:
        model: with `run.json` and `train.csv` beside it; without them nothing is known.
        unspaced: whether each character of its language counts as a word. The validation counts
            what stands between spaces, and then says nothing.

    Returns:
        Empty where nothing speaks against it.
    """
    record, log = model.with_name("run.json"), model.with_name("train.csv")
    if not record.exists():
        return ""
    dev_wer = (read_json(record).get("final") or {}).get("dev_wer")
    wer_pct = math.nan if dev_wer is None or unspaced else 100.0 * float(dev_wer)
    stalled = log.exists() and training_logs.stalled(training_logs.read(log)[1])
    if stalled and math.isnan(wer_pct):
        return "its loss did not fall, and no validation speaks for it"
    why = recognition.reason(wer_pct, 0.0, stalled)
    return f"on the validation cuts: {why}" if why else ""


def require(model: Path, unspaced: bool = False) -> None:
    """Refuse a model that recognises nothing.

    Raises:
        UserError: see `doubts`.
    """
    if why := doubts(model, unspaced):
        raise UserError(
            f"{model}: this model does not recognise speech ({why}), so no bundle is made of it; "
            f"{REMEDY}"
        )
