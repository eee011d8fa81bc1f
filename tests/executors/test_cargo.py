"""Files of tasks: whole or not there, mirrored below another folder, and who sees which."""

import os
from pathlib import Path

import pytest

from para.executors.agreement import Build, this_build
from para.executors.cargo import here, marked, mirrored, pack, sees, unpack, version_of
from para.executors.local import LocalExecutor
from para.executors.remote import Errand, Station
from para.files import NoSpaceError
from tests.executors.clusters import setup


def _tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_folders_and_files_travel(tmp_path):
    run = tmp_path / "runs" / "seed0"
    (run / "checkpoint").mkdir(parents=True)
    (run / "policy.json").write_text("{}")
    (run / "checkpoint" / "state.json").write_text("step 4")
    (run / "link").symlink_to(tmp_path)
    mirror = tmp_path / "elsewhere"
    for bundle in [*pack(run), *pack(run / "pol*.json"), *pack(run / "none")]:
        unpack(bundle, mirror)
    assert _tree(mirrored(run, mirror)) == {"policy.json": "{}", "checkpoint/state.json": "step 4"}
    # a newer one replaces it as a whole, and nothing is left beside it
    (mirrored(run, mirror) / "checkpoint" / "state.json").unlink()
    for bundle in pack(run, mirror):
        unpack(bundle)
    assert _tree(run) == {"policy.json": "{}"}
    assert [path.name for path in run.parent.iterdir()] == ["seed0"]


def test_a_version_changes_with_any_file(tmp_path):
    (tmp_path / "a").write_text("1")
    before = version_of(tmp_path)
    assert version_of(tmp_path) == before
    (tmp_path / "b").write_text("2")
    assert version_of(tmp_path) != before
    assert version_of(tmp_path / "none") == version_of(tmp_path / "none")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("new")
    (bundle,) = pack(path)
    path.write_text("old")

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpaceError, match="No space left"):
        unpack(bundle)
    assert path.read_text() == "old"


def test_marks_tell_who_sees_the_same_files(tmp_path):
    folders = [tmp_path / "data", tmp_path / "runs"]
    with marked(folders) as marks:
        assert sees(marks)
        assert not sees(marks | {tmp_path / "none": "word"})
        next(iter(marks)).write_text("another machine's")
        assert not sees(marks)
    assert not any(path.exists() for path in marks)
    assert here("/data") == Path("/data")


def test_builds_differ_in_packages_and_code():
    mine = this_build()
    assert mine.differences(mine) == []
    other = Build(mine.packages | {"numpy": "1.0"}, mine.code | {"envs": "changed"})
    told = mine.differences(other)
    assert told[0].startswith("numpy 1.0 instead of ")
    assert told[1:] == ["other code in envs"]
    assert "other code in my_plugin" in Build({}, {"my_plugin": "x"}).differences(mine)


def test_a_station_works_in_a_mirror_and_leaves_nothing_there(tmp_path):
    source, target = tmp_path / "in" / "a.txt", tmp_path / "out" / "b.txt"
    source.parent.mkdir()
    source.write_text("hello")
    errand = Errand("one", setup, False, tmp_path, this_build(), carry=True)
    station = Station(errand, "here")
    station.bring(source, version_of(source), pack(source))
    assert not station.lacks(source, version_of(source))
    first = station.do(("copy", (source, target)), [target])
    assert (first.unfit, first.done.error) == ("", None)
    place = Path(first.done.value)
    assert not target.exists()
    assert not place.exists()
    for bundle in first.files:
        unpack(bundle)
    assert target.read_text() == "HELLO"
    station.close()
    assert not place.parent.exists()


def test_a_station_with_other_packages_does_nothing(tmp_path):
    build = this_build()
    other = Build(build.packages | {"numpy": "1.0"}, build.code)
    station = Station(Errand("two", setup, False, tmp_path, other), "node 7")
    answer = station.do(("square", 2))
    assert answer.done.value is None
    assert answer.unfit.startswith("node 7 runs something else than this machine: numpy ")
    assert "instead of 1.0" in answer.unfit
    station.close()


def test_workers_here_see_what_the_driver_has(tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("x")
    (done,) = LocalExecutor(workers=1).run(setup, [("copy", (source, tmp_path / "b" / "c.txt"))])
    assert done[1] == str(tmp_path / "b" / "c.txt")
