"""Every row of every table is kept, dropped with a reason, or of another split."""

import gzip
import json
import os
import zlib

import numpy as np
import pytest
from made import releases
from made.speech import encode

import download_corpus
import prepare_manifest
from warmstart.data import cut_lines
from warmstart.data.corpora import local
from warmstart.run import files
from warmstart.run.errors import UserError


def tone(path, seconds=0.5):
    """A short recording of its own."""
    draw = np.random.default_rng(zlib.crc32(path.name.encode()))
    return encode((0.1 * draw.standard_normal(int(seconds * 16000))).astype("float32"), path)


def prepare(tmp_path, settings, split="train", directory=None, extra=()):
    """Run the program; returns (text of each cut by id, report)."""
    output, report = tmp_path / "out" / "m.jsonl.gz", tmp_path / "out" / "m.qc.json"
    settings = {"max_drop_fraction": 0.95, **settings}
    corpus = ["--corpus", settings["kind"], "--lang", "it", "--split", split, *extra]
    paths = ["--directory", directory or tmp_path, "--output", output, "--report", report]
    prepare_manifest.main([*corpus, "--settings", json.dumps(settings), *map(str, paths)])
    texts = {
        cut["id"].removeprefix(f"{settings['kind']}-it-{split}-"): cut_lines.supervision(cut)[
            "text"
        ]
        for cut in cut_lines.read(output)
    }
    return texts, files.read_json(report)


