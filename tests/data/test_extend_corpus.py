"""docs/extend/corpus.md, followed: its reader, added to a copy of the checkout as the page says."""

import re
import tarfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout
from made.speech import recordings
from made.studies import smoke_config

from warmstart.data import cut_lines
from warmstart.data.corpora import COMMON
from warmstart.data.corpora.base import Corpus
from warmstart.run import files

GUIDE = (ROOT / "docs/extend/corpus.md").read_text(encoding="utf-8")
READERS = Path("workflow/scripts/warmstart/data/corpora")


def release(folder: Path) -> Path:
    """The publisher's archive: five proverbs to train on, then the first of them again by the same
    speaker, and two to be tested on."""
    folder.mkdir()
    # Of the demo's human recordings these are none of its test set: a pool would not take them.
    said = [*((path, text, "train") for path, text, _ in recordings()[5:10])]
    said += [said[0], *((path, text, "test") for path, text, _ in recordings()[:2])]
    with tarfile.open(folder / "proverbs_ita.tar.gz", "w:gz") as archive:
        lines = []
        for number, (path, text, split) in enumerate(said):
            archive.add(path, f"{number}.flac")
            lines.append(f"{split}|{number}.flac|{split} speaker|{text}\n")
        (folder / "list.txt").write_text("".join(lines), encoding="utf-8")
        archive.add(folder / "list.txt", "list.txt")
    return folder


@pytest.fixture
def extended(checkout: Checkout, tmp_path) -> Checkout:
    """A checkout with the reader of the guide, and a study that trains on its corpus."""
    made = checkout.copy(tmp_path / "warmstart")
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (made.folder / READERS / "proverbs.py").write_text(source, encoding="utf-8")
    table = made.folder / READERS / "__init__.py"
    kinds = table.read_text(encoding="utf-8")
    assert '    "mls",\n' in kinds
    table.write_text(
        kinds.replace('    "mls",\n', '    "mls",\n    "proverbs",\n'), encoding="utf-8"
    )
    block = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[0])
    config = smoke_config()
    config["corpora"]["proverbs"] = block["corpora"]["proverbs"] | {
        "source": str(release(tmp_path / "publisher"))
    }
    italian = config["languages"]["it"]
    italian["corpora"] |= block["languages"]["it"]["corpora"]
    italian["training_corpora"] = block["languages"]["it"]["training_corpora"]
    italian["test_sets"].append("proverbs")
    italian["budgets_hours"] = [0.002]
    config["test_sets"]["proverbs"] = {"corpus": "proverbs", "split": "test"}
    # The demo's test set of human speech has the same sentences.
    config["filters"]["guard"] = ["speaker"]
    made.write_config(config)
    return made


@pytest.mark.slow
def test_its_own_key_is_checked_in_the_dry_run(extended: Checkout):
    config = extended.read_config()

    def refused(**changes) -> str:
        changed = extended.read_config()
        changed["corpora"]["proverbs"] = config["corpora"]["proverbs"] | changes
        extended.write_config(changed)
        done = extended.snakemake("--dry-run", check=False)
        assert done.returncode
        assert "Traceback" not in done.stdout
        return done.stdout

    assert (
        "config: unknown key 'tokes' at corpora.proverbs, a corpus of kind proverbs (did you mean "
        "'takes'?); allowed keys: hours, kind, licence" in refused(tokes="first")
    )
    assert "config: corpora.proverbs.takes is 'last'; allowed: 'first', 'all'" in refused(
        takes="last"
    )
    assert (
        "unknown key 'segments' at corpora.proverbs, a corpus of kind proverbs (kind voxpopuli has"
        in refused(segments="vad")
    )
    assert (
        "corpora.proverbs.train_split is 'validated', which proverbs does not have; allowed: "
        "train, test" in refused(train_split="validated")
    )
    config["languages"]["it"]["budgets_hours"] = [50]
    extended.write_config(config)
    said = extended.snakemake("--dry-run", check=False).stdout
    assert "it: 50 h asked, 41.5 h available (before cleaning: proverbs 41.5)" in said


@pytest.mark.slow
def test_it_goes_through_download_manifest_pool_and_budget(extended: Checkout):
    budget = "results/budgets/it/0.002h.jsonl.gz"
    extended.snakemake("--cores", "1", budget)
    folder = extended.folder / "results"
    facts = files.read_json(extended.folder / "resources/corpora/proverbs/it/complete.json")
    assert facts["files"]["proverbs_ita.tar.gz"].startswith("sha256:")
    train = list(cut_lines.read(folder / "manifests/proverbs/it/train.jsonl.gz"))
    # The second take of the first proverb is left out, as the study's `takes: first` says.
    assert [one["id"] for one in train] == [f"proverbs-it-train-{n}" for n in range(5)]
    pool = files.read_json(folder / "pools/it.qc.json")
    assert pool["corpora"]["proverbs"]["read"]["cuts"] == 5
    assert pool["guard"]["removed"]["proverbs"] == {}
    assert {one["custom"]["corpus"] for one in cut_lines.read(extended.folder / budget)} == {
        "proverbs"
    }
    hours = extended.snakemake("--cores", "1", "hours").stdout
    assert "proverbs: CC BY 4.0. To do: name the source: Proverbs, release 1." in hours
    # The other value of its key is another corpus: fetched again, and its manifests made anew.
    config = extended.read_config()
    config["corpora"]["proverbs"]["takes"] = "all"
    extended.write_config(config)
    planned = extended.planned(budget)
    assert {"download_corpus", "prepare_manifest", "build_pool", "subset_budget"} <= set(planned)


def test_the_guide_names_what_a_reader_can_declare():
    table = GUIDE[GUIDE.index("## What a reader declares") : GUIDE.index("## Checklist")]
    named = set(re.findall(r"`([A-Za-z_]+)(?:\(\w*\))?`", table))
    declared = {name for name in vars(Corpus) if name.isupper() and not name.startswith("_")}
    assert declared <= named
    assert {"hours", "gigabytes", "shared_gigabytes", "tables"} <= named & set(vars(Corpus))
    said = table[table.index("**`BESIDE_DATA`**") : table.index("- **`hours(split)`**")]
    assert set(re.findall(r"`(\w+)`", said)) - {"BESIDE_DATA"} == Corpus.BESIDE_DATA
    assert set(COMMON) >= Corpus.BESIDE_DATA
    for path in re.findall(r"`((?:workflow|tests|docs)/[\w./]+)`", GUIDE):
        assert (ROOT / path).exists(), path
