"""Which layers a LoRA means, said of a donor's file before any model is built."""

import json

import pytest
from conftest import ROOT

from warmstart import adaptation
from warmstart.adaptation.layers import chosen, lora_fault
from warmstart.models import open_family
from warmstart.models.base import Donor
from warmstart.run.errors import UserError

LINEARS = {
    "layers.0.self_attn.linear_q": (64, 64),
    "layers.1.self_attn.linear_q": (64, 64),
    "layers.1.feed_forward1.linear1": (64, 256),
    "out": (40, 64),
}


def test_a_glob_means_layers_by_their_names():
    assert chosen("*linear_q", LINEARS) == [name for name in LINEARS if name.endswith("_q")]
    assert lora_fault({"layers": "*", "rank": 40}, LINEARS) is None
    assert lora_fault({"layers": "layers.*", "rank": 64}, LINEARS) is None


def test_a_glob_of_nothing_is_answered_with_what_there_is():
    said = lora_fault({"layers": "*query", "rank": 4}, LINEARS)
    assert said == (
        "adaptation lora.layers is '*query', which no linear layer is called; these are there: "
        "layers.*.self_attn.linear_q, layers.*.feed_forward1.linear1, out"
    )
    near = lora_fault({"layers": "layers.*.self_attn.linear_k", "rank": 4}, LINEARS)
    assert "did you mean 'layers.*.self_attn.linear_q'?" in near


def test_a_rank_above_the_narrowest_layer_is_answered_with_its_width():
    said = lora_fault({"layers": "*", "rank": 41}, LINEARS)
    assert said.startswith("adaptation lora.rank is 41, above the width 40 of out; take 40 at most")


class Opaque(Donor):
    about = refusal = differences = None


Opaque.__abstractmethods__ = frozenset()


def test_of_a_file_that_does_not_tell_nothing_is_said():
    adaptation.check_donor({"kind": "lora", "rank": 10**6, "layers": "nothing"}, Opaque())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 600}, r"arms.low: adaptation lora.rank is 600, above the width \d+ of "),
        ({"layers": "*linear_x"}, r"arms.low: .*'\*linear_x'.* there: pre_encode.out, layers"),
    ],
)
def test_the_dry_run_refuses_what_a_donor_that_is_here_cannot_have(options, says):
    from warmstart.study import config
    from warmstart.study.checks.arms import check_donors
    from warmstart.study.grid import Study

    made = config.load_config(ROOT / "demo.yaml")
    made["arms"] = {"low": {"init": "ml", "adaptation": {"kind": "lora"} | options}}
    made["arms"] |= {name: {"init": name} for name in ("en", "ml")}
    config.validate(made)
    with pytest.raises(UserError, match=says):
        check_donors(Study(made, ROOT))


# ---- against models


@pytest.mark.slow
@pytest.mark.parametrize("family", ["fastconformer_rnnt", "fastconformer_ctc"])
def test_a_nemo_file_tells_the_layers_of_the_model_that_is_built(speech, donors, family):
    from made.small_speech import SETTINGS

    from warmstart.adaptation.lora import linears_of

    opened = open_family(family)
    donor = opened.read_donor(donors["en"])
    made = opened.build(donor, SETTINGS, tokenizer=speech["tokenizer"], seed=1, steps=2)
    assert donor.linears() == linears_of(made.pretrained())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["Wav2Vec2", "Hubert", "Wav2Vec2Bert", "Whisper"])
def test_a_snapshot_tells_the_layers_of_the_model_that_is_built(tmp_path, speech, architecture):
    import transformers
    from made.small_speech import SETTINGS
    from made.whisper import whisper_snapshot

    from warmstart.adaptation.lora import linears_of

    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    if architecture == "Whisper":
        whisper_snapshot(tmp_path)
    else:
        if architecture != "Wav2Vec2Bert":
            sizes |= {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16}
            sizes |= {"num_conv_pos_embedding_groups": 4}
        config = getattr(transformers, f"{architecture}Config")(**sizes, vocab_size=32)
        getattr(transformers, f"{architecture}ForCTC")(config).save_pretrained(tmp_path)
        note = {"sampling_rate": 16000, "feature_size": 80, "num_mel_bins": 80, "stride": 2}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(note))
    family = open_family("wav2vec2_ctc")
    settings = SETTINGS | {"model": {"dropout": 0.0, "encoder_dropout": None}}
    donor = family.read_donor(tmp_path)
    made = family.build(donor, settings, tokenizer=speech["tokenizer"], seed=1, steps=2)
    found = linears_of(made.pretrained())
    assert len(found) > 8
    assert donor.linears() == found


@pytest.mark.slow
def test_a_whole_whisper_tells_the_layers_of_both_sides(tmp_path):
    from made.small_speech import SETTINGS
    from made.whisper import whole_whisper

    from warmstart.adaptation.lora import linears_of

    whole_whisper(tmp_path)
    family = open_family("whisper")
    donor = family.read_donor(tmp_path)
    made = family.build(donor, SETTINGS, tokenizer=None, seed=1, steps=2)
    found = linears_of(made.pretrained())
    assert len(found) == 2 * 6 + 2 * 10  # two layers on each side
    assert donor.linears() == found
