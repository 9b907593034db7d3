"""Time of scoring: what the leaderboard's rules add to our own.

Scores made-up hypothesis files of several decodes of one test set, with and without the counts of
`warmstart.evidence.leaderboard`. A share of the utterances is written alike by all decodes, as by
neighbouring tiers of one model.

    python benchmarks/scoring.py --utterances 10000 --decodes 10 --alike 0.5
"""

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from warmstart.evidence import leaderboard, scoring  # noqa: E402

WORDS = {
    "en": (
        "the and of it's don't that colour was for twenty one with mr as his they be at have "
        "this from or had by hundred not but what some we can out other were all your when up "
        "use how each she which their time if will way about many then them would write like "
        "so these her long make thing see him two has look more day could go come did number "
        "sound no most people over know"
    ),
    "de": (
        "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als "
        "auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem "
        "über einen so zum war haben nur oder aber vor zur bis mehr durch man sein wurde sei "
        "haus tür bundes kanzlerin 21"
    ),
    "it": (
        "di e il la che in a per un è del non una sono con si da dei come al anche le più nel "
        "alla l'uomo dell'acqua c'è un'altra gli ha o della lo ma questo se due molto suo "
        "essere anni fatto quando stato ancora prima tre dove sempre tutti qui casa gatto "
        "mondo bene cosa parte tempo 3"
    ),
}
TEXT = {
    "en": {"alphabet": "abc", "numbers": "en", "keep": "'"},
    "de": {"alphabet": "abc", "numbers": "de"},
    "it": {"alphabet": "abc", "numbers": "it", "keep": "'"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--decodes", type=int, default=10)
    parser.add_argument("--alike", type=float, default=0.5, help="share written alike by all")
    parser.add_argument("--words", type=int, default=20, help="of an utterance, on average")
    arguments = parser.parse_args()
    print("| language | rows | ours, s per 100,000 | with the leaderboard's | added |")
    print("| --- | --- | --- | --- | --- |")
    for lang in WORDS:
        with tempfile.TemporaryDirectory() as folder:
            rows = arguments.utterances * arguments.decodes
            spent = [
                100_000 * seconds / rows
                for seconds in measure(Path(folder), lang, arguments, random.Random(0))
            ]
        added = f"{spent[1] - spent[0]:.1f}"
        print(f"| {lang} | {rows:,} | {spent[0]:.1f} | {spent[1]:.1f} | {added} |", flush=True)


def measure(
    folder: Path, lang: str, arguments: argparse.Namespace, chance: random.Random
) -> list[float]:
    """CPU seconds of scoring all decodes, without the leaderboard's counts and with them."""
    words = WORDS[lang].split()
    references = [
        " ".join(chance.choices(words, k=max(1, round(chance.gauss(arguments.words, 6)))))
        for _ in range(arguments.utterances)
    ]
    manifest = folder / "test.jsonl.gz"
    with gzip.open(manifest, "wt", encoding="utf-8") as stream:
        for place, reference in enumerate(references):
            cut = {"id": f"u{place}", "duration": 5, "supervisions": [{"text": reference}]}
            stream.write(json.dumps(cut) + "\n")
    common = [misheard(reference, words, chance) for reference in references]
    files = []
    for decode in range(arguments.decodes):
        said = [
            one if chance.random() < arguments.alike else misheard(reference, words, chance)
            for one, reference in zip(common, references, strict=True)
        ]
        path = folder / f"{decode}.jsonl"
        lines = (json.dumps({"id": f"u{place}", "hyp": one}) for place, one in enumerate(said))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.append(path)
    header = {
        **dict.fromkeys(("training_set", "arm", "precision", "tier"), "x"),
        **{"lang": lang, "hours": "1", "seed": 1, "test_set": "made"},
    }
    counted = leaderboard.Counter.row
    spent = []
    for row in (lambda *_: {}, counted):
        leaderboard.Counter.row = row  # type: ignore[method-assign]
        scorer = scoring.Scorer(lang, {"text": TEXT[lang]}, {"made": manifest}, None)
        started = time.process_time()
        for path in files:
            scorer.score(path, header, None)
        spent.append(time.process_time() - started)
    return spent


def misheard(reference: str, words: list[str], chance: random.Random) -> str:
    """A reference with one word in ten wrong, left out, or written together with the next."""
    heard: list[str] = []
    for word in reference.split():
        if chance.random() >= 0.1:
            heard.append(word)
        elif (kind := chance.choice(("wrong", "left out", "together"))) == "wrong":
            heard.append(chance.choice(words))
        elif kind == "together" and heard:
            heard[-1] += word
    return " ".join(heard)


if __name__ == "__main__":
    main()
