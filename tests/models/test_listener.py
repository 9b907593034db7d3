"""Mean states of a donor's encoder: alone as in a batch, NeMo's own forward, and what a study makes
of them."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import ROOT
from made.decoding import write_manifest
from made.toy_model import CONTEXTS, SAMPLE_RATE, SPEECH, toy_model_path  # noqa: F401

import probe_init
from warmstart.models import KINDS, open_family
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

OFFLINE = Tier("offline", 70, 13, offline=True)
DONOR = ROOT / "demo/inits/ml.nemo"


def listener(path, tier=OFFLINE, **more):
    family = open_family("fastconformer_rnnt")
    return family.listen(family.read_donor(path), tier, **more)


@pytest.fixture(scope="module")
def clips():
    paths = sorted(SPEECH.glob("it/*.flac"))[:6]
    found = [soundfile.read(path, dtype="float32")[0] for path in paths]
    return [*found, found[0][: SAMPLE_RATE // 2]]


@pytest.mark.parametrize("tier", [OFFLINE, Tier("560ms", 70, 6)])
def test_a_waveform_in_a_batch_has_the_state_that_it_has_alone(clips, tier):
    heard = listener(DONOR, tier)
    together = heard.mean_states(clips)
    alone = np.concatenate([heard.mean_states([one]) for one in clips])
    assert together.shape == (len(clips), 128)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=2e-4)
    # They differ from each other by far more.
    assert np.abs(together[0] - together[1]).max() > 0.05


def test_a_state_is_the_mean_of_nemos_own_forward(toy_model_path, clips):
    model = open_family("fastconformer_rnnt").load(toy_model_path).lightning
    model.encoder.set_default_att_context_size(CONTEXTS[0])
    with torch.inference_mode():
        encoded, lengths = model.forward(
            input_signal=torch.from_numpy(clips[0])[None],
            input_signal_length=torch.tensor([len(clips[0])]),
        )
    wanted = encoded[0, :, : int(lengths)].mean(dim=1).numpy()
    found = listener(toy_model_path).mean_states(clips[:1])[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_no_frame_is_no_state_and_leaves_the_others_alone(clips):
    heard = listener(DONOR)
    found = heard.mean_states([clips[0], np.zeros(40, np.float32)])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[0], heard.mean_states([clips[0]])[0], atol=2e-4)


def test_random_weights_follow_the_seed_and_are_not_the_donors(clips):
    one, same, other = (
        listener(DONOR, random_seed=seed).mean_states(clips[:1]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - listener(DONOR).mean_states(clips[:1])).max() > 1e-3


def test_the_families_that_say_so_can(clips):
    for name, kind in KINDS.items():
        # Other encoders are asked in the tests of their families.
        if kind.probes and kind.encoder == "fastconformer":
            family = open_family(name)
            found = family.listen(family.read_donor(DONOR), OFFLINE).mean_states(clips[:1])
            assert np.isfinite(found).all()


def test_the_program_writes_a_row_an_utterance(tmp_path, clips):
    manifests = {
        part: write_manifest(
            tmp_path / part / "cuts.jsonl.gz", {f"{part}{n}": clips[n] for n in own}
        )
        for part, own in (("train", (0, 1)), ("test", (2,)))
    }
    output = tmp_path / "it.parquet"
    arguments = ["--donor", str(DONOR), "--tier", OFFLINE.as_text(), "--output", str(output)]
    settings = json.dumps({"device": "cpu", "batch_size": 2})
    cuts = [f"human/{part}={path}" for part, path in manifests.items()]
    probe_init.main([*arguments, "--settings", settings, "--cuts", *cuts])
    table = pd.read_parquet(output)
    assert [tuple(row) for row in table[["test_set", "part", "id"]].to_numpy()] == [
        ("human", "train", "train0"),
        ("human", "train", "train1"),
        ("human", "test", "test2"),
    ]
    np.testing.assert_allclose(
        np.stack(table.state), listener(DONOR).mean_states(clips[:3]), atol=2e-4
    )
    with pytest.raises(SystemExit):
        probe_init.main([*arguments, "--settings", settings, "--cuts", f"human={cuts[0]}"])


def test_a_donor_that_is_none_is_told(tmp_path):
    (tmp_path / "x.nemo").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"x\.nemo"):
        listener(tmp_path / "x.nemo")
