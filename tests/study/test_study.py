"""The grid that follows from a configuration, and the faults a dry run must stop at."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from warmstart.data.corpora import open_corpus
from warmstart.data.text import normalize
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError
from warmstart.study import checks, notes, paths, slices
from warmstart.study.config import load_config, validate
from warmstart.study.config_faults import PATTERNS
from warmstart.study.grid import Study, TestSet
from warmstart.study.hours import format_hours

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def make(config: dict) -> Study:
    config = copy.deepcopy(config)
    validate(config)
    study = Study(config, ROOT)
    checks.check(study)
    return study


@pytest.fixture
def full() -> dict:
    return load_config(ROOT / "config.yaml")


def test_full_study_has_the_budgets_that_open_speech_reaches(full):
    study = make(full)
    # Only German reaches 2500 h: 5 + 4 + 4 + 3 + 4 + 2 + 2 + 1 budgets, two inits, one seed.
    assert [len(study.budgets(lang)) for lang in study.languages] == [5, 4, 4, 3, 4, 2, 2, 1]
    assert len(study.runs()) == 50
    # de: 10 runs x (4 tiers full + 1 tier int4) x 4 test sets; cs: 2 runs x 5 x 3 test sets.
    assert len(paths.hypotheses(study, "de")) == 10 * 5 * 4
    assert len(paths.hypotheses(study, "cs")) == 2 * 5 * 3


def test_lookahead_counts_the_current_frame():
    assert [Tier("t", 70, right).lookahead_ms for right in (0, 1, 6, 13)] == [80, 160, 560, 1120]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(100, "100"), (2500.0, "2500"), (0.02, "0.02"), (1.5, "1.5"), (0.0001, "0.0001")],
)
def test_budgets_stand_in_paths_without_exponent_or_trailing_zeros(hours, text):
    assert format_hours(hours) == text


def test_scoring_one_more_test_set_leaves_the_leak_guard_alone(full):
    fewer = copy.deepcopy(full)
    fewer["languages"]["de"]["test_sets"] = ["fleurs"]
    assert paths.guard_manifests(make(fewer), "de") == paths.guard_manifests(make(full), "de")


def test_a_language_is_guarded_only_against_test_sets_it_has(full):
    assert list(paths.guard_manifests(make(full), "pt")) == ["fleurs", "mls", "commonvoice"]


def _set(config: dict, path: str, value) -> dict:
    *parents, last = path.split(".")
    node = config
    for part in parents:
        node = node[part]
    node[last] = value
    return config


FAULTS = {
    "unknown key": ("training.warm_up", 3, ["'warm_up'", "training", "allowed keys"]),
    "misspelt key": ("decoding.batchsize", 3, ["'batchsize'", "did you mean 'batch_size'"]),
    "wrong type": ("seeds", ["one"], ["seeds.0", "'one'"]),
    "budget over the pool": (
        "languages.fr.budgets_hours",
        [100, 2500],
        ["fr: 2500 h asked", "h available", "budgets that fit: 100"],
    ),
    "unknown corpus": (
        "languages.de.training_corpora",
        ["mlz"],
        ["'mlz'", "did you mean 'mls'", "voxpopuli"],
    ),
    "corpus without a code": (
        "languages.cs.training_corpora",
        ["mls"],
        ["languages.cs.corpora", "'mls'"],
    ),
    "unknown test set": ("languages.de.test_sets", ["fleur"], ["'fleur'", "did you mean 'fleurs'"]),
    "test set without a code": ("languages.cs.test_sets", ["mls"], ["languages.cs", "'mls'"]),
    "left is no multiple of the chunk": (
        "tiers.320ms",
        {"context": [70, 3]},
        ["tiers.320ms", "[70, 3]", "multiple", "[0, 1, 4, 6, 9, 13"],
    ),
    "context not trained": (
        "tiers.400ms",
        {"context": [70, 4]},
        ["tiers.400ms", "not trained", "training.model.contexts"],
    ),
    "tier named wrongly": ("tiers.500ms", {"context": [70, 6]}, ["560 ms", "call it 560ms"]),
    "offline in name only": (
        "tiers.offline",
        {"context": [70, 13]},
        ["tiers.offline streams", "offline: true"],
    ),
    "offline with less than was trained": (
        "tiers.offline",
        {"context": [70, 6], "offline": True},
        ["no offline tier", "right context", "13"],
    ),
    "unknown tier": ("precisions.int4.tiers", ["80ms"], ["'80ms'", "1120ms"]),
    "noise without recordings": (
        "test_sets.fleurs+noise10db",
        {"corpus": "fleurs", "split": "test", "noise_snr_db": 10},
        ["noise.directory"],
    ),
    "two sources of an init": ("inits.en.path", "x.nemo", ["inits.en", "exactly one"]),
    "unknown init": ("bundle.init", "en2", ["'en2'", "did you mean 'en'"]),
    "Norwegian without quotes": (
        "languages",
        {False: {}},
        ["languages", "False", "put the name in quotes, for Norwegian 'no'"],
    ),
    "name of another form": ("languages.NO", {}, ["'NO'", "two or three lower-case letters"]),
    "number as text": (
        "training.optimizer.lr",
        "1e-4",
        ["training.optimizer.lr", "'1e-4'", "a number", "write 1.0e-4"],
    ),
    "text as number": ("training.precision", 32, ["32", "'bf16-mixed'", "put it in quotes"]),
    "one for a list": ("seeds", 1, ["seeds is 1", "a list", "write [1]"]),
    "neither of two forms": (
        "precisions.int4.tiers",
        "560ms",
        ["'560ms'", "'all' or a list, each text", "write [560ms]"],
    ),
    "setting of a language in a corpus": (
        "languages.de.corpora.mls",
        {"code": "german", "formt": "flac"},
        ["'formt'", "languages.de.corpora.mls", "did you mean 'format'"],
    ),
    "setting of another kind of corpus": (
        "corpora.mls.segments",
        "vad",
        [
            "'segments' at corpora.mls, a corpus of kind mls (kind voxpopuli has it)",
            "allowed keys: format, hours, kind",
        ],
    ),
    "local without a folder": (
        "corpora.mls",
        {"kind": "local", "train_split": "train"},
        ["corpora.mls", "'directory'"],
    ),
    "split that a corpus lacks": (
        "test_sets.mls.split",
        "tst",
        ["test_sets.mls.split", "'tst'", "train, dev, test"],
    ),
    "corpus of validation": (
        "validation.corpus",
        "flers",
        ["validation.corpus", "'flers'", "fleurs"],
    ),
    "a target that is a support language": (
        "support_languages",
        {
            "cs": {
                "name": "Czech",
                "corpora": {"fleurs": "cs_cz"},
                "text": {"alphabet": "abcdefghijklm"},
            }
        },
        ["support_languages.cs is a target", "take one out"],
    ),
    "one language trained on a test set": (
        "languages.es.corpora.commonvoice",
        {"code": "es", "train_split": "test"},
        ["languages.es.corpora.commonvoice.train_split", "'test'", "test set 'commonvoice'"],
    ),
    "trained on a test set": (
        "corpora.mls.train_split",
        "test",
        ["corpora.mls.train_split", "'test'", "test set 'mls'"],
    ),
    "watched on a test set": (
        "validation.split",
        "test",
        ["validation", "test set 'fleurs'", "another split"],
    ),
    "nothing passes the filters": (
        "filters.min_duration_s",
        20,
        ["filters.min_duration_s is 20", "max_duration_s 20"],
    ),
    "language of numbers": (
        "languages.de.text.numbers",
        "xx",
        ["languages.de.text.numbers", "'xx'", "num2words", "de, en"],
    ),
    "a language in which the converter is wrong": (
        "languages.de.text.numbers",
        "te",
        ["languages.de.text.numbers is 'te'", "num2words is wrong: 100 is", "write null"],
    ),
    "numbers in another script": (
        "languages.de.text.numbers",
        "ru",
        ["languages.de.text.numbers is 'ru'", "ноль", "languages.de.text.alphabet lacks"],
    ),
    "a word that is none of the normaliser's": (
        "languages.de.text.words",
        {"Zwo": "zwei"},
        ["languages.de.text.words has 'Zwo'", "here 'zwo'"],
    ),
    "a word that becomes another again": (
        "languages.de.text.words",
        {"zwo": "zwei", "zwei": "zwo"},
        ["languages.de.text.words makes 'zwei' of 'zwo'", "becomes another word again"],
    ),
    "capitals in the alphabet": (
        "languages.de.text.alphabet",
        "abcdefghijKLM",
        ["languages.de.text.alphabet has KLM"],
    ),
    "letters as punctuation": ("languages.de.text.keep", "'x", ["languages.de.text.keep has 'x'"]),
    "a letter that is replaced": (
        "languages.de.text.replace",
        {"ß": "ss"},
        ["languages.de.text.alphabet has ß", "replace"],
    ),
    "two letters replaced": (
        "languages.de.text.replace",
        {"ae": "ä"},
        ["languages.de.text.replace has 'ae'"],
    ),
    "seen by a donor": ("inits.ml.seen", ["flers"], ["inits.ml.seen has 'flers'", "fleurs"]),
    "budget that rounds to nothing": (
        "languages.de.budgets_hours",
        [1e-7],
        ["languages.de.budgets_hours", "1e-07"],
    ),
    "gap of one init": (
        "statistics.challenger",
        "en",
        ["statistics.baseline and challenger", "en, ml"],
    ),
    "no full precision": ("precisions", {"int4": {"scheme": "rtn"}}, ["precisions lacks 'full'"]),
    "full without the reference tier": (
        "precisions.full.tiers",
        ["560ms"],
        ["precisions.full.tiers", "'160ms'"],
    ),
    "bundle that does not stream": (
        "bundle.tier",
        "offline",
        ["bundle.tier", "'offline'", "1120ms, 160ms, 560ms"],
    ),
    "two lengths of a run": (
        "training.steps.epochs",
        2,
        ["training.steps", "either `fixed` or `epochs`"],
    ),
    "buckets out of order": (
        "training.bucket_bins_s",
        [5, 3],
        ["training.bucket_bins_s", "[3, 5]"],
    ),
    "full with a scheme": ("precisions.full.scheme", "rtn", ["precisions.full.scheme", "'rtn'"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_the_config_is_named_with_value_and_remedy(full, fault):
    path, value, expected = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        make(_set(full, path, value))
    for part in expected:
        assert part in str(caught.value)


def test_a_tier_too_short_for_an_export_is_for_full_precision_alone(full):
    """Such an export failed after days of training: with one frame of cache, two cannot be told
    from one."""
    full["training"]["model"] |= {
        "contexts": [[70, 13], [70, 6], [70, 1], [70, 0], [1, 0]],
        "context_probs": [0.2] * 5,
    }
    full["tiers"]["80ms"] = {"context": [1, 0]}
    study = make(full)
    assert ("full", "80ms") in [
        (name, tier.name) for name, tier in study.precisions(study.runs("cs")[0])
    ]
    full["bundle"]["tier"] = "80ms"
    with pytest.raises(UserError, match=r"bundle.tier has '80ms'.* allowed: 1120ms, 160ms, 560ms$"):
        make(full)
    full["bundle"]["tier"] = "560ms"
    full["precisions"]["int4"]["tiers"] = ["560ms", "80ms"]
    with pytest.raises(
        UserError,
        match=r"precisions.int4.tiers: tier 80ms has a left context of 1; .* 2 frames or more",
    ):
        make(full)


def test_the_licence_chain_of_a_bundle_is_whole(full):
    origin = slices.bundle_origin(make(full), "de", "ml")
    assert origin["init"]["licence"] == "OpenMDW-1.1"
    assert origin["corpora"]["mls"] == "CC BY 4.0 (Multilingual LibriSpeech, OpenSLR 94)"
    assert set(origin["corpora"]) == set(full["languages"]["de"]["training_corpora"])
    assert origin["example"] == {"corpus": "fleurs", "licence": "CC BY 4.0 (FLEURS, google/fleurs)"}
    full["languages"]["de"]["corpora"]["mls"] = {"code": "german", "licence": "by contract"}
    full["inits"]["scratch"] = {"name": "From scratch", "scratch": "ml"}
    full["bundle"] = None
    study = make(full)
    assert slices.bundle_origin(study, "de", "scratch")["init"]["random"]
    assert slices.bundle_origin(study, "de", "ml")["corpora"]["mls"] == "by contract"
    # `make bundle` works without a `bundle:`, with the same default.
    assert (
        slices.bundle_origin(study, "de", "ml")["licence"]
        == origin["licence"]
        == "the licence of the init and the terms of the training corpora"
    )


def test_a_headline_on_which_no_language_is_scored_is_refused(full):
    full["test_sets"]["dev"] = {"corpus": "mls", "split": "dev"}
    full["statistics"]["headline_test_set"] = "dev"
    with pytest.raises(
        UserError,
        match=r"headline_test_set is 'dev', .* take one of fleurs, mls, voxpopuli, commonvoice, or",
    ):
        make(full)


def test_every_form_of_a_name_is_said_in_words():
    def patterns(node) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(patterns, node))
        if not isinstance(node, dict):
            return set()
        own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
        return own.union(*map(patterns, node.values()))

    assert patterns(load_config(SCHEMA)) == set(PATTERNS)


def test_an_init_pretrained_on_a_target_language_is_refused():
    demo = load_config(ROOT / "demo.yaml")
    demo["inits"]["ml"]["pretrain"]["languages"] = ["en", "it"]
    with pytest.raises(UserError, match="'it', a target language"):
        make(demo)


def test_a_language_without_a_block_is_named():
    demo = load_config(ROOT / "demo.yaml")
    demo["inits"]["ml"]["pretrain"]["languages"] = ["en", "sv"]
    with pytest.raises(UserError, match=r"'sv' has no block.*languages:"):
        make(demo)


def test_the_real_pool_decides_over_the_statistics(full, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "results/pools/fr.qc.json"
    report.parent.mkdir(parents=True)
    corpora = {"mls": {}, "voxpopuli": {}, "commonvoice": {}}
    made = slices.pool(make(full), "fr")
    report.write_text(json.dumps({"total": {"hours": 812.5}, "corpora": corpora, **made}))
    with pytest.raises(
        UserError, match=r"fr: 1000 h asked, 812.5 h available .*budgets that fit: 100, 250, 500"
    ):
        make(full)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_pools_report_that_a_crash_has_cut_is_put_aside(
    full, tmp_path, monkeypatch, caplog, share
):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "results/pools/fr.qc.json"
    report.parent.mkdir(parents=True)
    text = json.dumps({"total": {"hours": 812.5}, "corpora": {}})
    report.write_text(text[: int(share * len(text))])
    make(full)  # with the publishers' hours, as on a fresh clone
    assert "results/pools/fr.qc.json: damaged (" in caplog.text
    assert "the pool is made again" in caplog.text
    assert not report.exists()
    assert report.with_name("fr.qc.json.damaged").exists()


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_every_key_of_the_shipped_configs_is_in_the_schema(name):
    make(load_config(ROOT / name))


def test_what_the_dag_imports_needs_no_gpu_stack():
    program = (
        "import sys; sys.path.insert(0, 'workflow/scripts')\n"
        "from warmstart.study import grid; from warmstart.data import text\n"
        "heavy = {'torch', 'nemo', 'pandas', 'numpy', 'lhotse', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_defaults_are_not_shared_between_blocks():
    config = load_config(ROOT / "config.yaml")
    validate(config)
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    assert schema["$defs"]["init"]["properties"]["seen"]["default"] == []
    config["languages"]["de"]["text"]["examples"].append(1)
    assert config["languages"]["fr"]["text"]["examples"][-1] != 1


def test_a_pool_of_other_corpora_is_not_believed(full, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "results/pools/fr.qc.json"
    report.parent.mkdir(parents=True)
    report.write_text('{"total": {"hours": 211}, "corpora": {"voxpopuli": {}}}')
    make(full)


@pytest.mark.parametrize(
    ("edit", "believed"),
    [
        (("filters.max_duration_s", 30), False),
        (("filters.guard", ["sentence"]), False),
        (("languages.fr.text.alphabet", "abcdefghijklmnopqrstuvwxyzàâçèéê"), False),
        (("filters.max_drop_fraction", 0.4), True),  # changes nothing in a pool
        (("languages.fr.text.examples", []), True),
        (("corpora.mls.speakers_of", "librivox"), False),
    ],
)
def test_a_pool_of_other_filters_or_letters_is_not_believed(
    full, tmp_path, monkeypatch, edit, believed
):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "results/pools/fr.qc.json"
    report.parent.mkdir(parents=True)
    settings = slices.pool(make(full), "fr")
    settings["filters"]["max_drop_fraction"] = 0.25
    corpora = {"mls": {}, "voxpopuli": {}, "commonvoice": {}}
    report.write_text(json.dumps({"total": {"hours": 211}, "corpora": corpora, **settings}))
    _set(full, *edit)
    if believed:
        with pytest.raises(
            UserError,
            match=r"1000 h asked, 211 h available \(as results/pools/fr.qc.json counts them",
        ):
            make(full)
    else:
        make(full)


def test_replay_of_more_than_there_is_stops_the_dry_run(full):
    full["support_languages"] = {
        "sl": {
            "name": "Slovene",
            "corpora": {"voxpopuli": "sl", "fleurs": "sl_si"},
            "training_corpora": ["voxpopuli"],
            "test_sets": ["fleurs"],
            "text": {"alphabet": "abcčdefghijklmnoprsštuvzž"},
        }
    }
    full["training"]["replay"] = {"lang": "sl", "fraction": 0.003}
    make(full)  # 7.5 h of 10 beside 2500
    full["training"]["replay"]["fraction"] = 0.004
    # 0.004 / 0.996 * 2500 h; 10 h are 10 / 2510 of the audio.
    with pytest.raises(
        UserError, match=r"10.04 h of sl beside 2500 h of de, 10 h available .*at most 0.00398"
    ):
        make(full)


def test_a_point_is_the_decimal_mark_of_english_numbers_only(full):
    block = {
        "name": "English",
        "corpora": {"mls": "english"},
        "text": {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "en"},
    }
    full["support_languages"] = {
        "en": block,
        "ga": {**block, "text": {**block["text"], "decimal": ","}},
    }
    study = make(full)
    text = "1,500 of 2.5"
    assert normalize(text, study.text("en")) == "one thousand five hundred of two point five"
    assert normalize(text, study.text("ga")) == "one point five of two five"
    assert normalize(text, study.text("de")) == "eins komma fünf of zwei fünf"


def test_a_thousand_is_no_fraction_where_the_language_writes_a_point(full):
    text = {"alphabet": "一二三四五六七八九十百千万円", "numbers": "ja"}
    full["support_languages"] = {"ja": {"name": "Japanese", "corpora": {}, "text": text}}
    full["support_languages"]["ja"]["corpora"] = {"fleurs": "ja_jp"}
    assert normalize("1,000円", make(full).text("ja")) == "千円"


def test_a_language_without_spaces_is_told_of_once(full):
    assert notes.without_spaces(make(full)) == []
    assert "unspaced" not in slices.display(make(full))
    text = full["languages"]["de"]["text"]
    text.update(alphabet="今日は年です一二三四五六七八九零", numbers="ja", examples=[])
    (note,) = notes.without_spaces(make(full))
    assert note.startswith("languages.de: German is written without spaces")
    assert "each character counts as a word" in note
    assert "text.segment: spaces" in note
    assert slices.display(make(full))["unspaced"] == ["de"]
    text["segment"] = "characters"
    assert notes.without_spaces(make(full)) == []
    assert slices.display(make(full))["unspaced"] == ["de"]
    text["segment"] = "spaces"
    assert notes.without_spaces(make(full)) == []
    assert "unspaced" not in slices.display(make(full))


def test_a_language_may_train_on_a_split_of_its_own(full):
    full["languages"]["es"]["corpora"]["commonvoice"] = {"code": "es", "train_split": "train"}
    full["languages"]["es"]["budgets_hours"] = [1600]
    # 918 + 166 + 486 h, where the `validated` of the other languages has 593.
    with pytest.raises(UserError, match=r"es: 1600 h asked, 1569 h available"):
        make(full)
    full["languages"]["es"]["budgets_hours"] = [1500]
    study = make(full)
    assert (
        paths.training_manifests(study, "es")["commonvoice"]
        == "results/manifests/commonvoice/es/train.jsonl.gz"
    )
    assert (
        paths.training_manifests(study, "de")["commonvoice"]
        == "results/manifests/commonvoice/de/validated.jsonl.gz"
    )


def test_a_folder_may_be_named_after_the_corpus_code(full):
    full["corpora"]["own"] = {
        "kind": "local",
        "train_split": "train",
        "directory": "/data/{lang}/{code}",
    }
    full["languages"]["de"]["corpora"]["own"] = "de-AT"
    settings = slices.corpus(make(full), "own", "de")
    assert open_corpus("own", "de", settings).folder(ROOT) == Path("/data/de/de-AT")


def test_a_noisy_test_set_is_a_manifest_of_its_own_and_guards_nothing(full):
    full["noise"] = {"directory": "/data/musan/noise"}
    full["test_sets"]["fleurs+noise10db"] = {
        "corpus": "fleurs",
        "split": "test",
        "noise_snr_db": 10,
    }
    study = make(full)
    assert (
        paths.test_manifest(study, TestSet("de", "fleurs+noise10db"))
        == "results/manifests/fleurs/de/test+noise10db.jsonl.gz"
    )
    assert "fleurs+noise10db" not in paths.guard_manifests(study, "de")
    assert paths.used_splits(study, "fleurs", "de") == ["test", "dev"]


def test_a_digest_pinned_later_is_compared_with_the_file_that_is_here(full, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full["inits"]["en"]["hf"]["sha256"] = "a" * 64
    study = make(full)
    checks.inits.check_digests(study)  # nothing fetched yet: the download compares
    here = tmp_path / "resources/inits/en.json"
    here.parent.mkdir(parents=True)
    here.write_text(f'{{"sha256": "{"a" * 64}"}}')
    checks.inits.check_digests(study)
    here.write_text('{"sha256": "aaa')
    checks.inits.check_digests(study)  # cut by a crash: put aside, with a warning
    assert here.with_name("en.json.damaged").exists()
    here.write_text(f'{{"sha256": "{"b" * 64}"}}')
    with pytest.raises(
        UserError,
        match=r"inits\.en: sha256 is a{64}, but resources/inits/en\.nemo has b{64}; correct",
    ):
        checks.inits.check_digests(study)
    # Pinning is no part of what is fetched, so it makes nothing stale.
    assert slices.init_source(study, "en") == {
        key: full["inits"]["en"]["hf"][key] for key in ("repo", "revision", "file")
    }


def test_two_releases_of_a_publisher_have_the_same_speakers(full):
    assert (
        slices.speakers_of(make(full), "fr") == {}
    )  # every corpus numbers its own people: no setting that would make pools stale
    full["corpora"]["commonvoice17"] = {
        **full["corpora"]["commonvoice"],
        "release": "cv-corpus-17.0-2024-03-15",
    }
    full["corpora"]["librispeech"] = {
        "kind": "local",
        "train_split": "train",
        "directory": "libri",
        "speakers_of": "mls",
    }
    full["corpora"]["own"] = {"kind": "local", "train_split": "train", "directory": "own"}
    full["languages"]["fr"]["corpora"] |= {"commonvoice17": "fr", "librispeech": "fr", "own": "fr"}
    study = make(full)
    assert slices.speakers_of(study, "fr") == {"commonvoice17": "commonvoice", "librispeech": "mls"}
    assert slices.pool(study, "fr")["speakers_of"] == slices.speakers_of(study, "fr")
    assert "speakers_of" not in slices.corpus(
        study, "librispeech", "fr"
    )  # manifests do not depend on it
    assert slices.speakers_of(study, "de") == {}


def test_settings_of_a_corpus_are_those_of_one_language(full):
    full["corpora"]["commonvoice"]["dataset_ids"] = {"de": "d1", "sv-SE": "d2"}
    full["corpora"]["studio"] = {
        "kind": "local",
        "train_split": "train",
        "directory": "/data/{lang}/{code}",
        "hours": {"de": 3},
    }
    full["languages"]["de"]["corpora"]["studio"] = {
        "code": "de-DE",
        "block": "sentence",
        "max_drop_fraction": 0.5,
    }
    study = make(full)
    assert slices.corpus(study, "commonvoice", "de")["dataset_ids"] == {"de": "d1"}
    assert slices.corpus(study, "studio", "de") == {
        "kind": "local",
        "source": None,
        "directory": "/data/de/de-DE",
        "code": "de-DE",
        "block": "sentence",
    }
    assert slices.manifest_limit(study, "studio", "de") == 0.5


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda c: c["corpora"]["mls"].update(source="https://me:cAnArY@host/mls"), "corpora.mls"),
        (lambda c: c["corpora"]["mls"].update(source="https://h/x?sig=cAnArY"), "corpora.mls"),
        (lambda c: c["study"].update(title="a study with hf_cAnArYcAnArYcAnArY"), "study.title"),
        (lambda c: c["study"].update(title="the token of-the-environment"), "study.title"),
    ],
)
def test_credentials_in_a_configuration_are_refused_and_not_repeated(
    full, monkeypatch, change, key
):
    monkeypatch.setenv("MDC_API_KEY", "of-the-environment")
    change(full)
    with pytest.raises(UserError, match=rf"^{key}.* holds .*netrc") as found:
        make(full)
    assert "cAnArY" not in str(found.value)
    assert "of-the-environment" not in str(found.value)
