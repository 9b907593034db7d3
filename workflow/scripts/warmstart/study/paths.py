"""Where things lie: every path that more than one rule needs is made here, once.

Paths are relative to the folder of the study; those of a run share the levels of `Run.path`.
"""

from pathlib import Path
from typing import Any, NamedTuple

from warmstart.data.targets import BPE, IPA
from warmstart.evidence.candidate_columns import SUFFIX
from warmstart.study import slices
from warmstart.study.grid import FULL, OWN_TOKENS, ZERO_SHOT, Run, Study, TestSet

# ---- data


def complete(corpus: str, lang: str) -> str:
    """What says that the files of a corpus are whole, and where they came from."""
    return f"resources/corpora/{corpus}/{lang}/complete.json"


def manifest(corpus: str, lang: str, split: str) -> str:
    """Lhotse CutSet of one split."""
    return f"results/manifests/{corpus}/{lang}/{split}.jsonl.gz"


def test_manifest(study: Study, test: TestSet) -> str:
    """CutSet of a test set."""
    source = study.config["test_sets"][test.name]
    noise = f"+noise{source['noise_snr_db']}db" if "noise_snr_db" in source else ""
    return manifest(source["corpus"], test.lang, source["split"] + noise)


def test_traits(study: Study, test: TestSet) -> str:
    """What is known of the speakers of a test set; noise changes neither them nor the cuts' ids."""
    source = study.config["test_sets"][test.name]
    return f"results/manifests/{source['corpus']}/{test.lang}/{source['split']}.traits.json"


def test_manifests(study: Study, training_set: str) -> dict[str, str]:
    """Slug -> CutSet, of the test sets that the runs of a training set are scored on."""
    one = study.training_set(training_set)
    return {test.slug(one): test_manifest(study, test) for test in study.test_sets(training_set)}


def guard_manifests(study: Study, lang: str) -> dict[str, str]:
    """Test sets whose sentences and speakers must stay out of the pool, with their CutSets.

    All that the study defines and the language has data for, not only those it is scored on:
    scoring one more of them later must not change the pool, or every model would be stale. A second
    name for the same recordings guards nothing new.
    """
    corpora = study.language(lang)["corpora"]
    names: dict[str, str] = {}
    for name, source in study.config["test_sets"].items():
        # Noise changes neither sentence nor speaker: the clean set guards for the noisy one.
        if source["corpus"] in corpora and "noise_snr_db" not in source:
            names.setdefault(test_manifest(study, TestSet(lang, name)), name)
    return {name: path for path, name in names.items()}


def training_manifests(study: Study, lang: str) -> dict[str, str]:
    """corpus -> CutSet of the training split, for the corpora of a language's pool."""
    return {
        corpus: manifest(corpus, lang, slices.corpus_block(study, corpus, lang)["train_split"])
        for corpus in study.language(lang).get("training_corpora", ())
    }


def validation_manifest(study: Study, lang: str) -> str:
    """CutSet of a language on which training is watched; never a test split."""
    source = study.validation(lang)
    return manifest(source["corpus"], lang, source["split"])


def validation_manifests(study: Study, training_set: str) -> dict[str, str]:
    """Language -> CutSet on which the runs of a training set are watched."""
    return {
        lang: validation_manifest(study, lang)
        for lang in study.training_set(training_set).languages
    }


def manifests(study: Study, lang: str) -> list[str]:
    """All CutSets that a language's jobs read."""
    watched = [validation_manifest(study, lang)] if lang in study.languages else []
    training, guarded = training_manifests(study, lang), guard_manifests(study, lang)
    learnt = learnt_manifests(study, lang)
    return list(dict.fromkeys([*training.values(), *guarded.values(), *watched, *learnt.values()]))


def learnt_manifests(study: Study, lang: str) -> dict[str, str]:
    """Test set -> CutSet whose labelled sentences topics are learnt from (`understanding`)."""
    topics = (study.config["understanding"] or {}).get("topics", {})
    found = {}
    for name, block in topics.items():
        corpus = study.config["test_sets"][name]["corpus"]
        asked = lang in (block["codes"] or [lang])
        if block["train_split"] and asked and corpus in study.language(lang)["corpora"]:
            found[name] = manifest(corpus, lang, block["train_split"])
    return found


def used_splits(study: Study, corpus: str, lang: str) -> list[str]:
    """Splits of a corpus that a language's jobs read."""
    folder = manifest(corpus, lang, "").removesuffix(".jsonl.gz")
    read = [path for path in manifests(study, lang) if path.startswith(folder)]
    return [path.removeprefix(folder).removesuffix(".jsonl.gz") for path in read]


