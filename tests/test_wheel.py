"""The wheel holds all that is read at run time, and its commands work in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from para.places import ROOT, shipped, typed

COMMANDS = {path.stem for path in (ROOT / "para" / "commands").glob("[a-z]*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, unpacked as an installer does, commands in bin/."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(site)
    (site / "bin").mkdir()
    for command in _entry_points(site):
        (site / "bin" / command.name).write_text(
            f"import sys\nfrom {command.module} import {command.attr}\n"
            f"if __name__ == '__main__':\n    sys.exit({command.attr}())\n"
        )
    return site


def _entry_points(site: Path) -> list[EntryPoint]:
    (info,) = site.glob("*.dist-info")
    found = Distribution.at(info).entry_points
    return list(found.select(group="console_scripts"))


@pytest.fixture
def call(wheel: Path, tmp_path: Path):
    """Calls a program with the wheel, and nothing of the checkout, from a foreign folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(wheel), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120,
        )  # fmt: skip

    return run


def test_every_script_is_a_command_and_has_a_thin_file():
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == COMMANDS
    for name in COMMANDS:
        text = (ROOT / "scripts" / f"{name}.py").read_text()
        assert f"from para.commands.{name} import main\n" in text


def test_the_wheel_holds_every_file_that_is_read(wheel):
    names = {f"para-{name.replace('_', '-')}" for name in COMMANDS}
    assert {command.name for command in _entry_points(wheel)} == names
    for name in ("configs", "website", "results"):
        ours, theirs = shipped(name), wheel / "para" / "shipped" / name
        files = {path.relative_to(ours) for path in ours.rglob("*") if path.is_file()}
        assert len(files) > 5
        assert {p.relative_to(theirs) for p in theirs.rglob("*") if p.is_file()} == files
        changed = [p for p in files if (ours / p).read_bytes() != (theirs / p).read_bytes()]
        assert changed == []
    for package in ("para", "envs", "baselines"):
        sources = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert [path for path in sources if not (wheel / path).is_file()] == []


@pytest.mark.slow
def test_commands_of_the_wheel_work_in_any_folder(wheel, call, tmp_path):
    """Configurations compose, help and messages name the command that was typed."""
    train = str(wheel / "bin" / "para-train")
    done = call(train, "modle=para")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unknown key 'modle'. Did you mean 'model'")
    calls = [[str(path), "--help"] for path in sorted((wheel / "bin").iterdir())]
    calls.append([train, "split=vp_io", "profile=paper", "model=act", "--cfg", "job"])
    code = (
        "import runpy, sys\n"
        f"for sys.argv in {calls!r}:\n"
        "    print('called', sys.argv[0])\n"
        "    try:\n"
        "        runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "    except SystemExit as leaving:\n"
        "        assert not leaving.code\n"
        "import para.system\n"
        "from para.figures.sources import PUBLISHED_FILE\n"
        "from para.website.build import SOURCE\n"
        "files = [PUBLISHED_FILE, SOURCE / 'templates' / 'index.html.j2']\n"
        "print('called', para.__file__, [f.is_file() for f in files], para.system.git_hash())\n"
    )
    done = call("-c", code)
    *helps, shown, library = done.stdout.split("called ")[1:]
    assert len(helps) == len(COMMANDS), done.stderr
    for text in helps:
        path, first, *_ = text.splitlines()
        assert first.startswith(f"{Path(path).name} [group=option")
        assert f"\n  {Path(path).name} " in text
        assert "scripts/" not in text
    assert "train_set: views_inner" in shown
    assert library == f"{wheel}/para/__init__.py [True, True] unknown\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_typed_has_a_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/train.py"])
    assert typed("generate_demos") == "python scripts/generate_demos.py"
    monkeypatch.setattr(sys, "argv", ["/venv/bin/para-train"])
    assert typed("generate_demos") == "para-generate-demos"
