"""What the first tables were asked for is kept, and what changed after them is said."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from made.report import SHOWN

import print_headline
from warmstart.evidence import registration
from warmstart.evidence.registration import Change
from warmstart.evidence.settings import Contrast
from warmstart.report import page
from warmstart.run import commit

SETTINGS = SHOWN.settings
THEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_the_first_record_stays_and_what_changed_is_named(tmp_path):
    registration.record(tmp_path, SETTINGS, "a" * 40, THEN)
    kept = (tmp_path / registration.NAME).read_bytes()
    same = registration.record(tmp_path, SETTINGS, "a" * 40)
    assert (tmp_path / registration.NAME).read_bytes() == kept
    assert registration.lines(same) == []
    other = replace(SETTINGS, threshold_pp=1.5, headline_test_set="mls")
    found = registration.record(tmp_path, other, "b" * 40)
    assert found.first == json.loads(kept)[0]
    assert found.changes() == [
        Change("headline_test_set", '"fleurs"', '"mls"'),
        Change("threshold_pp", "0.5", "1.5"),
    ]
    said = registration.lines(registration.read(tmp_path))
    assert said[1] == "statistics.threshold_pp was 0.5 for the first tables and is 1.5 now."
    assert "First tables: 2026-01-02, commit aaaaaaaaaaaa. These: " in said[-1]
    # Back at the first question nothing has changed, and the file still knows of the other one.
    back = registration.record(tmp_path, SETTINGS, "b" * 40)
    assert back.changes() == []
    assert len(back.records) == 3


def test_another_commit_is_no_change_of_settings_and_is_said(tmp_path):
    registration.record(tmp_path, SETTINGS, None, THEN)
    found = registration.record(tmp_path, SETTINGS, "b" * 40)
    assert found.changes() == []
    assert registration.sentence(found) == (
        "Settings of the statistics were written down with the first tables, 2026-01-02, commit "
        "not known, and are the same now. Code of these tables: commit bbbbbbbbbbbb."
    )


def test_contrasts_count_with_their_order(tmp_path):
    two = (*SETTINGS.contrasts, Contrast("back", "ml", "en"))
    registration.record(tmp_path, replace(SETTINGS, contrasts=two), None, THEN)
    found = registration.record(tmp_path, replace(SETTINGS, contrasts=two[::-1]), None)
    (line, _) = registration.lines(found)
    assert line.startswith('contrasts were ["warm_start: en against ml", "back: ml against en"]')


def test_a_key_that_an_older_version_did_not_have_counts_from_where_it_came(tmp_path):
    old = registration.asked(SETTINGS)
    del old["forecast_hours"]
    first = {"made": "2025-01-01T00:00:00+00:00", "git_commit": None, "statistics": old}
    (tmp_path / registration.NAME).write_text(json.dumps([first]))
    assert registration.record(tmp_path, SETTINGS, None).changes() == []
    found = registration.record(tmp_path, replace(SETTINGS, forecast_hours=(5.0,)), None)
    assert found.changes() == [Change("forecast_hours", "[]", "[5.0]")]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"made": "x"}]', '[{"statistics": 1}'])
def test_a_damaged_record_is_none_and_makes_room(tmp_path, text):
    (tmp_path / registration.NAME).write_text(text)
    assert registration.read(tmp_path) is None
    assert registration.record(tmp_path, SETTINGS, None, THEN).changes() == []
    assert registration.read(tmp_path).first["made"] == "2026-01-02T03:04:00+00:00"


def test_without_git_there_is_no_commit_and_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit.git_commit() is None


def test_the_page_has_a_banner_and_the_terminal_a_line(tmp_path, capsys, monkeypatch):
    registration.record(tmp_path, SETTINGS, None, THEN)
    found = registration.record(tmp_path, replace(SETTINGS, tier_margin_pp=2.0), None)
    (line, since) = registration.lines(found)
    monkeypatch.setattr(print_headline, "read_tables", lambda *_: {})
    monkeypatch.setattr(print_headline, "lines_of", lambda: ["numbers"])
    print_headline.main(["--tables", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[-3:] == [f"{registration.TITLE}:", line, since]
    monkeypatch.setattr(page.recognition, "lines", lambda *_: [])
    monkeypatch.setattr(page, "_seen", lambda *_: [])
    banner = page.banners(page.Material({"wer": None}, SHOWN, registered=found))[0]
    assert (banner.title, list(banner.lines)) == (registration.TITLE, [line, since])
    assert not banner.fine
