"""Whether the two runs of a pair differ in what their contrast is about and in nothing else, read
from `run.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from warmstart.evidence.cells import Shown, text_cell
from warmstart.evidence.display import Display, flat, listed
from warmstart.evidence.settings import Contrast
from warmstart.evidence.sheets import Sheet, field, sheet
from warmstart.study import recipe

Run = Mapping[str, Any]
"""Contents of a `run.json`."""

COMPARED = (
    "data, tokenizer, starts of the parts of the model, settings, steps, audio seen, code, "
    "versions of the software, and whether on a GPU"
)
"""What `facts` reads, in words."""
_PARTS = {"decoder": "predictor"}
_OF_DONOR = "start of the donor's "
"""What a part of a model is called here, where that is not its own name."""
_FOLLOW = {
    "steps": ("steps", "audio seen"),
    "early_stop": ("steps", "audio seen"),
    "batch_duration_s": ("audio seen",),
    "bucket_bins_s": ("audio seen",),
    "batch_profile": ("audio seen",),
    "speed_perturb": ("audio seen",),
}
"""Key of the recipe -> what is another where it is."""


@dataclass(frozen=True)
class Pair:
    """Two runs of a contrast.

    Attributes:
        name: training set, hours and seed, for readers.
        states: fact -> `equal`, `differs` or `not recorded`.
        settings: settings that differ and should not.
    """

    name: str
    states: Mapping[str, str]
    settings: tuple[str, ...] = ()

    @property
    def different(self) -> list[str]:
        """Facts that differ and should not."""
        return [
            f"settings ({', '.join(self.settings)})" if fact == "settings" else fact
            for fact, state in self.states.items()
            if state == "differs"
        ]

    @property
    def missing(self) -> list[str]:
        """Facts that a record does not say."""
        return [fact for fact, state in self.states.items() if state == "not recorded"]


def facts(run: Run) -> dict[str, Any]:
    """What a run may share with its pair, as comparable values; None where run.json does not
    say."""
    inputs, starts = run.get("input_digests") or {}, run.get("start_digests") or {}
    settings, hardware = run.get("settings"), run.get("hardware")
    hours_seen = run.get("hours_seen")
    parts = [name for name in starts if name != "encoder"] or ["decoder", "joint"]
    given = run.get("pretrained_parts") or ["encoder"]
    return {
        "data": inputs.get("train_cuts"),
        "validation": inputs.get("dev_cuts"),
        # Of models that bring it the donor's digest says which.
        "tokenizer": inputs.get("tokenizer") or run.get("tokenizer"),
        "init": inputs.get("init"),
        "start of encoder": starts.get("encoder"),
        **{_start_of(name, given): starts.get(name) for name in parts},
        "settings": None if settings is None else flat(recipe.of_model(settings)),
        "steps": run.get("steps"),
        "audio seen": None if hours_seen is None else round(hours_seen, 4),
        "code": run.get("git_commit"),
        "software": run.get("versions"),
        # Arithmetic is another: reduced precision is for GPUs. Which GPU it was is in the table of
        # provenance.
        "device": None if hardware is None else "GPU" if hardware["gpu"] else "CPU",
    }


def _start_of(part: str, given: Sequence[str]) -> str:
    """Name of a fact; the start of what a donor gives follows from the donor."""
    if part in given:
        return f"{_OF_DONOR}{part}"
    return f"start of {_PARTS.get(part, part)}"


def compare(name: str, run: Run, other: Run, about: Sequence[str]) -> Pair:
    """Two runs, in every fact that they must share.

    Args:
        name: of the pair.
        run, other: the two.
        about: what their contrast is about (`Display.about`); what follows from it is not asked.
    """
    left, right = facts(run), facts(other)
    states, settings = {}, []
    for fact in dict.fromkeys([*left, *right]):
        if _follows(fact, about):
            continue
        one, two = left.get(fact), right.get(fact)
        if one is None or two is None:
            states[fact] = "not recorded"
            continue
        if fact == "settings":
            settings = [key for key in dict.fromkeys([*one, *two]) if one.get(key) != two.get(key)]
            settings = [key for key in settings if not _setting_follows(key, about)]
            equal = not settings
        else:
            equal = one == two
        states[fact] = "equal" if equal else "differs"
    return Pair(name, states, tuple(settings))


def _follows(fact: str, about: Sequence[str]) -> bool:
    """Whether a fact is another because the arms are to differ in something."""
    if fact == "init":
        return "init" in about
    if fact == "start of encoder" or fact.startswith(_OF_DONOR):
        return bool({"init", "family", "adaptation", "architecture"} & set(about))
    if fact.startswith("start of "):
        return bool({"family", "architecture", "tokens"} & set(about))
    if fact == "tokenizer":
        return bool({"family", "tokens"} & set(about))
    return any(fact in _FOLLOW.get(key.split(".")[0], ()) for key in about)


def _setting_follows(key: str, about: Sequence[str]) -> bool:
    """Whether a setting is another because the arms are to differ in something."""
    if key.split(".")[0] == "model" and {"family", "architecture"} & set(about):
        return True
    return any(key == name or key.startswith(f"{name}.") for name in about)


def pairs(runs: Iterable[Run], display: Display, contrast: Contrast) -> list[Pair]:
    """The runs of both arms on one training set, budget and seed, compared."""
    by_key = {
        (run["training_set"], str(run["hours"]), run["seed"], run["arm"]): run for run in runs
    }
    about = display.about(contrast)
    return [
        compare(f"{display.training_set(training_set)} {hours} h seed {seed}", run, other, about)
        for (training_set, hours, seed, arm), run in by_key.items()
        if arm == contrast.baseline
        and (other := by_key.get((training_set, hours, seed, contrast.challenger)))
    ]


def pair_sheet(name: str, found: Sequence[Pair]) -> Sheet:
    """A row for each pair: what is equal, what is not, what nobody recorded."""

    def verdict(pair: Pair) -> Shown:
        if pair.different:
            return text_cell("differs", tag="no")
        return text_cell("not recorded") if pair.missing else text_cell("fair", tag="yes")

    def equal(pair: Pair) -> list[str]:
        return [fact for fact, state in pair.states.items() if state == "equal"]

    fields = [
        field("Pair", lambda pair: text_cell(pair.name)),
        field("Verdict", verdict),
        field("Differs in", lambda pair: text_cell(", ".join(pair.different), wide=True)),
        field("Not recorded", lambda pair: text_cell(", ".join(pair.missing), wide=True)),
        field("Equal", lambda pair: text_cell(", ".join(equal(pair)), wide=True)),
    ]
    return sheet(name, fields, found)


def allowed(display: Display, contrast: Contrast) -> str:
    """What the two runs of a pair may differ in, for a sentence."""
    about = display.about(contrast)
    if about == ["init"]:
        return "the encoder's start"
    names = {
        "init": "the init",
        "family": "the family of the model",
        "tokens": "the tokens that it writes",
        "adaptation": "the adaptation",
        "architecture": "the architecture of the encoder",
    }
    said = [name for key, name in names.items() if key in about]
    if keys := [key for key in about if key not in names]:
        said.append(f"the settings {listed(keys)}" if len(keys) > 1 else f"the setting {keys[0]}")
    return listed(said) if said else "nothing"


def confounded(display: Display, contrast: Contrast) -> str | None:
    """A sentence where a gap cannot be put down to one thing, because the arms are declared to
    differ in several."""
    about = display.about(contrast)
    parts = ("init", "family", "tokens", "adaptation", "architecture")
    named = [key for key in about if key in parts]
    recipe_keys = [key for key in about if key not in named]
    if len(named) + bool(recipe_keys) < 2:
        return None
    return (
        f"{contrast.name}: {display.arm(contrast.baseline)} and {display.arm(contrast.challenger)} "
        f"differ in {listed(about)}; the gap is of all of that together."
    )


def unheard(runs: Iterable[Run], display: Display) -> list[str]:
    """A line for each run that heard less than it asked for, because recordings could not be read
    any more when it was trained."""
    lines = []
    for run in runs:
        seen, asked, cuts = (
            run.get(name) for name in ("hours_seen", "hours_asked", "undecodable_cuts")
        )
        if cuts and asked is not None:
            lines.append(
                f"{display.training_set(run['training_set'])}, {display.arm(run['arm'])}, "
                f"{run['hours']} h, seed {run['seed']}: {seen:.4g} h heard of {asked:.4g} h asked "
                f"for, with repetition; {run.get('never_heard_cuts', 0)} cuts never heard."
            )
    return lines


# ---- donors


def donor_contexts(run: Run) -> list[list[int]] | None:
    """[left, right] contexts that the donor of a run's encoder was trained with, in frames."""
    return (run.get("init_facts") or {}).get("donor_contexts")


