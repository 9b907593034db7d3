"""A donor with its own decoder is decoded as published, with its language prompt, as 0 hours."""

import json

import pytest
import soundfile
import yaml
from made import small_speech, toy_model
from made.decoding import SETTINGS, read, tier_text, write_manifest
from made.studies import smoke_config
from made.toy_model import SPEECH

import decode
from warmstart.models.fastconformer import decoder, load
from warmstart.models.fastconformer.decoder import Decoder
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError

pytestmark = pytest.mark.slow

PROMPTS = {"it-IT": 2, "fr-FR": 0}


@pytest.fixture(scope="module")
def clips():
    return [
        soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("it/*.flac"))[:4]
    ]


@pytest.fixture(scope="module")
def with_prompts(tmp_path_factory):
    return toy_model.build(tmp_path_factory.mktemp("prompts"), prompts=PROMPTS)


def run(model, folder, clips, *more, tier=None):
    """Hypotheses and header of a zero-shot decode."""
    manifest = write_manifest(
        folder / "m" / "test.jsonl.gz", {f"u{index}": clip for index, clip in enumerate(clips)}
    )
    output = folder / "out" / "a.jsonl"
    tier = tier or {"name": "560ms", "left": 70, "right": 6, "offline": False}
    command = ["--run", "it/en/0h/seed1", "--precision", "full"]
    command += ["--tier", tier_text(tier), "--settings", json.dumps(SETTINGS)]
    decode.main(
        [
            "--model",
            str(model),
            *command,
            "--cuts",
            f"it/a={manifest}",
            "--output",
            f"it/a={output}",
            "--zero-shot",
            *more,
        ]
    )
    return read(output), json.loads(output.with_suffix(".json").read_text())


@pytest.mark.parametrize("offline", [False, True], ids=["streaming", "offline"])
@pytest.mark.parametrize("prompt", list(PROMPTS))
def test_tokens_are_those_of_nemos_forward_with_the_prompt(
    with_prompts, tmp_path, clips, prompt, offline
):
    import torch

    tier = {"name": "560ms", "left": 70, "right": 6, "offline": offline}
    lines, header = run(with_prompts, tmp_path, clips, "--prompt", prompt, tier=tier)
    model = load.load_model(with_prompts)
    model.encoder.set_default_att_context_size([56, 6])
    for line, samples in zip(lines, clips, strict=True):
        with torch.inference_mode():
            encoded, lengths = model(
                input_signal=torch.from_numpy(samples)[None],
                input_signal_length=torch.tensor([len(samples)]),
                prompt_indices=torch.tensor([PROMPTS[prompt]]),
            )
            found = model.decoding.rnnt_decoder_predictions_tensor(
                encoded, lengths, return_hypotheses=True
            )[0]
        expected = model.tokenizer.ids_to_tokens([int(token) for token in found.y_sequence])
        assert [token["piece"] for token in line["tokens"]] == expected
        assert len(expected) > 20
    assert (header["hours"], header["prompt"], header["left"]) == ("0", prompt, 56)
    assert header["lookahead_ms"] == (None if offline else 560)


def test_prompts_make_a_difference(with_prompts, clips):
    model = load.load_model(with_prompts)
    found = []
    for prompt in PROMPTS:
        load.set_prompt(model, prompt)
        found.append(Decoder(model, Tier("t", 56, 6)).search(clips[:1])[0].tokens)
    assert found[0] != found[1]


def test_a_hybrid_model_is_decoded_with_its_transducer(tmp_path, clips):
    """Both decoders of the model read the same frames; the tokens are those of the one and not of
    the other."""
    import torch

    path = toy_model.build(tmp_path, hybrid=True)
    lines, header = run(path, tmp_path, clips)
    model = load.load_model(path)
    model.encoder.set_default_att_context_size([70, 6])
    for line, samples in zip(lines, clips, strict=True):
        length = torch.tensor([len(samples)])
        with torch.inference_mode():
            encoded, lengths = model(
                input_signal=torch.from_numpy(samples)[None], input_signal_length=length
            )
            found = model.decoding.rnnt_decoder_predictions_tensor(
                encoded, lengths, return_hypotheses=True
            )[0]
            other = model.ctc_decoding.ctc_decoder_predictions_tensor(
                model.ctc_decoder(encoder_output=encoded), lengths
            )[0]
        said = [token["piece"] for token in line["tokens"]]
        assert said == model.tokenizer.ids_to_tokens([int(token) for token in found.y_sequence])
        assert line["hyp"] != other.text
        assert len(said) > 20
    assert header["left"] == 70


@pytest.mark.parametrize(
    ("written", "words"),
    [("ciao <it-IT>", "ciao"), ("<it> uno due", "uno due"), ("a <b c> d", "a <b c> d"), ("", "")],
)
def test_language_tags_are_no_words(written, words):
    assert decoder.without_language_tags(written) == words


def test_wrong_prompts_and_models_without_a_decoder_are_refused(with_prompts, tmp_path, clips):
    with pytest.raises(UserError, match=r"needs one of its own language prompts .*: fr-FR, it-IT"):
        run(with_prompts, tmp_path, clips[:1])
    with pytest.raises(UserError, match="prompt 'xx-XX'"):
        run(with_prompts, tmp_path, clips[:1], "--prompt", "xx-XX")
    plain = toy_model.build(tmp_path / "plain")
    with pytest.raises(UserError, match="takes no language prompt"):
        run(plain, tmp_path, clips[:1], "--prompt", "it-IT")
    small_speech.donor(tmp_path / "ctc.nemo", tmp_path / "plain" / "tokenizer", 1)
    with pytest.raises(
        UserError, match=r"EncDecCTCModelBPE is not a transducer .* take zero_shot out"
    ):
        run(tmp_path / "ctc.nemo", tmp_path, clips[:1])
    assert not list(tmp_path.glob("out/*.json*"))


def test_dry_run_lists_zero_hours_once_and_refuses_a_ctc_init(checkout, tmp_path):
    config = smoke_config()
    config["seeds"] = [3, 4]
    config["inits"]["public"] = {
        "name": "Published",
        "path": "demo/inits/ml.nemo",
        "zero_shot": {"prompts": {"it": "it-IT"}},
    }
    path = tmp_path / "zero.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    summary = checkout.snakemake("--summary", config=str(path)).stdout
    zero = sorted(
        {
            line.split("\t")[0]
            for line in summary.splitlines()
            if "/0h/" in line and line.split("\t")[0].endswith("jsonl")
        }
    )
    assert zero == [
        f"results/hypotheses/it/public/0h/seed3/full/{tier}/{test_set}.jsonl"
        for tier in ("560ms", "offline")
        for test_set in sorted(config["languages"]["it"]["test_sets"])
    ]
    assert "results/runs/it/public/0h" not in summary
    commands = checkout.snakemake("--dry-run", "--printshellcmds", zero[0], config=str(path)).stdout
    assert "--zero-shot --prompt it-IT" in commands
    assert "--model resources/inits/public.nemo" in commands
    config["inits"]["en"]["zero_shot"] = {}
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    refused = checkout.snakemake("--dry-run", config=str(path), check=False)
    assert refused.returncode
    assert (
        "inits.en.zero_shot: this init was pretrained here with CTC, and no arm" in refused.stdout
    )