def pool(lang: str) -> str:
    """Every usable training cut of a language, in budget order."""
    return f"results/pools/{lang}.jsonl.gz"


def budget(lang: str, hours: str) -> str:
    """The first `hours` of a language's pool."""
    return f"results/budgets/{lang}/{hours}h.jsonl.gz"


def dirty_labels(training_set: str, lang: str, hours: str) -> str:
    """A language's budget in a budget of `hours` of a training set, some of its texts wrong."""
    return f"results/dirty_labels/{training_set}/{lang}/{hours}h.jsonl.gz"


def parts(study: Study, training_set: str, hours: str) -> dict[str, str]:
    """Language -> CutSet that it gives to a budget of a training set."""
    one = study.training_set(training_set)
    if one.labels is not None:
        return {lang: dirty_labels(training_set, lang, hours) for lang in one.languages}
    return {lang: budget(lang, part) for lang, part in one.parts(hours).items()}


def label_reports(study: Study) -> list[str]:
    """What was made wrong in the texts of each run's training set."""
    found = [
        cuts.replace(".jsonl.gz", ".json")
        for run in study.runs()
        if study.training_set(run.training_set).labels is not None
        for cuts in parts(study, run.training_set, run.hours).values()
    ]
    return list(dict.fromkeys(found))


def training_cuts(study: Study, training_set: str, hours: str) -> str:
    """CutSet that a run is trained on: a language's budget, perhaps with dirty labels, or a
    mixture."""
    one = study.training_set(training_set)
    if one.mixed:
        return f"results/mixtures/{training_set}/{hours}h.jsonl.gz"
    return next(iter(parts(study, training_set, hours).values()))


def batch_profile(study: Study, training_set: str, arm: str) -> str | None:
    """The profile of a run; None where `batch_duration_s` makes the batches."""
    if not study.config["training"].get("batch_profile"):
        return None
    return f"{slices.batch_profiles(study, arm)}/{training_set}.json"


def tokenizer(training_set: str, tokens: str) -> str:
    """Folder of a tokenizer; that of `bpe` has the name of the training set alone."""
    return f"results/tokenizers/{training_set}{'' if tokens == BPE else f'.{tokens}'}"


def tokenizers_of(study: Study, training_set: str, tokens: str) -> dict[str, str]:
    """Head -> folder of its tokenizer; of one head for all, under the name of the training set.

    The head of a language has the tokenizer of the training set of that language alone, so that it
    writes what a model of the language alone writes. Models that bring their own have none.
    """
    if tokens == OWN_TOKENS:
        return {}
    names = study.heads(training_set) or [training_set]
    return {name: tokenizer(name, tokens) for name in names}


def tokenizers(study: Study) -> dict[tuple[str, str], list[str]]:
    """(training set, tokens) -> the arms that learn to write so, of every tokenizer that is made;
    of a head of a language the training set of the language alone."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in study.runs():
        tokens = study.arms[run.arm].tokens
        for name in tokenizers_of(study, run.training_set, tokens):
            arms = found.setdefault((name, tokens), [])
            if run.arm not in arms:
                arms.append(run.arm)
    return found


def tokenizer_pools(study: Study, training_set: str) -> list[str]:
    """Pools that a tokenizer is made of."""
    return [pool(lang) for lang in study.training_set(training_set).heard()]


def tokenizer_tests(study: Study, training_set: str) -> dict[str, str]:
    """Test sets whose characters a tokenizer should be able to write."""
    one = study.training_set(training_set)
    found: dict[str, str] = {}
    for lang in one.languages:
        for name, path in guard_manifests(study, lang).items():
            found[TestSet(lang, name).slug(one)] = path
    if one.replay:
        for test in study.test_sets(training_set):
            if test.lang == one.replay.lang:
                found[test.slug(one)] = test_manifest(study, test)
    return found


def unwritable(init: str) -> str:
    """What the tokens of an init that is decoded as it is cannot write."""
    return f"results/unwritable/{init}.json"


def unwritable_tests(study: Study, init: str) -> dict[str, str]:
    """`lang/test set` -> CutSet, of what an init is decoded on as it is."""
    return {
        f"{test.lang}/{test.name}": test_manifest(study, test)
        for test in study.zero_shot_tests(init)
    }


def writers(study: Study) -> dict[str, dict[str, Any]]:
    """File that says what tokens cannot write -> whose tokens they are: `tokens`, `arms`, and
    `training_set`, or `init` of one that is decoded as it is."""
    found: dict[str, dict[str, Any]] = {
        f"{tokenizer(training_set, tokens)}/coverage.json": {
            "training_set": training_set,
            "tokens": tokens,
            "arms": arms,
        }
        for (training_set, tokens), arms in tokenizers(study).items()
    }
    for init in study.zero_shot_inits():
        arms = [study.zero_shot_arm(init)]
        found[unwritable(init)] = {"init": init, "tokens": study.own_tokens(init), "arms": arms}
    return found


def packed(lang: str) -> str:
    """Index of the shards that a language's pool is packed into."""
    return f"results/shar/{lang}/index.npy"


