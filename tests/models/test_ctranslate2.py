"""A file of CTranslate2 becomes the snapshot that it was made of, or is refused in words."""

import json

import numpy as np
import pytest
import torch
from made.whisper import SIZES, model_bin, variables_of, whisper

from warmstart.models import ctranslate2
from warmstart.run.errors import UserError


@pytest.fixture(scope="module")
def model():
    return whisper()


@pytest.fixture(scope="module")
def variables(model):
    return variables_of(model)


def convert(folder, content):
    (folder / "model.bin").write_bytes(content)
    ctranslate2.to_snapshot(folder, folder / "snapshot")
    return folder / "snapshot"


def test_a_model_comes_back_tensor_by_tensor(model, variables, tmp_path):
    import transformers
    from safetensors.torch import load_file

    (tmp_path / "config.json").write_text('{"suppress_ids": [1, 2], "suppress_ids_begin": [7]}')
    made = convert(tmp_path, model_bin(variables))
    tensors = load_file(made / "model.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    again = transformers.WhisperForConditionalGeneration.from_pretrained(made, dtype=torch.float32)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float(), msg=name)
    config = json.loads((made / "config.json").read_text())
    assert {key: config[key] for key in SIZES if not key.endswith("_id")} == {
        key: value for key, value in SIZES.items() if not key.endswith("_id")
    }
    assert (config["suppress_tokens"], config["begin_suppress_tokens"]) == ([1, 2], [7])
    assert not (made / "tokenizer.json").exists()
    features = json.loads((made / "preprocessor_config.json").read_text())
    assert (features["feature_size"], features["sampling_rate"]) == (80, 16000)
    first = (made / "model.safetensors").read_bytes()
    assert (convert(tmp_path, model_bin(variables)) / "model.safetensors").read_bytes() == first
    (tmp_path / "tokenizer.json").write_bytes(b"as it is")
    assert (convert(tmp_path, model_bin(variables)) / "tokenizer.json").read_bytes() == b"as it is"


def test_a_file_that_is_cut_anywhere_is_refused(variables, tmp_path):
    whole = model_bin(variables)
    for size in (0, 3, 5, 30, len(whole) // 2, len(whole) - 1):
        with pytest.raises(UserError, match=r"no whole model file|no version of CTranslate2"):
            convert(tmp_path, whole[:size])
    with pytest.raises(UserError, match="1 bytes follow the last variable"):
        convert(tmp_path, whole + b"\0")
    half = len(whole) // 2
    with pytest.raises(UserError, match="its parts may be joined in another order"):
        convert(tmp_path, whole[half:] + whole[:half])
    assert not (tmp_path / "snapshot").exists()


def test_lengths_that_no_file_has_are_refused_before_memory_is_asked_for(variables, tmp_path):
    name = "encoder/conv1/weight"
    one = {name: variables[name]}
    content = bytearray(model_bin(one))
    at = content.index(name.encode()) + len(name) + 2
    for changed, said in (
        (b"\xff\xff\xff\x7f", "has 7680 bytes"),  # 2**31 rows of a shape
        (b"\x11\0\0\0", r"of shape \(17, 80, 3\) and type float16 has 7680 bytes"),
    ):
        altered = bytes(content[:at]) + changed + bytes(content[at + 4 :])
        with pytest.raises(UserError, match=said):
            convert(tmp_path, altered)
    many = bytearray(content)
    many[at - 1] = 200
    with pytest.raises(UserError, match="has 200 dimensions"):
        convert(tmp_path, bytes(many))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder/conv2/bias": None}, "encoder/conv2/bias is missing"),
        ({"encoder/layer_0/ffn/linear_0/bias": np.zeros(3, np.float16)}, r"\(3,\), \(24,\) is"),
        ({"encoder/extra": np.zeros(2, np.float16)}, r"1 variables belong to none \(encoder/extra"),
        ({"encoder/layer_7/x": np.zeros(2, np.float16)}, "layers of the encoder are 0, 1, 7"),
        ({"encoder/num_heads": None}, "encoder/num_heads is missing"),
        ({"encoder/conv1/weight": np.zeros((16, 80, 3), np.int8)}, r"is quantised \(int8\)"),
        (
            {"encoder/layer_1/self_attention/linear_0/bias": np.ones(48, np.float16)},
            "has a bias of its key, which Whisper has not",
        ),
    ],
)
def test_variables_that_make_no_whisper_are_named(variables, tmp_path, change, said):
    changed = {key: value for key, value in (variables | change).items() if value is not None}
    with pytest.raises(UserError, match=said):
        convert(tmp_path, model_bin(changed))
    assert not (tmp_path / "snapshot").exists()


def test_another_kind_of_model_is_refused(variables, tmp_path):
    with pytest.raises(UserError, match="is a 'TransformerSpec' of CTranslate2; a WhisperSpec"):
        convert(tmp_path, model_bin(variables, spec="TransformerSpec"))
    with pytest.raises(UserError, match="begins with 3, no version"):
        convert(tmp_path, model_bin(variables, version=3))
