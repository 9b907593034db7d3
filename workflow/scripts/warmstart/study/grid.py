"""The grid of a study: which runs, test sets and comparisons follow from a configuration.

Four nouns span it. An **arm** is one column of the experiment: an init, a family, an adaptation and
what of the recipe differs. A **training set** is what a run hears: one language, several, or one
with cuts of another between. A **test set** is a name in a language. A **contrast** is two arms
whose difference is estimated.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from warmstart import adaptation, models
from warmstart.data import numbers
from warmstart.data.download import local_source
from warmstart.data.labels import WORD_ERROR_RATE, WORDS, Labels
from warmstart.data.targets import BPE, IPA
from warmstart.evidence.keys import FULL
from warmstart.evidence.settings import Contrast, contrasts_of
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError, did_you_mean
from warmstart.study import rounds
from warmstart.study.hours import format_hours
from warmstart.study.rounds import Rounds

ZERO_SHOT = "0"  # hours of an init that is decoded as published, with its own decoder
OWN_TOKENS = "own"  # of models that bring their tokenizer

_RUN = re.compile(
    r"(?P<training_set>[a-z][a-z0-9_+]*)/(?P<arm>[a-z][a-z0-9_]*)"
    r"/(?P<hours>\d+(?:\.\d+)?)h/seed(?P<seed>\d+)(?=/|$)"
)


@dataclass(frozen=True)
class Run:
    """One fine-tuned model. `hours` is the budget as it stands in paths, e.g. "100" or "0.02"."""

    training_set: str
    arm: str
    hours: str
    seed: int

    # The only pattern of the keys' order; `of_path` is its inverse.
    PATTERN = "{training_set}/{arm}/{hours}h/seed{seed}"

    @property
    def path(self) -> str:
        """The four folder levels that all artefacts of a run share."""
        return self.PATTERN.format(**vars(self))

    @classmethod
    def of_path(cls, path: str | Path) -> "Run":
        """The run that a path belongs to: the four levels may stand anywhere in it.

        Raises:
            UserError: they do not stand in it.
        """
        found = _RUN.search(Path(path).as_posix())
        if found is None:
            raise UserError(f"{path} names no run; a run is {cls.PATTERN}, e.g. de/ml/100h/seed1")
        return cls(**{**found.groupdict(), "seed": int(found["seed"])})

    def require_own(self, path: str | Path) -> None:
        """Refuse a path in the folder of another run; one that names no run may be anywhere.

        Raises:
            UserError: another run's.
        """
        if _RUN.search(Path(path).as_posix()) and (other := self.of_path(path)) != self:
            raise UserError(f"{path} belongs to {other.path}, and this is {self.path}")


@dataclass(frozen=True)
class Arm:
    """One column of the experiment."""

    name: str
    init: str
    family: str
    asked_tokens: str  # bpe, char or ipa, where the family's tokenizer is trained
    adaptation: Mapping[str, Any]  # `kind` and its options
    training: Mapping[str, Any]  # what of the study's recipe is otherwise
    tiers: tuple[str, ...]
    precisions: tuple[str, ...]
    budgets_hours: tuple[float, ...] | None  # None: all of the training set
    training_sets: tuple[str, ...] | None  # None: all
    label: str
    distil: Mapping[str, Any] | None = None  # teachers, alpha, temperature

    @property
    def kind(self) -> models.Kind:
        """What models of this arm's family can do."""
        return models.kind_of(self.family)

    @property
    def tokens(self) -> str:
        """What its models write: `bpe`, `char`, `ipa`, or `own` of a family whose models bring
        their tokenizer."""
        return OWN_TOKENS if self.kind.tokenizer == "own" else self.asked_tokens

    @property
    def writes(self) -> tuple[str, ...]:
        """What its adaptation writes beside a model, paths below the folder of a run."""
        return adaptation.kind_of(self.adaptation["kind"]).writes

    @property
    def encoder(self) -> str:
        """Name of the encoder that its family shares with others, or the family's own name."""
        return self.kind.encoder or self.family


@dataclass(frozen=True)
class Replay:
    """Cuts of another language's pool between those of a training set: it is not forgotten."""

    lang: str
    fraction: float  # of all audio that is heard