def own(tmp_path, table, name="train.tsv", names="abcde", **settings):
    """A local corpus of recordings a.wav ... and a table as it stands."""
    folder = tmp_path / "own"
    for stem in names:
        tone(folder / f"{stem}.wav")
    (folder / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    return {"kind": "local", "directory": str(folder), "block": "utterance", **settings}


def reasons(report):
    return {reason: entry["cuts"] for reason, entry in report["dropped"].items()}


TABLES = {
    "text last": (
        'path\ttext\na.wav\tuno\nb.wav\t"due\ntre"\nc.wav\tquattro\n',
        {"a": "uno", "c": "quattro"},
        {"broken_row": 2},
    ),
    "text last, three lines and a blank one": (
        'path\ttext\na.wav\tuno\nb.wav\t"due\n\ntre\nsei"\nc.wav\tquattro\n',
        {"a": "uno", "c": "quattro"},
        {"broken_row": 3},
    ),
    "text first": (
        'text\tpath\nuno\ta.wav\n"due\ntre"\tb.wav\nquattro\tc.wav\n',
        {"a": "uno", "c": "quattro"},
        {"broken_row": 2},
    ),
    "text last, a piece with a tab": (
        'path\tnote\ttext\na.wav\t\tuno\nb.wav\t\t"due\ntre\tsei"\nc.wav\t\t"quattro\n',
        {"a": "uno", "c": '"quattro'},
        {"broken_row": 2},
    ),
    "text between columns, a piece as wide as the table": (
        'path\ttext\tnote\na.wav\tuno\nb.wav\t"due\ntre\tsei"\tx\nc.wav\tquattro\t\n',
        {"a": "uno", "c": "quattro"},
        {"broken_row": 2},
    ),
    "text last, a piece as wide as the table": (
        'path\ttext\na.wav\t"uno\nb.wav\t"due\ntre\tsei"\nc.wav\tquattro\n',
        {"a": '"uno', "c": "quattro"},
        {"broken_row": 2},
    ),
    "text first, a piece as wide as the table": (
        'text\tpath\nuno\ta.wav\n"due\tsei\ntre"\tb.wav\n"quattro\tc.wav\n',
        {"a": "uno", "c": '"quattro'},
        {"broken_row": 2},
    ),
    "text between columns that may be empty": (
        'path\ttext\tnote\na.wav\tuno\t\nb.wav\t"due\ntre"\tx\nc.wav\tquattro\t\n',
        {"a": "uno", "c": "quattro"},
        {"broken_row": 2},
    ),
    "in a note behind the text, which is whole": (
        'path\ttext\tnote\na.wav\tuno\t"x\ny"\nb.wav\tdue\t\n',
        {"a": "uno", "b": "due"},
        {"broken_row": 1},
    ),
    "no quotes": ("path\ttext\na.wav\tuno\nb.wav\tdue\ntre\n", {"a": "uno"}, {"broken_row": 2}),
    "tabs at the ends dropped by an editor": (
        "path\ttext\tnote\na.wav\tuno\nb.wav\tdue\nc.wav\ttre\tx\n",
        {"a": "uno", "b": "due", "c": "tre"},
        {},
    ),
    "a text left out": (
        "path\ttext\na.wav\tuno\nb.wav\nc.wav\ttre\n",
        {"a": "uno", "c": "tre"},
        {"short_row": 1},
    ),
    "a stray tab": (
        "path\ttext\na.wav\tuno\nb.wav\tdue\ttre\n",
        {"a": "uno"},
        {"long_row": 1},
    ),
    "empty cells below a sheet": ("path\ttext\na.wav\tuno\n\t\n\t\n", {"a": "uno"}, {}),
    "the end of the file is missing": (
        "path\ttext\tnote\na.wav\tuno\tx\nb.wav\tdu",
        {"a": "uno"},
        {"broken_row": 1},
    ),
    "an empty path": ("path\ttext\na.wav\tuno\n\tdue\n", {"a": "uno"}, {"no_path": 1}),
    "a folder as path": ("path\ttext\na.wav\tuno\n..\tdue\n", {"a": "uno"}, {"missing_file": 1}),
}


@pytest.mark.parametrize(("table", "kept", "lost"), TABLES.values(), ids=TABLES)
def test_a_row_is_read_whole_or_dropped_and_counted(tmp_path, table, kept, lost):
    texts, report = prepare(tmp_path, own(tmp_path, table))
    assert texts == kept
    assert reasons(report) == lost
    rows = report["rows"]
    assert rows["kept"] == len(kept)
    assert rows["read"] == rows["kept"] + rows["dropped"]


def test_broken_rows_are_named_with_file_and_line_when_they_stop_a_manifest(tmp_path):
    settings = own(tmp_path, TABLES["text last"][0], max_drop_fraction=0.05)
    with pytest.raises(UserError, match=r"2 of 4 .*broken_row 2.*train\.tsv:3: .*train\.tsv:4: "):
        prepare(tmp_path, settings)


def test_one_bad_row_stops_no_small_table_and_is_told(tmp_path, caplog):
    settings = own(tmp_path, TABLES["a stray tab"][0], max_drop_fraction=0.05)
    texts, _ = prepare(tmp_path, settings)
    assert texts == {"a": "uno"}
    assert (
        "1 rows are no utterance; first: train.tsv:3: long_row, 3 fields, 2 columns" in caplog.text
    )


def test_rows_of_other_splits_are_counted_and_misspellings_told(tmp_path, caplog):
    splits = {"a": "train", "b": "trian", "c": "Train", "d": "train ", "e": "later"}
    rows = [f"{name}.wav\tuno\t{split}\n" for name, split in splits.items()]
    table = "path\ttext\tsplit\n" + "".join(rows)
    settings = own(tmp_path, table, name="metadata.tsv")
    texts, report = prepare(tmp_path, settings, extra=["--used-splits", "train", "test"])
    assert list(texts) == ["a"]
    others = {"trian": 1, "Train": 1, "train ": 1, "later": 1}
    assert report["rows"] == {"read": 5, "kept": 1, "dropped": 0, "other_splits": others}
    assert "is 'trian' (1 rows), 'Train' (1 rows), 'train ' (1 rows) a misspelling" in caplog.text
    assert "the study uses no split 'later' (1 rows)" in caplog.text
    assert "rows 5 = 1 kept + 0 dropped + 4 of other splits (trian 1, Train 1" in caplog.text


def test_a_split_that_no_row_has_is_answered_with_the_table_and_its_splits(tmp_path):
    table = "path\ttext\tsplit\na.wav\tuno\tTest\nb.wav\tdue\ttrain\nc.wav\ttre\ttrain\n"
    settings = own(tmp_path, table, name="metadata.tsv")
    where = tmp_path / "own" / "metadata.tsv"
    splits = r"splits there: 'train' 2, 'Test' 1; did you mean 'Test'\?"
    with pytest.raises(UserError, match=rf"no utterance of split 'test' in {where}; {splits}"):
        prepare(tmp_path, settings, split="test")


def test_no_table_for_a_split_lists_those_that_are_there(tmp_path):
    settings = own(tmp_path, "path\ttext\na.wav\tuno\n")
    with pytest.raises(UserError, match=r"no test\.tsv, .* which has train\.tsv; name the table"):
        prepare(tmp_path, settings, split="test")


def test_damage_elsewhere_in_a_table_does_not_stop_a_small_split(tmp_path):
    rows = ["a.wav\tuno\ttrain\n" for _ in range(200)]
    table = "path\ttext\tsplit\n" + "".join(rows) + 'b.wav\t"due\ntre"\ttrain\nc.wav\tsei\ttest\n'
    settings = own(tmp_path, table, name="metadata.tsv", max_drop_fraction=0.05)
    texts, report = prepare(tmp_path, settings, split="test")
    assert texts == {"c": "sei"}
    assert report["rows"] == {"read": 203, "kept": 1, "dropped": 2, "other_splits": {"train": 200}}
    assert report["dropped_fraction"] == 0


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path;text", "separate them with tabs, not with ';'"),
        ("path\ttext\rb.wav\tdue", "its lines end in CR alone"),
        ("path,text", "separate them with tabs, not with ','"),
        ("Path\ttext", "write 'path' for 'Path': lower case"),
        ("path\ttext ", "write 'text' for 'text '"),
        ("path\ttext\ttext", "the column text stands twice"),
    ],
)
def test_a_wrong_header_is_answered_with_what_to_write(tmp_path, header, said):
    with pytest.raises(UserError, match=f"train.tsv: .*{said}"):
        prepare(tmp_path, own(tmp_path, f"{header}\na.wav\tuno\n"))


