"""What each stage needs of the configuration, and nothing else: a changed slice makes its stage
stale, so a key that a stage does not use must not be in its slice."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from warmstart import adaptation, models
from warmstart.data.corpora import Corpus, open_corpus
from warmstart.data.targets import BPE, IPA
from warmstart.data.text import counts_characters
from warmstart.data.wheels import described
from warmstart.evidence.settings import Contrast
from warmstart.evidence.tiers import by_latency
from warmstart.models.recipe import Recipe
from warmstart.study import compared_rounds, consistency, experts, recipe, stages
from warmstart.study.config import merged, schema
from warmstart.study.grid import FULL, OWN_TOKENS, ZERO_SHOT, Arm, Study

# ---- data


def corpus_block(study: Study, corpus: str, lang: str) -> dict[str, Any]:
    """Block of a corpus with what the language says of its own in it."""
    settings = consistency.corpus_block(
        study.config, corpus, lang, study.language(lang)["corpora"][corpus]
    )
    if "directory" in settings:
        settings["directory"] = study.source_path(
            settings["directory"].replace("{lang}", lang).replace("{code}", settings["code"])
        )
    if settings.get("source"):
        settings["source"] = study.source(settings["source"])
    if "statistics" in settings:
        settings["statistics"] = study.source(settings["statistics"])
    if "manifests" in settings:
        settings["manifests"] = [study.source_path(path) for path in settings["manifests"]]
    return settings


def reader(study: Study, corpus: str, lang: str) -> Corpus:
    """The reader of a corpus in a language: what it says of itself needs no data."""
    return open_corpus(corpus, lang, corpus_block(study, corpus, lang))


def corpus(study: Study, corpus: str, lang: str) -> dict[str, Any]:
    """Block of a corpus plus the language's own code in it; without what changes neither download
    nor manifests."""
    return reader(study, corpus, lang).data_settings()


def manifest_limit(study: Study, corpus: str, lang: str) -> float | None:
    """Share of unusable recordings that stops a manifest; None = the program's own."""
    return corpus_block(study, corpus, lang).get("max_drop_fraction")


def pool(study: Study, lang: str) -> dict[str, Any]:
    """What `build_pool.py` needs; without the share of dropped cuts that stops it, which changes
    nothing in a pool."""
    filters = {
        key: value for key, value in study.config["filters"].items() if key != "max_drop_fraction"
    }
    settings = {"text": study.text(lang), "filters": filters}
    if named := speakers_of(study, lang):
        settings["speakers_of"] = named
    return settings


def speakers_of(study: Study, lang: str) -> dict[str, str]:
    """corpus -> whose speaker ids a language's recordings of it have, for corpora that do not
    number their own people.

    Two releases of Common Voice, say: a client id is the publisher's, in all of them.
    """
    named = {
        corpus: reader(study, corpus, lang).speakers for corpus in study.language(lang)["corpora"]
    }
    return {corpus: name for corpus, name in named.items() if name != corpus}


def licences(study: Study, lang: str) -> dict[str, str | None]:
    """Licences of the corpora that feed a language's pool."""
    return {
        corpus: reader(study, corpus, lang).licence()
        for corpus in study.language(lang)["training_corpora"]
    }


# ---- models


def tokenizer(study: Study, training_set: str, tokens: str = BPE) -> dict[str, Any]:
    """What `train_tokenizer.py` needs; what is replayed must be writable too."""
    one = study.training_set(training_set)
    chosen = study.config["tokenizer"]
    settings = {"text": _texts(study, one.heard(), tokens), "tokens": tokens}
    if tokens == BPE:
        settings |= {key: chosen[key] for key in ("vocab_size", "character_coverage")}
    if len(one.languages) > 1:
        settings["languages"] = dict(one.languages)
    if one.replay:
        settings["replay"] = vars(one.replay)
    if one.labels:
        settings["labels"] = _labels(study, training_set)
    return settings


def labels(study: Study, training_set: str, lang: str) -> dict[str, Any]:
    """What `corrupt_labels.py` needs."""
    return {"text": study.text(lang), "labels": _labels(study, training_set)}


def _labels(study: Study, training_set: str) -> dict[str, Any]:
    """How texts are made wrong; test sentences stay out where they stay out of the pool."""
    return {
        **vars(study.training_set(training_set).labels),
        "guard": "sentence" in study.config["filters"]["guard"],
    }