def packed_pools(study: Study, training_set: str, arm: str) -> dict[str, str]:
    """Language -> index of the shards that a run reads; none where it reads files."""
    if slices.recipe_of(study, arm).get("storage") != "shar":
        return {}
    return {lang: packed(lang) for lang in study.training_set(training_set).heard()}


def training_noise(study: Study) -> str | None:
    """Manifest of the recordings that are mixed into training."""
    trained = (study.config["noise"] or {}).get("training")
    return "results/noise/training.jsonl.gz" if trained else None


# ---- models


def init(study: Study, name: str) -> str:
    """The file of a donor."""
    return f"resources/inits/{name}{donor_suffix(study, name)}"


def donor_suffix(study: Study, name: str) -> str:
    """What the file of a donor ends with: its arms' family says so."""
    return study.donor_kind(name).donor_suffix


def donor_is_folder(study: Study, name: str) -> bool:
    """Whether a donor is a whole snapshot of a hub's repository, for its arms' family; what was
    pretrained or packed here is one file."""
    kind, init = study.donor_kind(name), study.config["inits"][name]
    if kind.donor != "snapshot":
        return False
    if "path" in init:
        return not init["path"].endswith(kind.donor_suffix)
    return "hf" in init or "wheels" in init


def pretrained(study: Study, name: str) -> str:
    """The file of an encoder that is pretrained here."""
    return f"resources/pretrained/{name}{donor_suffix(study, name)}"


def donor_files(study: Study, name: str) -> str | list[str]:
    """What a donor on this machine consists of: its file, or the files of its snapshot that are
    read. A folder is no input, because Snakemake compares of a folder the time alone."""
    path = Path(study.source_path(study.config["inits"][name]["path"]))
    if not donor_is_folder(study, name):
        return str(path)
    patterns = study.donor_kind(name).snapshot_files
    return sorted({str(found) for pattern in patterns for found in path.glob(pattern)})


def donor(study: Study, arm: str) -> str:
    """The file that an arm's runs start from."""
    return init(study, study.donor(study.arms[arm].init))


def model(study: Study, run: Run) -> str:
    """The model behind hypotheses: a run's, or the init's own."""
    if run.hours == ZERO_SHOT:
        return init(study, study.arms[run.arm].init)
    return f"results/runs/{run.path}/{study.arms[run.arm].kind.model_file}"


def run_files(study: Study, run: Run) -> list[str]:
    """What a finished run consists of."""
    folder = f"results/runs/{run.path}"
    return [model(study, run), *beside(study, run), f"{folder}/train.csv", f"{folder}/run.json"]


def beside(study: Study, run: Run) -> list[str]:
    """What the adaptation of a run writes beside its model; nothing of a run in rounds, because an
    update is of the model of the round before, and lies beside that of its round."""
    if study.training_set(run.training_set).rounds:
        return []
    return [f"results/runs/{run.path}/{name}" for name in study.arms[run.arm].writes]


def encoder(run: str, precision: str, tier: str) -> str:
    """The quantised encoder of a run; `run` is its path, or the pattern of one."""
    return f"results/runs/{run}/{precision}/{tier}/encoder.onnx"


def quantize_reports(study: Study) -> list[str]:
    """`quantize.json` of every quantised encoder."""
    return [
        f"results/runs/{run.path}/{precision}/{tier.name}/quantize.json"
        for run in study.runs()
        for precision, tier in study.precisions(run)
        if precision != FULL
    ]


def states(init: str, lang: str) -> str:
    """Mean states of an init's encoder, as it is, for the labelled utterances of a language."""
    return f"results/probes/{init}/{lang}.parquet"


# ---- hypotheses


def hypothesis(run: str, precision: str, tier: str, slug: str) -> str:
    """Hypotheses of one decode of one test set; `run` is its path, or the pattern of one."""
    return f"results/hypotheses/{run}/{precision}/{tier}/{slug}.jsonl"


