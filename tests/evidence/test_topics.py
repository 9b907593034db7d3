"""Topics and answers: estimates by hand, what is learnt from, and tables of planted hypotheses."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made.planted import Truth, score_table
from made.tables import SETTINGS as STATISTICS
from made.tables import make_tables

import understand
from warmstart.data.label_tables import Label, Question, Spoken
from warmstart.evidence import analyses, classifiers, collected, understanding
from warmstart.evidence.analyses import topics
from warmstart.evidence.analyses.base import Material
from warmstart.evidence.display import Display
from warmstart.evidence.keys import Cell
from warmstart.evidence.settings import Resampling, Settings
from warmstart.evidence.tables import read_table, write_table
from warmstart.evidence.understanding import find_passages, material
from warmstart.study.stages import filled

STATISTICS = {**STATISTICS, "headline_test_set": "human"}
SETTINGS = Resampling(replicates=2000, confidence=0.95, seed=1)
TEXT = {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìòù", "numbers": "it"}
CELL = Cell("it", "en", 1.0, "full", "160ms")
WORDS = {"sport": "palla squadra gara rete", "salute": "medico febbre cura dolore"}


def told(triples, arm="en", seed=1, **columns):
    """Rows of a system of (sentence, topic, said)."""
    rows = pd.DataFrame(triples, columns=["sentence", "topic", "said"])
    return rows.assign(
        kind="cascade",
        source="it",
        **{"training_set": "it", "lang": "it", "test_set": "human", "arm": arm, "hours": 1.0},
        **{"seed": seed, "precision": "full", "tier": "160ms", "id": range(len(rows))},
        read=rows.topic,
        right=(rows.topic == rows.said).astype(float),
        right_reference=1.0,
        words=10,
        errors=2,
    ).assign(**columns)


def test_accuracy_and_macro_f1_by_hand():
    # x: one of two found, one of one right: F1 2/3. y: found, one of two right: F1 2/3.
    # z: one of one: F1 1.
    found = topics.tell(
        told([("a", "x", "x"), ("a", "x", "y"), ("b", "y", "y"), ("c", "z", "z")]), SETTINGS
    )
    assert found.accuracy[CELL].value == pytest.approx(75.0)
    assert found.macro_f1[CELL].value == pytest.approx(100 * (2 / 3 + 2 / 3 + 1) / 3)
    assert (found.utterances, found.sentences, found.topics) == (4, 3, 3)
    assert found.majority_pct == pytest.approx(50.0)
    assert found.wer_pct[CELL] == pytest.approx(20.0)


def test_what_is_kept_is_a_share_of_the_references_accuracy():
    # Three of four references are told right, and of the hypotheses two.
    table = told([(name, "x", "x" if name in "ab" else "y") for name in "abcd"])
    table = table.assign(right_reference=[1.0, 0.0, 1.0, 1.0])
    found = topics.tell(table, SETTINGS)
    assert found.kept[CELL].value == pytest.approx(100 * 2 / 3)
    assert found.reference_pct == pytest.approx(75.0)
    assert topics.tell(table.assign(right_reference=0.0), SETTINGS).kept == {}


def test_sentences_are_drawn_and_not_their_readings():
    """Ten readings of a sentence are all right or all wrong: they are one observation."""
    random = np.random.default_rng(3)
    right = random.random(60) < 0.7
    rows = [
        (f"{place}", "x", "x" if good else "y") for place, good in enumerate(right) for _ in "12345"
    ]
    found = topics.tell(told(rows), SETTINGS).accuracy[CELL]
    share = right.mean()
    assert found.error == pytest.approx(100 * math.sqrt(share * (1 - share) / 59), rel=0.08)


def test_the_interval_of_macro_f1_is_that_of_resampled_sentences():
    random = np.random.default_rng(5)
    names = np.array(["x", "y", "z"])
    truth = names[random.choice(3, 150, p=[0.6, 0.25, 0.15])]
    said = np.where(random.random(150) < 0.7, truth, names[random.integers(0, 3, 150)])
    found = topics.tell(told(list(zip(map(str, range(150)), truth, said, strict=True))), SETTINGS)
    counts = random.multinomial(150, [1 / 150] * 150, size=2000)
    scores = []
    for one in names:
        hits = counts @ ((truth == one) & (said == one))
        scores.append(2 * hits / (counts @ (truth == one) + counts @ (said == one)))
    brute = np.mean(scores, axis=0)
    assert found.macro_f1[CELL].error == pytest.approx(100 * brute.std(), rel=0.08)


def test_sentences_of_the_test_set_their_like_and_their_translations_are_not_learnt_from():
    long = "the committee met in the old town hall on monday"
    labels = [
        Label("a", text="one", key="index_id 1"),
        Label("b", text=long, key="index_id 2"),
        Label("c", text="three", key="index_id 3"),
        Label("d", text="four", key="index_id 4", split="validation"),
    ]
    test = understanding.Labelled(
        labels,
        dropped=understanding.Counter(),
        joined=understanding.Joined({"u": 0}, understanding.Counter()),
        texts=frozenset({"one", long.replace("met", "mat")}),
        keys=frozenset({"index_id 1"}),
    )
    texts = [one.text for one in labels]
    found = material(labels, texts, None, test)
    assert found.texts == ("three",)
    assert found.left_out == {"in the test set": 2, "of another split": 1}
    # In another language the texts differ, and the number does not.
    spoken = [Spoken("p", "", "uno"), Spoken("q", "", "tre"), Spoken("r", "", "dieci")]
    translated = [
        Label("a", text="uno", key="index_id 1"),
        Label("c", text="tre", key="index_id 3"),
    ]
    found = material(translated, ["uno", "tre"], spoken, test)
    assert (found.ids, found.topics) == (("q",), ("c",))
    assert found.left_out == {"in the test set": 1, "not in the table": 1}


@pytest.mark.parametrize(
    ("given", "says"),
    [([], "no labelled sentence"), (["x", "x"], "one topic to learn from (x)")],
)
def test_nothing_is_learnt_from_less_than_two_topics(given, says):
    texts = [f"frase {place}" for place in range(len(given))]
    assert says in classifiers.of_texts(texts, given).why
    assert says in classifiers.of_states(np.ones((len(given), 3)), given, texts).why


def test_a_probe_finds_what_is_linear_in_the_states_and_nothing_in_noise():
    random = np.random.default_rng(2)
    names = random.integers(0, 3, 120)
    states = random.normal(0, 1, (120, 8))
    states[:, 0] += 4 * names
    learnt = classifiers.of_states(states[:80], [str(n) for n in names[:80]], list(range(80)))
    right = np.mean([one == str(n) for one, n in zip(learnt.says(states[80:]), names[80:])])  # noqa: B905
    assert right > 0.8


def test_the_likest_answer_is_chosen_and_guessing_is_shared():
    known = ["il gatto dorme", "il cane corre", "la nave parte"]
    alike = classifiers.likeness(known, ["il cane core", ""], [known, known])
    assert classifiers.chosen(alike[0]).tolist() == [0, 1, 0]
    # Nothing was heard: any answer is as good, which is right by chance once in three.
    assert classifiers.chosen(alike[1]) == pytest.approx([1 / 3] * 3)


def test_a_passage_is_heard_where_all_its_sentences_are():
    def question(name, passage="", utterances=()):
        return Question(name, passage, tuple(utterances), ("a", "b", "c", "d"), 0)

    spoken = [
        Spoken("2", "", "il cane corre"),
        Spoken("1", "", "il gatto dorme a casa"),
        Spoken("3", "", "il cane corre"),
        Spoken("human-it-test-4", "", "a casa", published="4"),
    ]
    questions = [
        question("whole", "Il gatto dorme a casa. Il cane corre!"),
        question("half", "Il gatto dorme a casa. La nave parte per il mare."),
        question("none", "La nave parte."),
        question("named", utterances=["4"]),
    ]
    found, counts = find_passages(questions, spoken, TEXT)
    assert [(one.question.name, one.utterances) for one in found] == [
        ("whole", ("1", "2")),
        ("named", ("human-it-test-4",)),
    ]
    assert counts == {
        "text": 1,
        "a part of the passage alone is in the test set": 1,
        "not in the test set": 1,
        "id": 1,
    }


# ---- the programs


def sentences(count, start=0):
    """(sentence, topic): words of a topic, in an order and with a filler of their own."""
    random = np.random.default_rng(start)
    fillers = ["oggi", "ieri", "domani", "sempre", "spesso", "adesso", "prima", "dopo"]
    found = []
    for place in range(start, start + count):
        topic = sorted(WORDS)[place % 2]
        words = list(random.permutation(WORDS[topic].split())) + list(random.choice(fillers, 3))
        found.append((" ".join([*words, f"{chr(97 + place % 26)}{chr(97 + place // 26)}"]), topic))
    return found


def scored(said, arms=("en", "ml"), blocks=None):
    """A score table whose arms wrote `said[arm]`: (reference, hypothesis, wrong words)."""
    truth = Truth(hours=(1.0,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=len(said[arms[0]]))
    table = score_table(truth, np.random.default_rng(0), "it", "human")
    table = table[table.precision == "full"]
    parts = []
    for arm in arms:
        references, hypotheses, wrong = zip(*said[arm], strict=True)
        part = table[table.arm == arm].assign(reference=references, hypothesis=hypotheses)
        words = np.array([len(one.split()) for one in references])
        parts.append(
            part.assign(
                ref_words=words,
                ref_chars=5 * words,
                substitutions=wrong,
                id=[f"u{place}" for place in range(len(part))],
            )
        )
    return pd.concat(parts, ignore_index=True)


def ask(folder, table, settings):
    """Ask a score table: the file that is made, and what is said of it."""
    folder.mkdir(parents=True, exist_ok=True)
    scores, output = folder / "scores.parquet", folder / "understanding" / "it.parquet"
    table.to_parquet(scores)
    asked = json.dumps({"lang": "it", "texts": {"it": TEXT}, **settings})
    understand.main(["--scores", str(scores), "--settings", asked, "--output", str(output)])
    return output, json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))


def tables(folder, table, settings):
    """Rows of the analysis, as its table has them, and what is said of the labels."""
    output, about = ask(folder, table, settings)
    chosen = Settings.of(filled("statistics", STATISTICS))
    evidence = collected.collect([folder / "scores.parquet"], chosen, understood=[output])
    analysis = analyses.load("topics")
    path = folder / "topics.csv"
    write_table(path, analysis.rows(evidence, chosen), analysis.columns)
    return read_table(path), about


def labels(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.tsv"
    lines = ["text\ttopic", *(f"{text}\t{topic}" for text, topic in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"labels": {"human": {"it": str(path)}}}


@pytest.mark.slow
def test_a_worse_recogniser_is_understood_less(tmp_path):
    """The baseline writes nothing in every third sentence, and one topic for all of these is the
    best guess: of the 27 it is right in 13 or 14, which are of that topic."""
    asked = sentences(80)
    good = [(text, text, 0) for text, _ in asked]
    bad = [one if place % 3 else (one[0], "", 8) for place, one in enumerate(good)]
    given = labels(tmp_path, [*asked, *sentences(40, 200)])
    output, about = ask(tmp_path, scored({"en": bad, "ml": good}), given)
    extra = ["--understood", str(output)]
    made = make_tables(
        tmp_path, {"it": scored({"en": bad, "ml": good})}, extra, headline_test_set="human"
    )
    rows = made["topics"]
    assert set(rows.kind) == {"cascade"}
    en, ml, gap = (rows[rows.arm == arm].iloc[0] for arm in ("en", "ml", "gap"))
    assert ml.accuracy_pct == pytest.approx(100)
    assert ml.status == "not estimable: all sentences are alike, right or wrong"
    assert math.isnan(ml.accuracy_low_pct)
    assert 80 * en.accuracy_pct in (pytest.approx(6600), pytest.approx(6700))
    assert en.kept_pct == pytest.approx(en.accuracy_pct)
    assert en.wer_pct == pytest.approx(100 * 27 / 80)
    assert gap.accuracy_pct == pytest.approx(100 - en.accuracy_pct)
    assert gap.accuracy_low_pct > 0
    assert gap.p_value < 0.01
    [entry] = about
    assert entry["counts"]["test"]["utterances"] == {"text": 80}
    assert entry["counts"]["learnt_from"]["sentences"] == 40
    assert entry["counts"]["learnt_from"]["left_out"] == {"in the test set": 80}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("una frase di altri", "sport"), ("un'altra", "salute")], "labels none of 6 utterances"),
        (sentences(6), "no labelled sentence to learn from"),
        (sentences(1) + sentences(9, 100), "one topic in the test set (salute)"),
        (sentences(6) + sentences(9, 100)[::2], "one topic to learn from (salute)"),
    ],
)
def test_what_cannot_be_told_is_said_and_is_no_number(tmp_path, rows, says):
    said = [(text, text, 0) for text, _ in sentences(6)]
    table, _ = tables(tmp_path, scored({"en": said, "ml": said}), labels(tmp_path, rows))
    assert len(table) == 1
    assert table.status[0].startswith("not estimable: ")
    assert says in table.status[0]
    assert table.accuracy_pct.isna().all()


def test_one_sentence_and_topics_that_were_never_learnt(tmp_path):
    asked = [*sentences(7), ("il treno parte per roma", "viaggi"), ("la nave salpa", "viaggi")]
    said = [(text, text, 0) for text, _ in asked]
    rows, _ = tables(
        tmp_path,
        scored({"en": said, "ml": said}),
        labels(tmp_path, [*asked, *sentences(40, 200)]),
    )
    row = rows[rows.arm == "en"].iloc[0]
    assert (row.unseen, row.topics, row.sentences) == (2, 3, 9)
    assert row.accuracy_pct == pytest.approx(100 * 7 / 9)
    gap = rows[rows.arm == "gap"].iloc[0]
    assert gap.status == "not estimable: both arms are right in the same sentences"
    assert math.isnan(gap.p_value)
    one = topics.tell(told([("a", "x", "x"), ("a", "x", "y")]), SETTINGS)
    assert topics._status(one, one.accuracy[CELL], False) == "not estimable: one sentence"


def test_answers_are_chosen_by_likeness(tmp_path):
    """Ten passages of one sentence; the baseline hears nothing in half of them."""
    asked = sentences(10)
    rows = [
        {
            "text": text,
            **{f"mc_answer{place + 1}": asked[(number + place) % 10][0] for place in range(4)},
            "correct_answer_num": 1,
        }
        for number, (text, _) in enumerate(asked)
    ]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    good = [(text, text, 0) for text, _ in asked]
    half = [(text, text if place % 2 else "", 0) for place, (text, _) in enumerate(asked)]
    table, about = tables(
        tmp_path, scored({"en": half, "ml": good}), {"questions": {"human": str(path)}}
    )
    en, ml, gap = (table[table.arm == arm].iloc[0] for arm in ("en", "ml", "gap"))
    assert ml.accuracy_pct == pytest.approx(100)
    # Five are heard, and of the other five a quarter is right by chance.
    assert en.accuracy_pct == pytest.approx(100 * (5 + 5 / 4) / 10)
    assert en.accuracy_low_pct < 62.5 < en.accuracy_high_pct
    assert gap.accuracy_low_pct > 0
    assert math.isnan(en.macro_f1_pct)
    assert about[0]["counts"]["questions"] == {"text": 10}


def test_the_prompts_are_told_apart_by_their_names(tmp_path):
    """Their file names are classes: conferences, voice mail, queues. Learnt from those of `train`,
    asked of `test`."""
    names = {"conf": "conference", "confbridge": "conference", "vm": "voicemail", "queue": "queue"}
    rows = list(csv.DictReader((ROOT / "demo/speech/it/metadata.tsv").open(), delimiter="\t"))
    known = [(row, names.get(row["path"].split("-")[0], "")) for row in rows]
    test = [understanding.text.normalize(r["text"], TEXT) for r, _ in known if r["split"] == "test"]
    said = {
        "en": [(one, " ".join(one.split()[::3]), len(one.split()) // 2) for one in test],
        "ml": [(one, one, 0) for one in test],
    }
    given = [(row["text"].replace("\t", " "), topic) for row, topic in known if topic]
    table, about = tables(tmp_path, scored(said), labels(tmp_path, given))
    ml = table[table.arm == "ml"].iloc[0]
    en = table[table.arm == "en"].iloc[0]
    assert ml.accuracy_pct == ml.accuracy_reference_pct
    assert ml.accuracy_pct > ml.majority_pct + 20
    assert en.accuracy_pct <= ml.accuracy_pct
    assert ml.unlabelled == about[0]["counts"]["test"]["utterances"]["not in the table"]


@pytest.mark.slow
def test_the_page_shows_what_was_told_beside_what_was_not(tmp_path):
    """A table that fits is shown, and one that does not says why, in one sheet and one figure."""
    asked = sentences(40)
    said = [(text, text if place % 3 else "", 0) for place, (text, _) in enumerate(asked)]
    given = labels(tmp_path, [*asked, *sentences(40, 200)])
    table, _ = tables(tmp_path, scored({"en": said, "ml": said}), given)
    lost = pd.DataFrame([{"kind": "cascade", "source": "fr", "lang": "fr", "test_set": "human"}])
    table = pd.concat([table, lost.assign(status="not estimable: no label", recognition="ok")])
    display = Display.of(
        {
            "study": {"name": "t", "title": "T"},
            "statistics": filled("statistics", STATISTICS),
            "languages": {"it": "Italian", "fr": "French"},
            "targets": ["it", "fr"],
            "training_sets": {name: {"name": name, "languages": [name]} for name in ("it", "fr")},
            "arms": {name: {"name": name, "init": name} for name in ("en", "ml")},
            "tiers": ["160ms"],
            "test_sets": ["human"],
        }
    )
    analysis = analyses.load("topics")
    assert analysis.absent({"topics": table}, display, None) == ""
    sheet = analysis.sheet({"topics": table}, display, None)
    texts = [" ".join(cell.text for cell in row) for row in sheet.rows]
    assert sum("not estimable: no label" in text for text in texts) == 1
    assert any("ml − en" in text for text in texts)
    figure = topics.draw(Material({"topics": table}), display, None)
    assert [axis.get_title() for axis in figure.axes] == ["Italian, human"]
    nothing = table[table.accuracy_pct.isna()]
    assert "no label" in analysis.absent({"topics": nothing}, display, None)
    assert "no labels" in analysis.absent({"topics": table[:0]}, display, None)