def recipe_of(study: Study, arm: str) -> Recipe:
    """The block `training` as it holds for an arm, its adaptation resolved."""
    training = {
        key: value for key, value in study.config["training"].items() if key not in stages.RESOLVED
    }
    own = merged(training, study.arms[arm].training)
    own |= _own_steps(study.arms[arm])
    return cast(Recipe, {**own, "adaptation": dict(study.arms[arm].adaptation)})


def _own_steps(arm: Arm) -> dict[str, Any]:
    """Steps that an arm's adaptation has in place of the recipe's."""
    option = adaptation.kind_of(arm.adaptation["kind"]).own_steps
    return {"steps": {"fixed": arm.adaptation[option]}} if option else {}


def _beside(arm: Arm) -> dict[str, Any]:
    """What of the recipe an arm has its own beside its block `training`."""
    return {**_own_steps(arm), **({"distil": dict(arm.distil)} if arm.distil else {})}


def training(study: Study, arm: str) -> dict[str, Any]:
    """What `train.py` needs of the recipe, without its pace."""
    settings = recipe.of_model(recipe_of(study, arm))
    if (tokens := study.arms[arm].tokens) not in (BPE, OWN_TOKENS):
        settings = {**settings, "tokens": tokens}
    if (teachers := study.arms[arm].distil) is not None:
        settings = {**settings, "distil": dict(teachers)}
    if settings["batch_profile"] is True:
        settings = {**settings, "batch_profile": batch_profiles(study, arm)}
    if (study.config["noise"] or {}).get("training") is None:
        return settings
    how = {key: study.config["noise"]["training"][key] for key in ("snr_db", "probability")}
    return {**settings, "noise": {"manifest": "results/noise/training.jsonl.gz", **how}}


def batch_profiles(study: Study, arm: str) -> str:
    """Folder of the profiles of batches that an arm is trained with, one a training set: those of
    its first peer, because arms that are compared hear their data in one order."""
    return f"results/profiles/{study.peers(arm)[0]}"


def pace(study: Study, arm: str) -> dict[str, Any]:
    """What `train.py` needs beside it; no model changes with it."""
    return recipe.pace(recipe_of(study, arm))


def texts(study: Study, training_set: str, tokens: str = BPE) -> dict[str, Any]:
    """Language -> its normaliser, of a training set. Where phones are learnt, with the voice that
    reads them, and of what is replayed too."""
    one = study.training_set(training_set)
    return _texts(study, one.heard() if tokens == IPA else one.languages, tokens)


def _texts(study: Study, langs: Iterable[str], tokens: str) -> dict[str, Any]:
    found = {lang: study.text(lang) for lang in langs}
    if tokens == IPA:
        for lang, text in found.items():
            text["espeak_voice"] = study.voice(lang)
    return found


def pretraining(study: Study, init: str) -> dict[str, Any]:
    """Recipe of one init's pretraining, with the architecture that all inits share."""
    chosen = study.config["inits"][init]["pretrain"]
    text = _texts(study, chosen["languages"], chosen.get("tokens", BPE))
    made = {**chosen, "model": study.config["training"]["model"], "text": text}
    family = study.donor_kind(init).pretrains
    return made if family == models.DEFAULT_PRETRAINING else {**made, "family": family}


def written(study: Study, init: str) -> dict[str, Any]:
    """Language -> its normaliser, of the test sets that an init is decoded on as it is."""
    langs = [test.lang for test in study.zero_shot_tests(init)]
    return _texts(study, dict.fromkeys(langs), study.own_tokens(init))


def init_source(study: Study, init: str) -> dict[str, Any]:
    """Where `download_init.py` finds an init on the hub.

    Not its digest: who pins what is there must not train again.
    """
    hub = study.config["inits"][init].get("hf", {})
    return {key: value for key, value in hub.items() if key != "sha256"}


def init_wheels(study: Study, init: str) -> dict[str, Any]:
    """The wheels that carry an init, and what is made of them; empty of another source.

    With their digests: they are no pin that may come later, and who changes one wants another
    donor.
    """
    return study.config["inits"][init].get("wheels", {})


def init_origin(settings: Mapping[str, Any]) -> str | None:
    """Where a block of `inits` says that it comes from, for people."""
    if "wheels" in settings:
        return described(settings["wheels"]["packages"])
    return settings.get("hf", {}).get("repo", settings.get("path"))


def init_digest(study: Study, init: str) -> str | None:
    """The digest that an init's file must have, if one is pinned."""
    settings = study.config["inits"][init]
    return settings.get("hf", settings).get("sha256")


