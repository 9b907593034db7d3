"""Gender and accent of speakers, from tables in the layouts of the corpora to the side file and the
scores."""

import gzip
import json
import logging

import pytest
from made.hypotheses import TEXT, write_hypotheses
from made.releases import CV_HEADER, VOXPOPULI_HEADER

import list_traits
from warmstart.data import traits
from warmstart.data.corpora import open_corpus
from warmstart.data.corpora.base import Utterance
from warmstart.data.manifests import Audio, make_cut
from warmstart.data.traits import Traits
from warmstart.evidence.scoring import Scorer
from warmstart.run.errors import Damaged


@pytest.mark.parametrize(
    ("stated", "gender"),
    [
        *(("MALE", "male"), ("FEMALE", "female"), ("OTHER", "other")),  # FLEURS
        *(("M", "male"), ("F", "female")),  # MLS
        *(("male_masculine", "male"), ("female_feminine", "female")),  # Common Voice
        *(("transgender", "other"), ("non-binary", "other"), ("do_not_wish_to_say", None)),
        *((" Female ", "female"), ("", None), (None, None), ("nan", None), ("None", None)),
    ],
)
def test_genders_are_made_alike(stated, gender):
    assert traits.gender(stated) == gender


def test_accents_stay_as_they_are_written():
    assert traits.accent("Deutschland  Deutsch,Sächsisch ") == "Deutschland Deutsch,Sächsisch"
    assert traits.accent("None") is None


def line(header, **cells):
    mark = "|" if "|" in header else "\t"
    return mark.join(cells.get(name, "") for name in header.split(mark))


def fleurs(folder):
    rows = [("7", "a.wav", "MALE"), ("7", "b.wav", "FEMALE"), ("8", "c.wav", "OTHER")]
    lines = [f"{row}\t{name}\tSì.\tsì\ts ì |\t100\t{gender}" for row, name, gender in rows]
    (folder / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"a": Traits("male"), "b": Traits("female"), "c": Traits("other")}


def mls(folder):
    root = folder / "files" / "mls_italian_opus" / "mls_italian_opus"
    (root / "test").mkdir(parents=True)
    names = ("1_7_000000", "2_7_000000", "3_7_000000")
    (root / "test" / "transcripts.txt").write_text("".join(f"{name}\tsì\n" for name in names))
    (root / "metainfo.txt").write_text(
        " SPEAKER   |   GENDER   | PARTITION  |  MINUTES   |  BOOK ID   |  TITLE  |  CHAPTER\n"
        "     1     |     F      |    test    |   17.148   |     7      |  A | B  |  Ch. II\n"
        "     2     |     M      |    test    |   20.053   |     7      |  A      |  Ch. I\n",
        encoding="utf-8",
    )
    return {names[0]: Traits("female"), names[1]: Traits("male")}


def voxpopuli(folder):
    common = {"session_id": "2009-it", "normed_text": "sì", "split": "test", "vad": "[[0, 1]]"}
    times = {"start_time": "0", "end_time": "1"}
    people = [("1", "male", "None"), ("2", "female", "en_nl"), ("None", "None", "None")]
    lines = [
        line(VOXPOPULI_HEADER, id_=str(n), speaker_id=name, gender=g, accent=a, **common, **times)
        for n, (name, g, a) in enumerate(people)
    ]
    table = "\n".join([VOXPOPULI_HEADER, *lines]) + "\n"
    (folder / "asr_it.tsv.gz").write_bytes(gzip.compress(table.encode()))
    return {"2009-it-0": Traits("male"), "2009-it-1": Traits("female", "en_nl")}


def commonvoice(folder, header=CV_HEADER, accents="accents"):
    root = folder / "files" / "cv-corpus-25.0-2026-03-09" / "cv-corpus-25.0-2026-03-09" / "it"
    root.mkdir(parents=True)
    people = [("male_masculine", ""), ("", "Ligure,di Genova"), ("do_not_wish_to_say", "")]
    lines = [
        line(header, client_id=f"c{n}", path=f"{n}.mp3", sentence="sì", gender=g, **{accents: a})
        for n, (g, a) in enumerate(people)
    ]
    (root / "test.tsv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return {"0": Traits("male"), "1": Traits(None, "Ligure,di Genova")}


def commonvoice_of_release_7(folder):
    return commonvoice(folder, CV_HEADER.replace("accents", "accent"), "accent")


def local(folder):
    table = "path\ttext\tspeaker\tgender\taccent\na.wav\tsì\tanna\tf\tLigure\nb.wav\tno\tugo\t\t\n"
    (folder / "test.tsv").write_text(table, encoding="utf-8")
    return {"a": Traits("female", "Ligure")}


CODES = {"fleurs": "it_it", "mls": "italian"}


def list_of(folder, kind, names, caplog):
    """What the program lists of a corpus, without the beginnings of the ids; and its warnings."""
    before = f"{kind}-it-test-"
    manifest, output = folder / "test.jsonl.gz", folder / "test.traits.json"
    with gzip.open(manifest, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"id": before + name}) + "\n" for name in names)
    settings = {"kind": kind, "code": CODES.get(kind, "it")}
    settings |= {"directory": str(folder)} if kind == "local" else {}
    arguments = ["--corpus", kind, "--lang", "it", "--split", "test"]
    arguments += ["--settings", json.dumps(settings), "--directory", str(folder)]
    arguments += ["--cuts", str(manifest), "--output", str(output)]
    with caplog.at_level(logging.WARNING):
        list_traits.main(arguments)
    found = {name.removeprefix(before): one for name, one in traits.read(output).items()}
    return found, caplog.text


