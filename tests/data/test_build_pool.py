"""build_pool: what stays, what goes and why, and in which order."""

import json
import unicodedata
from array import array

import pytest
from lhotse import CutSet
from made.pool_material import TEXT, cut, write

import build_pool
from warmstart.data import cut_lines, digests, pool
from warmstart.run import files
from warmstart.run.errors import UserError

# The defaults of the schema would drop some of the short cuts here.
UNBOUND = {
    **dict.fromkeys(("min_duration_s", "max_duration_s", "min_chars_per_s", "max_chars_per_s")),
    "max_drop_fraction": 1,
}


def build(tmp_path, training, tests=None, filters=None, threads=1, text=TEXT, speakers_of=None):
    """Run the program on {corpus: cuts} and {test set: cuts}; returns (pool cuts as dicts,
    report)."""
    given = UNBOUND | (filters or {})
    settings = {"text": text, "filters": given, "speakers_of": speakers_of or {}}
    arguments = ["--lang", "it", "--settings", json.dumps(settings), "--threads", str(threads)]
    arguments += [
        "--manifests",
        *(
            f"{name}={write(tmp_path / f'train-{name}.jsonl.gz', made)}"
            for name, made in training.items()
        ),
    ]
    arguments += [
        "--tests",
        *(
            f"{name}={write(tmp_path / f'test-{name}.jsonl.gz', made)}"
            for name, made in (tests or {}).items()
        ),
    ]
    output, report = tmp_path / "it.jsonl.gz", tmp_path / "it.qc.json"
    build_pool.main([*arguments, "--output", str(output), "--report", str(report)])
    return list(cut_lines.read(output)), files.read_json(report)


def dropped(report, corpus="mls"):
    return {reason: tally["cuts"] for reason, tally in report["corpora"][corpus]["dropped"].items()}


def test_text_is_normalised_and_the_raw_one_kept(tmp_path):
    made, _ = build(tmp_path, {"mls": [cut("a", "L'UOMO ha 21 anni!")]})
    (supervision,) = made[0]["supervisions"]
    assert supervision["text"] == "l'uomo ha ventuno anni"
    assert supervision["custom"] == {"raw_text": "L'UOMO ha 21 anni!"}


def test_lhotse_reads_the_pool(tmp_path):
    build(tmp_path, {"mls": [cut("a"), cut("b")]})
    read = CutSet.from_file(tmp_path / "it.jsonl.gz")
    assert {item.id for item in read} == {"a", "b"}
    assert next(iter(read)).supervisions[0].custom["raw_text"] == "uno due tre"


def test_each_filter_drops_with_its_reason_in_cuts_and_hours(tmp_path):
    training = [
        cut("good"),
        cut("short", duration_s=0.4),
        cut("long", duration_s=21.0),
        cut("symbols", "!? ..."),
        cut("cyrillic", "да uno due tre"),
        cut("slow", "si", duration_s=10.0),
        cut("fast", "una frase davvero molto lunga per un secondo", duration_s=1.0),
    ]
    filters = {
        "min_duration_s": 0.5,
        "max_duration_s": 20,
        "min_chars_per_s": 2,
        "max_chars_per_s": 30,
    }
    made, report = build(tmp_path, {"mls": training}, filters=filters)
    assert [item["id"] for item in made] == ["good"]
    reasons = ("too_short", "too_long", "empty_text", "foreign_alphabet", "too_slow", "too_fast")
    assert dropped(report) == dict.fromkeys(reasons, 1)
    assert report["corpora"]["mls"]["dropped"]["too_long"]["hours"] == pytest.approx(21 / 3600)
    assert report["corpora"]["mls"]["read"]["cuts"] == 7
    assert set(report["foreign_characters"]) == {"д", "а"}


def test_bounds_are_inclusive(tmp_path):
    filters = {
        "min_duration_s": 2.0,
        "max_duration_s": 2.0,
        "min_chars_per_s": 5.5,
        "max_chars_per_s": 5.5,
    }
    made, _ = build(
        tmp_path, {"mls": [cut("a", "uno due tre", 2.0)]}, filters=filters
    )  # 11 characters in 2 s
    assert len(made) == 1