def digest_of(record: dict[str, Any]) -> str | None:
    """What the record beside a donor says that a pinned digest is compared with: of a snapshot that
    of its files, because how they are packed is ours."""
    return record.get("snapshot_sha256", record.get("sha256"))


# ---- decoding


def quantization(study: Study, precision: str) -> dict[str, Any]:
    """What `quantize.py` needs of a precision; where it is used is not part of what it makes."""
    return {
        key: value
        for key, value in study.config["precisions"][precision].items()
        if key not in ("tiers", "budgets")
    }


def only_in_onnxruntime(study: Study, precision: str) -> bool:
    """Whether a precision is something that PyTorch does not compute: int8 activations, or the
    export itself."""
    settings = study.config["precisions"][precision]
    return settings["scheme"] == "fp32" or settings["accuracy_level"] > 0


def decoding(study: Study, precision: str) -> dict[str, Any]:
    """What `decode.py` needs to know; what only ONNX Runtime computes is decoded on the CPU."""
    on_cpu = {"device": "cpu"} if only_in_onnxruntime(study, precision) else {}
    return {**study.config["decoding"], **on_cpu}


def gpus(study: Study, stage: str) -> int:
    """GPUs of a `train` or `decode` job."""
    return study.config["resources"][f"{stage}_gpus"]


def decode_gpus(study: Study, precision: str) -> int:
    """GPUs of a decode job."""
    return 0 if only_in_onnxruntime(study, precision) else gpus(study, "decode")


def zero_shot_prompt(study: Study, lang: str, init: str) -> str | None:
    """What tells a model with prompts which language it hears."""
    chosen = study.config["inits"][init]["zero_shot"] or {}
    return (chosen.get("prompts") or {}).get(lang)


# ---- evidence


def scoring(study: Study, lang: str) -> dict[str, Any]:
    """What `score.py` counts with."""
    return {"text": study.text(lang), **study.config["scoring"]}


def counting(study: Study, lang: str) -> dict[str, Any]:
    """What `count_candidates.py` counts with: whose references are phones too."""
    found: dict[str, set[str]] = {"arms": set(), "zero_shot": set()}
    for name in study.decoded_sets:
        for run in study.decoded_runs(name):
            if study.tokens_of(run) == IPA:
                found["zero_shot" if run.hours == ZERO_SHOT else "arms"].add(run.arm)
    if not any(found.values()):
        return scoring(study, lang)
    spoken = {key: sorted(arms) for key, arms in found.items()}
    return {**scoring(study, lang), "phones": {"voice": study.voice(lang), **spoken}}


def test_sets(study: Study) -> dict[str, list[str]]:
    """Language -> its test sets, in the order of its block, of the languages that are scored."""
    return {
        lang: list(study.language(lang).get("test_sets", [])) for lang in study.scored_languages
    }


def tiers(study: Study) -> list[str]:
    """Names of the tiers, from the quickest to the slowest."""
    waits = {
        name: None if tier.offline else float(tier.lookahead_ms)
        for name, tier in study.tiers.items()
    }
    return by_latency(study.tiers, waits)


def statistics(study: Study) -> dict[str, Any]:
    """What `aggregate.py` needs; the bare export is a second baseline of quantised encoders."""
    settings = {
        key: value
        for key, value in study.config["statistics"].items()
        if key not in ("baseline", "challenger")
    }
    settings["contrasts"] = _contrasts(study.word_contrasts)
    if study.phone_contrasts:
        settings["phone_contrasts"] = _contrasts(study.phone_contrasts)
    heard = {name: study.pretraining_languages(arm.init) for name, arm in study.arms.items()}
    settings["heard"] = {
        name: None if langs is None else list(langs) for name, langs in heard.items()
    }
    settings["targets"] = {name: _targets(study, name) for name in study.decoded_sets}
    settings["test_sets"] = test_sets(study)
    settings["tiers"] = tiers(study)
    settings |= _unspaced(unspaced(study))
    if made := experts.compared(study):
        settings["experts"] = made
    if rounds := compared_rounds.of(study):
        settings["rounds"] = rounds
    if shared := shared_sentences(study):
        settings["shared_sentences"] = shared
    if dirty := _dirty(study):
        settings["dirty"] = dirty
    if study.retained_languages:
        settings["retention"] = _retention(study)
    exports = [
        name
        for name, wanted in study.config["precisions"].items()
        if wanted.get("scheme") == "fp32"
    ]
    return {**settings, "exports": exports} if exports else settings


