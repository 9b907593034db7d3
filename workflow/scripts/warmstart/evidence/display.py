"""What figures and page say of a study without having computed it: names, order, licences."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from warmstart.evidence import trainings
from warmstart.evidence.keys import FULL, MEAN, OWN, POOLED, part_of
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.tiers import by_latency, place_of


@dataclass(frozen=True)
class Arm:
    """A column of the experiment.

    Attributes:
        title: its name for readers.
        init, family: of the configuration.
        adaptation: `{"kind": ..., options}`.
        training: what of the recipe the arm has its own, as the configuration nests it.
        licence: of its donor; None: nobody has stated one.
        seen: test sets that its donor was trained on; None: nobody knows what it heard.
        tokens: what its models write: `bpe`, `char`, `ipa`.
    """

    title: str
    init: str
    family: str = ""
    adaptation: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    licence: str | None = None
    seen: tuple[str, ...] | None = ()
    tokens: str = "bpe"

    @property
    def recipe(self) -> dict[str, Any]:
        """What of the recipe the arm has its own: dotted key -> value."""
        return flat(self.training)


@dataclass(frozen=True)
class TrainingSet:
    """What models are trained on: a name for readers, and the languages they are for."""

    title: str
    languages: tuple[str, ...]


@dataclass(frozen=True)
class TestRecordings:
    """What a test set is in one language.

    Attributes:
        corpus, split: where it is from, as the configuration names them.
        licence: of the corpus; None: nobody has stated one.
        passed_on: whether the licence lets its audio be passed on.
        unit: of resampling: `speaker`, `sentence` or `utterance`.
    """

    __test__ = False  # pytest takes the name for a collection of tests

    corpus: str
    split: str = ""
    licence: str | None = None
    passed_on: bool = False
    unit: str = "speaker"


@dataclass(frozen=True)
class TestSet:
    """A test set: its name for readers, who speaks in it, what it is in each language, and what is
    known to be wrong with its references."""

    __test__ = False

    title: str
    description: str = ""
    recordings: Mapping[str, TestRecordings] = field(default_factory=dict)
    caution: str = ""


@dataclass(frozen=True)
class Panel:
    """A part of a figure: one language, or their mean, of one training set."""

    part: str
    lang: str
    title: str


@dataclass(frozen=True)
class Display:
    """Names and choices of a study.

    Attributes:
        name, title: of the study.
        settings: of its tables.
        languages: code -> name of the languages that it is about, in order.
        other_languages: code -> name of those that it only reads or scores.
        arms, training_sets: name -> what it is, in order.
        tiers: names, by latency.
        test_sets: names, in order.
        described: test set -> what it is.
        precisions: name -> its name for readers.
        licences: language -> corpus -> licence.
        unspaced: codes of languages in which each character counts as a word.
        training_errors: what trainings add to its rates (`trainings.interval_of`).
    """

    name: str
    title: str
    settings: Settings
    languages: Mapping[str, str]
    other_languages: Mapping[str, str]
    arms: Mapping[str, Arm]
    training_sets: Mapping[str, TrainingSet]
    tiers: tuple[str, ...]
    test_sets: tuple[str, ...]
    described: Mapping[str, TestSet] = field(default_factory=dict)
    precisions: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    unspaced: tuple[str, ...] = ()
    training_errors: tuple[float, ...] = (float("nan"),)

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Display":
        """From JSON.

        Args:
            block: `study` (name, title), `statistics`, `contrasts`, `languages` (code -> name of
                all that are read or scored), `targets` (codes that the study is about), `arms` and
                `training_sets` (name -> the attributes here, `name` for their titles), `tiers`
                (names, or name -> `lookahead_ms`, `offline`), `test_sets` (names, or name -> the
                attributes of `TestSet`), `test_sets_of` (language -> its test sets, in its order),
                and for the page `precisions` (name -> its name for readers) and `licences`;
                `unspaced` and `phone_contrasts` where there are such.
        """
        names, wanted = block["languages"], block["targets"]
        training_sets = {
            name: TrainingSet(each["name"], tuple(each["languages"]))
            for name, each in block["training_sets"].items()
        }
        targets = {name: list(each.languages) for name, each in training_sets.items()}
        arms = {
            name: Arm(
                each["name"],
                each["init"],
                each.get("family") or "",
                each.get("adaptation") or {},
                each.get("training") or {},
                each.get("licence"),
                None if each.get("seen") == "unknown" else tuple(each.get("seen") or ()),
                each.get("tokens") or "bpe",
            )
            for name, each in block["arms"].items()
        }
        described = block["tiers"] if isinstance(block["tiers"], Mapping) else {}
        waits = {
            name: None if each.get("offline") else each["lookahead_ms"]
            for name, each in described.items()
            if "lookahead_ms" in each
        }
        tiers = by_latency(block["tiers"], waits)
        statistics = {
            **block["statistics"],
            "contrasts": block.get("contrasts"),
            "phone_contrasts": block.get("phone_contrasts"),
            "targets": targets,
            "test_sets": block.get("test_sets_of", {}),
            "tiers": tiers,
            "unspaced": block.get("unspaced", ()),
        }
        return cls(
            name=block["study"]["name"],
            title=block["study"]["title"],
            settings=Settings.of(statistics),
            languages={lang: names[lang] for lang in wanted},
            other_languages={lang: name for lang, name in names.items() if lang not in wanted},
            arms=arms,
            training_sets=training_sets,
            tiers=tuple(tiers),
            test_sets=tuple(block["test_sets"]),
            described=_described(block["test_sets"]),
            precisions=block.get("precisions", {}),
            licences=block.get("licences", {}),
            unspaced=tuple(block.get("unspaced", ())),
        )

    def measured(self, tables: Mapping[str, pd.DataFrame]) -> "Display":
        """The same, knowing from the tables where the noise of training is in the intervals: what
        they are called depends on it. Donors as they are (0 h) were not trained here."""
        wer = tables["wer"]
        return replace(self, training_errors=tuple(wer.training_error_pp[wer.hours > 0]))

    # ---- names

    @property
    def interval(self) -> str:
        """What an interval of this study is called: `95 % interval of these trainings`."""
        return trainings.interval_name(self.settings.level, self.training_errors)

    def language(self, lang: str) -> str:
        """Name of a language, of the mean, or of the pooled law."""
        names = {MEAN: "Mean", POOLED: "Pooled", **self.other_languages, **self.languages}
        return names.get(lang, lang)

    def language_of(self, row: Any) -> str:
        """Language of a row; a mean says of how many, because not all reach every budget."""
        return f"Mean of {row.languages:g}" if row.lang == MEAN else self.language(row.lang)

    def arm(self, name: str) -> str:
        """Name of an arm for readers."""
        return self.arms[name].title if name in self.arms else name

    def training_set(self, name: str) -> str:
        """Name of a training set for readers."""
        if name == OWN:
            return "each its own"
        known = self.training_sets.get(name)
        return known.title if known else self.language(name)

    def test_set(self, name: str) -> str:
        """Name of a test set for readers."""
        known = self.described.get(name)
        return known.title if known else words(name)

    def caution(self, test_set: str) -> str:
        """What is known to be wrong with the references of a test set: a sentence, or nothing."""
        known = self.described.get(test_set)
        return known.caution if known else ""

    def tier(self, name: str) -> str:
        """Name of a latency tier for readers: `160 ms`."""
        return re.sub(r"^(\d+)ms$", r"\1 ms", name)

    def precision(self, name: str) -> str:
        """Name of a precision for readers."""
        return "full" if name == FULL else self.precisions.get(name, name)

    # ---- what is there to be told apart

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Those of the study; the first is the headline."""
        return self.settings.contrasts

    @property
    def audited(self) -> tuple[Contrast, ...]:
        """All pairs of arms that are compared somewhere, those of phones too."""
        return (*self.contrasts, *self.settings.phone_contrasts)

    @property
    def several_contrasts(self) -> bool:
        """Whether a reader needs to be told which contrast a number is of."""
        return len(self.contrasts) > 1

    @property
    def several_parts(self) -> bool:
        """Whether a reader needs to be told what a model was trained on: all languages have their
        own training set, or some model is for several languages or heard more than its name
        says."""
        return any((name,) != each.languages for name, each in self.training_sets.items())

    def parts(self, table: pd.DataFrame) -> list[str]:
        """Parts of training sets in a table (`keys.part_of`), in order: `own` first."""
        found = {
            part_of(row.training_set, row.lang)
            for row in table[["training_set", "lang"]].drop_duplicates().itertuples()
        }
        order = [OWN, *self.training_sets, *sorted(found)]
        return sorted(found, key=order.index)

    def of_part(self, table: pd.DataFrame, part: str) -> pd.DataFrame:
        """Rows of a table whose training set plays a part."""
        if part != OWN:
            return table[(table.training_set == part) & (table.lang != part)]
        return table[(table.training_set == table.lang) | (table.training_set == OWN)]

    def ordered(self, table: pd.DataFrame) -> pd.DataFrame:
        """The same rows by parts of training sets, `own` first, else as they are."""
        parts = [
            part_of(training_set, lang)
            for training_set, lang in zip(table.training_set, table.lang, strict=True)
        ]
        order = self.parts(table).index
        places = sorted(range(len(parts)), key=lambda place: order(parts[place]))
        return table.iloc[places]

    def panels(self, table: pd.DataFrame, *, mean: bool = True) -> list[Panel]:
        """Parts of a figure of a table, in order.

        Args:
            table: rows with training_set and lang.
            mean: whether the mean over languages is one.
        """
        found = []
        for part in self.parts(table):
            langs = set(self.of_part(table, part).lang)
            wanted = [lang for lang in self.languages if lang in langs]
            for lang in wanted + ([MEAN] if mean and MEAN in langs else []):
                title = "Mean of languages" if lang == MEAN else self.languages[lang]
                after = "" if part == OWN else f", trained on {self.training_set(part)}"
                # Panels of one figure may be on other test sets; those that are say so.
                if lang in self.read_elsewhere:
                    title += f" ({self.test_set(self.read_elsewhere[lang])})"
                found.append(Panel(part, lang, title + after))
        return found

    def panel_rows(self, table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
        """Rows of a table that a panel shows."""
        own = self.of_part(table, panel.part)
        return own[own.lang == panel.lang]

    def headline(
        self, table: pd.DataFrame, contrast: Contrast | None = None, *, all_tiers: bool = False
    ) -> pd.DataFrame:
        """Rows of a table on the headline test set (of a language without it, on that which it is
        read from), at the reference tier and full precision; no means with the languages as a
        sample.

        Args:
            table: any of those that this study wrote.
            contrast: only its rows.
            all_tiers: not the reference tier alone.
        """
        at = self.on_headline(table)
        if not all_tiers:
            at &= table.tier == self.settings.reference_tier
        if contrast is not None:
            at &= table.contrast == contrast.name
        if "precision" in table:
            at &= table.precision == FULL
        if "languages_as" in table:
            at &= table.languages_as != "sampled"
        return table[at]

    def on_headline(self, table: pd.DataFrame) -> pd.Series:
        """(rows,) bool: whether a row is on the test set that its language is read from; means and
        pooled laws are on the headline alone."""
        wanted = {lang: self.settings.headline_in(lang) for lang in table.lang.unique()}
        return table.test_set == table.lang.map(wanted)

    @property
    def read_elsewhere(self) -> dict[str, str]:
        """Language of the study without the headline test set -> the test set it is read from."""
        return {
            lang: other
            for lang in self.languages
            if (other := self.settings.headline_in(lang)) != self.settings.headline_test_set
        }

    def elsewhere(self) -> str:
        """A sentence on the languages that are read from another test set; empty: there are
        none."""
        if not (others := self.read_elsewhere):
            return ""
        where = listed(
            f"{self.language(lang)} from {self.test_set(name)}" for lang, name in others.items()
        )
        own = "their own" if len(others) > 1 else "its own"
        headline = self.test_set(self.settings.headline_test_set)
        return (
            f"Not scored on {headline}, and so read from the first test set of "
            f"{own}: {where}. No mean over languages holds them."
        )

    def tier_place(self, tier: str) -> int:
        """Place of a tier among those of the study, by latency; unknown ones stand last."""
        return place_of(tier, self.tiers)[0]

    # ---- contrasts

    def about(self, contrast: Contrast) -> list[str]:
        """What the two arms are declared to differ in: `init`, `family`, `tokens`, `adaptation`,
        keys of the recipe, `architecture`."""
        one, other = (self.arms.get(name) for name in (contrast.baseline, contrast.challenger))
        if one is None or other is None:
            return ["init"]
        found = [
            name
            for name in ("init", "family", "tokens", "adaptation")
            if getattr(one, name) != getattr(other, name)
        ]
        left, right = one.recipe, other.recipe
        keys = dict.fromkeys([*left, *right])
        found += [key for key in keys if left.get(key) != right.get(key)]
        return list(dict.fromkeys([*found, *contrast.may_differ]))

    def noun(self, contrast: Contrast) -> str:
        """What the two sides of a contrast are called: starts where the init alone differs."""
        return "start" if self.about(contrast) == ["init"] else "arm"

    def words(self, contrast: Contrast | None) -> dict[str, str]:
        """What captions are filled in with."""
        contrast = contrast or self.contrasts[0]
        return {
            "challenger_name": self.arm(contrast.challenger),
            "noun": self.noun(contrast),
            "level": self.settings.level,
            "intervals": trainings.interval_name(
                self.settings.level, self.training_errors, plural=True
            ),
            "baseline_name": self.arm(contrast.baseline),
            "test_set": self._headline_words(),
            "tier": self.tier(self.settings.reference_tier),
        }

    def _headline_words(self) -> str:
        """The headline test set in a caption, with those of languages that lack it."""
        others = [
            f"{self.test_set(name)} for {self.language(lang)}"
            for lang, name in self.read_elsewhere.items()
        ]
        headline = self.test_set(self.settings.headline_test_set)
        return headline + (f" ({'; '.join(others)})" if others else "")


def _described(block: Any) -> dict[str, TestSet]:
    """Test sets as the study describes them; of names alone nothing is known."""
    if not isinstance(block, Mapping):
        return {}
    return {
        name: TestSet(
            each.get("title") or words(name),
            each.get("description") or "",
            {lang: TestRecordings(**of) for lang, of in (each.get("recordings") or {}).items()},
            each.get("caution") or "",
        )
        for name, each in block.items()
    }


def words(name: str) -> str:
    """A name of the configuration as words: `new_voices` is `new voices`."""
    return name.replace("_", " ").replace("+", " + ")


def flat(block: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
