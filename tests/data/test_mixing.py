"""Mixing of languages: the bytes of the first edition for one language with replay and for
pretraining, and for several languages even shares, nested budgets, ids that do not clash."""

import hashlib
import itertools
import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mix_training_set
import train_tokenizer
from warmstart.data import cut_lines, mixing
from warmstart.data.mixing import Part, Replay
from warmstart.run import files
from warmstart.run.errors import UserError


def cut(cut_id, seconds, lang=None):
    language = {"language": lang} if lang else {}
    return {
        "id": cut_id,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [{"id": cut_id, "text": f"text of {cut_id}", **language}],
        "custom": {"block": "b", "corpus": "c"},
        "type": "MonoCut",
    }


def joined(cut_id, seconds, lang=None):
    """A cut of joined intervals, as VoxPopuli's are."""
    tracks = [
        {
            "cut": cut(f"{cut_id}-{n}", seconds / 2, lang),
            "type": "MonoCut",
            "offset": n * seconds / 2,
        }
        for n in (0, 1)
    ]
    return {"id": cut_id, "tracks": tracks, "type": "MixedCut"}


def write(path, made):
    with cut_lines.writing(path) as stream:
        for one in made:
            stream.write(cut_lines.line(one))
    return path


def speech(lang, count, grid):
    """Cuts whose lengths lie on a grid of `grid` samples, so that sums tie; every fifth is
    joined."""
    draw = random.Random(f"{lang} {count} {grid}")
    return [
        (joined if n % 5 == 4 else cut)(
            f"spoken-{lang}-train-{n:04}", draw.randrange(1, 20) * grid / 16000, lang
        )
        for n in range(count)
    ]


def digest(lines):
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16]


# Made with the code before there were training sets of several languages (commit 620fc33): models
# that were trained on these cuts must stay as they are. Of the lines: the bytes of the packed file
# depend on zlib.
REPLAYED = {
    (1600, 0.1): ("bfdccf7df22fefa8", "1a4920e546f67709"),
    (1600, 0.2): ("09f4d5384df40146", "8b1f0ca01daa2b0b"),
    (1600, 1 / 3): ("4cbce9d848d060fb", "11cdb75eb731de0a"),
    (1237, 0.1): ("5cf2532089c8fb24", "ebc815c49162b09a"),
    (1237, 0.2): ("9413f78c7aa36ec0", "6fbe5e83fe24f838"),
    (1237, 1 / 3): ("db3135493e4d39d0", "1f114905fbfd7251"),
}
PRETRAINED = {1600: "43c9275108e7fb1b", 1237: "03320d27df9872fd"}


@pytest.mark.parametrize(("grid", "fraction"), REPLAYED)
def test_one_language_with_replay_has_the_bytes_that_it_always_had(tmp_path, grid, fraction):
    own = write(tmp_path / "it.jsonl.gz", speech("it", 400, grid))
    other = write(tmp_path / "en.jsonl.gz", speech("en", 300, grid))
    parts, replay = [Part("it", own)], Replay("en", other, fraction)
    mixing.mix(parts, tmp_path / "mixed.jsonl.gz", tmp_path / "mixed.json", replay)
    lines = digest(cut_lines.read_lines(tmp_path / "mixed.jsonl.gz"))
    texts = digest(text.encode() for text in mixing.texts(parts, replay))
    assert (lines, texts) == REPLAYED[grid, fraction]


def test_one_language_alone_is_its_budget(tmp_path):
    own = write(tmp_path / "it.jsonl.gz", speech("it", 40, 1600))
    mixing.mix([Part("it", own)], tmp_path / "mixed.jsonl.gz", tmp_path / "mixed.json")
    assert (tmp_path / "mixed.jsonl.gz").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("grid", PRETRAINED)