def _targets(study: Study, training_set: str) -> list[str]:
    """Languages that a training set is for; of one that only says what donors know of a support
    language none, because the question of the study is not about it."""
    trained = training_set in study.training_sets or training_set in study.languages
    return list(study.training_set(training_set).languages) if trained else []


def _retention(study: Study) -> dict[str, Any]:
    """What donors knew before, and what models are compared with that hear or learn otherwise."""
    sets = study.training_sets
    return {
        "languages": study.retained_languages,
        "joint": study.config["retention"]["joint"],
        "replay": {name: one.replay.fraction if one.replay else 0.0 for name, one in sets.items()},
        "plain": {name: study.plain_set(name) for name in sets},
        "donors": {name: study.zero_shot_arm(arm.init) for name, arm in study.arms.items()},
        "full": {name: study.fully_tuned(name) for name in study.arms},
    }


def _dirty(study: Study) -> dict[str, Any]:
    """Training set with dirty labels -> the clean one that it is compared with, and what was done
    to its texts."""
    return {
        name: {"clean": study.clean_set(name), **vars(one.labels)}
        for name, one in study.training_sets.items()
        if one.labels is not None
    }


def _contrasts(contrasts: Mapping[str, Contrast]) -> dict[str, Any]:
    return {
        name: {"baseline": one.baseline, "challenger": one.challenger}
        for name, one in contrasts.items()
    }


def phones(study: Study, lang: str) -> dict[str, Any]:
    """What `score_phones.py` and `list_phones.py` read a language with; of one without a block its
    code is all that is known."""
    blocks = (study.config["languages"], study.config["support_languages"])
    if not any(lang in section for section in blocks):
        return {}
    return {"text": study.text(lang), "espeak_voice": study.voice(lang)}


def shared_sentences(study: Study) -> dict[str, list[str]]:
    """Test set -> the languages that have the same sentences in it, of sets that several have."""
    found: dict[str, list[str]] = {}
    for lang, names in test_sets(study).items():
        for name in names:
            if reader(study, study.config["test_sets"][name]["corpus"], lang).shares_sentences():
                found.setdefault(name, []).append(lang)
    return {name: langs for name, langs in found.items() if len(langs) > 1}


def unspaced(study: Study) -> list[str]:
    """Languages in which each character counts as a word, because nothing separates their words."""
    texts = {lang: study.language(lang)["text"] for lang in study.scored_languages}
    return [lang for lang, text in texts.items() if counts_characters(text)]


def _unspaced(langs: list[str]) -> dict[str, list[str]]:
    """A key of settings; where there are none they stay as they were, and nothing is stale."""
    return {"unspaced": langs} if langs else {}


def display(study: Study) -> dict[str, Any]:
    """What figures and page say of the study without having computed it."""
    inits = study.config["inits"]
    return {
        "study": study.config["study"],
        "statistics": study.config["statistics"],
        "contrasts": {
            name: {
                "baseline": one.baseline,
                "challenger": one.challenger,
                "may_differ": list(one.may_differ),
            }
            for name, one in study.word_contrasts.items()
        },
        **({"phone_contrasts": _contrasts(study.phone_contrasts)} if study.phone_contrasts else {}),
        # Of all that are read or scored; those that the study is about, as far as it asks them.
        "languages": {
            lang: study.language(lang)["name"]
            for lang in dict.fromkeys([*study.pooled_languages, *study.scored_languages])
        },
        "targets": [lang for lang in study.languages if lang in study.scored_languages],
        "training_sets": {
            name: {
                "name": study.training_set(name).label,
                "languages": {
                    lang: study.training_set(name).languages[lang] for lang in _targets(study, name)
                },
            }
            for name in study.decoded_sets
        },
        "arms": {
            name: {
                "name": arm.label,
                "init": arm.init,
                "init_name": inits[arm.init]["name"],
                "family": arm.family,
                "adaptation": dict(arm.adaptation),
                "training": {**arm.training, **_beside(arm)},
                # As it was where nobody chose, or every figure were stale.
                **({} if arm.tokens in (BPE, OWN_TOKENS) else {"tokens": arm.tokens}),
                "licence": inits[arm.init].get("licence"),
                "seen": inits[arm.init]["seen"],
            }
            for name, arm in study.arms.items()
        },
        "tiers": {
            name: {**study.tiers[name].as_json(), "lookahead_ms": study.tiers[name].lookahead_ms}
            for name in tiers(study)
        },
        "test_sets": {
            name: {"title": _test_set(study, name)["title"]} for name in study.config["test_sets"]
        },
        **_unspaced(unspaced(study)),
        "test_sets_of": test_sets(study),
        "precisions": {
            name: _precision(name, block)
            for name, block in study.config["precisions"].items()
            if name != FULL
        },
    }


