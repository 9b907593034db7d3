"""Precisions and bundles at offline tiers: which families have them, refused in the dry run."""

import copy
import json

import pytest
from conftest import ROOT

from warmstart import models
from warmstart.models.tier import Tier
from warmstart.models.wav2vec2.architectures.raw_audio import RawAudio
from warmstart.run.errors import UserError
from warmstart.study import checks, config
from warmstart.study.grid import Study

OFFLINE, STREAMING = Tier("offline", 70, 13, offline=True), Tier("560ms", 70, 6)


def test_a_family_of_whole_utterances_is_exported_at_offline_tiers_only():
    models.require_precision("wav2vec2_ctc", OFFLINE, only_onnx=True)
    models.require_bundle_tier("wav2vec2_ctc", OFFLINE)
    with pytest.raises(UserError, match=r"560ms streams.*take an offline tier"):
        models.require_precision("wav2vec2_ctc", STREAMING)
    with pytest.raises(UserError, match=r"560ms streams.*choose an offline tier"):
        models.require_bundle_tier("wav2vec2_ctc", STREAMING)
    models.require_precision("fastconformer_rnnt", OFFLINE)
    with pytest.raises(UserError, match=r"offline is offline.*list streaming tiers"):
        models.require_precision("fastconformer_rnnt", OFFLINE, only_onnx=True)


def study(folder):
    """The demo, and an arm on a snapshot whose settings can be read; its weights are not."""
    made = copy.deepcopy(config.load_config(ROOT / "demo.yaml"))
    made["inits"]["xlsr"] = {"name": "XLS-R", "path": str(folder)}
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    # No tensors: the length of a header, and the header.
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    made["arms"] = {"en": {"init": "en"}, "ml": {"init": "ml"}}
    made["arms"]["xlsr"] = {"init": "xlsr", "family": "wav2vec2_ctc", "tiers": ["offline"]}
    made["precisions"]["int4"]["tiers"] = ["560ms"]
    made["precisions"]["onnx"] = {"scheme": "fp32", "tiers": ["560ms"]}
    return made


def check(made):
    """What a dry run looks at."""
    made = copy.deepcopy(made)
    config.validate(made)
    found = Study(made, ROOT)
    checks.check(found)
    checks.arms.check_donors(found)


def test_what_onnxruntime_alone_computes_is_offline_where_every_arm_has_it(tmp_path):
    made = study(tmp_path)
    check(made)
    made["precisions"]["onnx"]["tiers"] = ["560ms", "offline"]
    with pytest.raises(UserError, match=r"arms.en: precisions.onnx.tiers: offline is offline"):
        check(made)
    for arm in ("en", "ml"):
        made["arms"][arm]["precisions"] = ["full", "int4"]
    check(made)


def test_an_encoder_that_cannot_be_exported_is_refused_where_its_donor_is_at_hand(
    tmp_path, monkeypatch
):
    made = study(tmp_path)
    monkeypatch.setattr(RawAudio, "exports", False)
    check(made)  # int4 is of streaming tiers, which the arm has not
    made["precisions"]["int4"]["tiers"] = "all"
    with pytest.raises(
        UserError, match=r"arms.xlsr, precision int4: wav2vec 2.0 or XLS-R cannot be exported"
    ):
        check(made)