def _sides(contexts: list[list[int]]) -> str:
    left, right = (", ".join(map(str, sorted(set(side)))) for side in zip(*contexts, strict=True))
    return f"left {left}, right {right}"


def donor_text(runs: Iterable[Run], display: Display, contrast: Contrast) -> str:
    """A sentence on the donors' own contexts: equal, different (a possible confound), or not
    recorded."""
    known = {run["arm"]: found for run in runs if (found := donor_contexts(run))}
    if not {contrast.baseline, contrast.challenger} <= set(known):
        return "The attention contexts that the donors were trained with are not recorded."
    ours, theirs = known[contrast.baseline], known[contrast.challenger]
    if ours == theirs:
        return "Both donors were trained with the same attention contexts."
    return (
        "The donors were trained with unequal attention contexts (in frames; "
        f"{display.arm(contrast.baseline)}: {_sides(ours)}; "
        f"{display.arm(contrast.challenger)}: {_sides(theirs)}). Fine-tuning gives both the "
        "study's own, which may lie nearer to one donor's than to the other's: some of a gap may "
        "come from there."
    )


def donors_sheet(runs: Sequence[Run], display: Display) -> Sheet:
    """What the donors were trained with that no fine-tuning makes equal, an arm each."""

    def contexts(arm: str) -> str:
        found = [donor_contexts(run) for run in runs if run["arm"] == arm]
        return "; ".join(dict.fromkeys(str(each) for each in found if each)) or "not recorded"

    fields = [
        field("Arm", lambda arm: text_cell(display.arm(arm))),
        field("Licence", lambda arm: text_cell(display.arms[arm].licence or "not stated")),
        field(
            "Test sets its donor has seen",
            lambda arm: text_cell(
                _seen_by(display, arm),
                wide=True,
            ),
        ),
        field(
            "Attention contexts of its donor [left, right]",
            lambda arm: text_cell(contexts(arm), wide=True),
        ),
    ]
    return sheet("donors", fields, list(display.arms))


def _seen_by(display: Display, arm: str) -> str:
    seen = display.arms[arm].seen
    if seen is None:
        return "unknown"
    return ", ".join(map(display.test_set, seen)) or "none listed"
