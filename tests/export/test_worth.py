"""A model that recognises nothing becomes no bundle, by what its training wrote beside it."""

import json

import pytest

import build_bundle
from warmstart.export import worth
from warmstart.run.errors import UserError


def trained(folder, dev_wer, loss=(30.0, 3.0)):
    """The record and the log of a run, without a model that anybody would load."""
    run = {"training_set": "cs", "arm": "ml", "hours": "0.12", "seed": 1}
    record = {**run, "final": {"loss": loss[-1], "dev_loss": None, "dev_wer": dev_wer}}
    (folder / "run.json").write_text(json.dumps(record))
    lines = [f"{number},{value}" for number, value in enumerate(loss, 1)]
    (folder / "train.csv").write_text("hours_seen,loss\n" + "\n".join(lines) + "\n")
    return folder / "model.nemo"


@pytest.mark.parametrize(
    ("dev_wer", "loss", "said"),
    [
        (0.27, (30.0, 3.0), ""),
        (0.9, (30.0, 3.0), ""),
        (1.0, (30.0, 3.0), "on the validation cuts: WER 100 %"),
        (0.7, (70.0, 70.0), "on the validation cuts: loss did not fall, WER 70 %"),
        (0.2, (1.0, 1.0), ""),
        (None, (30.0, 3.0), ""),
        (None, (70.0, 71.0), "its loss did not fall, and no validation speaks for it"),
    ],
)
def test_what_speaks_against_a_model(tmp_path, dev_wer, loss, said):
    assert worth.doubts(trained(tmp_path, dev_wer, loss)) == said


def test_where_a_word_is_a_sentence_the_validation_says_nothing(tmp_path):
    assert worth.doubts(trained(tmp_path, 0.97), unspaced=True) == ""
    assert "did not fall" in worth.doubts(trained(tmp_path, 0.97, (70.0, 70.0)), unspaced=True)


def test_of_a_model_alone_nothing_is_known(tmp_path):
    assert worth.doubts(tmp_path / "model.nemo") == ""


def test_the_program_refuses_before_it_loads_anything(tmp_path):
    model = trained(tmp_path, 1.0)
    arguments = ["--model", str(model), "--run", "cs/ml/0.12h/seed1", "--precision", "int4"]
    arguments += ["--tier", "560ms:70:6", "--settings", '{"scheme": "k_quant"}']
    arguments += ["--example-cuts", str(tmp_path / "none"), "--output-dir", str(tmp_path / "b")]
    with pytest.raises(UserError, match="does not recognise speech") as told:
        build_bundle.main(arguments)
    assert "bundle.force: true" in str(told.value)
    assert not (tmp_path / "b").exists()
    # With force it goes on, to what is really missing.
    with pytest.raises(UserError, match="none"):
        build_bundle.main([*arguments, "--force"])