@dataclass(frozen=True)
class TrainingSet:
    """What a run hears. A budget counts the hours of a language of weight 1."""

    name: str
    languages: Mapping[str, float]  # language -> weight
    replay: Replay | None
    budgets_hours: tuple[float, ...]
    label: str
    heads_per_language: bool = False
    labels: Labels | None = None
    rounds: Rounds | None = None

    @property
    def budgets(self) -> list[str]:
        """Hour budgets as they stand in paths, ascending."""
        return [format_hours(hours) for hours in sorted(self.budgets_hours)]

    @property
    def mixed(self) -> bool:
        """Whether its cuts are more than one language's budget."""
        return self.replay is not None or len(self.languages) > 1

    def heard(self) -> list[str]:
        """Languages whose pools it takes cuts from."""
        return [*self.languages, *([self.replay.lang] if self.replay else [])]

    def heads(self) -> list[str]:
        """Languages with a head of their own, a replayed one among them; none where one head serves
        all."""
        return self.heard() if self.heads_per_language else []

    @property
    def heard_as(self) -> tuple[Any, ...]:
        """What tells training sets apart but for their labels, rounds and budgets."""
        return tuple(self.languages.items()), self.replay, self.heads_per_language

    def parts(self, hours: str) -> dict[str, str]:
        """Language -> its own budget in a budget of `hours`."""
        return {
            lang: format_hours(float(hours) * weight) for lang, weight in self.languages.items()
        }


@dataclass(frozen=True)
class TestSet:
    """A test set in a language."""

    __test__ = False  # pytest takes the name for a collection of tests

    lang: str
    name: str

    def slug(self, training_set: TrainingSet) -> str:
        """Its name among the hypotheses of a run.

        Of a run on one language, that language's test sets have their own names.
        """
        own = list(training_set.languages) == [self.lang]
        return self.name if own else f"{self.lang}_{self.name}"


