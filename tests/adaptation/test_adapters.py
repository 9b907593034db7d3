"""A model with adapters decodes, streams and quantises as one without."""

import pytest
import soundfile
import torch
from made import toy_model
from made.toy_model import SPEECH

from warmstart.export import encoder
from warmstart.export.scheme import Scheme
from warmstart.models import quantised_weights
from warmstart.models.fastconformer import load
from warmstart.models.fastconformer.adapters import ADAPTER, adaptable, add_adapters
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.tier import Tier
from warmstart.run import files

pytestmark = pytest.mark.slow

TIER = Tier("560ms", 70, 6)
OFFLINE = Tier("full", 70, 6, offline=True)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A toy transducer with adapters that have learned something: their last layers are not
    zero."""
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    folder = tmp_path_factory.mktemp("adapted")
    config = toy_model.config(toy_model.train_tokenizer(folder / "tokenizer"))
    config["encoder"] = adaptable(config["encoder"])
    torch.manual_seed(1)
    model = EncDecRNNTBPEModel(cfg=OmegaConf.create(config))
    add_adapters(model, 64, seed=1)
    with torch.inference_mode():
        for layer in model.encoder.layers:
            layer.adapter_layer[ADAPTER].module[-1].weight.normal_(0, 0.3)
        toy_model._make_talkative(model.eval())
    model.save_to(str(folder / "model.nemo"))
    return folder / "model.nemo"


@pytest.fixture(scope="module")
def speech():
    return [
        soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*/*.flac"))[:6]
    ]


def test_a_restored_model_has_its_adapters_and_streams_what_it_says_offline(adapted, speech):
    model = load.load_model(adapted)
    whole = Decoder(model, OFFLINE).search(speech)
    assert Decoder(model, TIER).search(speech) == whole
    assert sum(len(found.tokens) for found in whole) > 20 * len(whole)
    model.encoder.set_enabled_adapters(enabled=False)
    assert Decoder(model, OFFLINE).search(speech) != whole


@pytest.mark.parametrize("scheme", ["fp32", "k_quant"])
def test_adapters_are_part_of_the_quantised_encoder(adapted, speech, tmp_path, scheme):
    path = tmp_path / "encoder.onnx"
    report = encoder.build(adapted, TIER, "int4", Scheme(scheme), path)
    assert report["parity"]["max_abs"] < 1e-4
    model = load.load_model(adapted)
    as_trained = Decoder(model, OFFLINE).search(speech)
    adapter = model.encoder.layers[1].adapter_layer[ADAPTER].module[1].weight
    before = adapter.clone()
    quantised_weights.load(model.encoder, path)
    expected = Decoder(model, OFFLINE).search(speech)
    assert (
        Decoder(model, TIER, OnnxEncoder(path, TIER, files.digest(adapted))).search(speech)
        == expected
    )
    assert torch.equal(adapter, before) == (scheme == "fp32")
    assert (expected == as_trained) == (scheme == "fp32")
