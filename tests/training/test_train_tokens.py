"""Trainings of each family on characters and phones, by real processes: what is learnt is written,
and a killed run goes on to the same bytes."""

import json
import random
import signal

import pytest
from made.programs import Program
from made.small_speech import SETTINGS, rows

from warmstart.data import cut_lines, phones, tokenizer
from warmstart.data.targets import IPA, PLAIN, Targets
from warmstart.models import DEFAULT_PRETRAINING, kind_of, open_family
from warmstart.models.tier import Tier
from warmstart.run import files
from warmstart.training.pretrain import Pretraining, pretrain

pytestmark = pytest.mark.slow

TEXT = {"it": {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìòù"}}
OFFLINE = Tier("offline", 70, 13, offline=True)


def raw_audio_donor(folder):
    """A snapshot of wav2vec 2.0 with a few thousand weights."""
    import torch
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
    )
    torch.manual_seed(3)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizers(speech, tmp_path_factory):
    """Of characters and of phones, of the training texts."""
    made = {}
    for tokens, targets in (("char", PLAIN), ("ipa", Targets(IPA, TEXT))):
        texts = tokenizer.supervision_texts(speech["train"])
        units = (unit for text in texts for unit in targets.units(targets.of(text, "it")))
        made[tokens] = tmp_path_factory.mktemp(tokens)
        tokenizer.train_units(units, made[tokens])
    return made


@pytest.fixture(scope="module")
def inits(donors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    raw_audio_donor(folder / "snapshot")
    packed = folder / "raw.safetensors"
    open_family("wav2vec2_ctc").pack_donor(folder / "snapshot", packed)
    return {
        "fastconformer_rnnt": donors["en"],
        "fastconformer_ctc": donors["en"],
        "wav2vec2_ctc": packed,
    }


def start(speech, folder, init, run_dir, tokens, family, **settings):
    chosen = {**SETTINGS, "tokens": tokens, **settings}
    arguments = [
        *("--train-cuts", str(speech["train"]), "--dev-cuts", f"it={speech['dev']}"),
        *("--tokenizer", str(folder), "--init", str(init), "--family", family),
        *("--run", "it/en/0.012h/seed1", "--settings", json.dumps(chosen)),
        *("--text", json.dumps(TEXT), "--run-dir", str(run_dir)),
        *("--output", str(run_dir / kind_of(family).model_file), "--log", str(run_dir / "log")),
    ]
    said = run_dir / f"said-{len(list(run_dir.glob('said-*')))}.txt"
    return Program("train", arguments, said)


def waveforms(speech):
    import lhotse

    cuts = lhotse.CutSet.from_dicts(cut_lines.read(speech["dev"]))
    return [cut.load_audio()[0] for cut in cuts]


@pytest.mark.parametrize(
    ("family", "tokens"),
    [
        ("fastconformer_rnnt", "char"),
        ("fastconformer_rnnt", "ipa"),
        ("fastconformer_ctc", "ipa"),
        ("wav2vec2_ctc", "char"),
    ],
)
def test_a_model_learns_and_writes_its_tokens(speech, tokenizers, inits, tmp_path, family, tokens):
    """Long enough to have learnt which symbols there are, on a corpus of a minute."""
    more = {
        "steps": {"fixed": 60},
        "validate_every_steps": 60,
        "checkpoint_every_steps": 60,
        "optimizer": {**SETTINGS["optimizer"], "lr": 5e-3, "encoder_lr_scale": 1.0},
    }
    program = start(speech, tokenizers[tokens], inits[family], tmp_path, tokens, family, **more)
    assert program.wait(600) == 0, program.said
    record = files.read_json(tmp_path / "run.json")
    assert record["settings"]["tokens"] == tokens
    assert record.get("phonemiser", {}).get("voices") == ({"it": "it"} if tokens == IPA else None)
    curve = rows(tmp_path)
    assert float(curve[-1]["loss"]) < 0.8 * float(curve[0]["loss"])
    model = open_family(family).load(tmp_path / kind_of(family).model_file)
    decoder = model.decoder(OFFLINE)
    pieces = set(decoder.vocabulary.pieces)
    texts = list(tokenizer.supervision_texts(speech["train"]))
    spoken = Targets(tokens, TEXT)
    units = {unit for text in texts for unit in spoken.units(spoken.of(text, "it"))}
    assert pieces == units | {"", "▁"}
    kept = decoder.with_candidates(4).decode(waveforms(speech)[:2])
    for hypothesis in decoder.decode(waveforms(speech)):
        assert set(hypothesis.text) <= set("".join(units)) | {" "}
        assert "".join(hypothesis.pieces).replace("▁", " ").strip() == hypothesis.text.strip()
    assert kept[0].candidates.tokens.shape[1] == 4


def test_each_cut_is_read_in_its_own_language_and_a_replayed_one_in_its():
    from lhotse import MonoCut, SupervisionSegment

    def cut(lang, text, custom=None):
        said = SupervisionSegment("s", "r", 0, 1, text=text, language=lang)
        return MonoCut("c", 0, 1, 0, supervisions=[said], custom=custom)

    spoken = Targets(IPA, {"it": {}, "fr": {}})
    cuts = [
        cut("it", "uno"),
        cut("fr", "deux"),
        cut("it", "deux", {"replay": "fr"}),
        cut(None, "uno"),
    ]
    read = [spoken.of_cut(one).supervisions[0].text for one in cuts]
    assert read == ["uno", "dø", "dø", "uno"]
    assert cuts[0].supervisions[0].text == "uno"
    assert PLAIN.of_cut(cuts[1]) is cuts[1]


def test_killed_at_any_step_a_run_on_phones_goes_on_to_the_same_bytes(
    speech, tokenizers, inits, tmp_path
):
    """The step is drawn anew each time and printed."""
    family, settings = "wav2vec2_ctc", {"log_every_steps": 1, "checkpoint_every_steps": 3}
    made = []
    for name, signals in (("whole", ()), ("killed", (signal.SIGKILL, signal.SIGTERM))):
        run_dir = tmp_path / name
        how = (speech, tokenizers[IPA], inits[family], run_dir, IPA, family)
        for number in signals:
            step = len(rows(run_dir)) + random.randint(1, 4)
            print("signal after row of step", step)
            program = start(*how, **settings)
            program.wait_for(lambda step=step, folder=run_dir: len(rows(folder)) >= step)
            program.send(number)
            assert program.wait() != 0
            assert not (run_dir / kind_of(family).model_file).exists()
        program = start(*how, **settings)
        assert program.wait() == 0, program.said
        made.append(files.digest(run_dir / kind_of(family).model_file))
    assert made[0] == made[1]
    record = files.read_json(tmp_path / "killed/run.json")
    assert record["phonemiser"]["espeak_ng"].split(".")[0].isdigit()
    assert record["steps"] == 12


def test_phones_without_a_voice_for_their_language_are_refused_before_anything_is_loaded(
    speech, tokenizers, inits, tmp_path
):
    family = "wav2vec2_ctc"
    arguments = [
        *("--train-cuts", str(speech["train"]), "--tokenizer", str(tokenizers[IPA])),
        *("--init", str(inits[family]), "--family", family, "--run", "it/en/0.012h/seed1"),
        *("--settings", json.dumps({**SETTINGS, "tokens": IPA})),
        *("--run-dir", str(tmp_path), "--output", str(tmp_path / "model.safetensors")),
    ]
    refused = Program("train", arguments, tmp_path / "refused.txt")
    assert refused.wait() != 0
    assert "--text names no language whose phones are learnt" in refused.said


def test_a_head_of_phones_is_pretrained_kept_and_decoded_as_it_is(speech, tmp_path):
    settings = {
        **SETTINGS,
        "hours": 0.008,
        "steps": 80,
        "seed": 1,
        "vocab_size": 64,
        "tokens": IPA,
        "text": TEXT,
        "checkpoint_every_steps": 80,
        "validate_every_steps": 80,
        "optimizer": {**SETTINGS["optimizer"], "lr": 5e-3, "encoder_lr_scale": 1.0},
    }
    output = tmp_path / "donor.nemo"
    pretrain(
        Pretraining(
            cuts={"it": speech["train"]},
            dev_cuts={"it": speech["dev"]},
            settings=settings,
            work_dir=tmp_path / "work",
            output=output,
        )
    )
    record = files.read_json(output.with_suffix(".json"))
    assert record["phonemiser"]["voices"] == {"it": "it"}
    model = open_family(DEFAULT_PRETRAINING).load(output)
    found = model.decoder(model.as_published(OFFLINE)).decode(waveforms(speech))
    known = set(Targets(IPA, TEXT).of("uno due tre quattro cinque sei sette otto nove dieci", "it"))
    heard = [phone for one in found for phone in phones.flat(phones.read(one.text))]
    assert heard, "it says something"
    assert set("".join(heard)) & known