def test_test_sentences_and_test_speakers_leave_the_pool(tmp_path):
    training = [
        cut("sentence", "Buongiorno a tutti", speaker="x"),
        cut("speaker", "altro testo", speaker="t1"),
        cut("fine", "un testo diverso", speaker="x"),
    ]
    tests = {
        "mls": [cut("q", "buongiorno, a TUTTI!", speaker="t1")],
        "fleurs": [cut("r", "zero", corpus="fleurs", speaker=None)],
    }
    made, report = build(tmp_path, {"mls": training}, tests)
    assert [item["id"] for item in made] == ["fine"]
    assert dropped(report) == {"sentence_in_test": 1, "speaker_in_test": 1}
    removed = report["guard"]["removed"]
    assert {reason: tally["cuts"] for reason, tally in removed["mls"].items()} == {
        "sentence_in_test": 1,
        "speaker_in_test": 1,
    }
    assert removed["fleurs"] == {}


def test_equal_speaker_ids_of_two_corpora_are_two_people(tmp_path):
    tests = {"voxpopuli": [cut("q", "altro", corpus="voxpopuli", speaker="7")]}
    made, _ = build(tmp_path, {"mls": [cut("a", speaker="7")]}, tests)
    assert len(made) == 1


def test_a_person_of_two_releases_is_one_for_guard_and_cap(tmp_path):
    training = {
        name: [cut(name, f"testo {name}", 3.6, corpus=name, speaker="7")]
        for name in ("old", "new", "other")
    }
    speakers_of = {"old": "commonvoice", "new": "commonvoice", "tested": "commonvoice"}
    made, _ = build(
        tmp_path, training, filters={"speaker_cap_hours": 0.001}, speakers_of=speakers_of
    )
    assert sorted(item["id"] for item in made) in (["new", "other"], ["old", "other"])
    tests = {"cv": [cut("q", "altro", corpus="tested", speaker="7")]}
    made, report = build(tmp_path, training, tests, speakers_of=speakers_of)
    assert [item["id"] for item in made] == ["other"]
    assert report["guard"]["removed"]["cv"]["speaker_in_test"]["cuts"] == 2
    assert report["speakers_of"] == speakers_of


def test_the_guard_is_what_the_settings_say(tmp_path):
    tests = {"same": [cut("q", "altro", speaker="s1")]}
    training = {"mls": [cut("a", speaker="s1"), cut("b", "altro", speaker="s2")]}
    made, report = build(tmp_path, training, tests, {"guard": ["sentence"]})
    assert [item["id"] for item in made] == ["a"]
    assert report["guard"]["on"] == ["sentence"]
    made, _ = build(tmp_path, training, tests, {"guard": []})
    assert len(made) == 2


def test_speaker_cap_and_repeated_sentences(tmp_path):
    training = [
        cut(f"{speaker}{n}", f"testo {'abcdefgh'[n]} {speaker}", 3.6, speaker=speaker)
        for speaker in "xy"
        for n in range(8)
    ]
    training.append(cut("anonymous", "senza nome", 36.0, speaker=None))
    made, report = build(tmp_path, {"mls": training}, filters={"speaker_cap_hours": 0.003})
    assert sorted(item["id"][0] for item in made) == ["a", *"xxx", *"yyy"]
    assert dropped(report) == {"speaker_cap": 10}
    same = [cut(f"c{n}", "la stessa frase") for n in range(5)] + [cut("other", "un'altra")]
    made, report = build(tmp_path, {"mls": same}, filters={"max_same_text": 2})
    assert len(made) == 3
    assert dropped(report) == {"same_text": 3}


def test_a_corpus_that_loses_too_much_stops_the_build(tmp_path):
    training = [cut("a"), cut("b", "тест"), cut("c", "тест")]
    with pytest.raises(
        UserError,
        match=r"it/mls: 2 of 3 cuts dropped \(foreign_alphabet 2\).*max_drop_fraction = 0.5.*'т' 2",
    ):
        build(tmp_path, {"mls": training}, filters={"max_drop_fraction": 0.5})
    assert not (tmp_path / "it.jsonl.gz").exists()
    assert (tmp_path / "it.qc.json").exists()