def test_pretraining_has_the_bytes_that_it_always_had(tmp_path, grid):
    manifests = {
        lang: write(tmp_path / f"{lang}.jsonl.gz", speech(lang, count, grid))
        for lang, count in (("it", 400), ("en", 300), ("de", 300))
    }
    text = {"it": {"alphabet": "abcdefghijklmnop", "numbers": "it"}}
    got = mixing.equal_hours(manifests, 0.12, 7, text, tmp_path / "chosen.jsonl.gz")
    assert digest(cut_lines.read_lines(tmp_path / "chosen.jsonl.gz")) == PRETRAINED[grid]
    assert all(0.04 <= hours < 0.0404 for hours in got.values())
    with pytest.raises(UserError, match=r"it: 0\.200 h asked for pretraining, 0\.\d+ h in"):
        mixing.equal_hours(manifests, 0.6, 7, text, tmp_path / "more.jsonl.gz")
    assert not (tmp_path / "more.jsonl.gz").exists()


def run(tmp_path, parts, *more, name="mixed"):
    """The program; returns (cuts, report)."""
    output, report = tmp_path / f"{name}.jsonl.gz", tmp_path / f"{name}.json"
    given = [f"{lang}={path}" for lang, path in parts.items()]
    arguments = ["--parts", *given, *more, "--output", output, "--report", report]
    mix_training_set.main([str(argument) for argument in arguments])
    return list(cut_lines.read(output)), files.read_json(report)


def test_several_languages_lie_between_each_other_each_cut_once(tmp_path):
    made = {lang: speech(lang, n, 1237) for lang, n in (("fr", 200), ("es", 200), ("it", 100))}
    parts = {lang: write(tmp_path / f"{lang}.jsonl.gz", cuts) for lang, cuts in made.items()}
    other = write(tmp_path / "en.jsonl.gz", speech("en", 200, 1237))
    mixed, report = run(tmp_path, parts, "--replay", f"en={other}", "--fraction", "0.2")
    assert mixed == run(tmp_path, parts, "--replay", f"en={other}", "--fraction", "0.2")[0]
    own = [one for one in mixed if not mixing.is_replayed(one)]
    for lang, cuts in made.items():
        assert [one for one in own if mixing.language(one) == lang] == cuts
        seconds = sum(map(cut_lines.duration_s, cuts))
        assert report["languages"][lang]["cuts"] == len(cuts)
        assert report["languages"][lang]["hours"] == pytest.approx(seconds / 3600)
    assert sum(entry["share"] for entry in report["languages"].values()) == pytest.approx(1)
    again = [one for one in mixed if mixing.is_replayed(one)]
    assert {mixing.language(one) for one in again} == {"en"}
    assert [one["id"] for one in again] == [
        f"replay-en-spoken-en-train-{n:04}" for n in range(len(again))
    ]
    assert report["replay"]["fraction"] == pytest.approx(0.2, abs=0.005)
    assert report["cuts"] == len(mixed) == len({one["id"] for one in mixed})
    assert report["renamed"] == 0
    # What training counts of it.
    found = mixing.totals(tmp_path / "mixed.jsonl.gz")
    assert (found.cuts, found.replayed_hours) == (500, pytest.approx(report["replay"]["hours"]))
    assert found.language_hours == {
        lang: pytest.approx(entry["hours"]) for lang, entry in report["languages"].items()
    }
    assert found.hours == pytest.approx(sum(found.language_hours.values()))


several = st.lists(
    st.tuples(st.floats(0.1, 3), st.lists(st.integers(1600, 320_000), min_size=1, max_size=60)),
    min_size=2,
    max_size=4,
)  # of each language its weight, and its cuts in samples


