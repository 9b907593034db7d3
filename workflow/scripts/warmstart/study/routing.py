"""Which runs are asked to which of several languages' models an utterance is sent (block
`routing`): those of training sets of several languages, and ensembles of models of one each."""

from dataclasses import dataclass
from typing import Any

from warmstart.evidence.keys import FULL
from warmstart.study import paths, slices
from warmstart.study.grid import Arm, Run, Study, TestSet

_DECODING = ("batch_size", "batch_duration_s", "device", "threads")


@dataclass(frozen=True)
class Choice:
    """Models, or heads, of which one is chosen.

    Attributes:
        name: of the training set, or of the ensemble.
        models: language -> training set of its model.
        ensemble: whether the models are several; else they share an encoder.
    """

    name: str
    models: dict[str, str]
    ensemble: bool

    @property
    def languages(self) -> list[str]:
        """That can be told."""
        return list(self.models)


def block(study: Study) -> dict[str, Any]:
    """The block, empty where nothing is asked."""
    return study.config["routing"] or {}


def choices(study: Study) -> dict[str, Choice]:
    """Name -> what is chosen from; nothing where the study does not ask."""
    asked = study.config["routing"]
    if asked is None:
        return {}
    found = {}
    for name, one in study.training_sets.items():
        languages = study.heads(name) or list(one.languages)
        if len(languages) > 1:
            found[name] = Choice(name, dict.fromkeys(languages, name), False)
    for name, members in asked["ensembles"].items():
        models = {
            lang: member for member in members for lang in study.training_set(member).languages
        }
        found[name] = Choice(name, models, True)
    return found


def runs(study: Study) -> list[tuple[Choice, Run]]:
    """Every run of every choice; of an ensemble those that all its members have, under its own
    name."""
    found = []
    for name, choice in choices(study).items():
        if not choice.ensemble:
            found += [(choice, run) for run in study.runs(name)]
            continue
        members = [
            {(run.arm, run.hours, run.seed) for run in study.runs(member)}
            for member in choice.models.values()
        ]
        first = next(iter(choice.models.values()))
        found += [
            (choice, Run(name, run.arm, run.hours, run.seed))
            for run in study.runs(first)
            if all((run.arm, run.hours, run.seed) in each for each in members)
        ]
    return found


def find(study: Study, run: Run) -> Choice:
    """What a run chooses from."""
    return choices(study)[run.training_set]


def member(run: Run, training_set: str) -> Run:
    """The run of a member of an ensemble."""
    return Run(training_set, run.arm, run.hours, run.seed)


def tier(study: Study, arm: Arm) -> str:
    """The tier at which an arm's models are chosen from: that of its cross-decodes."""
    return paths.crossed_tier(study, arm.name)


def tests(study: Study, choice: Choice) -> list[TestSet]:
    """Test sets in the languages of a choice, in their order."""
    return [
        TestSet(lang, name)
        for lang in choice.languages
        for name in study.language(lang).get("test_sets", [])
    ]


# ---- files


def identified(study: Study, run: Run) -> str:
    """What the identifier of a run said."""
    return f"results/languages/{run.path}/{tier(study, study.arms[run.arm])}.parquet"


def routed(study: Study) -> list[str]:
    """What every run's choices come to."""
    return [
        f"results/routing/{run.path}/{tier(study, study.arms[run.arm])}.parquet"
        for _, run in runs(study)
    ]


def encoder(study: Study, run: Run) -> str:
    """The encoder that the identifier hears with: the model's own, or the init that all models of
    an ensemble started from, because they share no other."""
    if find(study, run).ensemble:
        return paths.donor(study, run.arm)
    return paths.model(study, run)


def train_cuts(study: Study, run: Run) -> list[str]:
    """CutSets that a run was trained on."""
    sets = dict.fromkeys(find(study, run).models.values())
    return [paths.training_cuts(study, name, run.hours) for name in sets]


def dev_cuts(study: Study, run: Run) -> list[str]:
    """CutSets on which its trainings were watched."""
    choice = find(study, run)
    found = [
        path
        for name in dict.fromkeys(choice.models.values())
        for path in paths.validation_manifests(study, name).values()
    ]
    return list(dict.fromkeys(found))


def test_cuts(study: Study, run: Run) -> dict[str, str]:
    """`lang/test set` -> CutSet."""
    return {
        f"{test.lang}/{test.name}": paths.test_manifest(study, test)
        for test in tests(study, find(study, run))
    }


def hypotheses(study: Study, run: Run) -> dict[str, str]:
    """`lang/test set/language of the model` -> hypothesis file. Of one head for all languages there
    is one decode, which stands for the language's own."""
    choice = find(study, run)
    at = tier(study, study.arms[run.arm])
    if not choice.ensemble and not study.heads(choice.name):
        one = study.training_set(choice.name)
        return {
            f"{test.lang}/{test.name}/{test.lang}": paths.hypothesis(
                run.path, FULL, at, test.slug(one)
            )
            for test in tests(study, choice)
        }
    found = {}
    for name in dict.fromkeys(choice.models.values()):
        for head in study.crossed_heads(name):
            for test in tests(study, choice):
                slug = test.slug(study.training_set(name))
                path = paths.cross_hypothesis(member(run, name).path, FULL, at, head, slug)
                found[f"{test.lang}/{test.name}/{head}"] = path
    return found


def settings(study: Study, run: Run) -> dict[str, Any]:
    """What `identify_language.py` needs."""
    asked = block(study)
    named = {lang: slices.speakers_of(study, lang) for lang in find(study, run).languages}
    decoding = study.config["decoding"]
    return {
        **{key: decoding[key] for key in _DECODING},
        "seconds_heard": asked["seconds_heard"],
        "most_utterances": asked["most_utterances"],
        # Those that number their own people say nothing.
        **({"speakers_of": named} if any(named.values()) else {}),
    }


def texts(study: Study, run: Run) -> dict[str, Any]:
    """What `route.py` normalises with."""
    return {lang: study.text(lang) for lang in find(study, run).languages}
