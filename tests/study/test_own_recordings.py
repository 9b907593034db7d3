"""A language with own recordings joins any study, and what is not there is told in the dry run."""

import copy
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from warmstart.run.errors import UserError
from warmstart.study import checks, paths, slices
from warmstart.study.config import load_config, validate
from warmstart.study.grid import Study


def rows(**splits: int) -> str:
    """A table with so many rows of each split."""
    lines = ["path\ttext\tspeaker\tsplit"]
    for split, count in splits.items():
        lines += [f"anna/{split}{number}.flac\thej\tanna\t{split}" for number in range(count)]
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """A folder without results: that of the tests may hold those of a study."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def config(tmp_path) -> dict:
    """The full study with German, and Sorbian of somebody's own recordings only."""
    made = load_config(ROOT / "config.yaml")
    made["languages"] = {
        "de": {**made["languages"]["de"], "budgets_hours": [100]},
        "hsb": {
            "name": "Upper Sorbian",
            "corpora": {"own": "hsb"},
            "training_corpora": ["own"],
            "test_sets": ["own"],
            "validation": {"corpus": "own", "split": "dev"},
            "budgets_hours": [1],
            "text": {"alphabet": "abcčćdeěfghijklłmnńoóprřsštuvwyzžź"},
        },
    }
    made["corpora"]["own"] = {
        "kind": "local",
        "train_split": "train",
        "directory": f"{tmp_path}/recordings/{{lang}}",
    }
    made["test_sets"]["own"] = {"corpus": "own", "split": "test"}
    folder = tmp_path / "recordings" / "hsb"
    folder.mkdir(parents=True)
    (folder / "metadata.tsv").write_text(rows(train=5, dev=2, test=3))
    return made


def make(config: dict, base: str | Path = ROOT) -> Study:
    config = copy.deepcopy(config)
    validate(config)
    study = Study(config, base)
    checks.check(study)
    checks.check_files(study)
    return study


def table(config: dict) -> Path:
    return Path(config["corpora"]["own"]["directory"].replace("{lang}", "hsb")) / "metadata.tsv"


def test_a_language_of_own_recordings_only_joins_a_study_of_a_published_corpus(config):
    study = make(config)
    assert paths.validation_manifests(study, "hsb") == {
        "hsb": "results/manifests/own/hsb/dev.jsonl.gz"
    }
    # What the study says holds for the others.
    assert paths.validation_manifests(study, "de") == {
        "de": "results/manifests/fleurs/de/dev.jsonl.gz"
    }
    assert paths.manifests(study, "hsb") == [
        f"results/manifests/own/hsb/{split}.jsonl.gz" for split in ("train", "test", "dev")
    ]
    assert list(paths.guard_manifests(study, "hsb")) == ["own"]


def test_a_mixture_is_watched_on_each_languages_own_validation(config):
    config["training_sets"] = {
        "both": {"languages": {"de": 1, "hsb": 0.01}, "budgets_hours": [100]}
    }
    assert paths.validation_manifests(make(config), "both") == {
        "de": "results/manifests/fleurs/de/dev.jsonl.gz",
        "hsb": "results/manifests/own/hsb/dev.jsonl.gz",
    }


def test_a_study_needs_no_validation_where_each_language_has_its_own(config):
    del config["validation"]
    with pytest.raises(
        UserError,
        match=r"languages\.de has no validation, .*write `validation` at the top level .*, or "
        r"languages\.de\.validation: \{corpus: fleurs, split: dev\}",
    ):
        make(config)
    config["languages"]["de"]["validation"] = {"corpus": "voxpopuli", "split": "dev"}
    make(config)


def test_a_language_without_the_studys_validation_is_told_the_key(config):
    del config["languages"]["hsb"]["validation"]
    with pytest.raises(
        UserError,
        match=r"validation\.corpus is 'fleurs', and languages\.hsb\.corpora has no code for it; "
        r"give the language a validation of its own, .*languages\.hsb\.validation: \{corpus: own",
    ):
        make(config)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("test", r"languages\.hsb\.validation is split 'test' of own, which is test set 'own'"),
        ("train", r"languages\.hsb\.validation is split 'train' of own, which languages\.hsb tr"),
    ],
)
def test_nobody_is_watched_on_what_is_tested_or_trained_on(config, split, said):
    config["languages"]["hsb"]["validation"]["split"] = split
    with pytest.raises(UserError, match=said):
        make(config)