class Crossed(NamedTuple):
    """Hypotheses of one test set by one head, whatever language is spoken in it."""

    run: Run
    precision: str
    tier: str
    head: str
    test: TestSet
    path: str


def cross_hypothesis(run: str, precision: str, tier: str, head: str, slug: str) -> str:
    """Hypotheses of one test set by a head of any language; `run` as of `hypothesis`."""
    return f"results/hypotheses/{run}/{precision}/{tier}/heads/{head}/{slug}.jsonl"


def crossed_tier(study: Study, arm: str) -> str:
    """The tier at which heads of other languages hear: the reference tier, or the arm's last one
    where it has not that."""
    tiers = study.arms[arm].tiers
    asked = study.config["statistics"]["reference_tier"]
    return asked if asked in tiers else tiers[-1]


def crossed(study: Study, lang: str | None = None) -> list[Crossed]:
    """What heads of all languages made of the test sets, or of those in one language: of models as
    trained, at `crossed_tier`."""
    found = []
    for name in study.crossed_sets:
        one = study.training_set(name)
        tests = [test for test in study.crossed_tests(name) if lang in (None, test.lang)]
        for run in study.runs(name):
            tier = crossed_tier(study, run.arm)
            found += [
                Crossed(
                    *(run, FULL, tier, head, test),
                    cross_hypothesis(run.path, FULL, tier, head, test.slug(one)),
                )
                for head in study.crossed_heads(name)
                for test in tests
            ]
    return found


def header(hypotheses: str) -> str:
    """The header beside a hypothesis file, `fleurs.json` of `fleurs.jsonl`."""
    return hypotheses.removesuffix("l")


def candidates(hypotheses: str) -> str:
    """The best tokens of each emission of a decode, beside its hypotheses."""
    return hypotheses.removesuffix(".jsonl") + SUFFIX


def counted_candidates(study: Study) -> list[str]:
    """What the candidates of every language come to; none where no decode keeps any."""
    if not study.config["decoding"]["log_candidates"]:
        return []
    return [f"results/candidates/{lang}.parquet" for lang in study.scored_languages]


def hypotheses(study: Study, lang: str | None = None, *, phones: bool | None = None) -> list[str]:
    """All hypothesis files, or those of the test sets in one language.

    Args:
        phones: only those of phones, or only those of words.
    """
    found = []
    for name in study.decoded_sets:
        one = study.training_set(name)
        slugs = [
            test.slug(one) for test in study.test_sets(name) if lang is None or test.lang == lang
        ]
        if slugs:
            found += [
                hypothesis(run.path, precision, tier.name, slug)
                for run in study.decoded_runs(name)
                if phones is None or phones == (study.tokens_of(run) == IPA)
                for precision, tier in study.precisions(run)
                for slug in slugs
            ]
    return found


def scores(study: Study) -> list[str]:
    """Counts of errors of words, a file for each language that some model writes words of."""
    return [
        f"results/scores/{lang}.parquet"
        for lang in study.scored_languages
        if hypotheses(study, lang, phones=False)
    ]


def phone_scores(study: Study) -> list[str]:
    """The same of phones."""
    return [
        f"results/phone_scores/{lang}.parquet"
        for lang in study.scored_languages
        if hypotheses(study, lang, phones=True)
    ]


def inventory(lang: str) -> str:
    """The phones of a language, counted."""
    return f"results/phones/{lang}.json"


def inventories(study: Study) -> list[str]:
    """Phones of the languages that the study is about and of those that inits were pretrained on;
    none where of no init it is known what these are."""
    heard = {init: study.pretraining_languages(init) for init in study.inits}
    known = [langs for langs in heard.values() if langs is not None]
    if not known:
        return []
    scored = [lang for lang in study.languages if lang in study.scored_languages]
    every = [*scored, *(lang for langs in known for lang in langs)]
    return [inventory(lang) for lang in dict.fromkeys(every)]


def inventory_texts(study: Study, lang: str) -> list[str]:
    """CutSets whose texts say which phones a language has: its pool, or what inits were pretrained
    on here; none where the study has no text of it."""
    if lang in study.pooled_languages:
        return [pool(lang)]
    # Of an init that lies here already its corpora are not made again.
    blocks = [block for block in study.config["inits"].values() if "path" not in block]
    recipes = [block["pretrain"] for block in blocks if "pretrain" in block]
    found = [
        manifest(recipe["corpus"], lang, recipe["split"])
        for recipe in recipes
        if lang in recipe["languages"]
    ]
    return list(dict.fromkeys(found))


def understood(lang: str) -> str:
    """What is understood of a language's hypotheses."""
    return f"results/understanding/{lang}.parquet"
