"""The command line: typos fail at once, profiles and choices compose, help helps."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
from omegaconf import OmegaConf

from envs.base import TASKS, load_task
from envs.splits import load_split, split_names
from envs.table import MAIN_TASK
from para.cli import load_config, para_main
from para.common import CommonConfig
from para.data.generate import GenerateConfig
from para.errors import ConfigError, DataError, ParaError, UnknownNameError
from para.evaluation.config import EvalConfig
from para.fields import check
from para.places import ROOT
from para.runs.commands import command
from para.runs.config import TrainConfig, differences, train_config_from_dict

SCRIPTS = {"train": TrainConfig, "eval": EvalConfig, "generate_demos": GenerateConfig}
EXAMPLES = ("seed=1", "profile=smoke", "robot=hand layout=independent")


@pytest.fixture(autouse=True)
def _anywhere(tmp_path, monkeypatch):
    """Scripts may be called from any folder."""
    monkeypatch.chdir(tmp_path)


def script(name: str, body=lambda cfg: None):
    def main(cfg: CommonConfig) -> None:
        """What the script does."""
        body(cfg)

    return para_main(SCRIPTS[name], EXAMPLES)(main)


def error_of(capsys: pytest.CaptureFixture, name: str, *arguments: str) -> str:
    """The message of a call that must fail with status 2 before the script's work begins."""
    ran = []
    with pytest.raises(SystemExit) as caught:
        script(name, ran.append)(arguments)
    assert caught.value.code == 2
    assert ran == []
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("train modle=para", ["key 'modle'", "'model'"]),
        ("train model=prara", ["model 'prara'", "'para'", "regression"]),
        ("train split=lrr", ["split 'lrr'", "'lr'", "vp_default_to_all"]),
        ("train backbone=resnet81", ["backbone 'resnet81'", "'resnet18'"]),
        ("train profile=papper", ["profile 'papper'", "'paper'"]),
        ("train env=defualt", ["env 'defualt'", "'default'"]),
        ("train training.stesp=3", ["'training.stesp'", "'training.steps'"]),
        ("train trainning.steps=3", ["'trainning.steps'", "'training'"]),
        ("train steps=3", ["key 'steps'", "'training.steps'"]),
        ("train model.heatmap_sise=3", ["'model.heatmap_sise'", "'model.heatmap_size'"]),
        (
            "train model=regression model.heatmap_size=3",
            ["'model.heatmap_size'", "model.feedforward"],
        ),
        ("train model.name.first=x", ["'model.name.first'"]),
        ("train training.steps=abc", ["training.steps=abc", "Integer", "without it: 600"]),
        ("train training.steps=2.5", ["training.steps=2.5", "Integer"]),
        ("train training.steps=null", ["training.steps", "not Optional"]),
        ("train fresh=maybe", ["fresh=maybe", "bool"]),
        ("train training=3", ["training holds several keys", "training.steps"]),
        ("train wandb=maybe", ["wandb", "'maybe'", "off, offline, online"]),
        ("train robot=pand", ["robot", "'panda'"]),
        ("train layout=apart", ["layout", "independent", "together"]),
        ("train training.precision=bf61", ["training.precision", "'bf16'"]),
        ("train model/head=volum", ["model/head", "'volume'"]),
        ("train split.train_positions.kind=lefft", ["train_positions.kind", "'left'"]),
        ("train split.train_views.thetas=[8]", ["split.train_views.thetas", "0 to 7"]),
        ("train training.warmup_steps=1500", ["warmup_steps=1500", "training.steps=600"]),
        ("train training.batch_size=0", ["training.batch_size=0"]),
        ("train training.ema_decay=1", ["training.ema_decay=1"]),
        ("train budget_minutes=0", ["budget_minutes=0", "null"]),
        ("train model.heatmap_size=200", ["model.heatmap_size=200", "env.image_size=128"]),
        ("train model.head.height_min=0.5", ["model.head.height_min=0.5", "height_max"]),
        ("train model=regression model.heads=3", ["model.hidden=128", "model.heads=3"]),
        ("train augment.crop=1.5", ["augment.crop=1.5"]),
        ("train workers=0", ["workers=0"]),
        ("train +foo=1", ["key 'foo'", "Available: appearance"]),
        ("train ++foo=1", ["key 'foo'"]),
        ("train +training.foo=1", ["key 'training.foo'", "training.steps"]),
        ("train +seed=1", ["+seed=1", "exists already", "write seed=1"]),
        ("train ~training", ["~training", "cannot be removed"]),
        ("train ~seed", ["~seed", "cannot be removed"]),
        ("train ~foo", ["key 'foo'"]),
        ("train ~split", ["Nothing sets split"]),
        ("train +split=lr", ["split is chosen already", "write split=lr"]),
        ("train ++split=lr", ["split is chosen already"]),
        ("train split=null", ["split 'None'", "distractor, ", "lr, "]),
        ("train +experiment=corner", ["experiment 'corner'", "corner_n8_colour_only"]),
        ("train experiment=video_two_stage", ["add it with +experiment=video_two_stage"]),
        ("train seed=???", ["Nothing sets seed"]),
        ("train seed=${nope}", ["seed=${nope}", "'nope' not found", "without it: 0"]),
        ("train seed=${seed}", ["seed=${seed}", "Recursive"]),
        ("train model.kind=act", ["model.kind=act", "model=NAME"]),
        ("train model.head=null", ["model.head=None", "model/head=NAME"]),
        ("train data_dir=", ["data_dir=", "data_dir=."]),
        ("train -m outputs_dir= seed=1,2", ["outputs_dir="]),
        ("train plugins=[no_such_package]", ["plugins=[no_such_package]", "No module named"]),
        ("train foo", ["Cannot read 'foo'", "key=value"]),
        ("train a=[1", ["Cannot read 'a=[1'"]),
        ("train seed=1,2", ["seed=1,2", "-m"]),
        ("train --hlep", ["--hlep", "'--help'"]),
        ("train --cfg jbo", ["jbo", "job"]),
        ("train --cfg job --info all", ["Only one of", "--info"]),
        ("train --cfg job --package modle", ["package 'modle'", "'model'"]),
        ("train --resolve", ["--resolve", "--cfg"]),
        ("train --config-name trian", ["config 'trian'", "'train'"]),
        ("train --config-name eval", ["schema/eval", "reads schema/train only"]),
        ("train --config-dir nowhere", ["--config-dir nowhere", "no such folder"]),
        ("train --config-path nowhere", ["--config-path nowhere", "no such folder"]),
        ("train --experimental-rerun job.pickle", ["unrecognized", "--experimental-rerun"]),
        ("train hydra/launcher=jbolib", ["hydra/launcher 'jbolib'"]),
        ("train hydra.run.dri=x", ["hydra.run.dri"]),
        ("train -m seed=1,2 hydra/sweeper=grid", ["hydra/sweeper 'grid'", "basic"]),
        ("train -m training.learning_rate=interval(1e-4,1e-3)", ["interval()", "sweeper"]),
        ("train -m split=glob(zz*)", ["split=glob(zz*)", "matches none", "vp_io"]),
        ("train -m seed=glob(*)", ["seed=glob(*)", "groups"]),
        ("train -m seed=range(0,1e9)", ["seed=range(0,1e9)", "1000000000 runs"]),
        ("train -m seed=range(0,5,0)", ["seed=range(0,5,0)", "moves"]),
        ("train -m seed=range(5,1)", ["no values"]),
        ("train -m split=lr,lrr", ["split 'lrr'"]),
        ("train -m seed=1,x", ["seed=x", "Integer"]),
        ("eval +experiment=video_two_stage", ["experiment/video_two_stage"]),
        ("eval spilt=lr", ["key 'spilt'", "'split'"]),
        ("eval tests=[odd]", ["'odd'", "'ood'"]),
        ("eval training.steps=3", ["'training.steps'"]),
        ("eval episodes=0", ["episodes=0"]),
        ("generate_demos dataset=objpso", ["dataset", "'objpos'"]),
        ("generate_demos split=lr", ["key 'split'"]),
        ("generate_demos limit=0", ["limit=0"]),
    ],
)
def test_mistakes_are_named(arguments, parts, capsys):
    name, *overrides = arguments.split()
    message = error_of(capsys, name, *overrides)
    assert [part for part in parts if part not in message] == [], message