@settings(max_examples=60, deadline=None)
@given(several, st.booleans())
def test_every_prefix_has_given_even_shares(tmp_path_factory, drawn, weighted):
    folder = tmp_path_factory.mktemp("mixing")
    parts, longest = [], {}
    for n, (weight, samples) in enumerate(drawn):
        lang = "abcd"[n] * 2
        cuts = [cut(f"{lang}-{k}", size / 16000, lang) for k, size in enumerate(samples)]
        path = write(folder / f"{lang}.jsonl.gz", cuts)
        parts.append(Part(lang, path, weight if weighted else None))
        share = weight if weighted else sum(samples) / 16000
        longest[lang] = max(samples) / 16000 / share
    order = list(mixing.interleaved(parts))
    assert Counter(one["id"] for _, one in order).most_common(1)[0][1] == 1
    assert len(order) == sum(len(samples) for _, samples in drawn)
    shares = {
        part.lang: part.weight or sum(samples) / 16000
        for part, (_, samples) in zip(parts, drawn, strict=True)
    }
    left = {part.lang: len(samples) for part, (_, samples) in zip(parts, drawn, strict=True)}
    given_s = dict.fromkeys(left, 0.0)
    for lang, one in order:
        given_s[lang] += cut_lines.duration_s(one)
        left[lang] -= 1
        if weighted and not all(left.values()):
            break  # from here on the others go on alone
        for a, b in itertools.combinations(left, 2):
            apart = abs(given_s[a] / shares[a] - given_s[b] / shares[b])
            assert apart <= max(longest[a], longest[b]) + 1e-9


def test_a_mixture_is_nested_in_the_next_and_almost_a_prefix_of_it(tmp_path):
    made = {lang: speech(lang, 400, 1237) for lang in ("fr", "es", "it")}
    weights = {"fr": 1.0, "es": 1.0, "it": 0.5}

    def mixture(hours):
        """Of budgets as `budgets.subset` cuts them: prefixes that are not longer."""
        parts = {}
        for lang, cuts in made.items():
            ends = itertools.accumulate(map(cut_lines.duration_s, cuts))
            budget = sum(end <= 3600 * hours * weights[lang] for end in ends)
            parts[lang] = write(tmp_path / f"{lang}-{hours}.jsonl.gz", cuts[:budget])
        more = ["--weights", *(f"{lang}={weight}" for lang, weight in weights.items())]
        return run(tmp_path, parts, *more)

    small, report = mixture(0.02)
    large, _ = mixture(0.08)
    ids = [one["id"] for one in small]
    assert set(ids) < {one["id"] for one in large}
    assert ids[:-6] == [one["id"] for one in large][: len(ids) - 6]
    shares = {lang: entry["share"] for lang, entry in report["languages"].items()}
    assert shares == {
        lang: pytest.approx(weight / 2.5, abs=0.02) for lang, weight in weights.items()
    }


def test_ids_that_two_languages_share_are_told_apart_and_others_stay(tmp_path):
    own = {
        "it": [cut("a", 1.0), cut("b", 1.0), cut("c", 1.0)],
        "fr": [cut("b", 1.0), cut("d", 1.0), cut("a", 1.0)],
    }
    parts = {lang: write(tmp_path / f"{lang}.jsonl.gz", cuts) for lang, cuts in own.items()}
    mixed, report = run(tmp_path, parts)
    named = [(one["id"], mixing.language(one)) for one in mixed]
    assert named == [
        *(("a", "it"), ("b", "fr"), ("it-b", "it")),
        *(("d", "fr"), ("c", "it"), ("fr-a", "fr")),
    ]
    assert report["renamed"] == 2


