"""A language of own recordings in a study of a published corpus, planned by real Snakemake, and the
example of the guide."""

import re

import pytest
import yaml
from conftest import ROOT, Checkout

from warmstart.study import checks, paths
from warmstart.study.config import load_config, validate
from warmstart.study.grid import Study

pytestmark = pytest.mark.slow


def example() -> dict:
    """The configuration of docs/add-a-language.md."""
    page = (ROOT / "docs/add-a-language.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (own,) = [block for block in map(yaml.safe_load, blocks) if "corpora" in block]
    return own


def table() -> str:
    """The table of docs/add-a-language.md."""
    page = (ROOT / "docs/add-a-language.md").read_text(encoding="utf-8")
    rows = re.search(r"^    (path\ttext.*?)\n\n", page, re.DOTALL | re.MULTILINE)
    assert rows is not None
    return rows[1].replace("\n    ", "\n") + "\n"


def test_a_language_of_own_recordings_beside_one_of_a_published_corpus(
    checkout: Checkout, tmp_path
):
    own = example()
    own["corpora"]["studio"]["directory"] = f"{tmp_path}/{{lang}}"
    (tmp_path / "hsb").mkdir()
    (tmp_path / "hsb" / "metadata.tsv").write_text(table(), encoding="utf-8")
    (checkout.folder / "studio.yaml").write_text(yaml.safe_dump(own, allow_unicode=True))
    done = checkout.snakemake(
        *("--dry-run", "--configfile", "config.yaml", "studio.yaml"), config=None
    )
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    # Two inits at two budgets each, beside the 50 runs of config.yaml.
    assert jobs["train"] == "54"
    assert jobs["decode_hsb"] == str(4 * 5)  # four tiers, and int4 at one
    for split in ("train", "dev", "test"):
        assert f"results/manifests/studio/hsb/{split}.jsonl.gz" in done.stdout
    (tmp_path / "hsb" / "metadata.tsv").write_text(table().replace("\tdev", "\tdevel"))
    done = checkout.snakemake(
        *("--dry-run", "--configfile", "config.yaml", "studio.yaml"), config=None, check=False
    )
    assert done.returncode == 1
    assert "languages.hsb.validation.split is 'dev' (did you mean 'devel'?)" in done.stdout


def test_the_example_of_the_guide_is_a_study():
    own = example()
    config = load_config(ROOT / "config.yaml")
    for key, value in own.items():
        config[key] |= value
    validate(config)
    study = Study(config, ROOT)
    checks.check(study)
    assert paths.validation_manifest(study, "hsb") == "results/manifests/studio/hsb/dev.jsonl.gz"
    assert paths.validation_manifest(study, "de") == "results/manifests/fleurs/de/dev.jsonl.gz"
