"""The guide docs/extend/adaptation.md, followed: its file is an adaptation that two families train
with, with no line of the package changed."""

import json
import sys

import pytest
import torch
from made import guide
from made.small_speech import SETTINGS

import train
from warmstart import adaptation
from warmstart.models import open_family
from warmstart.run import files
from warmstart.run.errors import UserError


@pytest.fixture(autouse=True)
def plugin(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("plugin")
    assert guide.write_modules("adaptation.md", folder) == ["biases.py"]
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "biases", raising=False)


def test_its_options_are_checked_and_families_that_offer_what_it_needs_have_it():
    block = adaptation.of_settings({"adaptation": {"kind": "biases:BIASES"}})
    assert block == {"kind": "biases:BIASES", "encoder_layers": 1}
    adaptation.check("biases:BIASES", "fastconformer_ctc")
    with pytest.raises(UserError, match="no option 'layers' \\(did you mean 'encoder_layers'"):
        adaptation.of_settings({"adaptation": {"kind": "biases:BIASES", "layers": 1}})
    with pytest.raises(UserError, match=r"cannot be imported .*no attribute 'NONE'"):
        adaptation.of_settings({"adaptation": {"kind": "biases:NONE"}})
    with pytest.raises(UserError, match=r"must be a warmstart\.adaptation\.kind\.Kind"):
        adaptation.of_settings({"adaptation": {"kind": "biases:Biases"}})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastconformer_rnnt", "fastconformer_ctc"])
def test_what_it_says_learns_and_nothing_else_of_the_encoder(speech, donors, tmp_path, name):
    more = {"adaptation": {"kind": "biases:BIASES", "encoder_layers": 0}, "steps": {"fixed": 3}}
    arguments = ["--train-cuts", speech["train"], "--tokenizer", speech["tokenizer"]]
    arguments += ["--init", donors["en"], "--settings", json.dumps(SETTINGS | more)]
    arguments += ["--run", "it/biases/0.012h/seed1"]
    arguments += ["--run-dir", tmp_path, "--output", tmp_path / "model.nemo", "--family", name]
    train.main([str(argument) for argument in arguments])
    record = files.read_json(tmp_path / "run.json")
    assert record["adaptation"] == {"kind": "biases:BIASES", "encoder_layers": 0}
    family = open_family(name)
    given = family.build(
        family.read_donor(donors["en"]),
        SETTINGS,
        tokenizer=speech["tokenizer"],
        seed=1,
        steps=3,
    ).parts()
    trained = family.load(tmp_path / "model.nemo").parts()
    after = trained["encoder"].state_dict()
    moved = {
        parameter
        for parameter, value in given["encoder"].state_dict().items()
        if not torch.equal(value, after[parameter])
    }
    vectors = {
        parameter
        for parameter, value in given["encoder"].named_parameters()
        if parameter.startswith("pre_encode.") and value.dim() == 1
    }
    assert moved == vectors != set()
    for part in set(given) - {"encoder"}:
        weights = trained[part].state_dict()
        assert not all(
            torch.equal(value, weights[key]) for key, value in given[part].state_dict().items()
        )
