"""Finished chunks survive whatever stops the process, and nothing else enters a result."""

import json
import os
import re

import pytest

from para.errors import ResultError
from para.evaluation.journal import Journal
from para.files import sealed_line

STAGES = ("MISS", "GRASP", "PLACE")


def episode(index, test="ood", stage="MISS"):
    return {
        "index": index,
        "seed": index,
        "test": test,
        "condition": {
            "task": "bowl_on_plate",
            "objects": {"bowl": [0.1, 0.2, 0.0]},
            "position": [0.1, 0.2],
            "theta_deg": 0.0,
            "phi_deg": 0.0,
            "distractors": 0,
            "seed": index,
        },
        "stage": stage,
        "success": stage == "PLACE",
        "steps": 200,
        "place_error_m": 0.25,
        "seconds": 1.5,
    }


CHUNKS = {
    ("ood", 0): [episode(0)],
    ("sanity", 2): [episode(4, "sanity", "PLACE"), episode(5, "sanity", "GRASP")],
    ("ood", 3): [episode(6, stage="GRASP")],
}


def read(path, key="key 1"):
    return Journal(path, key, STAGES).chunks


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "deep" / "a.jsonl"
    journal = Journal(path, "key 1", STAGES)
    for (test, number), episodes in CHUNKS.items():
        journal.add(test, number, episodes)
    return path


def test_round_trip(path, caplog):
    assert read(path) == CHUNKS
    assert read(path.with_name("b.jsonl")) == {}
    assert not caplog.records


def test_another_key_starts_anew(path, caplog):
    journal = Journal(path, "key 2", STAGES)
    assert journal.chunks == {}
    journal.add("ood", 7, [episode(14)])
    assert read(path, "key 2") == {("ood", 7): [episode(14)]}
    assert read(path) == {}
    assert not caplog.records


def test_every_possible_crash_while_writing(path):
    whole = path.read_bytes()
    complete = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    near_ends = {end + d for end in complete for d in (-2, -1, 0) if end + d < len(whole)}
    for length in {*range(0, len(whole), 11), *near_ends}:
        path.write_bytes(whole[:length])
        lines = sum(end <= length + 1 for end in complete)  # a missing last newline is harmless
        assert len(read(path)) == lines
        assert read(path).items() <= CHUNKS.items()


def test_going_on_after_a_cut_line(path, caplog):
    path.write_bytes(path.read_bytes()[:-9])
    Journal(path, "key 1", STAGES).add("sanity", 9, [episode(18, "sanity")])
    assert "is damaged in 1 places (line 3:" in caplog.text
    kept = dict(list(CHUNKS.items())[:2]) | {("sanity", 9): [episode(18, "sanity")]}
    assert read(path) == kept
    assert path.read_text().count("\n") == 3  # the cut line is gone


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'"stage": "GRASP"', '"stage": "MISS"'),
        (r'"steps": 200', '"steps": -5'),
        (r'"steps": 200', '"steps": 201'),
        (r'"success": true', '"success": false'),
        (r'"place_error_m": 0.25', '"place_error_m": NaN'),
        (r'"chunk": 2', '"chunk": 9'),
        (r'"test": "sanity", "chunk"', '"test": "ood", "chunk"'),
        (r'"key": "key 1"', '"key": "key 2"'),
        (r'"episodes": \[.*\]', '"episodes": "none"'),
        (r'"condition": {.*?}, "stage"', '"stage"'),
        (r'"checksum": "', '"checksum": "0'),
        (r', "checksum": ".*"', ""),
        (r"^.*$", "[" * 100_000),
        (r"^.*$", "[1, 2]"),
        (r"^{", "{{"),
    ],
)
def test_an_altered_line_is_named_and_its_chunk_run_again(path, old, new, caplog):
    lines = path.read_text().splitlines()
    altered = re.sub(old, lambda _: new, lines[1], count=1)
    assert altered != lines[1]
    path.write_text("\n".join([lines[0], altered, lines[2], ""]))
    assert read(path) == {key: e for key, e in CHUNKS.items() if key != ("sanity", 2)}
    assert f"{path} is damaged in 1 places (line 2" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"success": True},
        {"stage": "FLY"},
        {"steps": -5},
        {"steps": "5"},
        {"condition": None},
        {"test": "sanity"},
        {"index": -1},
    ],
)
def test_nonsense_with_a_matching_checksum_is_left_out_too(path, change, caplog):
    line = {"key": "key 1", "test": "ood", "chunk": 8, "episodes": [episode(0) | change]}
    with path.open("a") as file:
        file.write(sealed_line(line))
    assert read(path) == CHUNKS
    assert "is damaged in 1 places" in caplog.text


@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "folder"), (os.mkfifo, "named pipe")])
def test_what_is_no_journal_is_named_and_not_waited_for(tmp_path, make, what):
    path = tmp_path / "a.jsonl"
    make(path)
    with pytest.raises(ResultError, match=rf"a\.jsonl is a {what}, not a file.* move it away"):
        read(path)


def test_delete(path):
    Journal(path, "key 1", STAGES).delete()
    Journal(path, "key 1", STAGES).delete()
    assert not path.exists()


def test_lines_are_json(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["key"] for line in lines] == ["key 1"] * 3
