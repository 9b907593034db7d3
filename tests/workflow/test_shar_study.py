"""Studies whose audio is packed, as Snakemake plans them."""

import pytest
import yaml
from conftest import Checkout
from made.studies import smoke_config


def planned(checkout: Checkout, path, storage, **own):
    config = smoke_config() | own
    config["training"] |= {"storage": storage} if storage else {}
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    said = checkout.snakemake("--dry-run", "--printshellcmds", config=str(path)).stdout
    return checkout.planned(config=str(path)), said


@pytest.mark.slow
def test_a_pool_is_packed_once_where_training_asks_for_it(checkout: Checkout, tmp_path):
    jobs, said = planned(checkout, tmp_path / "shar.yaml", "shar")
    assert (jobs["pack_pool"], jobs["build_pool"]) == (1, 1)
    assert "--pool results/pools/it.jsonl.gz --output results/shar/it/index.npy" in said
    trained = [line for line in said.splitlines() if "/train.py" in line]
    assert len(trained) == jobs["train"]
    assert all("--packed it=results/shar/it --text" in line for line in trained)


@pytest.mark.slow
def test_where_nothing_is_said_files_are_read(checkout: Checkout, tmp_path):
    jobs, said = planned(checkout, tmp_path / "plain.yaml", None)
    assert "pack_pool" not in jobs
    assert "--packed" not in said
    assert planned(checkout, tmp_path / "files.yaml", "files")[0] == jobs


@pytest.mark.slow
def test_another_storage_is_a_misspelling(checkout: Checkout, tmp_path):
    config = smoke_config()
    config["training"]["storage"] = "shards"
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    done = checkout.snakemake("--dry-run", config=str(path), check=False)
    assert done.returncode == 1
    assert "training.storage" in done.stdout