def test_the_real_script_fails_without_a_traceback(tmp_path):
    arguments = [sys.executable, str(ROOT / "scripts" / "train.py"), "modle=para"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unknown key 'modle'. Did you mean 'model'")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []  # Hydra leaves nothing behind


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_examples_groups_and_keys(name, capsys):
    with pytest.raises(SystemExit) as caught:
        script(name)(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "What the script does." in text
    for example in EXAMPLES:
        assert f"  python scripts/{name}.py {example}\n" in text
    assert "profile         laptop*, paper, smoke" in text
    for field in fields(SCRIPTS[name]):
        assert f"  {field.name}" in text
    assert ("act_published" in text) == (name == "train")
    assert "_schema" not in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_cfg_job_prints_what_would_run(name, capsys):
    ran = []
    script(name, ran.append)(["seed=7", "--cfg", "job"])
    text = capsys.readouterr().out
    assert ran == []
    shown = OmegaConf.create(text)
    assert shown.seed == 7
    assert shown.env.image_size == 128
    assert text.startswith("seed: 7\n")
    script(name, ran.append)(["seed=7", "--cfg", "job", "--resolve"])
    assert "${" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("model=para", 3e-3),
        ("model=para model.name=mine", 3e-3),
        ("model=regression", 1e-3),
        ("model=regression training.learning_rate=2e-3", 2e-3),
        ("model=para profile=paper", 1e-4),
    ],
)
def test_each_kind_of_model_has_its_learning_rate(words, rate):
    assert load_config(TrainConfig, words.split()).training.learning_rate == rate


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ("task=bowl_on_plate", 600),
        ("task=bowl_on_plate appearance=varied", 2400),
        ("task=pick_named", 2000),
        ("task=pick_named split=composition", 2000),
        ("task=pick_named appearance=varied", 2400),
        ("task=stack_blocks", 4000),
        ("task=stack_blocks appearance=varied", 4000),
        ("task=pick_named split=multi_task_lr", 6000),
        ("task=pick_named training.steps=7", 7),
    ],
)
def test_each_kind_of_task_has_its_steps(words, steps):
    assert load_config(TrainConfig, words.split()).training.steps == steps