def test_a_table_in_another_encoding_is_one_line_with_file_and_byte(tmp_path):
    settings = own(tmp_path, "path\ttext\na.wav\tperché\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"train\.tsv: not UTF-8 .* at byte 21\); convert"):
        prepare(tmp_path, settings)


def test_a_table_in_utf_16_is_named_as_such(tmp_path):
    settings = own(tmp_path, "path\ttext\na.wav\tuno\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"at byte 0\); convert .* iconv -f UTF-16 -t UTF-8"):
        prepare(tmp_path, settings)


def test_a_reader_that_loses_rows_is_refused(tmp_path, monkeypatch):
    whole = local.Reader.read
    monkeypatch.setattr(
        local.Reader, "read", lambda *given: (row for row in whole(*given) if row.id != "b")
    )
    with pytest.raises(UserError, match=r"rows 2 = 1 kept \+ 0 dropped \+ 0 of .*does not add up"):
        prepare(tmp_path, own(tmp_path, "path\ttext\na.wav\tuno\nb.wav\tdue\n"))


ODD_PATHS = {
    "x" * 300 + ".wav": "File name too long",
    "nothing.wav": "no such file",
    "e\u0301.wav": "composed characters",
    "a.wav ": "no blank at an end",
    "sub\\b.wav": "/ for \\",
    "A.wav\0": "null byte",
    "pipe.wav": "a pipe, a socket or a device",
    "/dev/zero": "a pipe, a socket or a device",
    "folder.wav": "a folder, not a file",
    "a.WAV": "an ending in lower case",
}


