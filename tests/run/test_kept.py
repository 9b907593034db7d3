"""Second names for finished outputs: what Snakemake removed comes back where nothing differs."""

import os

from warmstart.run import files, kept


def made(folder, **texts):
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.txt"
        path.write_text(text)
        paths.append(path)
    return paths


def test_what_was_removed_comes_back_where_nothing_differs(tmp_path):
    outputs = made(tmp_path, model="weights", curve="loss")
    kept.vouch(tmp_path, {"lr": 1, "inputs": {"cuts": ("a",)}}, outputs)
    before = outputs[0].stat()
    assert before.st_nlink == 2, "a second name, not a copy"
    for path in outputs:
        path.unlink()
    assert kept.take_back(tmp_path, {"lr": 1, "inputs": {"cuts": ("a",)}}, outputs)
    assert [path.read_text() for path in outputs] == ["weights", "loss"]
    assert outputs[0].stat().st_ino == before.st_ino


def test_of_anything_else_nothing_comes_back(tmp_path):
    outputs = made(tmp_path, model="weights")
    kept.vouch(tmp_path, {"lr": 1}, outputs)
    outputs[0].unlink()
    assert not kept.take_back(tmp_path, {"lr": 2}, outputs)
    assert not outputs[0].exists()
    (tmp_path / kept.FOLDER / "made_of.json").write_text("")
    assert not kept.take_back(tmp_path, {"lr": 1}, outputs), "a record that was cut off"


def test_a_damaged_file_does_not_come_back_and_nothing_is_touched(tmp_path):
    outputs = made(tmp_path, model="weights", curve="loss")
    kept.vouch(tmp_path, {}, outputs)
    kept.path_of(outputs[1]).write_text("lost")  # the same file as the output
    outputs[0].unlink()
    assert not kept.take_back(tmp_path, {}, outputs)
    assert not outputs[0].exists()
    assert outputs[1].read_text() == "lost"


def test_it_comes_back_newer_than_its_inputs(tmp_path):
    outputs = made(tmp_path, model="weights")
    kept.vouch(tmp_path, {}, outputs)
    os.utime(outputs[0], (1, 1))
    outputs[0].unlink()
    assert kept.take_back(tmp_path, {}, outputs)
    assert outputs[0].stat().st_mtime > 1e9


def test_other_processes_of_a_job_look_and_change_nothing(tmp_path):
    outputs = made(tmp_path, model="weights")
    kept.vouch(tmp_path, {}, outputs)
    outputs[0].unlink()
    assert kept.take_back(tmp_path, {}, outputs, give=False)
    assert not outputs[0].exists()


def test_without_hard_links_nothing_is_kept_and_no_job_fails(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("Operation not permitted")

    outputs = made(tmp_path, model="weights")
    monkeypatch.setattr(os, "link", refused)
    kept.keep(outputs)
    assert not kept.path_of(outputs[0]).exists()
    # A folder that was copied to such a file system: a copy instead.
    second = kept.path_of(outputs[0])
    second.write_text("kept")
    outputs[0].unlink()
    kept.give_back(outputs)
    assert outputs[0].read_text() == "kept"


def test_a_file_that_is_rewritten_leaves_the_second_name_alone(tmp_path):
    outputs = made(tmp_path, model="old")
    kept.keep(outputs)
    files.write_text(outputs[0], "new")
    assert kept.path_of(outputs[0]).read_text() == "old"
    kept.keep(outputs)
    assert kept.path_of(outputs[0]).read_text() == "new"