def test_leaks_do_not_count_as_bad_quality(tmp_path):
    training = {"mls": [cut("a"), cut("b", "altro", speaker="z")]}
    made, _ = build(
        tmp_path,
        training,
        {"t": [cut("q", "uno due tre", speaker="q")]},
        {"max_drop_fraction": 0.0},
    )
    assert len(made) == 1


def test_an_alphabet_with_decomposed_accents_is_the_same_alphabet(tmp_path):
    decomposed = TEXT | {"alphabet": unicodedata.normalize("NFD", TEXT["alphabet"])}
    made, report = build(
        tmp_path,
        {"mls": [cut("a", "perch\u00e9 cos\u00ec"), cut("b", "so\u0308")]},
        text=decomposed,
    )
    assert [one["id"] for one in made] == ["a"]
    assert report["foreign_characters"]["ö"]["cuts"] == 1


@pytest.mark.parametrize(
    ("training", "problem"),
    [
        ([cut("a"), cut("a")], "1 cut ids occur twice"),
        ([cut("a", "!")], "no cut is left in the pool: empty_text 1; "),
        ([], "no cut is left in the pool: the manifests are empty"),
    ],
)
def test_unusable_manifests_are_refused(tmp_path, training, problem):
    with pytest.raises(UserError, match=problem):
        build(tmp_path, {"mls": training})


@pytest.mark.parametrize(
    ("filters", "problem"),
    [({"min_lenght_s": 1}, "unknown key min_lenght_s"), ({"guard": ["word"]}, "guard: word")],
)
def test_unknown_filters_are_named(tmp_path, filters, problem):
    with pytest.raises(UserError, match=problem):
        build(tmp_path, {"mls": [cut("a")]}, filters=filters)