@pytest.mark.parametrize(("name", "said"), ODD_PATHS.items(), ids=range(len(ODD_PATHS)))
def test_one_odd_path_is_dropped_with_what_is_there(tmp_path, name, said):
    settings = own(tmp_path, f"path\ttext\nb.wav\tuno\n{name}\tdue\n")
    folder = tmp_path / "own"
    tone(folder / "\u00e9.wav")
    tone(folder / "sub" / "b.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "folder.wav").mkdir()
    texts, report = prepare(tmp_path, settings)
    assert texts == {"b": "uno"}
    (dropped,) = report["dropped_ids"]
    assert dropped["reason"] == "missing_file"
    assert said in dropped["detail"]
    assert str(folder) not in dropped["detail"]


def test_other_formats_are_answered_with_the_command_that_converts_them(tmp_path):
    settings = own(tmp_path, "path\ttext\na.wav\tuno\nx.m4a\tdue\n", max_drop_fraction=0.05)
    (tmp_path / "own" / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(UserError, match=r"x\.m4a: undecodable .*; .*ffmpeg -i x\.m4a x\.flac"):
        prepare(tmp_path, settings)


def test_no_command_writes_over_the_file_that_it_reads(tmp_path):
    settings = own(tmp_path, "path\ttext\na.wav\tuno\nx.FLAC\tdue\n", max_drop_fraction=0.05)
    (tmp_path / "own" / "x.FLAC").write_bytes(b"<html>no such page</html>")
    with pytest.raises(UserError, match=r"it is no FLAC, whatever its name; fetch it") as caught:
        prepare(tmp_path, settings)
    assert "ffmpeg" not in str(caught.value)


def test_the_folder_of_several_bad_files_is_written_once(tmp_path):
    table = "path\ttext\na.wav\tuno\n" + "".join(f"gone{n}.wav\tdue\n" for n in range(3))
    settings = own(tmp_path, table, max_drop_fraction=0.05)
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, settings)
    said = str(caught.value)
    assert said.count(str(tmp_path)) == 1
    assert "gone0.wav: missing_file no such file; gone1.wav: missing_file" in said


def jsonl(tmp_path, lines, folder="own", **settings):
    """A Granary corpus of a.wav (2 s) and the given lines."""
    where = tmp_path / folder
    tone(where / "a.wav", 2.0)
    content = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    (where / "it_asr.jsonl").write_bytes(content)
    manifests = [str(where / "*.jsonl")]
    return {"kind": "granary", "directory": str(where), "manifests": manifests, **settings}


GOOD = '{"audio_filepath": "a.wav", "text": "uno"}'


@pytest.mark.parametrize(
    "bad",
    [
        '{"audio_filepath": "gone.wav", "text": "ja", "offset": 0.5, "duration": NaN}',
        '{"audio_filepath": "a.wav", "text": "ja", "offset": 0, "duration": 1e400}',
        '{"audio_filepath": "a.wav", "text": "ja", "offset": 1e308, "duration": 1e307}',
        '{"audio_filepath": "a.wav", "text": "ja", "offset": 0.50001, "duration": 0.00003}',
        '{"audio_filepath": "a.wav", "text": "ja", "offset": 1, "duration": -1}',
        '{"audio_filepath": "\\ud83d.wav", "text": "ja"}',
        '{"audio_filepath": "a.wav", "text": 1234}',
        '{"audio_filepath": 5, "text": "ja"}',
        '{"audio_filepath": "", "text": "ja"}',
        "not json",
    ],
)
def test_one_bad_line_of_json_is_dropped_and_counted(tmp_path, bad):
    texts, report = prepare(tmp_path, jsonl(tmp_path, [GOOD, bad]))
    assert texts == {"a": "uno"}
    assert report["rows"] == {"read": 2, "kept": 1, "dropped": 1, "other_splits": {}}
    (entry,) = report["dropped"].values()
    assert entry["hours"] >= 0


def test_a_byte_order_mark_is_taken_off(tmp_path):
    texts, _ = prepare(tmp_path, jsonl(tmp_path, ("\ufeff" + GOOD).encode()))
    assert texts == {"a": "uno"}


def test_json_in_another_encoding_is_one_line_with_file_and_byte(tmp_path):
    settings = jsonl(tmp_path, (GOOD + "\n" + GOOD.replace("uno", "perché")).encode("latin-1"))
    with pytest.raises(UserError, match=r"it_asr\.jsonl: not UTF-8 .*at byte 85\)"):
        prepare(tmp_path, settings)


@pytest.mark.parametrize(
    ("stated", "kept"), [("1.99", True), ("2.09", True), ("2.2", False), ('"99"', False)]
)
def test_a_file_that_is_shorter_than_its_line_says_is_not_all_there(tmp_path, stated, kept):
    line = GOOD.replace("}", f', "duration": {stated}}}')
    tone(tmp_path / "own" / "b.wav", 2.0)
    texts, report = prepare(tmp_path, jsonl(tmp_path, [line, GOOD.replace("a.wav", "b.wav")]))
    assert texts == ({"a": "uno"} if kept else {}) | {"b": "uno"}
    assert reasons(report) == ({} if kept else {"truncated": 1})


@pytest.mark.parametrize("folder", ["[set]", "a[b-", "{x}*"])
def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path, folder):
    texts, _ = prepare(tmp_path, jsonl(tmp_path, [GOOD], folder=folder))
    assert texts == {"a": "uno"}


