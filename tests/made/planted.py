"""Studies with a known truth: error counts of utterances under a planted law, correlation inside
speakers, and tier effects.

The tests and `benchmarks/coverage.py` ask the statistics for what was planted here.
"""

import dataclasses

import numpy as np
import pandas as pd


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is planted. Rates in percent, gaps in percentage points."""

    # Arms, and the share of the gap that each has on top of the last one's rate.
    arms: tuple[tuple[str, float], ...] = (("en", 1.0), ("ml", 0.0))
    amplitude_pp: float = 4.21  # gap at `reference_hours`
    exponent: float = 0.947
    reference_hours: float = 100.0
    hours: tuple[float, ...] = (100.0, 250.0, 500.0, 1000.0, 2500.0)
    wer_floor: float = 8.0  # WER of an arm without a share, with endless data
    wer_slope: float = 6.0  # its excess at 100 h, falling with h^-0.4
    tier_gap_pp: tuple[float, ...] = (0.0, 0.0)  # added to the gap at each tier
    tiers: tuple[str, ...] = ("160ms", "560ms")
    int4_pp: float = 0.5  # cost of 4 bits for every arm
    int4_gap_pp: float = 0.0  # what 4 bits add to the gap
    speakers: int = 60
    utterances: int = 15  # a speaker, on average
    words: int = 18  # an utterance, on average
    speaker_sd: float = 0.35  # log-normal factor of a speaker's error rate, common to all systems
    private_sd: float = 0.10  # the same, private to a speaker and system
    seeds: int = 1
    seed_sd_pp: float = 0.0  # training noise of a run

    def gap_pp(self, hours: float) -> float:
        """The planted gap at the first tier."""
        return self.amplitude_pp * (hours / self.reference_hours) ** -self.exponent


def systems(truth: Truth) -> pd.DataFrame:
    """Every decode of the planted study: keys and true WER in percent, before training noise."""
    rows = []
    for hours in truth.hours:
        base = truth.wer_floor + truth.wer_slope * (hours / 100.0) ** -0.4
        for seed in range(1, truth.seeds + 1):
            for arm, share in truth.arms:
                decodes = [
                    ("full", tier, extra)
                    for tier, extra in zip(truth.tiers, truth.tier_gap_pp, strict=True)
                ]
                if hours == max(truth.hours):
                    decodes.append(("int4", truth.tiers[-1], truth.tier_gap_pp[-1]))
                for precision, tier, extra in decodes:
                    quantised = precision == "int4"
                    gap = truth.gap_pp(hours) + extra + truth.int4_gap_pp * quantised
                    wer = base + share * gap + truth.int4_pp * quantised
                    rows.append((arm, hours, seed, precision, tier, wer))
    return pd.DataFrame(rows, columns=["arm", "hours", "seed", "precision", "tier", "wer"])


def block_counts(
    truth: Truth, random: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Counts of one language and test set, summed inside speakers.

    Returns:
        The systems (S rows), errors (S, K), words (K,).
    """
    table = systems(truth)
    utterances = 1 + random.poisson(truth.utterances - 1, truth.speakers)
    words = 1 + random.poisson(truth.words * utterances)
    noise = {}
    rates = table.wer.to_numpy() / 100.0
    for place, row in enumerate(table.itertuples()):
        run = (row.arm, row.hours, row.seed)
        noise.setdefault(
            run, random.normal(0.0, truth.seed_sd_pp / 100.0) if truth.seed_sd_pp else 0.0
        )
        rates[place] += noise[run]

    def factor(sd: float, shape: tuple[int, ...]) -> np.ndarray:
        return np.exp(random.normal(-(sd**2) / 2, sd, shape)) if sd else np.ones(shape)

    private = factor(truth.private_sd, (len(table), truth.speakers))
    expected = np.clip(
        rates[:, None] * factor(truth.speaker_sd, (truth.speakers,)) * private, 0.0, 0.95
    )
    # Some words are hard for every system: a binomial common to all, and a private one for what a
    # system errs beyond that.
    common = expected.min(axis=0)
    shared = random.binomial(words, common)
    rest = np.clip((expected - common) / (1.0 - common), 0.0, 1.0)
    return table, shared[None, :] + random.binomial((words - shared)[None, :], rest), words