class Study:
    """A validated configuration, as the grid it describes.

    What can be wrong between keys is found by `checks.check`, not here.

    Args:
        config: the configuration, already through `config.validate`.
        base: folder that holds the Snakefile; relative paths in the configuration start there.
    """

    def __init__(self, config: dict[str, Any], base: str | Path = "."):
        self.config = config
        self.base = Path(base)
        self.tiers = {
            name: Tier(
                *(name, tier["context"][0], tier["context"][1], tier["offline"]),
                *(tier["language"], tier["window_s"]),
            )
            for name, tier in config["tiers"].items()
        }
        self.training_sets = _training_sets(config)
        self.arms = _arms(config)
        self.contrasts = _contrasts(config)

    # ---- languages

    @property
    def languages(self) -> list[str]:
        """Target languages, in the order of the configuration."""
        return list(self.config["languages"])

    @cached_property
    def pooled_languages(self) -> list[str]:
        """Languages with a pool: the targets, those that are replayed, and those that donors should
        not forget."""
        replayed = [one.replay.lang for one in self.training_sets.values() if one.replay]
        return list(dict.fromkeys([*self.languages, *replayed, *self.retained_languages]))

    @property
    def retained_languages(self) -> list[str]:
        """Languages of donors in which every run is tested too."""
        return list((self.config.get("retention") or {}).get("languages", ()))

    @cached_property
    def scored_languages(self) -> list[str]:
        """Languages that some run is tested in."""
        every = [test.lang for name in self.decoded_sets for test in self.test_sets(name)]
        return sorted(set(every), key=[*self.languages, *self.config["support_languages"]].index)

    def language(self, lang: str) -> dict[str, Any]:
        """Block of a target or support language.

        Raises:
            UserError: no such block.
        """
        for section in ("languages", "support_languages"):
            if lang in self.config[section]:
                return self.config[section][lang]
        known = [*self.config["languages"], *self.config["support_languages"]]
        raise UserError(
            f"language {lang!r} has no block in the config{did_you_mean(lang, known)}; add one "
            f"under languages: (README, Add a language); blocks: {', '.join(known)}"
        )

    def validation(self, lang: str) -> dict[str, str]:
        """Corpus and split that trainings of a target language are watched on: its own, else the
        study's."""
        return self.config["languages"][lang].get("validation") or self.config["validation"]

    def text(self, lang: str) -> dict[str, Any]:
        """What normalises a language's text.

        Not its examples: one more of them changes nothing that was made.
        """
        text = {
            key: value for key, value in self.language(lang)["text"].items() if key != "examples"
        }
        # "1,500 people" is not one point five.
        lang = text["numbers"]
        return {"decimal": numbers.language(lang).decimal if lang else ",", **text}

    def voice(self, lang: str) -> str:
        """The voice of espeak-ng whose pronunciation a language's phones are."""
        return self.language(lang).get("espeak_voice") or lang

    @property
    def word_contrasts(self) -> dict[str, Contrast]:
        """Contrasts whose arms write words: those that have a WER. The first is the headline."""
        phones = self.phone_contrasts
        return {name: one for name, one in self.contrasts.items() if name not in phones}

    @property
    def phone_contrasts(self) -> dict[str, Contrast]:
        """Contrasts whose arms write phones."""
        return {
            name: one
            for name, one in self.contrasts.items()
            if all(arm in self.arms and self.arms[arm].tokens == IPA for arm in one.arms)
        }

    # ---- inits

    @property
    def inits(self) -> list[str]:
        """Warm starts of the study, in order."""
        return list(self.config["inits"])

    def donor(self, init: str) -> str:
        """The init whose file a run reads: itself, or the one whose architecture a run from
        scratch copies."""
        return self.config["inits"][init].get("scratch", init)

    def donors(self) -> list[str]:
        """Inits that have a file of their own."""
        return [init for init in self.inits if self.donor(init) == init]

    def donor_kind(self, init: str) -> models.Kind:
        """What is declared of the family that starts from a donor."""
        return models.kind_of(self.donor_family(init))

    def donor_family(self, init: str) -> str:
        """The family that starts from a donor: that of its arms."""
        users = (arm.family for arm in self.arms.values() if self.donor(arm.init) == init)
        return next(users, models.DEFAULT_FAMILY)

    def pretraining_languages(self, init: str) -> tuple[str, ...] | None:
        """Languages that an init was pretrained on; None: nobody knows."""
        block = self.config["inits"][init]
        if "scratch" in block:
            return ()
        said = block["languages"]
        if said is None and "pretrain" in block:
            return tuple(block["pretrain"]["languages"])
        return None if said in (None, "unknown") else tuple(said)

    def source_path(self, path: str) -> str:
        """A path of the configuration: absolute as it is, `~` as the home folder, relative ones
        from the folder of the Snakefile.

        Raises:
            UserError: `~` stands before the name of nobody who has a home here.
        """
        try:
            path = str(Path(path).expanduser()) if path.startswith("~") else path
        except RuntimeError:
            raise UserError(
                f"{path}: there is no user {path.split('/')[0][1:]!r} with a home on this machine; "
                "write ~/ for your own home, or the whole path"
            ) from None
        return str(self.base / path) if not Path(path).is_absolute() else path

    def source(self, source: str) -> str:
        """The `source` of a corpus: a web address as it is, a path as `source_path`.

        What stands in the folder of the Snakefile, or at home, keeps its spelling, because
        manifests follow from it.
        """
        here = self.base == Path()
        if here or source.startswith("~") or local_source(source) is None:
            return source
        return self.source_path(source)

    # ---- runs

    def training_set(self, name: str) -> TrainingSet:
        """A training set; that of one language exists wherever the language is decoded as it is."""
        return self.training_sets.get(name) or _own(self.config, name)

    @cached_property
    def decoded_sets(self) -> list[str]:
        """Training sets that something is decoded for: their own runs, or inits as published."""
        untrained = [
            lang
            for lang in dict.fromkeys([*self.languages, *self.retained_languages])
            if lang not in self.training_sets and self.zero_shot_runs(lang)
        ]
        return [*self.training_sets, *untrained]

    def budgets(self, training_set: str, arm: str | None = None) -> list[str]:
        """Hour budgets of a training set, or those of one arm on it, ascending."""
        every = self.training_set(training_set).budgets
        if arm is None or (chosen := self.arms[arm].budgets_hours) is None:
            return every
        wanted = {format_hours(hours) for hours in chosen}
        return [hours for hours in every if hours in wanted]

    def runs(self, training_set: str | None = None) -> list[Run]:
        """All runs, or those on one training set."""
        return [
            Run(name, arm.name, hours, seed)
            for name in ([training_set] if training_set else self.training_sets)
            if name in self.training_sets
            for arm in self.arms.values()
            if arm.training_sets is None or name in arm.training_sets
            for hours in self.budgets(name, arm.name)
            for seed in self.config["seeds"]
        ]

    def zero_shot_runs(self, training_set: str) -> list[Run]:
        """Inits that are decoded as they are, as runs of 0 hours of the language's own set.

        Nothing is trained, so there is one seed, and one arm for each init.
        """
        langs = [*self.languages, *self.retained_languages]
        if training_set not in langs:
            return []
        return [
            Run(training_set, arm, ZERO_SHOT, self.config["seeds"][0])
            for name, init in self.config["inits"].items()
            if init["zero_shot"] is not None
            and (arm := self.zero_shot_arm(name)) is not None
            and training_set in (init["zero_shot"]["prompts"] or langs)
        ]

    def clean_set(self, training_set: str) -> str | None:
        """The training set that hears what another hears, in the same rounds, with the texts as
        they are; None where the study has none."""
        one = self.training_sets[training_set]
        return self._set_like(one.heard_as, one.rounds)

    def plain_set(self, training_set: str) -> str | None:
        """The same of the languages alone, at once: nothing is replayed."""
        languages, _, heads = self.training_sets[training_set].heard_as
        return self._set_like((languages, None, heads), None)

    def _set_like(self, heard_as: tuple[Any, ...], in_rounds: Rounds | None) -> str | None:
        found = (
            name
            for name, one in self.training_sets.items()
            if (one.labels, one.rounds) == (None, in_rounds) and one.heard_as == heard_as
        )
        return next(found, None)

    def fully_tuned(self, arm: str) -> str | None:
        """The arm with the same init, family, tokens and recipe all of whose weights learn, from
        texts alone; None where the study has none."""
        mine = self.arms[arm]
        found = (
            name
            for name, one in self.arms.items()
            if one.adaptation["kind"] == "full"
            and one.distil is None
            and (one.init, one.family, one.tokens) == (mine.init, mine.family, mine.tokens)
            and one.training == mine.training
        )
        return next(found, None)

    def zero_shot_inits(self) -> list[str]:
        """Inits that are decoded as they are."""
        runs = [run for name in self.decoded_sets for run in self.zero_shot_runs(name)]
        return list(dict.fromkeys(self.arms[run.arm].init for run in runs))

    def zero_shot_tests(self, init: str) -> list[TestSet]:
        """Test sets that an init is decoded on as it is."""
        found = [
            test
            for name in self.decoded_sets
            if any(self.arms[run.arm].init == init for run in self.zero_shot_runs(name))
            for test in self.test_sets(name)
        ]
        return list(dict.fromkeys(found))

    def zero_shot_arm(self, init: str) -> str | None:
        """The arm as which an init is decoded as it is: the first that starts from it; of an init
        that was pretrained here the first whose family its head is of, and rather one that writes
        the same tokens. None where there is none."""
        arms = [arm for arm in self.arms.values() if arm.init == init]
        if recipe := self.config["inits"][init].get("pretrain"):
            tokens = recipe.get("tokens", BPE)
            arms = [arm for arm in arms if arm.kind.pretrained_whole]
            arms.sort(key=lambda arm: arm.tokens != tokens)
        return arms[0].name if arms else None

    def tokens_of(self, run: Run) -> str:
        """What the model of a run writes: of an init as published what it was pretrained to write
        here, else `own`."""
        arm = self.arms[run.arm]
        return arm.tokens if run.hours != ZERO_SHOT else self.own_tokens(arm.init)

    def own_tokens(self, init: str) -> str:
        """What an init writes as it is; `own` of one that is published."""
        recipe = self.config["inits"][init].get("pretrain")
        return recipe.get("tokens", BPE) if recipe else OWN_TOKENS

    def decoded_runs(self, training_set: str) -> list[Run]:
        """Runs that are decoded for a training set, those of 0 hours first."""
        return [*self.zero_shot_runs(training_set), *self.runs(training_set)]

    def precisions(self, run: Run) -> Iterator[tuple[str, Tier]]:
        """(precision, tier) pairs at which a run is decoded."""
        arm = self.arms[run.arm]
        if run.hours == ZERO_SHOT:
            yield from ((FULL, tier) for name, tier in self.tiers.items() if name in arm.tiers)
            return
        for name, precision in self.config["precisions"].items():
            if name not in arm.precisions:
                continue
            largest = self.budgets(run.training_set, run.arm)[-1]
            if precision["budgets"] == "largest" and run.hours != largest:
                continue
            for tier in precision["tiers"] if precision["tiers"] != "all" else self.tiers:
                if tier in arm.tiers:
                    yield name, self.tiers[tier]

    def test_sets(self, training_set: str) -> list[TestSet]:
        """Test sets that the runs of a training set are scored on, those of replayed and retained
        languages last: they show forgetting."""
        retained = self.retained_languages if training_set in self.training_sets else []
        heard = self.training_set(training_set).heard()
        return [
            TestSet(lang, name)
            for lang in dict.fromkeys([*heard, *retained])
            for name in self.language(lang).get("test_sets", [])
        ]

    # ---- models that hear what is not theirs

    def heads(self, training_set: str) -> list[str]:
        """Languages with a head of their own in models of a training set; none where one head
        serves all."""
        return self.training_set(training_set).heads()

    @cached_property
    def ensembles(self) -> dict[str, list[str]]:
        """Name -> training sets of one language each, whose models hear each other's languages."""
        return (self.config.get("routing") or {}).get("ensembles") or {}

    @cached_property
    def crossed_sets(self) -> list[str]:
        """Training sets whose models hear test sets with heads that are not of their language."""
        members = {name for sets in self.ensembles.values() for name in sets}
        return [name for name in self.training_sets if self.heads(name) or name in members]

    def crossed_heads(self, training_set: str) -> list[str]:
        """Heads of the models of such a training set; the one of a model of one language has the
        language's name."""
        return self.heads(training_set) or list(self.training_set(training_set).languages)

    def crossed_tests(self, training_set: str) -> list[TestSet]:
        """Test sets that such models hear: those of all their heads, and of all languages of their
        ensembles."""
        langs = dict.fromkeys(self.heads(training_set))
        for sets in self.ensembles.values():
            if training_set in sets:
                langs |= dict.fromkeys(
                    lang for name in sets for lang in self.training_set(name).languages
                )
        return [
            TestSet(lang, name)
            for lang in langs
            for name in self.language(lang).get("test_sets", [])
        ]

    def peers(self, arm: str) -> list[str]:
        """Arms with this arm's encoder that contrasts compare with it, directly or through others,
        in the order of the configuration."""
        found, waiting = {arm}, [arm]
        while waiting:
            one = waiting.pop()
            for contrast in self.contrasts.values():
                if one in contrast.arms and "architecture" not in contrast.may_differ:
                    new = [
                        other
                        for other in contrast.arms
                        if other not in found
                        and other in self.arms
                        and self.arms[other].encoder == self.arms[arm].encoder
                    ]
                    found |= set(new)
                    waiting += new
        return [name for name in self.arms if name in found]


