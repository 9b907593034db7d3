"""Inits that wheels carry: what a dry run knows of them before anything is fetched."""

import copy

import pytest
from conftest import ROOT

from warmstart.run.errors import UserError
from warmstart.study import checks, config, slices
from warmstart.study.grid import Study

WHEELS = {
    "packages": [{"name": "tiny-1", "version": "1.0.0", "sha256": "a" * 64}],
    "files": {"model.bin": {"parts": ["tiny_1/data/model.bin"], "sha256": "b" * 64}},
    "convert": "ctranslate2",
}
ARM = {"init": "ml", "family": "wav2vec2_ctc", "tiers": ["offline"], "precisions": ["full"]}


def make(wheels, family="wav2vec2_ctc", **init) -> Study:
    made = config.load_config(ROOT / "demo.yaml")
    made["bundle"] = None
    made["inits"]["ml"] = {"name": "Tiny", "wheels": copy.deepcopy(wheels), **init}
    made["arms"] = {"en": {"init": "en"}, "ml": ARM | {"family": family}}
    made["contrasts"] = {"kind": {"baseline": "en", "challenger": "ml"}}
    made["contrasts"]["kind"]["may_differ"] = ["architecture"]
    for key in ("baseline", "challenger"):
        del made["statistics"][key]
    made["statistics"]["reference_tier"] = "offline"
    config.validate(made)
    study = Study(made, ROOT)
    checks.check(study)
    return study


def test_an_init_out_of_wheels_is_a_source_like_others():
    study = make(WHEELS, seen="unknown")
    assert slices.init_wheels(study, "ml") == WHEELS
    assert slices.init_wheels(study, "en") == {}
    assert slices.init_origin(study.config["inits"]["ml"]) == "tiny-1 1.0.0"
    assert slices.init_origin({"hf": {"repo": "a/b"}}) == "a/b"
    assert slices.init_digest(study, "ml") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"packages": []}, "inits.ml.wheels.packages is .*a list of at least 1"),
        ({"packages": [{"name": "--index-url", "version": "1", "sha256": "a" * 64}]}, "name is"),
        (
            {"packages": [{"name": "a", "version": "1 -r b", "sha256": "a" * 64}]},
            "as pip writes it",
        ),
        ({"packages": [{"name": "a", "version": "1", "sha256": "?"}]}, "a SHA-256, 64 hex"),
        ({"files": {"../up": WHEELS["files"]["model.bin"]}}, "a letter or digit first"),
        ({"convert": "pickle"}, "convert is 'pickle'; allowed: 'ctranslate2'"),
        ({"files": {"a.bin": WHEELS["files"]["model.bin"]}}, "name the joined file model.bin"),
    ],
)
def test_a_block_that_makes_no_donor_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        make(WHEELS | change)


def test_a_family_of_one_file_takes_one_file_as_it_is():
    with pytest.raises(UserError, match="which makes a snapshot, but the family of its arms"):
        make(WHEELS, "fastconformer_ctc")
    two = WHEELS["files"] | {"b": WHEELS["files"]["model.bin"]}
    with pytest.raises(UserError, match=r"files has model\.bin, b, but the family"):
        make(WHEELS | {"convert": None, "files": two}, "fastconformer_ctc")
    make(WHEELS | {"convert": None}, "fastconformer_ctc")


def test_two_sources_of_one_init_are_refused():
    with pytest.raises(
        UserError, match=r"names \['path', 'wheels'\]: give exactly one of hf, path"
    ):
        make(WHEELS, path="x.nemo")


def test_a_misspelt_test_set_is_told_of_unknown():
    with pytest.raises(UserError, match="or write `seen: unknown`"):
        make(WHEELS, seen=["nowhere"])
