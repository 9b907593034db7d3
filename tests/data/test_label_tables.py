"""Tables of topics and questions: what is read of each layout, how sentences find their rows."""

import json

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from warmstart.data import label_tables
from warmstart.data.label_tables import Label, Spoken, join, read_labels, read_questions
from warmstart.data.utterances import published_id
from warmstart.run.errors import UserError

FAR = "the committee met in the old town hall on monday"  # 48 letters


def table(tmp_path, text, name="t.tsv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def joined(labels, spoken, texts=None):
    return join(labels, texts or [one.text for one in labels], spoken)


def test_the_layout_of_sib_200_is_a_folder_of_tsv(tmp_path):
    table(tmp_path, 'index_id\tcategory\ttext\n7\tsports\tHe "won" it.\n', "train.tsv")
    table(tmp_path, "index_id\tcategory\ttext\n8\thealth\tShe is ill.\n", "test.tsv")
    (tmp_path / "labels.txt").write_text("sports\nhealth\n")
    found, dropped = read_labels(tmp_path)
    assert [(one.topic, one.text, one.key) for one in found] == [
        ("health", "She is ill.", "index_id 8"),
        ("sports", 'He "won" it.', "index_id 7"),
    ]
    assert not dropped


def test_the_layout_of_sib_fleurs_is_parquet_with_numbers_for_topics_and_a_list_of_files(tmp_path):
    """`topic` is FLORES's own word there; `category` is that of SIB, a number with its names beside
    the schema."""
    rows = pyarrow.table(
        {
            "sentence": ["He won."],
            "id": pyarrow.array([12], pyarrow.int32()),
            "fleurs_id": pyarrow.array([1675], pyarrow.int32()),
            "topic": ["Sports, football"],
            "category": pyarrow.array([1], pyarrow.int64()),
            "filename": [["10004.wav", "10005.wav"]],
            "audio": [[b"", b""]],
        }
    )
    names = {"category": {"names": ["travel", "sports"], "_type": "ClassLabel"}}
    note = json.dumps({"info": {"features": names}})
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(rows.replace_schema_metadata({"huggingface": note}), path)
    [one], _ = read_labels(path)
    assert one == Label("sports", "He won.", ("12", "10004", "10005"), "1675", "fleurs_id 1675")


def test_what_is_no_label_is_counted_by_reason(tmp_path):
    path = table(tmp_path, 'text,topic\nA,x\n,y\nB,\n"C, and",z\n', "t.csv")
    found, dropped = read_labels(path)
    assert [one.text for one in found] == ["A", "C, and"]
    assert dropped == {"no sentence and no id": 1, "no topic": 1}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.tsv", "sentence\tcategori\nA\tx\n", "no column category or topic"),
        ("t.tsv", "topic\tspeaker\nx\tanna\n", "no column sentence or text"),
        ("t.tsv", "text;topic\nA;x\n", "no column category"),
        ("t.jsonl", '{"text": "A", "topic": "x"}\n{"text"\n', "t.jsonl:2: not JSON"),
        ("t.jsonl", "[1]\n", "no JSON object"),
        ("t.xlsx", "", "tables are .tsv, .csv"),
        ("t.parquet", "no parquet", "damaged"),
    ],
)
def test_a_table_that_is_none_is_told_in_a_line(tmp_path, name, text, says):
    path = table(tmp_path, text, name)
    look = label_tables.check_columns if "column" in says else read_labels
    with pytest.raises(UserError, match=says) as raised:
        look(path)
    assert str(path) in str(raised.value)


def test_a_table_that_is_not_there_or_says_nothing_is_told(tmp_path):
    with pytest.raises(UserError, match="no such table"):
        read_labels(tmp_path / "none.tsv")
    with pytest.raises(UserError, match="in this folder"):
        read_labels(tmp_path)
    with pytest.raises(UserError, match=r"no row with a topic \(1 no topic\)"):
        read_labels(table(tmp_path, "text\ttopic\nA\t\n"))


def test_an_utterance_finds_its_row_by_id_then_sentence_then_text_then_nearly():
    labels = [
        Label("a", utterances=("prompts/one",)),
        Label("b", sentence_id="7"),
        Label("c", text="exactly this"),
        Label("d", text=FAR),
    ]
    spoken = [
        Spoken("one", "x", "exactly this"),  # its id counts, not its text
        Spoken("two", "7", "anything"),
        Spoken("three", "x", "exactly this"),
        Spoken("four", "x", FAR.replace("met", "mat").replace("hall", "hal")),  # two letters
        Spoken("five", "x", FAR.replace("committee", "comity")),  # four
        Spoken("six", "x", "exactly that"),  # three of twelve letters are another word
    ]
    found = joined(labels, spoken)
    assert {name: labels[place].topic for name, place in found.rows.items()} == {
        "one": "a",
        "two": "b",
        "three": "c",
        "four": "d",
    }
    assert found.counts == {
        "id": 1,
        "sentence id": 1,
        "text": 1,
        "nearly the same text": 1,
        "not in the table": 2,
    }


def test_rows_of_one_sentence_that_disagree_give_no_topic():
    labels = [
        Label("a", text=FAR),
        Label("b", text=FAR),
        Label("a", text="x"),
        Label("a", text="x"),
    ]
    found = joined(labels, [Spoken("one", "", FAR), Spoken("two", "", "x")])
    assert list(found.rows) == ["two"]
    assert found.counts == {"two topics in the table": 1, "text": 1}


def test_files_of_one_name_in_two_folders_are_two_utterances():
    labels = [Label("a", utterances=("anna/1",)), Label("b", utterances=("bert/1",))]
    found = joined(labels, [Spoken("anna/1", "", ""), Spoken("1", "", "")])
    assert found.rows == {"anna/1": 0}


def test_a_table_calls_utterances_as_their_corpus_does():
    """Cuts have corpus, language and split in front of it."""
    assert published_id("human-it-test-vm-goodbye", "it") == "vm-goodbye"
    assert published_id("human-it-test-vm-goodbye", "fr") == "human-it-test-vm-goodbye"
    assert published_id("vm-goodbye", "it") == "vm-goodbye"
    one = Spoken("human-it-test-vm-goodbye", "", "", published="vm-goodbye")
    assert joined([Label("a", utterances=("vm-goodbye",))], [one]).rows == {one.id: 0}


def test_an_empty_reference_is_no_text_of_a_table_of_ids():
    found = joined([Label("a", utterances=("one",))], [Spoken("two", "", "")])
    assert not found.rows


def test_questions_are_read_as_belebele_writes_them(tmp_path):
    row = {
        "link": "u",
        "question_number": 1,
        "flores_passage": "A b.",
        "question": "What?",
        **{f"mc_answer{place}": text for place, text in enumerate("wxyz", 1)},
        "correct_answer_num": "3",
    }
    lines = [row, row | {"correct_answer_num": 5}, row | {"mc_answer2": ""}]
    path = table(tmp_path, "".join(json.dumps(one) + "\n" for one in lines), "q.jsonl")
    [one], dropped = read_questions(path)
    assert (one.name, one.passage, one.answers, one.correct) == ("u 1", "A b.", tuple("wxyz"), 2)
    assert dropped == {"no right answer from 1 to 4": 1, "an answer is missing": 1}


def test_a_cell_that_pandas_left_empty_is_empty(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"text": ["A", None], "topic": ["x", "y"]}).to_parquet(path)
    found, dropped = read_labels(path)
    assert len(found) == 1
    assert dropped == {"no sentence and no id": 1}
