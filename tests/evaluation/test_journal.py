"""Finished chunks survive whatever stops the process."""

import pytest

from para.evaluation.journal import Journal

CHUNKS = {("ood", 0): [{"index": 0, "stage": "MISS"}], ("sanity", 2): [{"index": 4}, {"index": 5}]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "deep" / "a.jsonl"
    journal = Journal(path, "key 1")
    for (test, number), episodes in CHUNKS.items():
        journal.add(test, number, episodes)
    return path


def test_round_trip(path):
    assert Journal(path, "key 1").chunks == CHUNKS
    assert Journal(path.with_name("b.jsonl"), "key 1").chunks == {}


def test_another_key_starts_anew(path):
    journal = Journal(path, "key 2")
    assert journal.chunks == {}
    journal.add("ood", 7, [])
    assert Journal(path, "key 2").chunks == {("ood", 7): []}
    assert Journal(path, "key 1").chunks == {}


def test_every_possible_crash_while_writing(path):
    whole = path.read_bytes()
    complete = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        lines = sum(end <= length + 1 for end in complete)  # a missing last newline is harmless
        journal = Journal(path, "key 1")
        assert len(journal.chunks) == max(0, lines - 1)
        assert journal.chunks.items() <= CHUNKS.items()


def test_going_on_after_a_cut_line(path):
    path.write_bytes(path.read_bytes()[:-9])
    Journal(path, "key 1").add("sanity", 9, [{"index": 1}])
    kept = {("ood", 0): CHUNKS["ood", 0], ("sanity", 9): [{"index": 1}]}
    assert Journal(path, "key 1").chunks == kept


def test_delete(path):
    Journal(path, "key 1").delete()
    Journal(path, "key 1").delete()
    assert not path.exists()