def test_profiles_set_sizes_and_the_command_line_wins():
    laptop, paper = (load_config(TrainConfig, [f"profile={p}"]) for p in ("laptop", "paper"))
    assert (laptop.env.image_size, paper.env.image_size) == (128, 448)
    assert (laptop.backbone.name, paper.backbone.name) == ("resnet10", "dinov2_vits14")
    assert (laptop.model.heatmap_size, paper.model.heatmap_size) == (32, 64)
    assert laptop.training.steps != paper.training.steps

    chosen = load_config(
        TrainConfig,
        ["backbone=resnet10", "training.steps=9", "profile=paper", "model.heatmap_size=56"],
    )
    assert chosen.backbone == laptop.backbone
    assert chosen.training.steps == 9
    assert chosen.training.batch_size == paper.training.batch_size
    assert (chosen.env.image_size, chosen.model.heatmap_size) == (448, 56)

    assert load_config(EvalConfig, ["profile=paper"]).env.image_size == 448
    assert load_config(GenerateConfig, ["profile=paper"]).env.image_size == 448


def test_smoke_keeps_to_folders_of_its_own():
    for name in SCRIPTS:
        cfg = load_config(SCRIPTS[name], ["profile=smoke"])
        folders = (cfg.data_dir, cfg.runs_dir, cfg.results_dir, cfg.outputs_dir)
        assert all(folder.startswith("outputs/smoke") for folder in folders)
    train, made = (
        load_config(SCRIPTS[name], ["profile=smoke"]) for name in ("train", "generate_demos")
    )
    assert train.limit == made.limit
    assert train.robot == made.robot == load_config(EvalConfig, ["profile=smoke"]).robot


@pytest.mark.parametrize("split", sorted(p.stem for p in (ROOT / "configs/split").glob("*.yaml")))
def test_every_split_composes(split):
    fitting = (task for task in TASKS.options() if split in split_names(load_task(task)))
    fits = next(fitting, MAIN_TASK)
    for name in ("train", "eval"):
        needs = load_split(split).goes_with
        cfg = load_config(SCRIPTS[name], [f"split={split}", f"task={fits}", *needs])
        check(cfg)
        assert cfg.split.name == split


@pytest.mark.parametrize("profile", ["laptop", "paper", "smoke"])
@pytest.mark.parametrize("model", sorted(p.stem for p in (ROOT / "configs/model").glob("*.yaml")))
def test_every_model_composes_with_every_profile(model, profile):
    backbone = ["backbone=svd_tiny"] if model == "video" else []
    cfg = load_config(TrainConfig, [f"model={model}", f"profile={profile}", *backbone])
    check(cfg)
    assert (cfg.model.name, cfg.profile) == (model, profile)
    assert train_config_from_dict(asdict(cfg)) == cfg


def test_paths_start_where_the_user_stands(tmp_path):
    seen = []
    script("train", lambda cfg: seen.append((os.getcwd(), type(cfg), type(cfg.training).__name__)))(
        []
    )
    assert seen == [(str(tmp_path), TrainConfig, "TrainingConfig")]
    assert list(tmp_path.iterdir()) == []  # Hydra leaves nothing behind