def score_table(
    truth: Truth,
    random: np.random.Generator,
    lang: str = "xx",
    test_set: str = "fleurs",
    training_set: str | None = None,
) -> pd.DataFrame:
    """The same study in the columns of a score file, one row per block, for programs that read
    Parquet.

    Args:
        truth: what is planted.
        random: source of everything else.
        lang, test_set: of the test set.
        training_set: of the models; None: named as the language.
    """
    table, errors, words = block_counts(truth, random)
    frames = []
    for place, row in enumerate(table.itertuples()):
        substitutions = errors[place]
        frame = pd.DataFrame(
            {
                "training_set": training_set or lang,
                "lang": lang,
                "arm": row.arm,
                "hours": row.hours,
                "seed": row.seed,
                "precision": row.precision,
                "tier": row.tier,
                "test_set": test_set,
                "id": [f"{lang}-{test_set}-{speaker}" for speaker in range(len(words))],
                "block": [f"speaker{speaker}" for speaker in range(len(words))],
                "duration_s": words / 2.5,
                "ref_words": words,
                "hits": words - substitutions,
                "substitutions": substitutions,
                "deletions": 0,
                "insertions": 0,
                "ref_chars": words * 5,
                "char_hits": words * 5 - substitutions * 2,
                "char_substitutions": substitutions * 2,
                "char_deletions": 0,
                "char_insertions": 0,
                "empty": False,
                "looping": False,
                "number_words": words // 10,
                "number_errors": substitutions // 10,
                "rare_words": 0,
                "rare_errors": 0,
                "emission_delay_ms": np.nan if row.tier == "offline" else 100.0,
                "reference": "",
                "hypothesis": "",
                "normaliser_version": 1,
            }
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


CONTRASTS = {
    "warm_start": {"baseline": "en", "challenger": "ml"},
    "adapter": {"baseline": "ml", "challenger": "ml_adapter"},
}
"""Those of `several`: the challenger of the second is worse by 0.4 of the first's gap."""
SEVERAL = Truth(arms=(("en", 1.0), ("ml_adapter", 0.4), ("ml", 0.0)), speakers=150)
TARGETS = {"it+fr": ["it", "fr"]}


def several(random: np.random.Generator) -> dict[str, pd.DataFrame]:
    """A study of three arms: German, Italian and French with their own models, and one model for
    Italian and French, with two seeds and fewer budgets; Italian models asked for English, which
    they forgot.

    Returns:
        Language of the test set -> its scores.
    """
    mixed = dataclasses.replace(
        SEVERAL, hours=(100.0, 500.0, 2500.0), wer_floor=9.0, seeds=2, seed_sd_pp=0.2
    )
    forgotten = dataclasses.replace(SEVERAL, wer_floor=40.0)
    parts = {lang: [score_table(SEVERAL, random, lang)] for lang in ("de", "it", "fr")}
    for lang in TARGETS["it+fr"]:
        parts[lang].append(score_table(mixed, random, lang, training_set="it+fr"))
    parts["en"] = [score_table(forgotten, random, "en", training_set="it")]
    return {lang: _same_words(pd.concat(each, ignore_index=True)) for lang, each in parts.items()}


def _same_words(table: pd.DataFrame) -> pd.DataFrame:
    """Planted studies draw their own words; decodes of one test set have the same."""
    first = table.drop_duplicates("block").set_index("block")
    wrong = table.substitutions / table.ref_words
    words = table.block.map(first.ref_words)
    errors = (wrong * words).round().astype(int)
    return table.assign(
        ref_words=words,
        ref_chars=table.block.map(first.ref_chars),
        substitutions=errors,
        char_substitutions=2 * errors,
    )