def test_a_language_trains_on_a_split_of_its_own(config):
    config["languages"]["hsb"]["corpora"]["own"] = {"code": "hsb", "train_split": "all"}
    with pytest.raises(
        UserError,
        match=r"languages\.hsb\.corpora\.own\.train_split is 'all', and no row of \S+metadata\.tsv "
        r"has this split; rows by split: 'train' 5, 'dev' 2, 'test' 3",
    ):
        make(config)
    table(config).write_text(rows(all=1, dev=1, test=1))
    assert paths.training_manifests(make(config), "hsb") == {
        "own": "results/manifests/own/hsb/all.jsonl.gz"
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            rows(Train=4, dev=1, test=1),
            r"own/hsb: corpora\.own\.train_split is 'train' \(did you mean 'Train'\?\), and no row "
            r"of .*: 'Train' 4, 'dev' 1, 'test' 1; correct the table or corpora\.own\.train_split",
        ),
        (
            rows(train=4, dev=1),
            r"test_sets\.own\.split is 'test', and no row .*'train' 4, 'dev' 1",
        ),
        (rows(train=4, test=1), r"languages\.hsb\.validation\.split is 'dev'"),
        (rows(), r"rows by split: none"),
        ("Path\tText\tspeaker\tsplit\n", r"no column path, text; its columns are Path"),
        ("path\ttext\tsplit\n", r"no column speaker"),
        ("", "empty"),
    ],
)
def test_a_table_that_lacks_what_is_asked_of_it_is_refused_in_the_dry_run(config, content, said):
    table(config).write_text(content)
    with pytest.raises(UserError, match=said):
        make(config)


def test_one_table_a_split_is_looked_for_too(config):
    table(config).unlink()
    with pytest.raises(
        UserError, match=r"has neither (train|test)\.tsv nor metadata\.tsv .*there: no table at all"
    ):
        make(config)
    for name in ("train", "metadata-dev", "test"):
        (table(config).parent / f"{name}.tsv").write_text("path\ttext\tspeaker\n")
    make(config)


def test_a_missing_folder_is_told_with_what_lies_beside_it(config):
    wrong = config["corpora"]["own"]["directory"].replace("recordings", "recording")
    config["corpora"]["own"]["directory"] = wrong
    with pytest.raises(
        UserError, match=r"own/hsb: no folder \S+, .* has no recording \(did you mean 'recordings'"
    ):
        make(config)