def test_multirun_runs_all_combinations():
    seen = []
    script("eval", lambda cfg: seen.append((cfg.seed, cfg.split.name)))(
        ["-m", "seed=0,2", "split=lr,nf", "tests=[ood]"]
    )
    assert seen == [(0, "lr"), (0, "nf"), (2, "lr"), (2, "nf")]


def test_eval_takes_names_where_train_takes_groups():
    cfg = load_config(EvalConfig, ["model=regression", "backbone=dinov3_vits16", "video=0"])
    assert (cfg.model, cfg.backbone, cfg.video) == ("regression", "dinov3_vits16", 0)


def test_errors_and_interrupts_set_the_exit_status(capsys):
    def fail(error: BaseException) -> int:
        def body(cfg):
            raise error

        with pytest.raises(SystemExit) as caught:
            script("train", body)([])
        return caught.value.code

    assert fail(DataError("demo_3 is damaged.")) == 2
    assert capsys.readouterr().err == "error: demo_3 is damaged.\n"
    assert fail(KeyboardInterrupt("Saved.")) == 130
    assert capsys.readouterr().err == "Interrupted. Saved.\n"
    assert fail(KeyboardInterrupt()) == 130
    assert "same command" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        script("train", lambda cfg: 1 / 0)([])


def test_differences_ignore_what_does_not_train():
    a = asdict(load_config(TrainConfig))
    other = "wandb=offline workers=3 runs_dir=x split=distractor training.log_every=7"
    b = load_config(TrainConfig, other.split())
    assert set(differences(b, a)) == {
        "split.train_set",
        "split.dataset_apart",
        "split.train_positions.kind",
    }
    changed = ["training.learning_rate=1", "model.head.hidden=32", "limit=8"]
    assert differences(load_config(TrainConfig, changed), a) == {
        "limit": (None, 8),
        "model.head.hidden": (a["model"]["head"]["hidden"], 32),
        "training.learning_rate": (a["training"]["learning_rate"], 1.0),
    }


def test_a_run_of_before_a_field_existed_had_its_default():
    now, before = load_config(TrainConfig), asdict(load_config(TrainConfig))
    assert before["augment"].pop("camera_error_deg") == 0
    assert before["model"]["head"].pop("along") == "height"
    assert differences(now, before) == {}
    now.augment.camera_error_deg = 2.0
    assert differences(now, before) == {"augment.camera_error_deg": (0.0, 2.0)}


def test_unreadable_configurations_are_refused():
    data = asdict(load_config(TrainConfig, []))
    with pytest.raises(ConfigError, match="another version"):
        train_config_from_dict({**data, "stpes": 3})
    with pytest.raises(UnknownNameError, match="'para'"):
        train_config_from_dict({**data, "model": {**data["model"], "kind": "parra"}})
    assert issubclass(ConfigError, ParaError)


def test_commands_name_only_what_is_unusual():
    assert (
        command("eval", load_config(TrainConfig, []))
        == "python scripts/eval.py split=lr model=para"
    )
    overrides = "model=regression split=nf seed=2 profile=paper backbone=resnet10 robot=hand"
    line = command("eval", load_config(TrainConfig, overrides.split()))
    words = line.removeprefix("python scripts/eval.py ").split()
    assert set(words) == set(overrides.split())
    again = load_config(EvalConfig, words)
    assert (again.model, again.backbone, again.seed) == ("regression", "resnet10", 2)


@pytest.mark.parametrize("name", ["para_two_stage", "mine", "act_v2", "42"])
def test_evaluation_takes_any_name_of_a_trained_policy(name):
    cfg = load_config(EvalConfig, [f"model={name}", "backbone=svd_tiny"])
    assert (cfg.model, cfg.backbone) == (name, "svd_tiny")


def test_a_configuration_does_without_what_only_networks_need_and_they_without_wandb():
    """timm takes four seconds to import, diffusers one or two, and every script composes."""
    code = (
        "import sys\n"
        "from para.cli import load_config\n"
        "from para.fields import check\n"
        "from para.runs.config import TrainConfig\n"
        "cfg = load_config(TrainConfig, ['model=diffusion'])\n"
        "check(cfg)\n"
        "print({'torch', 'timm', 'torchvision', 'diffusers'} & set(sys.modules))\n"
        "from para.backbones import build_backbone\n"
        "build_backbone(cfg.backbone, 32, None)\n"
        "print({'timm', 'wandb'} & set(sys.modules))\n"
        "import wandb\n"
        "wandb.init\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'torch'}\n{'timm'}\n"