@pytest.mark.parametrize("nobody", ['"None"', "NaN", '""', "null"])
def test_an_unknown_speaker_is_no_person(tmp_path, nobody):
    line = GOOD.replace("}", f', "speaker": {nobody}}}')
    _, report = prepare(tmp_path, jsonl(tmp_path, [line]))
    assert report["kept"]["speakers"] == 0


def voxpopuli(tmp_path, change):
    """The made release with its lines changed; returns settings."""
    root = tmp_path / "release"
    releases.voxpopuli(root)
    table = root / "annotations" / "asr" / "asr_it.tsv.gz"
    lines = gzip.decompress(table.read_bytes()).decode().splitlines()
    table.write_bytes(gzip.compress(("\n".join(change(lines)) + "\n").encode()))
    return {"kind": "voxpopuli", "source": str(root)}


def rows_of_voxpopuli(tmp_path, change):
    settings = voxpopuli(tmp_path, change)
    directory = tmp_path / "voxpopuli" / "it"
    arguments = ["--corpus", "voxpopuli", "--lang", "it", "--settings", json.dumps(settings)]
    download_corpus.main(
        [*arguments, "--directory", str(directory), "--output", str(directory / "complete.json")]
    )
    return prepare(tmp_path, settings, directory=directory)


def test_rows_of_voxpopuli_add_up_and_a_quoted_line_break_is_read_whole(tmp_path):
    before, whole = rows_of_voxpopuli(tmp_path / "1", lambda lines: lines)
    count = whole["rows"]["read"]
    assert whole["rows"]["other_splits"]["excluded"] == 1

    def change(lines):
        train = [n for n, line in enumerate(lines) if line.split("|")[5] == "train"]
        cells = lines[train[0]].split("|")
        cells[3] = '"prima\nseconda"'
        lines[train[0]] = "|".join(cells)
        cells = lines[train[1]].split("|")
        cells[-3] = "early"  # start_time
        lines[train[1]] = "|".join(cells)
        return [*lines, "20090101-0900-PLENARY-it|7|x", lines[train[1]] + "|more"]

    texts, report = rows_of_voxpopuli(tmp_path / "2", change)
    assert "prima\nseconda" in texts.values()
    assert report["rows"]["read"] == count + 2
    assert report["rows"]["kept"] == len(before) - 1
    assert reasons(report) == {"bad_row": 3}


