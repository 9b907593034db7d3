"""From a model with a head a language to the table: cross-decodes, the identifier on the encoder
that the heads share, and what choosing a head costs."""

import json

import pandas as pd
import pytest
import soundfile
import torch
from conftest import ROOT
from made.toy_model import train_tokenizer
from test_wav2vec2 import FAMILY, OFFLINE, RECIPE, snapshot

import cross_decode
import identify_language
import route
from warmstart.data import cut_lines
from warmstart.evidence import analyses, routed
from warmstart.evidence.collected import Evidence
from warmstart.evidence.settings import Settings
from warmstart.evidence.tables import read_table, write_table
from warmstart.models import open_family
from warmstart.run import files
from warmstart.study.stages import filled

pytestmark = pytest.mark.slow

RUN = "it+fr/en/1h/seed1"
SETTINGS = json.dumps({"device": "cpu", "seconds_heard": [0.01, 0.1, "all"]})
TEXT = {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìòù", "numbers": "it"}


def manifest(path, lang, start, count, speakers):
    """Prompts of the demo; who speaks is made up."""
    with cut_lines.writing(path) as stream:
        for place, audio in enumerate(
            sorted((ROOT / f"demo/speech/{lang}").glob("*.flac"))[start:]
        ):
            if place == count:
                break
            about = soundfile.info(audio)
            name = f"{path.stem.split('.')[0]}-{place}"
            length = {"start": 0, "duration": about.duration, "channel": 0}
            speaker = f"{lang}-{speakers}-{place % 4}"
            said = {"id": name, "recording_id": name, "text": "uno due", "language": lang}
            recording = {
                "id": name,
                "sources": [{"type": "file", "channels": [0], "source": str(audio)}],
                "sampling_rate": about.samplerate,
                "num_samples": about.frames,
                "duration": about.duration,
                "channel_ids": [0],
            }
            cut = {"id": name, "type": "MonoCut", **length, "recording": recording}
            cut["supervisions"] = [{**said, **length, "speaker": speaker}]
            cut["custom"] = {"block": speaker, "corpus": "c"}
            stream.write(cut_lines.line(cut))
    return path


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model of two heads, and manifests whose test speakers are new."""
    folder = tmp_path_factory.mktemp("routed")
    snapshot(folder / "donor", "wav2vec2-large")
    family = open_family(FAMILY)
    sizes = {"it": 64, "fr": 48}
    tokenizers = {
        lang: train_tokenizer(tmp_path_factory.mktemp(lang), size) for lang, size in sizes.items()
    }
    donor = family.read_donor(folder / "donor")
    made = family.build_heads(donor, RECIPE, tokenizers=tokenizers, seed=1, steps=10)
    with torch.no_grad():  # a random head says one thing; these say many
        for name, part in made.parts().items():
            if name != "encoder":
                part.weight.mul_(20)
    made.save(folder / "model.safetensors")
    found = {"model": folder / "model.safetensors"}
    for lang in sizes:
        for split, start, count in (("train", 0, 12), ("dev", 12, 6), ("test", 18, 8)):
            path = folder / f"{lang}-{split}.jsonl.gz"
            found[lang, split] = manifest(path, lang, start, count, split)
    return found


def test_heads_are_decoded_chosen_from_and_counted(material, tmp_path):
    model = ["--model", str(material["model"]), "--family", FAMILY, "--tier", OFFLINE.as_text()]
    tests = [f"{lang}/t={material[lang, 'test']}" for lang in ("it", "fr")]
    outputs = {
        (lang, head): tmp_path / RUN / "heads" / head / f"{lang}_t.jsonl"
        for lang in ("it", "fr")
        for head in ("it", "fr")
    }
    decoded = [f"{head}:{lang}/t={path}" for (lang, head), path in outputs.items()]
    cross_decode.main(
        [*("--run", RUN, *model, "--cuts", *tests, "--output", *decoded), "--settings", SETTINGS]
    )
    said = tmp_path / "said.parquet"
    identify_language.main(
        [
            *("--languages", "it", "fr", *model, "--tests", *tests, "--output", str(said)),
            *("--train-cuts", *(str(material[lang, "train"]) for lang in ("it", "fr"))),
            *("--dev-cuts", *(str(material[lang, "dev"]) for lang in ("it", "fr"))),
            *("--settings", SETTINGS),
        ]
    )
    heard = pd.read_parquet(said)
    assert set(heard.speaker) == {"unheard"}
    # 0.01 s is less than one frame of the convolutions hears (25 ms); 0.1 s is four.
    assert (heard[heard.seconds == "0.01"].said == "").all()
    assert (heard[heard.seconds == "0.1"].said != "").all()
    output = tmp_path / "routed.parquet"
    texts = json.dumps({"it": TEXT, "fr": {**TEXT, "numbers": "fr"}})
    named = [f"{lang}/t/{head}={path}" for (lang, head), path in outputs.items()]
    arguments = ["--run", RUN, "--tier", "offline", "--identified", str(said), "--tests", *tests]
    route.main([*arguments, "--hypotheses", *named, "--settings", texts, "--output", str(output)])
    found = routed.read([output])
    assert found is not None
    assert found.about[0]["crossed"] is True
    assert found.about[0]["speakers"] == {"it/t": 4, "fr/t": 4}
    rows = found.rows
    assert set(rows.way) == {"given", "detected", "most_confident", "most_confident_calibrated"}
    # The most confident head is that of the higher number in the files.
    for lang in ("it", "fr"):
        lines = {
            head: [json.loads(line) for line in outputs[lang, head].read_text().splitlines()]
            for head in ("it", "fr")
        }
        raw = rows[(rows.way == "most_confident") & (rows.lang == lang)].set_index("id")
        for it, fr in zip(lines["it"], lines["fr"], strict=True):
            if it["confidence"] != fr["confidence"]:
                wanted = "it" if it["confidence"] > fr["confidence"] else "fr"
                assert raw.said[it["id"]] == wanted
    settings = Settings.of(
        filled(
            "statistics",
            {
                "baseline": "en",
                "challenger": "ml",
                "headline_test_set": "t",
                "reference_tier": "offline",
                "replicates": 200,
            },
        )
    )
    for name in ("routing", "confusion"):
        analysis = analyses.load(name)
        evidence = Evidence(pd.DataFrame(), [], [], routed=found)
        write_table(tmp_path / f"{name}.csv", analysis.rows(evidence, settings), analysis.columns)
    table = read_table(tmp_path / "routing.csv")
    silent = table[(table.seconds.astype(str) == "0.01") & (table.lang == "mean")].iloc[0]
    assert silent.accuracy_pct == pytest.approx(50)
    assert silent.status == "not estimable: no frame to learn from"
    assert silent.undecided == 16
    whole = table[(table.seconds == "all") & (table.lang == "mean")].iloc[0]
    given = table[(table.way == "given") & (table.lang == "mean")].iloc[0]
    assert whole.wer_pct - given.wer_pct == pytest.approx(whole.cost_pp, abs=0.01)
    matrix = read_table(tmp_path / "confusion.csv")
    sums = matrix[matrix.seconds == "all"].groupby("lang").share_pct.sum()
    assert sums.tolist() == pytest.approx([100, 100])
    assert files.read_json(said.with_suffix(".json"))["encoder"] == "model"
