"""References of arms that write phones are split as phones, those of other arms as words."""

import pytest
from made import candidates as made

from warmstart.data import tokenizer
from warmstart.evidence.candidates import Counter

TEXT = {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "it"}
SPOKEN = {"voice": "it", "arms": ["en_ipa"], "zero_shot": ["en"]}


@pytest.mark.parametrize(
    ("arm", "zero_shot", "right"),
    [("en_ipa", False, True), ("en", False, False), ("en", True, True), ("en_ipa", True, False)],
)
def test_the_right_tokens_of_an_arm_are_those_that_it_learnt(tmp_path, arm, zero_shot, right):
    """`gnu` is ɲu. As letters it is g, n and u, of which one is a token."""
    tokenizer.train_units(["ɲ", "u"], tmp_path)
    model = (tmp_path / "tokenizer.model").read_bytes()
    lines = (tmp_path / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    pieces = ["", *(line.split("\t")[0] for line in lines[1:])]
    manifest = made.write_manifest(tmp_path / "m.jsonl.gz", ["x"], text="gnu")
    taken = [[pieces.index(piece)] for piece in ("▁", "ɲ", "u")]
    keys = {"arm": arm} | ({"zero_shot": True} if zero_shot else {})
    path = made.write(tmp_path / "h.jsonl", {"x": taken}, pieces, sentencepiece=model, **keys)
    one = Counter("it", TEXT, {"fleurs": manifest}, SPOKEN).count(path)
    assert one.counts["emissions"].sum() == 3
    assert bool(one.counts["right_first"].sum() == 3) == right
