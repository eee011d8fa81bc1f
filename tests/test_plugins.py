"""Components of another package: trained, evaluated, listed and shown without touching this one."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from para import registry
from para.cli import load_config
from para.errors import ConfigError, UnknownNameError
from para.executors import LocalConfig, build_executor
from para.registry import Registry, RegistryError
from para.runs.config import TrainConfig, train_config_from_dict
from tests import warm_scripts

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "tests" / "plugins"
PLUGIN = "plugins=[block_lab]"
THEIRS = ("profile=smoke", "task=touch_block", "split=every_other")


def run(script: str, *arguments: str, root: Path, plugin: tuple[str, ...] = (PLUGIN,)) -> str:
    """Run a script with the plug-in on the path; what it says, and it must end well."""
    folders = [f"{name}_dir={root / name}" for name in ("data", "runs", "results", "outputs")]
    words = [*plugin, *arguments, *(folders if "--help" not in arguments else [])]
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGES}", "COLUMNS": "200"}
    return warm_scripts.run(f"scripts/{script}.py", *words, cwd=root, environment=environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Their policy, and ours with their head, on their backbone, task and split: two steps each."""
    root = tmp_path_factory.mktemp("lab")
    tiny = ("training.steps=2", "training.warmup_steps=0", "training.batch_size=4", "workers=2")
    for model in (("model=drift",), ("model=para", "model/head=blunt", "model.name=para_blunt")):
        run("train", *THEIRS, "backbone=patches", *model, *tiny, root=root)
    return root


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_plugin_is_trained_evaluated_and_shown(trained):
    table = run("eval", *THEIRS, "episodes=2", "video=0", "workers=2", root=trained)
    for word in ("Every other position", "drift", "para_blunt", "AWAY", "ABOVE", "n=2"):
        assert word in table
    results = trained / "results" / "touch_block-hand-together" / "smoke" / "dev" / "every_other"
    assert sorted(path.parent.name for path in results.glob("*/seed0.json")) == [
        "drift-patches-colour",
        "para_blunt-patches-camera",
    ]
    run("make_website", *THEIRS[:2], "only=[stage_breakdown]", root=trained)
    page = (trained / "outputs" / "website" / "index.html").read_text(encoding="utf-8")
    for word in ("Every other position", "drift", "para_blunt", "AWAY", "ABOVE"):
        assert word in page


def test_help_lists_the_components_of_a_plugin(tmp_path):
    text = run("train", "--help", root=tmp_path)
    for name in ("patches", "blunt", "drift", "touch_block", "every_other"):
        assert name in text


@pytest.mark.parametrize("flag", ["--config-path", "--config-dir"])
def test_a_yaml_file_asks_for_plugins(tmp_path, flag):
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\nplugins: [block_lab]\n")
    words = ("--config-name=mine", "model=drift", "task=touch_block", "--cfg=job")
    shown = run("train", f"{flag}={tmp_path}", *words, root=tmp_path, plugin=())
    for line in ("  kind: drift", "  kind: touch_block", "- block_lab"):
        assert line in shown


@dataclass
class Config:
    """Of the components below."""


@pytest.fixture
def shelf(monkeypatch):
    """A registry of nothing, which is forgotten afterwards."""
    monkeypatch.setattr(Registry, "groups", dict(Registry.groups))
    return Registry("thing", "things", packages=())


def test_components_without_a_schema_or_with_a_name_twice_are_refused(shelf):
    with pytest.raises(RegistryError, match=r"thing 'a' is registered without a schema"):
        shelf.register("a")
    with pytest.raises(RegistryError, match="without a schema"):
        shelf.register("a", int)

    @shelf.register("a", Config)
    class First:
        pass

    with pytest.raises(RegistryError, match=r"Two of kind thing are called 'a': .*First.*Second"):

        @shelf.register("a", Config)
        class Second:
            pass

    assert shelf["a"] is First
    assert (list(shelf), len(shelf), "a" in shelf) == (["a"], 1, True)
    with pytest.raises(UnknownNameError, match=r"Unknown thing 'b'.*Available: a"):
        shelf.component("b")


@dataclass
class Level:
    """Of a thing."""

    level: int = 0


def test_a_file_is_merged_again_only_when_it_has_changed(shelf, tmp_path, monkeypatch):
    """Figures and plans ask for a split a thousand times."""
    monkeypatch.setattr(registry, "config_folders", lambda: [tmp_path])
    reads, load = [], registry.OmegaConf.load
    monkeypatch.setattr(registry.OmegaConf, "load", lambda path: reads.append(path) or load(path))
    shelf.register("a", Level)(type("A", (), {}))
    (tmp_path / "things").mkdir()
    one, two = (tmp_path / "things" / f"{name}.yaml" for name in ("one", "two"))
    one.write_text("defaults: [a_schema, _self_]\nlevel: 1")
    two.write_text("defaults: [one]")
    shelf.load("two").level = 7  # a copy
    assert shelf.load("two") == Level(1)
    assert reads == [two, one]
    one.write_text("defaults: [a_schema, _self_]\nlevel: 22")
    assert shelf.load("two") == Level(22)
    shelf.register("a", Config)(shelf["a"])
    with pytest.raises(ConfigError, match=r"two\.yaml"):
        shelf.load("two")
    two.unlink()
    with pytest.raises(UnknownNameError, match="Available: one"):
        shelf.load("two")


def test_a_plugin_that_cannot_be_imported_says_why(monkeypatch):
    with pytest.raises(RegistryError, match=r"plugins=\[no_such_lab\].*No module named"):
        registry.load_plugin("no_such_lab")


def test_installed_packages_announce_themselves(monkeypatch, shelf):
    monkeypatch.setattr(registry, "_plugins", {})
    loaded = []
    monkeypatch.setattr(registry, "import_all", loaded.append)
    entry = EntryPoint("lab", "json", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: [entry])
    assert list(shelf) == []
    assert loaded == ["json"]


def test_code_that_a_policy_file_names_is_not_imported(tmp_path, monkeypatch):
    """Whoever hands over a policy must not choose what runs here."""
    folder = tmp_path / "downloaded-policy"
    folder.mkdir()
    (folder / "helper.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    data = asdict(load_config(TrainConfig)) | {"plugins": ["downloaded-policy.helper"]}
    assert train_config_from_dict(data) == replace(
        load_config(TrainConfig), plugins=data["plugins"]
    )
    data["model"] = data["model"] | {"kind": "drift"}
    with pytest.raises(UnknownNameError, match="Unknown policy 'drift'"):
        train_config_from_dict(data)
    data["plugins"] = ["block_lab"]
    with pytest.raises(ConfigError, match=r"'drift'.*trust it, add plugins=\[block_lab\]"):
        train_config_from_dict(data)
    assert not (tmp_path / "ran").exists()


def test_processes_know_the_plugins_of_their_parent(tmp_path, monkeypatch):
    """Only their names travel: what registers the components is imported there, too."""
    monkeypatch.syspath_prepend(PACKAGES)
    monkeypatch.setattr(registry, "_plugins", {"block_lab": None})
    with build_executor(LocalConfig(), 1).start(_Plugins) as crew:
        crew.submit(None)
        (done,) = crew.wait()
    assert done.error is None
    assert done.value == ("block_lab",)


class _Plugins:
    """A worker that says which plug-ins its process has."""

    def __call__(self, task: None) -> tuple[str, ...]:
        return registry.plugins()
