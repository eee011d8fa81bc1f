"""What the README says to type leaves git clean: every command writes where git does not look."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from para.campaign.config import ReproduceConfig
from para.cli import load_config
from para.common import CommonConfig
from para.data.calibrating import CalibrateConfig
from para.data.check_config import CheckDataConfig
from para.data.generate import GenerateConfig
from para.data.importing import ImportConfig
from para.evaluation.config import EvalConfig
from para.export.config import ExportConfig
from para.places import ROOT
from para.runs.config import TrainConfig
from para.serving.config import ServeConfig
from para.website.config import MakeWebsiteConfig

MAKING = (GenerateConfig, TrainConfig, EvalConfig)
OTHERS = (CommonConfig, MakeWebsiteConfig, ReproduceConfig, ServeConfig, ExportConfig)
OWN_DATA = (ImportConfig, CheckDataConfig, CalibrateConfig)
SCRIPTS = {c.script: c for c in (*MAKING, *OTHERS, *OWN_DATA)}
README = (ROOT / "README.md").read_text(encoding="utf-8")
WRITTEN = ("data_dir", "runs_dir", "results_dir", "outputs_dir")


def _typed(text: str) -> Iterator[str]:
    """Commands in code blocks and in back quotes, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for code in [*blocks, *(" ".join(words.split()) for words in inline)]:
        for line in code.replace("&&", "\n").splitlines():
            yield line.partition("#")[0].strip()


def _calls(line: str) -> Iterator[tuple[str, list[str]]]:
    """(script, its arguments) of a command, also of what make would run."""
    words = shlex.split(line)
    if words[:1] == ["make"] and words[1:] and words[1] != "setup":
        command = ["make", "--dry-run", "--no-print-directory", "ARGS=", *words[1:]]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for inner in made.stdout.splitlines():
            if "scripts/" in inner:
                yield from _calls(inner)
        return
    for place, word in enumerate(words):
        if (script := re.fullmatch(r"scripts/(\w+)\.py", word)) and place:
            arguments = [w for w in words[place + 1 :] if w != "..." and not w.startswith("-")]
            yield script[1], arguments


CALLS = sorted({(s, *words) for line in _typed(README) for s, words in _calls(line)})


def _is_ignored(path: str) -> bool:
    command = ["git", "-C", str(ROOT), "check-ignore", "--quiet", f"{path}/new"]
    return subprocess.run(command, check=False).returncode == 0


needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


def test_the_commands_of_the_readme_are_found():
    assert {call[0] for call in CALLS} == set(SCRIPTS)
    assert ("train", "model=para") in CALLS  # make train
    assert ("eval", "model=para", "profile=smoke") in CALLS  # make smoke
    assert len(CALLS) > 15


@needs_git
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_command_of_the_readme_writes_where_git_does_not_look(call):
    script, *arguments = call
    cfg = load_config(SCRIPTS[script], arguments)
    folders = [getattr(cfg, name) for name in WRITTEN]
    folders += [cfg.out] if getattr(cfg, "out", None) else []
    if "results_dir=results" in arguments:  # the maintainers' commands, which say so
        folders.remove("results")
    assert [folder for folder in folders if not _is_ignored(folder)] == []


@needs_git
def test_the_reference_is_committed_and_nothing_but_results_dir_leads_to_it():
    cfg = load_config(CommonConfig)
    assert cfg.reference == ROOT / "results"
    assert not _is_ignored("results")
    assert not cfg.is_reference
    assert load_config(CommonConfig, [f"results_dir={ROOT / 'results'}"]).is_reference


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.stem)
def test_benchmarks_write_to_results_dir(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""["'/]results["'/]""", text)
    assert "atomic_write_json" not in text or re.search(r"results_dir|write\(|written_to", text)
