"""Hypothesis files with their headers, and test manifests, as scoring reads them."""

import gzip
import json

from warmstart.data.utterances import read_test_set

TEXT = {"alphabet": "abc", "numbers": "it", "keep": "'"}
KEYS = {
    "training_set": "it",
    "lang": "it",
    "arm": "en",
    "hours": "0.02",
    "seed": 1,
    "precision": "full",
    "tier": "560ms",
    "test_set": "human",
}
CONTEXT = {"left": 70, "right": 6, "offline": False}


def write_manifest(path, texts, block=None):
    """A test manifest with the fields that scoring reads."""
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for place, text in enumerate(texts):
            cut = {
                "id": f"u{place}",
                "duration": 1.5,
                "supervisions": [{"text": text}],
                "custom": {"block": block or f"b{place // 2}"},
            }
            stream.write(json.dumps(cut) + "\n")
    return path


def references(tmp_path, texts):
    """id -> utterance, of a manifest with these texts."""
    found = read_test_set(write_manifest(tmp_path / "references.jsonl.gz", texts))
    return {utterance.id: utterance for utterance in found}


def write_hypotheses(path, hypotheses, *, times=None, ids=None, **keys):
    """A hypothesis file and its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for place, hypothesis in enumerate(hypotheses):
        tokens = [
            {"piece": piece, "time_s": (times or 0.0) + 0.1 * n}
            for n, piece in enumerate(hypothesis.split())
        ]
        lines.append(
            json.dumps(
                {"id": ids[place] if ids else f"u{place}", "hyp": hypothesis, "tokens": tokens}
            )
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps({**KEYS, **CONTEXT, **keys}), encoding="utf-8")
    return path