def test_rows_of_mls_add_up(tmp_path):
    root = tmp_path / "mls_italian"
    for number in range(3):
        tone(root / "train" / "audio" / "7" / "8" / f"7_8_00{number}.flac")
    (root / "metainfo.txt").write_text("")
    table = root / "train" / "transcripts.txt"
    lines = ["7_8_000\tuno", "7_8_001\tdue", "tre", "x\tquattro", "../_8_1\tx", "7_8_002\tsei"]
    table.write_text("\n".join(lines) + "\n")
    settings = {"kind": "mls", "code": "italian", "format": "flac", "source": str(root)}
    texts, report = prepare(tmp_path, settings)
    assert texts == {"7_8_000": "uno", "7_8_002": "sei"}
    assert reasons(report) == {"broken_row": 1, "bad_row": 3}
    table.write_text("7_8_000\tuno\n7_8_001\tdue\ntre\tquattro\n7_8_002\tsei\n")
    texts, report = prepare(tmp_path, settings)
    assert texts == {"7_8_000": "uno", "7_8_002": "sei"}
    assert reasons(report) == {"broken_row": 1, "bad_row": 1}
    table.write_bytes("7_8_000\tperché\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"transcripts\.txt: not UTF-8 .*at byte 13\)"):
        prepare(tmp_path, settings)


def test_broken_rows_of_published_tables_are_dropped_with_both_halves(tmp_path):
    top = tmp_path / "cv" / "it"
    columns = releases.CV_HEADER.split("\t")
    lines = [releases.CV_HEADER]
    for number in range(4):
        tone(top / "clips" / f"c{number}.wav").rename(top / "clips" / f"c{number}.mp3")
        text = '"uno\ndue"' if number == 1 else f"frase {number}"
        row = {"client_id": "p", "path": f"c{number}.mp3", "sentence": text}
        lines.append("\t".join(row.get(name, "") for name in columns))
    (top / "validated.tsv").write_text("\n".join(lines) + "\n")
    for name, stray in (("dev", ""), ("test", "\tstray")):
        text = f"path\tsentence\nc3.mp3\tfrase{stray}\n" if stray else "path\tsentence\n"
        (top / f"{name}.tsv").write_text(text)
    settings = {"kind": "commonvoice", "source": str(tmp_path / "cv")}
    texts, report = prepare(tmp_path, settings, split="validated")
    # c3 is held out although the line of the test table has a tab too many.
    assert texts == {"c0": "frase 0", "c2": "frase 2"}
    assert reasons(report) == {"broken_row": 2}
    assert report["rows"]["other_splits"] == {"test": 1}


def test_a_byte_order_mark_before_the_annotations_of_voxpopuli_is_taken_off(tmp_path):
    before, _ = rows_of_voxpopuli(tmp_path / "1", lambda lines: lines)
    after, _ = rows_of_voxpopuli(tmp_path / "2", lambda lines: ["\ufeff" + lines[0], *lines[1:]])
    assert after == before


def test_a_quotation_mark_that_nothing_closes_is_told_with_the_lines_it_takes(tmp_path):
    def change(lines):
        first = next(n for n, line in enumerate(lines) if line.split("|")[5] == "train")
        cells = lines[first].split("|")
        cells[3] = f'"{cells[3]}'
        lines[first] = "|".join(cells)
        return lines

    with pytest.raises(UserError, match=r"asr_it\.tsv\.gz: a quotation mark takes \d+ lines up to"):
        rows_of_voxpopuli(tmp_path, change)


def test_held_out_clips_are_known_with_and_without_their_ending(tmp_path):
    top = tmp_path / "cv" / "it"
    for number in range(3):
        tone(top / "clips" / f"clip_{number}.mp3")
    rows = [f"{number:064x}\tclip_{number}.mp3\tfrase {number}" for number in range(3)]
    head = "client_id\tpath\tsentence"
    (top / "validated.tsv").write_text("\n".join([head, *rows]) + "\n")
    (top / "dev.tsv").write_text(f"{head}\n{rows[0].replace('.mp3', '')}\n")
    (top / "test.tsv").write_text(f"{head}\n{rows[1]}\n")
    settings = {"kind": "commonvoice", "source": str(tmp_path / "cv")}
    texts, report = prepare(tmp_path, settings, split="validated")
    assert texts == {"clip_2": "frase 2"}
    assert report["rows"]["other_splits"] == {"dev": 1, "test": 1}
