"""What the tables are asked for: contrasts, intervals, the headline. Standard library only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from warmstart.evidence.tiers import place_of
from warmstart.run.errors import UserError

WARM_START = "warm_start"
"""The contrast of a study that names none."""


def headline_test_set(headline: str, test_sets: Sequence[str]) -> str:
    """The test set that the answer about a language is read from.

    Args:
        headline: `statistics.headline_test_set`.
        test_sets: of the language, in the order of its block.

    Returns:
        The headline where the language has it, or where nobody knows its test sets; else the first
        of its own.
    """
    return headline if headline in test_sets or not test_sets else test_sets[0]


@dataclass(frozen=True)
class Contrast:
    """Two arms whose difference is estimated, paired. Gap = WER(baseline) - WER(challenger).

    Attributes:
        name: of the configuration.
        baseline, challenger: names of arms.
        may_differ: what may differ beside what the arms say of themselves: `architecture`.
    """

    name: str
    baseline: str
    challenger: str
    may_differ: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, str]:
        """Baseline and challenger."""
        return self.baseline, self.challenger


@dataclass(frozen=True)
class MadeOfExperts:
    """Models that are made of language experts, and what they are compared with.

    Attributes:
        arms: arm -> the arms of its init and family that are not made of experts.
        standard: arm -> the one of these that is standard fine-tuning.
        untouched: arm -> the arm as which its init is decoded as it is.
        oracle: (training set, arm, hours, language) -> (training set, arm, hours) of the expert.
    """

    arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    standard: Mapping[str, str] = field(default_factory=dict)
    untouched: Mapping[str, str] = field(default_factory=dict)
    oracle: Mapping[tuple[str, str, float, str], tuple[str, str, float]] = field(
        default_factory=dict
    )

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "MadeOfExperts":
        """From JSON, as `study.experts.compared` gives it."""
        return cls(
            {arm: tuple(others) for arm, others in block.get("arms", {}).items()},
            dict(block.get("standard", {})),
            dict(block.get("untouched", {})),
            {
                (one["training_set"], one["arm"], float(one["hours"]), one["lang"]): (
                    one["expert"]["training_set"],
                    one["expert"]["arm"],
                    float(one["expert"]["hours"]),
                )
                for one in block.get("oracle", ())
            },
        )


@dataclass(frozen=True)
class Dirty:
    """What was made wrong in the texts of a training set.

    Attributes:
        clean: the training set that hears the same with the texts as they are; None: there is none.
        corrupt: share of the texts.
        kind: `swap` or `words`.
        word_error_rate: of the dirty texts, as asked; None of `swap`.
    """

    clean: str | None
    corrupt: float
    kind: str
    word_error_rate: float | None = None

    @property
    def described(self) -> str:
        """`swap`, or `words at 50 %`."""
        rate = self.word_error_rate
        return self.kind if rate is None else f"{self.kind} at {100 * rate:g} %"


@dataclass(frozen=True)
class Retention:
    """What of a donor's languages is asked for after an adaptation, and with what it is compared.

    Attributes:
        languages: of donors.
        joint: training set that hears all of them and the new language; None: there is none.
        replay: training set -> share of replayed audio in all that it hears.
        plain: training set -> the one of the same languages without replay and with clean texts.
        donors: arm -> the arm as which its init is decoded as it is.
        full: arm -> the one with the same start all of whose weights learn.
    """

    languages: tuple[str, ...] = ()
    joint: str | None = None
    replay: Mapping[str, float] = field(default_factory=dict)
    plain: Mapping[str, str | None] = field(default_factory=dict)
    donors: Mapping[str, str | None] = field(default_factory=dict)
    full: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Rounds:
    """A training set whose runs are trained in rounds.

    Attributes:
        data: what each round is trained on.
        total_hours: of speech that is heard; None: the budget alone.
        at_once: training sets of the same languages without rounds.
        rank: arm -> the arm whose updates have the rank of all rounds of this one together.
    """

    data: tuple[str, ...]
    total_hours: float | None = None
    at_once: tuple[str, ...] = ()
    rank: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made; the defaults stand in the schema of the configuration.

    Attributes:
        replicates: of the bootstrap.
        confidence: of the intervals.
        seed: of the blocks that are drawn.
    """

    replicates: int
    confidence: float
    seed: int

    @property
    def level(self) -> str:
        """Confidence in percent, as it is written: `95`."""
        return f"{100 * self.confidence:g}"


