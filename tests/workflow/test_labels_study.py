"""Studies with dirty labels, as Snakemake plans them."""

import pytest
import yaml
from conftest import Checkout
from made.studies import smoke_config


def write(path, config):
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_dirty_budgets_are_made_for_the_sets_that_ask_and_for_no_other(
    checkout: Checkout, tmp_path
):
    config = smoke_config()
    config["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "it_swap50": {"languages": {"it": 1}, "labels": {"corrupt": 0.5, "kind": "swap"}},
    }
    path = write(tmp_path / "labels.yaml", config)
    done = checkout.snakemake("--dry-run", "--printshellcmds", config=path).stdout
    jobs = checkout.planned(config=path)
    # Two budgets, two inits, two sets; the clean budgets are the ones that become dirty.
    assert (jobs["corrupt_labels"], jobs["subset_budget"], jobs["train"]) == (2, 2, 8)
    assert "mix_training_set" not in jobs
    assert "--budget results/budgets/it/0.02h.jsonl.gz" in done
    assert "--train-cuts results/dirty_labels/it_swap50/it/0.02h.jsonl.gz" in done
    assert "--train-cuts results/budgets/it/0.02h.jsonl.gz" in done