@pytest.mark.parametrize(
    ("parts", "more", "problem"),
    [
        (["it", "it"], [], "it is given twice; give each language of a training set once"),
        (["it", "fr"], ["--weights", "it=1"], "no weight for fr; give one for every language"),
        (["it"], ["--weights", "de=1"], "--weights has de, of which --parts has no budget"),
        (["it"], ["--replay", "it=POOL", "--fraction", "0.1"], "replay of it, which is trained on"),
        (["it"], ["--replay", "en=POOL"], "--replay and --fraction belong together"),
        (["fr", "de"], [], r"cut spoken-it-train-0000 is of it, and was given as a part of \w\w"),
        (["it", "none"], [], r"none\.jsonl\.gz: no cuts of none in it"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, parts, more, problem):
    for lang in parts:
        write(tmp_path / f"{lang}.jsonl.gz", [] if lang == "none" else speech("it", 9, 1600))
    given = [f"{lang}={tmp_path / lang}.jsonl.gz" for lang in parts]
    paths = [argument.replace("POOL", f"{tmp_path / parts[0]}.jsonl.gz") for argument in more]
    output = ["--output", str(tmp_path / "out.jsonl.gz"), "--report", str(tmp_path / "out.json")]
    with pytest.raises(UserError, match=problem):
        mix_training_set.main(["--parts", *given, *paths, *output])
    assert not (tmp_path / "out.jsonl.gz").exists()


@pytest.mark.parametrize("weight", ["it", "it=0", "it=-1", "it=viel"])
def test_a_weight_is_a_number_above_0(tmp_path, weight, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, {"it": "x.jsonl.gz"}, "--weights", weight)
    assert "LANG=WEIGHT is needed" in capsys.readouterr().err


def test_a_tokenizer_hears_whole_pools_in_the_proportions_of_the_mixture(tmp_path):
    sizes = {"fr": 300, "it": 20}
    pools = {
        lang: write(
            tmp_path / f"{lang}.jsonl.gz", [cut(f"{lang}-{n}", 1.0, lang) for n in range(n)]
        )
        for lang, n in sizes.items()
    }
    parts = [Part("fr", pools["fr"], 1.0), Part("it", pools["it"], 0.5)]
    texts = Counter(mixing.texts(parts))
    assert all(texts[f"text of fr-{n}"] == 1 for n in range(300))
    # Half as much Italian as French: the small pool seven times and a half.
    assert sum(count for text, count in texts.items() if "of it" in text) == 150
    assert {texts[f"text of it-{n}"] for n in range(20)} == {7, 8}
    # The program: both languages' letters can be written, and each test set by its own rules.
    settings = {
        "vocab_size": 40,
        "character_coverage": 1.0,
        "languages": {"fr": 1, "it": 0.5},
        "text": {
            "fr": {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "fr"},
            "it": {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "it"},
            "en": {"alphabet": "abcdefghijklmnopqrstuvwxyz", "numbers": "en"},
        },
        "replay": {"lang": "en", "fraction": 0.25},
    }
    pools["en"] = write(tmp_path / "en.jsonl.gz", [cut(f"q{n}", 1.0, "en") for n in range(200)])
    tests = {}
    for lang in ("fr", "it", "en"):
        one = cut("one", 1.0, lang)
        one["supervisions"][0]["text"] = "2 of it"
        tests[lang] = write(tmp_path / f"test-{lang}.jsonl.gz", [one])
    arguments = [
        *("--pools", *(f"{lang}={path}" for lang, path in pools.items())),
        *("--tests", *(f"{lang}_human={path}" for lang, path in tests.items())),
        *("--settings", json.dumps(settings), "--output-dir", str(tmp_path / "bpe")),
    ]
    train_tokenizer.main(arguments)
    report = files.read_json(tmp_path / "bpe/coverage.json")
    assert report["train"]["sentences"] == 320
    # "deux of it", "due of it", "two of it": w comes from what is replayed or from nowhere.
    unwritable = {name: found["unwritable"] for name, found in report["tests"].items()}
    assert unwritable == {
        "fr_human": {"d": 1, "u": 1},
        "it_human": {"d": 1, "u": 1},
        "en_human": {"w": 1},
    }
    del settings["text"]["en"]
    arguments[arguments.index("--settings") + 1] = json.dumps(settings)
    with pytest.raises(
        UserError, match="cut one is of en, and `text` has the rules of fr, it; add"
    ):
        train_tokenizer.main(arguments)