def page(study: Study) -> dict[str, Any]:
    """What the page says beside that: who speaks in test sets, licences, and its own block. No
    figure follows these."""
    return {
        **display(study),
        "test_sets": {name: _test_set(study, name) for name in study.config["test_sets"]},
        "licences": {lang: licences(study, lang) for lang in study.pooled_languages},
        "report": study.config["report"],
    }


def _precision(name: str, block: dict[str, Any]) -> str:
    """Name of a precision for readers."""
    if block["scheme"] == "fp32":
        return f"{name} (unquantised export)"
    bits = f"{block['bits']}-bit"
    return bits if name == f"int{block['bits']}" else f"{bits} ({name})"


def _test_set(study: Study, name: str) -> dict[str, Any]:
    """What the page says of a test set: its name, who speaks, and its recordings by language."""
    block = study.config["test_sets"][name]
    corpus, split = block["corpus"], block["split"]
    readers = {
        lang: reader(study, corpus, lang)
        for lang in study.scored_languages
        if corpus in study.language(lang)["corpora"]
    }
    first = next(iter(readers.values()), None)
    title = block.get("name")
    if not title and first is not None and name == corpus:
        title = first.TITLE
    described = block.get("description") or (first.SPOKEN_BY if first is not None else "")
    if "noise_snr_db" in block:
        noise = f"noise is mixed under them, {block['noise_snr_db']} dB below the speech"
        described = f"{described.rstrip('.')}; {noise}" if described else noise.capitalize()
    caution = first.CAUTION if first is not None else ""
    return {
        "title": title or "",
        "description": described,
        **({"caution": caution} if caution else {}),
        "recordings": {
            lang: {
                "corpus": corpus,
                "split": split,
                "licence": one.licence(),
                "passed_on": one.may_be_passed_on(),
                "unit": one.block_unit(),
            }
            for lang, one in readers.items()
        },
    }


def bundle(study: Study, training_set: str) -> dict[str, Any]:
    """What `describe_bundle.py` scores with: normalisers, and how intervals are made."""
    langs = {test.lang for test in study.test_sets(training_set)}
    wanted = ("replicates", "confidence", "seed")
    return {
        "text": {lang: study.text(lang) for lang in sorted(langs)},
        **{key: study.config["statistics"][key] for key in wanted},
        "force": bundle_forced(study),
        **_unspaced([lang for lang in unspaced(study) if lang in langs]),
    }


def bundle_forced(study: Study) -> bool:
    """Whether a model that recognises nothing becomes a bundle all the same."""
    return bool((study.config["bundle"] or {}).get("force"))


def bundle_options(study: Study, training_set: str) -> list[str]:
    """What `build_bundle.py` is told of how to judge a model."""
    languages = study.training_set(training_set).languages
    return [
        *(["--force"] if bundle_forced(study) else []),
        *(["--unspaced"] if any(lang in unspaced(study) for lang in languages) else []),
    ]


def bundle_origin(study: Study, training_set: str, arm: str) -> dict[str, Any]:
    """The licence chain of a bundle."""
    one, init = study.training_set(training_set), study.arms[arm].init
    donor = study.config["inits"][study.donor(init)]
    wanted = study.config["bundle"] or {}
    # `make bundle` makes one of a study without a `bundle:` too, whose defaults nobody has filled.
    properties = schema()["properties"]["bundle"]["properties"]
    example = study.test_sets(training_set)[0]
    first = study.config["test_sets"][example.name]["corpus"]
    alone = len(one.heard()) == 1
    return {
        "licence": wanted.get("licence", properties["licence"]["default"]),
        "init": {
            "name": donor["name"],
            "licence": donor.get("licence"),
            "source": init_origin(donor),
            "random": study.donor(init) != init,
        },
        "corpora": {
            corpus if alone or lang == training_set else f"{corpus} ({lang})": licence
            for lang in one.heard()
            for corpus, licence in licences(study, lang).items()
        },
        "example": {
            "corpus": first,
            "licence": reader(study, first, example.lang).licence(),
        },
    }