def _labels(block: Mapping[str, Any] | None) -> Labels | None:
    """What is made wrong in the texts of a training set; None of a share of nothing."""
    if not block or not block["corrupt"]:
        return None
    rate = block["word_error_rate"]
    rate = rate if rate is not None or block["kind"] != WORDS else WORD_ERROR_RATE
    return Labels(block["corrupt"], block["kind"], rate)


def _own(config: dict[str, Any], lang: str) -> TrainingSet:
    """The training set of one language."""
    replay = config["training"].get("replay")
    if lang not in config["languages"]:
        replay = None  # nothing is trained on it
    block = config["languages"].get(lang, {})
    return TrainingSet(
        lang,
        {lang: 1.0},
        Replay(**replay) if replay else None,
        tuple(block.get("budgets_hours", ())),
        block.get("name", lang),
    )


def _training_sets(config: dict[str, Any]) -> dict[str, TrainingSet]:
    """Those that the configuration names, else one for each language."""
    if not config["training_sets"]:
        return {lang: _own(config, lang) for lang in config["languages"]}
    made = {}
    for name, block in config["training_sets"].items():
        languages = {lang: float(weight) for lang, weight in block["languages"].items()}
        named = [config["languages"].get(lang, {}) for lang in languages]
        common = set.intersection(*(set(one.get("budgets_hours", ())) for one in named))
        label = " + ".join(
            one.get("name", lang) for lang, one in zip(languages, named, strict=True)
        )
        if block["heads"] == "per_language":
            label += ", a head each"
        if labels := _labels(block["labels"]):
            label += f", {labels.described}"
        if block["rounds"]:
            label += ", in rounds"
        made[name] = TrainingSet(
            name,
            languages,
            Replay(**block["replay"]) if block["replay"] else None,
            tuple(block["budgets_hours"] or sorted(common)),
            block["name"] or label,
            block["heads"] == "per_language",
            labels,
            rounds.of_block(block["rounds"]),
        )
    return made


