"""The one reader of manifests: what it takes for the block, and what every program says of a
damaged file."""

import gzip
import json

import pytest
from made.pool_material import TEXT, cut, write
from made.small_speech import SETTINGS

import build_pool
import mix_training_set
import score
import subset_budget
import train_tokenizer
from warmstart.data.utterances import read_test_set
from warmstart.run.errors import UserError


def test_the_block_is_the_manifests_else_the_speaker_else_the_utterance(tmp_path):
    made = [
        cut("a", "uno", speaker="anna"),
        cut("b", "due", speaker="anna"),
        cut("c", "tre", speaker=None),
    ]
    made[0]["custom"]["block"] = "sentence 7"
    del made[1]["custom"]["block"]
    del made[2]["custom"]
    found = read_test_set(write(tmp_path / "m.jsonl.gz", made))
    assert [utterance.block for utterance in found] == ["sentence 7", "anna", "c"]
    assert [utterance.text for utterance in found] == ["uno", "due", "tre"]
    assert json.loads(found[0].line) == made[0]


def test_an_id_that_stands_twice_and_an_empty_manifest_are_refused(tmp_path):
    path = write(tmp_path / "m.jsonl.gz", [cut("a", "uno"), cut("b", "due"), cut("a", "tre")])
    with pytest.raises(UserError, match=r"1 utterance ids occur twice, e\.g\. a; make the"):
        read_test_set(path)
    with pytest.raises(UserError, match=r"m\.jsonl\.gz: no utterances; a test set needs at least"):
        read_test_set(write(tmp_path / "m.jsonl.gz", []))


@pytest.mark.parametrize(
    ("line", "problem"), [(b'{"id": "a', "damaged, not JSON"), (b"[1, 2]", "not a Lhotse cut")]
)
def test_a_line_that_is_no_cut_is_named(tmp_path, line, problem):
    path = write(tmp_path / "m.jsonl.gz", [cut("a", "uno")])
    path.write_bytes(path.read_bytes() + gzip.compress(line + b"\n"))
    with pytest.raises(UserError, match=rf"m\.jsonl\.gz:2: {problem}.*run the workflow again"):
        read_test_set(path)


@pytest.fixture
def short(tmp_path):
    """A manifest of 500 cuts, cut short in the middle as a full disk leaves it."""
    path = write(tmp_path / "short.jsonl.gz", [cut(f"u{n}", "uno due") for n in range(500)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


DAMAGED = r"short\.jsonl\.gz: damaged \(.*\); delete it and run the workflow again"


def run(program, *arguments):
    program.main([str(argument) for argument in arguments])


def test_programs_say_the_same_of_a_manifest_that_was_cut_short(short, tmp_path):
    whole = write(tmp_path / "whole.jsonl.gz", [cut(f"u{n}", "uno due") for n in range(500)])
    output = ("--output", tmp_path / "out.jsonl.gz", "--report", tmp_path / "out.json")
    text = json.dumps({"text": TEXT})
    hypotheses = tmp_path / "h.jsonl"
    hypotheses.write_text("")
    scored = ("--lang", "it", "--hypotheses", hypotheses, "--settings", text)
    to = ("--output", tmp_path / "out.parquet")
    pool = ("--lang", "it", "--settings", text)
    tokenizer = json.dumps({"text": {"it": TEXT}, "vocab_size": 20, "character_coverage": 1.0})
    for program, arguments in [
        (score, (*scored, "--tests", f"human={short}", *to)),
        (score, (*scored, "--tests", f"human={whole}", "--train-text", short, *to)),
        (build_pool, (*pool, "--manifests", f"own={short}", "--tests", f"human={whole}", *output)),
        (build_pool, (*pool, "--manifests", f"own={whole}", "--tests", f"human={short}", *output)),
        (subset_budget, ("--pool", short, "--hours", "1000", *output)),
        (mix_training_set, ("--parts", f"it={short}", *output)),
        (mix_training_set, ("--parts", f"it={whole}", f"fr={short}", *output)),
        (
            train_tokenizer,
            ("--pools", f"it={short}", "--settings", tokenizer, "--output-dir", tmp_path / "bpe"),
        ),
    ]:
        with pytest.raises(UserError, match=DAMAGED):
            run(program, *arguments)
    assert not list(tmp_path.glob("out.jsonl.gz")) + list(tmp_path.glob("out.parquet"))


@pytest.mark.slow
def test_decoding_says_the_same(short, tmp_path):
    import decode

    (tmp_path / "model.nemo").write_bytes(b"not looked into before the manifest is read")
    with pytest.raises(UserError, match=DAMAGED):
        run(
            decode,
            *("--model", tmp_path / "model.nemo", "--run", "it/en/0.02h/seed1"),
            *("--precision", "full", "--tier", "560ms:70:6", "--settings", '{"device": "cpu"}'),
            *("--cuts", f"it/human={short}", "--output", f"it/human={tmp_path / 'h.jsonl'}"),
        )


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["--train-cuts", "--dev-cuts"])
def test_training_says_the_same(short, speech, donors, tmp_path, damaged):
    import train

    cuts = {"--train-cuts": speech["train"], "--dev-cuts": speech["dev"]} | {damaged: short}
    cuts["--dev-cuts"] = f"it={cuts['--dev-cuts']}"
    files = [str(part) for pair in cuts.items() for part in pair]
    with pytest.raises(UserError, match=DAMAGED):
        run(
            train,
            *files,
            *("--tokenizer", speech["tokenizer"], "--init", donors["en"]),
            *("--run", "it/en/0.01h/seed1"),
            *("--settings", json.dumps(SETTINGS | {"validate_every_steps": 1})),
            *("--run-dir", tmp_path / "run", "--output", tmp_path / "run/model.nemo"),
        )