def test_a_damaged_manifest_is_named(tmp_path):
    path = write(tmp_path / "m.jsonl.gz", [cut(f"c{n}") for n in range(100)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"m\.jsonl\.gz: damaged"):
        list(cut_lines.read(path))


def test_report_lists_characters_and_those_of_tests_the_pool_lacks(tmp_path):
    _, report = build(
        tmp_path, {"mls": [cut("a", "aab")]}, {"t": [cut("q", "ab è però", speaker="q")]}
    )
    assert report["characters"] == {"a": 2, "b": 1}
    assert report["test_sets"]["t"]["characters_unseen_in_pool"] == {
        " ": 2,
        "e": 1,
        "p": 1,
        "r": 1,
        "è": 1,
        "ò": 1,
    }


@pytest.mark.slow
def test_workers_and_manifest_order_do_not_change_the_pool(tmp_path):
    training = {
        name: [cut(f"{name}{n}", corpus=name, speaker=f"{n % 7}") for n in range(50)]
        for name in ("mls", "cv")
    }
    one = build(tmp_path / "1", training)
    two = build(tmp_path / "2", training, threads=2)
    assert one == two
    assert files.digest(tmp_path / "1" / "it.jsonl.gz") == files.digest(
        tmp_path / "2" / "it.jsonl.gz"
    )
    shuffled = build(tmp_path / "3", {name: made[::-1] for name, made in training.items()})
    assert shuffled[0] == one[0]


def test_order_is_the_same_on_every_machine():
    """Known values: a change here re-draws every budget of every study, and needs a new `recipe` of
    the rule."""
    assert pool.order_key("mls-it-train-1") == 17848242746355329822
    assert pool.order_key("però") == 5203093634261578758


def test_what_the_settings_leave_out_is_the_schemas_default(tmp_path):
    """Rules pass settings without what equals its default."""
    manifest = write(tmp_path / "m.jsonl.gz", [cut("short", "sì", 0.2), *map(cut, "abcd")])
    output, report = tmp_path / "it.jsonl.gz", tmp_path / "it.qc.json"
    arguments = ["--lang", "it", "--manifests", f"mls={manifest}", "--output", str(output)]
    build_pool.main([*arguments, "--report", str(report), "--settings", json.dumps({"text": TEXT})])
    found = files.read_json(report)
    assert found["corpora"]["mls"]["dropped"]["too_short"]["cuts"] == 1
    assert found["filters"]["min_duration_s"] == 0.3
    assert found["text"] == {"case": "lower", "hyphen": "space", **TEXT}


def told_apart(tmp_path, training, tests=None, filters=None, threads=1):
    """`build` of {corpus: [(cut id, publisher's clip, samples)]}; None where there are none."""

    def cuts(corpora):
        return {
            name: [cut(f"{name}-{one[0]}", corpus=name, speaker=None) for one in made]
            for name, made in corpora.items()
        }

    for kind, corpora in (("train", training), ("test", tests or {})):
        for name, made in cuts(corpora).items():
            path = write(tmp_path / f"{kind}-{name}.jsonl.gz", made)
            clips = [digests.of_clip(clip and "publisher", clip) for _, clip, _ in corpora[name]]
            audio = [digests.of_cut(audio, None) for _, _, audio in corpora[name]]
            digests.write(path, path, array("Q", clips), array("Q", audio))
    filters = {"guard": []} | (filters or {})
    made, report = build(tmp_path, cuts(training), cuts(tests or {}), filters, threads)
    return sorted(one["id"] for one in made), report


@pytest.mark.parametrize("threads", [1, 2])
def test_a_recording_is_in_a_pool_once_whichever_corpora_have_it(tmp_path, threads):
    training = {
        "cv25": [("a", "clip1", b""), ("b", "clip2", b""), ("c", "clip3", b"x")],
        # One more release, with a clip decoded by another version of a codec, and a new one.
        "cv24": [("a", "clip1", b""), ("c", "clip3", b"y"), ("d", "clip4", b"")],
        # The same samples under a name of one's own, twice.
        "own": [("e", "", b"x"), ("f", "", b"z"), ("g", "", b"z"), ("h", "", b"")],
    }
    kept, report = told_apart(tmp_path, training, threads=threads)
    assert kept[:4] == ["cv24-a", "cv24-c", "cv24-d", "cv25-b"]
    # own-e has the samples of cv25-c, which is clip 3 of cv24: one recording by way of another.
    assert kept[4:] in (["own-f", "own-h"], ["own-g", "own-h"])
    assert dropped(report, "cv24") == {}
    assert dropped(report, "cv25") == {"same_recording": 2}
    assert dropped(report, "own") == {"same_recording": 2}
    assert report["total"]["cuts"] == 6
    for entry in report["corpora"].values():
        gone = sum(tally["cuts"] for tally in entry["dropped"].values())
        assert entry["read"]["cuts"] == entry["kept"]["cuts"] + gone
    assert report["recordings"] == {
        "usable": 10,
        "known_by_clip": 6,
        "known_by_audio": 5,
        "corpora_without_digests": [],
    }


def test_a_recording_of_a_test_set_is_in_no_pool_whatever_its_words_and_the_guard(tmp_path):
    tests = {"fleurs": [("t", "clip1", b""), ("u", "", b"x")]}
    training = {
        "mls": [("a", "clip1", b"z"), ("b", "", b"x"), ("c", "clip2", b"y"), ("d", "", b"z")]
    }
    kept, report = told_apart(tmp_path, training, tests)
    assert kept == ["mls-c"]
    # d has the samples of a, which is a clip of the test set.
    assert dropped(report) == {"recording_in_test": 3}
    assert report["guard"]["removed"]["fleurs"]["recording_in_test"]["cuts"] == 3


def test_manifests_without_digests_or_with_those_of_others_are_told(tmp_path, caplog):
    told_apart(tmp_path, {"mls": [("a", "clip", b"x")]})
    made, report = build(tmp_path, {"mls": [cut("a"), cut("b")], "cv": [cut("c", corpus="cv")]})
    assert len(made) == 3
    assert report["recordings"]["corpora_without_digests"] == ["cv", "mls"]
    assert "train-mls.digests.npz is of another manifest" in caplog.text
    assert "recordings of cv, mls are not compared with others" in caplog.text
    digests.path(tmp_path / "train-mls.jsonl.gz").write_bytes(b"PK damaged")
    assert digests.read(tmp_path / "train-mls.jsonl.gz") is None