def _arms(config: dict[str, Any]) -> dict[str, Arm]:
    """Those that the configuration names, else one for each init."""
    blocks = config["arms"] or {name: {"init": name} for name in config["inits"]}
    made = {}
    for name, block in blocks.items():
        tiers, precisions = (block.get(key) or "all" for key in ("tiers", "precisions"))
        sets, budgets = block.get("training_sets"), block.get("budgets_hours")
        training = block.get("training") or {}
        made[name] = Arm(
            name=name,
            init=block["init"],
            family=block.get("family") or models.DEFAULT_FAMILY,
            asked_tokens=block.get("tokens") or config["tokenizer"]["tokens"],
            adaptation=_adaptation(config, name, block.get("adaptation")),
            training=training,
            tiers=tuple(config["tiers"] if tiers == "all" else tiers),
            precisions=tuple(config["precisions"] if precisions == "all" else precisions),
            budgets_hours=tuple(budgets) if budgets else None,
            training_sets=tuple(sets) if sets else None,
            label=block.get("name") or _label(config, name, block["init"]),
            distil=block.get("distil"),
        )
    return made


def _label(config: dict[str, Any], arm: str, init: str) -> str:
    """Legend of an arm without a name: its init's, and the arm's own where others share it."""
    shared = [one for one in config["arms"].values() if one["init"] == init]
    name = config["inits"].get(init, {}).get("name", init)
    return name if arm == init or len(shared) < 2 else f"{name}, {arm}"


def _adaptation(config: dict[str, Any], arm: str, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """An arm's adaptation with all its options: its own, or the one of the recipe."""
    if own is None:
        return adaptation.of_settings(config["training"])
    try:
        return adaptation.of_settings({"adaptation": own})
    except UserError as error:
        raise UserError(f"arms.{arm}.adaptation: {error}") from None


def _contrasts(config: dict[str, Any]) -> dict[str, Contrast]:
    """Those that the configuration names, else the one of `statistics`."""
    chosen, blocks = config["statistics"], config["contrasts"]
    sides = {key: chosen[key] for key in ("baseline", "challenger") if chosen[key]}
    if blocks and sides:
        key, arm = next(iter(sides.items()))
        raise UserError(
            f"statistics.{key} is {arm!r}, but the study has contrasts: remove it (or write null); "
            "the first of "
            f"contrasts ({next(iter(blocks))}) is the headline"
        )
    if not blocks and len(sides) < 2:
        raise UserError(
            "config: there are no contrasts, and statistics lacks "
            f"{' and '.join(repr(key) for key in ('baseline', 'challenger') if key not in sides)}: "
            "give both, or contrasts"
        )
    return {one.name: one for one in contrasts_of({**chosen, "contrasts": blocks})}
