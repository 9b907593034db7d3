"""What corpus readers declare of themselves, and that nothing outside has to know it."""

import ast
import re
import subprocess
import sys

import jsonschema
import pytest
from conftest import ROOT

from warmstart.data import corpora
from warmstart.data.corpora import KINDS, open_corpus, pinned, reader
from warmstart.run.errors import UserError
from warmstart.study.config_faults import PATTERNS

SCRIPTS = ROOT / "workflow/scripts"


def test_nothing_outside_the_readers_names_a_kind():
    readers = SCRIPTS / "warmstart/data/corpora"
    named = [
        (str(path.relative_to(SCRIPTS)), node.lineno, node.value)
        for path in SCRIPTS.rglob("*.py")
        if readers not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in KINDS
    ]
    rules = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    for path in rules:
        text = path.read_text(encoding="utf-8")
        named += [(path.name, 0, kind) for kind in KINDS if re.search(rf"[\"']{kind}[\"']", text)]
    assert named == []


def test_every_module_of_a_reader_is_a_kind():
    folder = SCRIPTS / "warmstart/data/corpora"
    helpers = {"__init__", "base", "pinned", "espeak"}
    assert {path.stem for path in folder.glob("*.py")} - helpers == set(KINDS)


def test_readers_load_nothing_but_the_standard_library():
    program = (
        "import sys; sys.path.insert(0, 'workflow/scripts')\n"
        "from warmstart.data import corpora\n"
        "corpora.schema()\n"
        "own = {name.partition('.')[0] for name in sys.modules} - {'warmstart', '__main__'}\n"
        # What site-packages hook into every start of Python is not ours.
        "print(*sorted(own - sys.stdlib_module_names - started))\n"
    )
    started = "import sys; started = {name.partition('.')[0] for name in sys.modules}\n"
    done = subprocess.run(
        [sys.executable, "-c", started + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_says_what_each_of_its_keys_means_and_its_defaults_are_allowed(kind):
    for key, schema in reader(kind).properties().items():
        assert schema.get("description"), key
        jsonschema.Draft202012Validator.check_schema(schema)
        if "default" in schema:
            jsonschema.Draft202012Validator(schema).validate(schema["default"])
        if "pattern" in schema:
            assert schema["pattern"] in PATTERNS
    assert set(reader(kind).SCHEMA.get("required", ())) <= set(reader(kind).SCHEMA["properties"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_on_corpora_has_the_keys_and_splits_of_every_kind(kind):
    page = (ROOT / "docs/corpora.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{kind}` \|(.*)$", page, re.MULTILINE)
    splits, *_ = row.split(" | ")
    assert splits.strip().split() == list(reader(kind).SPLITS or ["any"])
    _, _, section = page.partition(f"\n### {kind}\n")
    section = re.split(r"\n##+ ", section)[0]
    keys = set(reader(kind).SCHEMA["properties"])
    assert [key for key in sorted(keys) if f"`{key}`" not in section] == []


def one(kind, lang="it", **settings):
    return open_corpus(kind, lang, {"kind": kind, "train_split": "train", **settings})


def test_hours_are_the_publishers_unless_somebody_says_otherwise():
    assert one("mls", "de").hours("train") == 1966.51
    assert one("mls", "cs").hours("train") is None
    assert one("mls", "de", hours={"de": 12.5}).hours("train") == 12.5
    assert one("mls", "de", hours={"fr": 12.5}).hours("train") is None
    assert one("mls", "de", hours={"de": 12.5}).hours("test") == one("mls", "de").hours("test")
    assert one("local", directory="x").hours("train") is None
    assert one("local", "sv", directory="x", hours={"sv": 3}).hours("train") == 3
    assert one("synthetic", hours={"train": 0.7}).hours("train") == 0.7
    assert one("synthetic", hours={"train": 0.7}).hours("dev") == 0.03
    assert one("synthetic").hours("test_new") is None


def test_licences_are_the_publishers_unless_the_block_has_one():
    assert one("mls").licence() == "CC BY 4.0 (Multilingual LibriSpeech, OpenSLR 94)"
    assert one("commonvoice").licence() == "CC0"
    assert one("mls", licence="by contract").licence() == "by contract"
    assert one("local", directory="x").licence() is None
    assert one("local", directory="x", licence="CC0").licence() == "CC0"


def test_sizes_are_known_where_something_is_downloaded():
    assert one("mls").gigabytes() == pinned.Size(3.8, True)
    assert one("mls", format="flac").gigabytes() == pinned.Size(15, True)
    assert one("mls", "cs").gigabytes() is None
    assert one("fleurs", "cs").gigabytes() == pinned.Size(3, False)
    assert one("voxpopuli").gigabytes() is None
    assert one("voxpopuli").shared_gigabytes() == pinned.Size(75, False)
    for kind in ("local", "granary", "synthetic"):
        assert one(kind).gigabytes() == pinned.NOTHING
        assert one(kind).shared_gigabytes() is None


def test_speakers_are_the_publishers_or_the_corpus_own():
    assert one("commonvoice").speakers == "commonvoice"
    other = open_corpus("cv17", "it", {"kind": "commonvoice", "release": "17"})
    assert other.speakers == "commonvoice"
    assert open_corpus("studio", "it", {"kind": "local"}).speakers == "studio"
    assert open_corpus("libri", "it", {"kind": "local", "speakers_of": "mls"}).speakers == "mls"


def test_only_ones_own_tables_are_inputs(tmp_path):
    (tmp_path / "metadata.tsv").write_text("path\ttext\n")
    assert one("local", directory=str(tmp_path)).inputs() == [tmp_path / "metadata.tsv"]
    assert one("synthetic").inputs() == one("mls").inputs() == []


def test_a_kind_that_needs_a_key_says_what_it_is():
    assert one("local", directory="x").lacks() is None
    assert one("mls").lacks() is None
    said = "'directory': the folder of the recordings, with {lang} for the language"
    assert one("local").lacks() == one("granary").lacks() == said


def test_the_studys_schema_has_a_branch_for_each_kind_with_its_own_keys_only():
    schema = corpora.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    for kind in KINDS:
        own = set(reader(kind).SCHEMA["properties"])
        assert valid({"kind": kind, "train_split": "train"})
        for other in KINDS:
            for key, value in reader(other).SCHEMA["properties"].items():
                block = {"kind": kind, "train_split": "train", key: value.get("default", "x")}
                if key not in own and key != "hours":
                    assert not valid(block), (kind, key)


def test_an_unknown_kind_is_named():
    with pytest.raises(
        UserError,
        match=r"corpus x: unknown kind 'mlss' \(did you mean 'mls'\?\); kinds: commonvoice, fleurs",
    ):
        open_corpus("x", "it", {"kind": "mlss"})
