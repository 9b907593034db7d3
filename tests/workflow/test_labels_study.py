"""Studies with dirty labels, as Snakemake plans them."""

import pytest
import yaml
from conftest import ROOT, Checkout
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


@pytest.mark.slow
def test_what_donors_keep_is_decoded_before_and_after(checkout: Checkout, tmp_path):
    """Donors as they are in their own language, and every run in it, whether it replays or not."""
    config = yaml.safe_load((ROOT / "studies/retention.yaml").read_text(encoding="utf-8"))
    path = write(tmp_path / "retention.yaml", config)
    done = checkout.snakemake("--dry-run", "--printshellcmds", config=path).stdout
    jobs = checkout.planned(config=path)
    assert jobs["decode_en"] == 1
    # Two arms and the donor, and one arm on the sets that replay.
    assert (jobs["decode_it"], jobs["decode_it_en10"], jobs["decode_it_en30"]) == (3, 1, 1)
    assert (jobs["train"], jobs["mix_training_set"], jobs["subset_budget"]) == (4, 2, 1)
    before = "en/english=results/hypotheses/en/ml/0h/seed1/full/1120ms/english.jsonl"
    after = "en/english=results/hypotheses/it/ml/0.16h/seed1/full/1120ms/en_english.jsonl"
    assert before in done
    assert after in done