@pytest.mark.parametrize(
    "make", [fleurs, mls, voxpopuli, commonvoice, commonvoice_of_release_7, local]
)
def test_traits_are_those_of_the_publishers_table(make, tmp_path, caplog):
    wanted = make(tmp_path)
    found, _ = list_of(tmp_path, make.__name__.split("_")[0], [*wanted, "x"], caplog)
    assert found == wanted


def test_an_utterance_that_the_manifest_dropped_is_not_listed(tmp_path, caplog):
    assert list(list_of(tmp_path, "fleurs", [*fleurs(tmp_path)][:1], caplog)[0]) == ["a"]


def test_a_corpus_that_was_removed_leaves_everything_unknown_and_says_so(tmp_path, caplog):
    found, said = list_of(tmp_path, "fleurs", ["a"], caplog)
    assert found == {}
    assert "not known" in said


@pytest.mark.parametrize("content", [None, b"\xff\xfe1", b"", b"no table at all\n"])
def test_readers_of_mls_without_their_table_are_of_unknown_gender(tmp_path, content, caplog):
    mls(tmp_path)
    (path := next(tmp_path.rglob("metainfo.txt"))).unlink()
    if content is not None:
        path.write_bytes(content)
    corpus = open_corpus("mls", "it", {"kind": "mls", "code": "italian"})
    found = list(corpus.read(tmp_path, "test"))
    assert [entry.speaker for entry in found] == ["1", "2", "3"], "no manifest fails for it"
    assert [entry.gender for entry in found] == [None] * 3


def test_a_line_of_granary_may_name_gender_and_accent(tmp_path):
    corpus = open_corpus("granary", "it", {"kind": "granary", "directory": "x", "manifests": ["x"]})
    entry = {"audio_filepath": "a.wav", "text": "sì", "gender": "f", "accent": None}
    found = corpus._utterance(tmp_path, json.dumps(entry))
    assert (found.gender, found.accent) == ("f", None)


def test_the_manifest_keeps_its_bytes(tmp_path):
    """Else pools, trainings and decodes of finished studies would be made again."""
    corpus = open_corpus("fleurs", "it", {"kind": "fleurs", "code": "it_it"})
    plain = Utterance("a", tmp_path / "a.wav", "Sì.", None, "7")
    stated = Utterance("a", tmp_path / "a.wav", "Sì.", None, "7", gender="MALE", accent="x")
    audio = Audio(16000, 1, 16000)
    assert make_cut(corpus, "test", stated, audio) == make_cut(corpus, "test", plain, audio)


@pytest.mark.parametrize("content", ["", "{}", '{"traits": []}', '{"traits": {"a": {"age": 3}}}'])
def test_a_damaged_list_is_named(tmp_path, content):
    path = tmp_path / "test.traits.json"
    path.write_text(content)
    with pytest.raises(Damaged, match=r"test\.traits\.json"):
        traits.read(path)


def test_scores_carry_speaker_gender_and_accent(tmp_path):
    manifest = tmp_path / "m.jsonl.gz"
    with gzip.open(manifest, "wt", encoding="utf-8") as stream:
        for name, speaker in (("u0", {"speaker": "anna"}), ("u1", {})):
            cut = {"id": name, "duration": 1.5, "supervisions": [{"text": "ab", **speaker}]}
            stream.write(json.dumps(cut | {"custom": {"block": "7"}}) + "\n")
    path = write_hypotheses(tmp_path / "h" / "human.jsonl", ["ab", "a"])
    traits.write(tmp_path / "t.json", {"u0": Traits("female", "Ligure")})

    def scored(traits_of):
        scorer = Scorer("it", {"text": TEXT}, {"human": manifest}, None, traits_of)
        rows = scorer.score(path, scorer.header(path), None)
        return [rows[name] for name in ("block", "speaker", "gender", "accent")]

    blocks, speakers = ["7", "7"], ["anna", None]
    known = scored({"human": tmp_path / "t.json"})
    assert known == [blocks, speakers, ["female", None], ["Ligure", None]]
    assert scored(None) == [blocks, speakers, [None, None], [None, None]]
