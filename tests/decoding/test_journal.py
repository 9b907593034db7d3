"""A journal is what is whole of it, wherever a kill or a crash of the machine has cut it."""

import pytest

from warmstart.decoding.journal import Journal

FIRST, SECOND = {3: {"id": "c", "hyp": "più"}, 1: {"id": "a", "hyp": ""}}, {2: {"id": "b"}}


@pytest.fixture
def content(tmp_path):
    journal = Journal(tmp_path / "whole", "one")
    journal.close_batch(FIRST, {"n": 2})
    journal.close_batch(SECOND, {"n": 1})
    journal.close()
    return (tmp_path / "whole").read_bytes()


def opened(path, content):
    path.write_bytes(content)
    journal = Journal(path, "one")
    found = list(journal.lines()), journal.records
    journal.close()
    # What is left of it is whole again, and can be added to.
    journal = Journal(path, "one")
    assert (list(journal.lines()), journal.records) == found
    journal.close_batch({9: {"id": "z"}}, {"n": 1})
    assert list(journal.lines())[-1] == {"id": "z"}
    journal.close()
    return found


def test_cut_at_any_byte_it_has_the_batches_that_were_closed_before(tmp_path, content):
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 1 + 3 + 2
    for cut in range(len(content) + 1):
        lines, records = opened(tmp_path / "cut", content[:cut])
        if cut < ends[3]:
            assert (lines, records) == ([], [])
        elif cut < ends[5]:
            assert [line["id"] for line in lines] == ["a", "c"]
        else:
            assert [line["id"] for line in lines] == ["a", "b", "c"]


def test_zeros_in_place_of_its_end_are_no_batch(tmp_path, content):
    second = content.index(b'{"index": 2')
    for left in (b"\0" * 40, b"1\n2\n", b'"index"\n', b"[]\n"):
        lines, _ = opened(tmp_path / "zeros", content[:second] + left)
        assert [line["id"] for line in lines] == ["a", "c"]
        assert opened(tmp_path / "start", left) == ([], [])