def test_recordings_that_were_read_are_no_longer_asked_for(config, tmp_path, monkeypatch):
    """They may be deleted: figures are drawn without them."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev", "test"):
        manifest = Path(paths.manifest("own", "hsb", split))
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
    complete = Path(paths.complete("own", "hsb"))
    complete.parent.mkdir(parents=True)
    complete.write_text(f'{{"source": "{table(config).parent}"}}')
    table(config).unlink()
    make(config)
    # From elsewhere they would be read again.
    config["corpora"]["own"]["directory"] += "/new"
    with pytest.raises(UserError, match=r"no folder \S+/new"):
        make(config)


def test_planners_answer_before_the_recordings_are_here(config, tmp_path):
    config["corpora"]["own"] |= {"directory": "nowhere/{lang}", "hours": {"hsb": 12}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True))
    assert checks.open_study(file, ROOT).languages == ["de", "hsb"]
    with pytest.raises(UserError, match="no folder"):
        make(config)


def test_home_and_the_folder_of_the_snakefile_are_where_paths_start(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config["corpora"]["own"]["directory"] = "~/recordings/{lang}"
    make(config)
    config["corpora"]["own"]["directory"] = "recordings/{lang}"
    with pytest.raises(UserError, match="no folder"):
        make(config)
    study = make(config, tmp_path)
    assert slices.corpus(study, "own", "hsb")["directory"] == f"{tmp_path}/recordings/hsb"
    config["inits"]["en"] = {"name": "English", "path": "~/en.nemo"}
    with pytest.raises(UserError, match=rf"inits\.en\.path is '~/en\.nemo': .*{tmp_path}/en\.nemo"):
        make(config, tmp_path)
    (tmp_path / "en.nemo").touch()
    study = make(config, tmp_path)
    assert checks.inits.at_hand(study) == {"en": tmp_path / "en.nemo"}
    (tmp_path / "noise").mkdir()
    config["noise"] = {"directory": "noise", "training": {"snr_db": [5, 20], "probability": 0.5}}
    make(config, tmp_path)
    config["noise"]["training"]["directory"] = "~/nois"
    with pytest.raises(
        UserError, match=r"noise\.training\.directory is '~/nois': .*did you mean 'noise'"
    ):
        make(config, tmp_path)


def test_every_path_of_a_corpus_starts_at_the_snakefile(config, tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "hsb.jsonl").touch()
    (tmp_path / "releases").mkdir()
    config["corpora"] |= {
        "labelled": {
            "kind": "granary",
            "train_split": "train",
            "directory": "recordings/{lang}",
            "manifests": ["labels/{lang}.jsonl"],
        },
        "mls": {**config["corpora"]["mls"], "source": "releases"},
    }
    config["languages"]["hsb"]["corpora"]["labelled"] = "hsb"
    config["languages"]["hsb"]["training_corpora"].append("labelled")
    study = make(config, tmp_path)
    assert slices.corpus(study, "labelled", "hsb")["manifests"] == [
        f"{tmp_path}/labels/{{lang}}.jsonl"
    ]
    assert slices.reader(study, "labelled", "hsb").tables() == [tmp_path / "labels" / "hsb.jsonl"]
    assert slices.corpus(study, "mls", "de")["source"] == f"{tmp_path}/releases"
    config["corpora"]["mls"]["source"] = "https://mirror.example/mls"
    assert slices.corpus(make(config, tmp_path), "mls", "de")["source"] == (
        "https://mirror.example/mls"
    )
    config["corpora"]["mls"]["source"] = "~/nowhere-at-all"
    with pytest.raises(UserError, match=r"mls/de: no folder or file .*/nowhere-at-all"):
        make(config, tmp_path)
    config["corpora"]["mls"]["source"] = None
    config["corpora"]["labelled"]["manifests"] = ["label/{lang}.jsonl"]
    with pytest.raises(UserError, match=r"labelled/hsb: no manifest fits \S+label/hsb\.jsonl"):
        make(config, tmp_path)


def test_spellings_of_a_source_beside_the_snakefile_stay():
    """Manifests follow from them, and would be made anew."""
    full = load_config(ROOT / "config.yaml")
    validate(full)
    study = Study(full, ".")
    for source in ("./releases/", "releases", "~/releases", "https://a.example/x"):
        full["corpora"]["mls"]["source"] = source
        assert slices.corpus(study, "mls", "de")["source"] == source


def test_a_folder_is_no_donor(config, tmp_path):
    (tmp_path / "donors").mkdir()
    (tmp_path / "donors" / "en.nemo").touch()
    config["inits"]["en"] = {"name": "English", "path": f"{tmp_path}/donors"}
    with pytest.raises(
        UserError, match=r"inits\.en\.path is .*, a folder; give the \.nemo file .*: en\.nemo$"
    ):
        make(config)


@pytest.mark.parametrize(
    ("corpus", "code", "said"),
    [
        ("commonvoice", "cz", r"commonvoice has no language 'cz' \(did you mean 'de'\?\); locales"),
        ("fleurs", "de_DE", r"fleurs has no language 'de_DE' \(did you mean 'de_de'\?\)"),
        ("fleurs", "de", r"\(did you mean 'de_de'\?\)"),
        ("mls", "deutsch", r"\(did you mean 'german'\?\); its codes: dutch, english, french"),
        ("voxpopuli", "ger", r"\(did you mean 'de'\?\); its codes: cs, de"),
    ],
)
def test_a_code_that_a_release_does_not_have_is_refused(config, corpus, code, said):
    config["languages"]["de"]["corpora"][corpus] = code
    with pytest.raises(UserError, match=rf"languages\.de\.corpora\.{corpus}: .*{said}"):
        make(config)


def test_a_language_of_common_voice_has_its_hours_and_digest_pinned(config):
    """Each of the 290 locales of the release, not only those of Europe."""
    config["languages"]["tr"] = {
        **config["languages"]["de"],
        "name": "Turkish",
        "corpora": {"fleurs": "tr_tr", "commonvoice": "tr"},
        "training_corpora": ["commonvoice"],
        "test_sets": ["fleurs", "commonvoice"],
        "budgets_hours": [100],
    }
    study = make(config)
    reader = slices.reader(study, "commonvoice", "tr")
    assert reader.hours("validated") == 129.22  # as the release states
    assert reader.gigabytes().stated
    config["languages"]["tr"]["budgets_hours"] = [250]
    with pytest.raises(UserError, match=r"tr: 250 h asked, 129\.2 h available"):
        make(config)


def test_another_release_brings_its_own_locales(config, tmp_path):
    block = config["corpora"]["commonvoice"] = {
        **config["corpora"]["commonvoice"],
        "release": "cv-corpus-99.0-2040-01-01",
    }
    config["languages"]["de"]["corpora"]["commonvoice"] = "tlh"
    with pytest.raises(
        UserError,
        match=r"no language 'tlh'.*\(for cv-corpus-99\.0-2040-01-01 give its JSON .*`statistics`\)",
    ):
        make(config)
    block["statistics"] = "statistics.json"
    with pytest.raises(UserError, match=r"no file \S+statistics\.json.*; correct `statistics`"):
        make(config, tmp_path)
    entry = '{"size": 5, "checksum": "00", "validHrs": 7, "buckets": {}}'
    (tmp_path / "statistics.json").write_text(f'{{"locales": {{"tlh": {entry}}}}}')
    config["languages"]["de"]["training_corpora"] = ["mls", "commonvoice"]
    config["languages"]["de"]["budgets_hours"] = [1973]  # 1966.51 h of MLS and 7
    make(config, tmp_path)
    config["languages"]["de"]["budgets_hours"] = [1974]  # published: 1388.9 h more
    with pytest.raises(UserError, match=r"de: 1974 h asked, 197. h available"):
        make(config, tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "statistics.json").write_text("[]")
    with pytest.raises(UserError, match="no statistics of a release of Common Voice"):
        make(config, tmp_path / "broken")


@pytest.mark.parametrize("name", ["a {b} c", "{b,[0-9]+}"])
def test_a_path_that_snakemake_would_take_for_a_wildcard_is_refused(config, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "en.nemo").touch()
    config["inits"]["en"] = {"name": "English", "path": f"{tmp_path}/{name}/en.nemo"}
    with pytest.raises(UserError, match=r"inits\.en\.path leads to .* takes \{b.* for a wildcard"):
        make(config)
    config["inits"]["en"]["path"] = str(tmp_path / "en {.nemo")
    (tmp_path / "en {.nemo").touch()
    make(config)
    (tmp_path / "recordings").rename(tmp_path / name / "recordings")
    config["corpora"]["own"]["directory"] = f"{tmp_path}/{name}/recordings/{{lang}}"
    with pytest.raises(UserError, match=r"corpora\.own leads to .* for a wildcard"):
        make(config)


def test_the_codes_are_those_of_the_releases():
    from warmstart.data.corpora import pinned

    assert [len(pinned.codes(kind)) for kind in ("fleurs", "mls", "voxpopuli")] == [102, 8, 16]
    known = {(kind, lang) for kind, _, lang in pinned.published_hours()}
    for kind in ("fleurs", "mls", "voxpopuli"):
        langs = set(pinned.codes(kind).values())
        assert {lang for other, lang in known if other == kind} <= langs
    assert pinned.language_of_country("cz") == "cs"
    assert pinned.language_of_country("in") is None
