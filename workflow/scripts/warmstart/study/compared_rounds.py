"""With what runs that are trained in rounds are compared: the controls of the same steps, and those
of the same ranks."""

from typing import Any

from warmstart.study.grid import Arm, Study


def of(study: Study) -> dict[str, Any]:
    """Training set -> `total_hours`, `data` of each round, and with what its runs are compared:
    `at_once`, the training sets of the same languages without rounds, and `rank`, arm -> the arm
    whose updates have the ranks of all rounds together; without those that the study lacks."""
    found: dict[str, Any] = {}
    for name, one in study.training_sets.items():
        if (made := one.rounds) is None:
            continue
        found[name] = {
            "total_hours": made.total_hours,
            "data": [each.data for each in made.each],
        }
        at_once = [
            other.name
            for other in study.training_sets.values()
            if other.rounds is None
            and dict(other.languages) == dict(one.languages)
            and (other.replay, other.heads_per_language, other.labels)
            == (one.replay, one.heads_per_language, one.labels)
        ]
        if at_once:
            found[name]["at_once"] = at_once
        found[name]["rank"] = {
            arm.name: other
            for arm in study.arms.values()
            if (other := _same_rank(study, arm, len(made.each)))
        }
    return found


def _same_rank(study: Study, arm: Arm, count: int) -> str | None:
    """The arm that differs in nothing but a rank of `count` times that of this one, and the alpha
    that keeps their ratio."""
    own = arm.adaptation
    if not own.get("rank"):
        return None
    wanted = {**own, "rank": own["rank"] * count}
    if "alpha" in own:
        wanted["alpha"] = own["alpha"] * count
    for other in study.arms.values():
        same = (other.init, other.family, other.tokens, other.distil) == (
            *(arm.init, arm.family, arm.tokens, arm.distil),
        )
        if same and dict(other.adaptation) == wanted and other.training == arm.training:
            return other.name
    return None
