"""The site's folder and the results: looked at before anything is made, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from para.cli import load_config
from para.errors import ConfigError, ParaError
from para.fields import check
from para.refusals import refusal
from para.website import make
from para.website.build import build_site
from para.website.config import MakeWebsiteConfig
from para.website.folder import replaced_folder
from tests.killed import left_behind
from tests.results_fixture import write_results


def test_a_site_that_a_killed_swap_left_aside_comes_back(tmp_path):
    write_results(tmp_path / "results", ["lr"])
    build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.previous")
    with pytest.raises(KeyError), replaced_folder(tmp_path / "out"):
        raise KeyError
    assert (tmp_path / "out" / "index.html").exists()


def test_a_folder_that_is_no_site_is_never_replaced(tmp_path):
    precious = tmp_path / "out" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ConfigError, match="not a PARA website"):
        build_site(tmp_path / "results", tmp_path, [], tmp_path / "out")
    assert precious.read_text() == "years of work"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with results, and a site of them."""
    folder = tmp_path_factory.mktemp("made")
    results = folder / "outputs" / "results"
    write_results(results, ["lr"], ["para"])
    build_site(results, folder, [], folder / "site")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A user's folder with results and a site, and a failing test if anything is drawn."""

    def draw(*_, **__):
        raise AssertionError("figures were made before the mistake was named")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make, "build_assets", draw)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work")
    (tmp_path / "empty").mkdir()
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below `folder`."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("out=site results_dir=reslts", "results_dir=reslts does not exist.*outputs/results"),
        ("out=site results_dir=empty", "No results of .*results_dir=empty.*nothing to show"),
        ("out=site results_dir=foreign", "No results of .*nothing to show"),
        ("out=site robot=hand results_dir=empty", "No results of bowl_on_plate-hand-together"),
        ("out=site results_dir=/dev/null", "results_dir=/dev/null is not a folder"),
        ("out=foreign", "not a PARA website"),
        ("out=foreign/thesis.tex", "out=foreign/thesis.tex is not a folder"),
        ("out=.", "the folder that you are in"),
        ("out=/", "the folder that you are in"),
        ("out=..", "the folder that you are in"),
        ("out=outputs/results/site", "lie within each other"),
        ("out=outputs", "lie within each other"),
        ("out=/proc/nowhere/site", "/proc/nowhere"),
        ("out=", "out= names no folder"),
    ],
)
def test_what_cannot_work_is_named_before_anything_is_made(here, overrides, message):
    before = tree(here)
    with pytest.raises((ParaError, OSError), match=message):
        make.make_website(
            checked(load_config(MakeWebsiteConfig, ["reference_dir=empty", *overrides.split()]))
        )
    assert tree(here) == before


def checked(cfg: MakeWebsiteConfig) -> MakeWebsiteConfig:
    """As the script does before it begins."""
    check(cfg)
    return cfg


def test_what_a_killed_build_left_is_removed(here):
    left = left_behind(here / "site")
    left.mkdir()
    (left / "index.html").touch()
    build_site("outputs/results", here, [], "site")
    assert not left.exists()
    assert sorted(p.name for p in here.iterdir()) == ["empty", "foreign", "outputs", "site"]


@pytest.mark.parametrize("copies", [0, 1, 3], ids="{} files fit".format)
def test_a_full_disk_leaves_the_last_good_site_and_says_so(here, monkeypatch, copies):
    """Static files, results and pictures all go through `shutil.copyfile`."""
    before, fitting, copy = tree(here), iter(range(copies)), shutil.copyfile

    def full(source, target, **options):
        if next(fitting, None) is None:
            Path(target).write_bytes(Path(source).read_bytes()[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return copy(source, target, **options)

    names = sorted(path.name for path in here.iterdir())
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left") as caught:
        build_site("outputs/results", here, [], "site")
    assert ": No space left on device. Free some space" in refusal(caught.value)
    assert tree(here) == before
    assert sorted(path.name for path in here.iterdir()) == names  # no half site beside it either