@dataclass(frozen=True, kw_only=True)
class Settings(Resampling):
    """The block `statistics` of the configuration, and what of the study belongs to it.

    Attributes:
        contrasts: in the order of the configuration; the first is the headline.
        headline_test_set, reference_tier: what the answer is about; `headline_in` says which test
            set that is in a language.
        tier_margin_pp: a change of the gap inside it is called equivalent.
        threshold_pp: a gap inside it is called small.
        power: with which a gap is wanted to be found, where one is there.
        training_sd_pp: standard deviation of a WER between trainings, where no cell has two seeds
            that tell it; NaN: nobody has guessed it.
        wer_targets_pct: WERs whose hours are asked of the law of the WER.
        forecast_hours: hours at which that law is asked, beside the budgets and up to four times
            the largest.
        exports: precisions that are the unquantised export, a second baseline of quantisation.
        targets: training set -> languages that it is for. A training set that is not in here is
            for the language of its name.
        test_sets: language -> its test sets, in the order of its block.
        tiers: by latency, as `tiers.by_latency` orders them.
        unspaced: languages in which each character counts as a word.
        shared_sentences: test set -> languages whose blocks of one name are one sentence.
        phone_contrasts: those whose arms write phones; they have phone error rates alone.
        heard: arm -> languages that its init was pretrained on; None: nobody knows.
        experts: of arms that are made of language experts.
        dirty: training set -> what was made wrong in its texts.
        retention: what is asked of the languages of donors.
        rounds: of the training sets that have some.
    """

    contrasts: tuple[Contrast, ...]
    headline_test_set: str
    reference_tier: str
    tier_margin_pp: float
    threshold_pp: float
    power: float = 0.8
    training_sd_pp: float = math.nan
    wer_targets_pct: tuple[float, ...] = ()
    forecast_hours: tuple[float, ...] = ()
    exports: tuple[str, ...] = ()
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    test_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tiers: tuple[str, ...] = ()
    unspaced: tuple[str, ...] = ()
    shared_sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    phone_contrasts: tuple[Contrast, ...] = ()
    heard: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    experts: MadeOfExperts = field(default_factory=MadeOfExperts)
    dirty: Mapping[str, Dirty] = field(default_factory=dict)
    retention: Retention = Retention()
    rounds: Mapping[str, Rounds] = field(default_factory=dict)

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Settings":
        """From JSON: the block `statistics`, with `contrasts`, `targets`, `exports`, `test_sets`,
        `tiers`, `unspaced`, `shared_sentences`, `phone_contrasts`, `heard`, `experts`, `dirty`,
        `retention` and `rounds` where the study has them.

        Raises:
            UserError: no contrast, or something else is missing.
        """
        own = (
            *("contrasts", "exports", "targets", "test_sets", "tiers", "unspaced"),
            *("wer_targets_pct", "forecast_hours", "shared_sentences"),
            *("power", "training_sd_pp", "phone_contrasts", "heard", "experts", "dirty"),
            *("retention", "rounds"),
        )
        wanted = [name for name in cls.__dataclass_fields__ if name not in own]
        if missing := [name for name in wanted if name not in block]:
            raise UserError(f"statistics lacks {', '.join(missing)}; give it in the settings")
        chosen = {name: block[name] for name in wanted}
        return cls(
            contrasts=contrasts_of(block),
            power=float(block.get("power", cls.power)),
            training_sd_pp=float(block.get("training_sd_pp", math.nan)),
            exports=tuple(block.get("exports", ())),
            wer_targets_pct=tuple(map(float, block.get("wer_targets_pct", ()))),
            forecast_hours=tuple(map(float, block.get("forecast_hours", ()))),
            targets={name: tuple(langs) for name, langs in block.get("targets", {}).items()},
            test_sets={lang: tuple(names) for lang, names in block.get("test_sets", {}).items()},
            tiers=tuple(block.get("tiers", ())),
            unspaced=tuple(block.get("unspaced", ())),
            shared_sentences={
                name: tuple(langs) for name, langs in block.get("shared_sentences", {}).items()
            },
            phone_contrasts=contrasts_of({"contrasts": phones})
            if (phones := block.get("phone_contrasts"))
            else (),
            heard={
                arm: None if langs is None else tuple(langs)
                for arm, langs in block.get("heard", {}).items()
            },
            experts=MadeOfExperts.of(block.get("experts", {})),
            dirty={name: Dirty(**one) for name, one in block.get("dirty", {}).items()},
            retention=_retention(block.get("retention", {})),
            rounds={
                name: Rounds(
                    **{**one, "data": tuple(one["data"]), "at_once": tuple(one.get("at_once", ()))}
                )
                for name, one in block.get("rounds", {}).items()
            },
            **chosen,
        )

    def headline_in(self, lang: str) -> str:
        """The test set that the answer about a language is read from; of means and of pooled laws
        the study's headline, because they are formed on one test set."""
        return headline_test_set(self.headline_test_set, self.test_sets.get(lang, ()))

    def tier_place(self, tier: str) -> tuple[Any, ...]:
        """What a tier is sorted by: its latency."""
        return place_of(tier, self.tiers)

    def order_of(self, key: Any) -> tuple[Any, ...]:
        """What a named tuple is sorted by: its fields as they are, tiers by latency."""
        return tuple(
            place_of(value, self.tiers) if name == "tier" else value
            for name, value in zip(key._fields, key, strict=True)
        )

    def is_for(self, training_set: str, lang: str) -> bool:
        """Whether a training set is for a language. If not, a test set in that language shows what
        was forgotten, and enters no gap."""
        return lang in self.targets.get(training_set, (training_set,))


def _retention(block: Mapping[str, Any]) -> Retention:
    return Retention(**{**block, "languages": tuple(block.get("languages", ()))})


def contrasts_of(block: Mapping[str, Any]) -> tuple[Contrast, ...]:
    """`contrasts`, or the one contrast `warm_start` of `baseline` and `challenger`.

    Raises:
        UserError: neither is there, or a contrast lacks an arm.
    """
    named = block.get("contrasts") or {
        WARM_START: {key: block[key] for key in ("baseline", "challenger") if block.get(key)}
    }
    for name, arms in named.items():
        for key in ("baseline", "challenger"):
            if key not in arms:
                raise UserError(
                    f"contrast {name!r} has no {key}: give contrasts: {{{name}: {{baseline: ARM, "
                    "challenger: ARM}}, or statistics.baseline and statistics.challenger"
                )
    return tuple(
        Contrast(name, arms["baseline"], arms["challenger"], tuple(arms.get("may_differ", ())))
        for name, arms in named.items()
    )
