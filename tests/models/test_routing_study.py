"""A study whose utterances are sent to one of two languages' models, from snapshots to the page,
through Snakemake: heads behind one encoder, and models of one language each."""

import json

import pandas as pd
import pytest
from conftest import Checkout
from made.studies import smoke_config
from test_wav2vec2 import snapshot

from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "results/{what}/{name}/xlsr/0.02h/seed1/offline"


def config():
    """Two donors with a head a language, and a model of each language of one of them."""
    made = smoke_config()
    both = {"budgets_hours": [0.02], "test_sets": ["new_voices"], "corpora": {"spoken": "it"}}
    made["languages"]["fr"] = {
        "name": "French",
        "training_corpora": ["spoken"],
        "text": {"alphabet": "abcdefghijklmnopqrstuvwxyzàâæçèéêëîïôœùûüÿ", "numbers": "fr"},
        **both,
        "corpora": {"spoken": "fr"},
    }
    made["languages"]["it"] |= both
    made["inits"] = {
        name: {"name": name.upper(), "path": f"snapshots/{name}", "licence": "Apache-2.0"}
        for name in ("w2v_en", "xlsr")
    }
    of_family = {"family": "wav2vec2_ctc", "tiers": ["offline"], "precisions": ["full"]}
    made["arms"] = {name: {"init": name, **of_family} for name in made["inits"]}
    made["arms"]["xlsr"]["precisions"] = "all"
    made["arms"]["w2v_en"]["training_sets"] = ["both"]
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "fr": {"languages": {"fr": 1}},
        "both": {"languages": {"it": 1, "fr": 1}, "heads": "per_language"},
    }
    made["contrasts"] = {"warm_start": {"baseline": "w2v_en", "challenger": "xlsr"}}
    made["tiers"] = {"offline": made["tiers"]["offline"]}
    made["precisions"] = {"full": {}, "int4": {"scheme": "k_quant", "bits": 4, "block_size": 16}}
    made["bundle"] = {"arm": "xlsr", "precision": "int4", "tier": "offline", "force": True}
    made["training"]["spec_augment"] = None
    for key in ("baseline", "challenger"):
        made["statistics"].pop(key)
    made["statistics"] |= {"headline_test_set": "new_voices", "reference_tier": "offline"}
    made["corpora"]["spoken"]["utterances"] = {"same_voices": 4, "new_voices": 12}
    made["routing"] = {
        "seconds_heard": [0.1, 1, "all"],
        "ensembles": {"apart": ["it", "fr"]},
    }
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("routing") / "warmstart")
    for name, sizes in (("w2v_en", {}), ("xlsr", {"initializer_range": 0.03})):
        snapshot(made.folder / "snapshots" / name, "wav2vec2-large", **sizes)
    made.write_config(config())
    return made


def test_heads_and_models_are_chosen_from_and_counted(study):
    study.snakemake("--cores", "2")
    table = pd.read_csv(study.folder / "results/tables/routing.csv")
    assert set(table.training_set) == {"both", "apart"}
    detected = table[(table.way == "detected") & (table.lang == "mean")]
    assert set(detected.seconds) == {"0.1", "1", "all"}
    assert (table.left_out == 0).all(), "voices of new_voices are in no training"
    assert (table.speakers_unknown == 0).all()
    # Given is what the usual decode of the same model wrote.
    wer = pd.read_csv(study.folder / "results/tables/wer.csv")
    for lang in ("it", "fr"):
        for name, model in (("both", "both"), ("apart", lang)):
            given = table[
                (table.way == "given")
                & (table.lang == lang)
                & (table.training_set == name)
                & (table.arm == "xlsr")
            ]
            usual = wer[
                (wer.training_set == model)
                & (wer.lang == lang)
                & (wer.arm == "xlsr")
                & (wer.precision == "full")
            ]
            assert given.wer_pct.item() == pytest.approx(usual.wer_pct.item(), abs=0.01)
    for name in ("both", "apart"):
        about = files.read_json(study.folder / (RUN.format(what="routing", name=name) + ".json"))
        assert about["crossed"] is True
        assert about["confidence"] != []
    about = json.loads(
        (study.folder / (RUN.format(what="languages", name="apart") + ".json")).read_text()
    )
    assert about["encoder"] == "donor"
    assert set(about["learnt_from"]["utterances"]) == {"it", "fr"}
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Which model should hear an utterance?" in page
    assert "Nothing to be done" in study.snakemake("--cores", "2").stdout


def test_heads_are_quantised_and_bundled_with_what_tells_the_language(study):
    """By the same run: hypotheses of the encoder of 4 bits, and a bundle with a README."""
    run = "both/xlsr/0.02h/seed1"
    for lang in ("it", "fr"):
        found = f"results/hypotheses/{run}/int4/offline/{lang}_new_voices.json"
        header = files.read_json(study.folder / found)
        assert header["engine"] == "onnxruntime"
        assert header["batch_check"]["differing_utterances"] == 0
    folder = study.folder / "results/bundles" / run / "int4/offline"
    about = files.read_json(folder / "bundle.json")
    assert (about["form"], about["heads"]) == ("offline_ctc_heads", ["it", "fr"])
    met = about["agreement"]
    assert [row["variant"] for row in met["variants"]] == ["given", "detected"]
    assert met["variants"][0]["identical"] == met["utterances"] == 24
    text = (folder / "README.md").read_text(encoding="utf-8")
    for lang in ("it", "fr"):
        assert f"| int4 | {lang} | new_voices |" in text
    assert "What a language adds to the encoder" in text
    alone = study.folder / "results/bundles/it/xlsr/0.02h/seed1/int4/offline/bundle.json"
    assert files.read_json(alone)["form"] == "offline_ctc"


def test_one_more_number_of_seconds_trains_and_decodes_nothing(study):
    made = config()
    made["routing"]["seconds_heard"] = [0.1, 0.5, 1, "all"]
    study.write_config(made)
    jobs = study.planned()
    assert jobs["identify_language"] == 3
    assert not any(name.startswith(("train", "decode", "cross_decode", "score")) for name in jobs)
    assert [name for name in jobs if name.startswith("build_bundle")] == [
        "build_bundle_offline_ctc_heads_both"
    ], "what tells the language is in it"
