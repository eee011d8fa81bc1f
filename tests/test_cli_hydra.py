"""What is Hydra's own on the command line: sweeps, launchers, experiments, own folders, flags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from para.cli import load_config, para_main
from para.common import CommonConfig
from para.errors import DataError
from para.evaluation.config import EvalConfig
from para.fields import check
from para.places import ROOT
from para.runs.config import TrainConfig


@pytest.fixture(autouse=True)
def _anywhere(tmp_path, monkeypatch):
    """Scripts may be called from any folder."""
    monkeypatch.chdir(tmp_path)


def script(config_class: type[CommonConfig], body):
    def main(cfg: CommonConfig) -> None:
        """What the script does."""
        body(cfg)

    return para_main(config_class, examples=[])(main)


@pytest.mark.slow
def test_multirun_understands_globs_and_ranges_and_keeps_its_file_in_outputs(tmp_path):
    seen = []
    script(EvalConfig, lambda cfg: seen.append((cfg.split.name, cfg.seed)))(
        [
            "-m",
            "split=glob(vp*,exclude=[vp_l*,vp_t*])",
            "seed=range(0,3,2)",
            "model=a,b",
            "outputs_dir=out",
        ]
    )
    splits = ["vp_default_to_all", "vp_io"]
    assert seen == [(split, seed) for split in splits for seed in (0, 2) for _ in "ab"]
    assert [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()] == [
        Path("out/multirun/multirun.yaml")
    ]


def test_a_sweep_ends_at_the_first_run_that_fails(capsys):
    seen = []

    def body(cfg):
        seen.append(cfg.seed)
        if cfg.seed == 1:
            raise DataError("demo_3 is damaged.")

    with pytest.raises(SystemExit) as caught:
        script(TrainConfig, body)(["-m", "seed=0,1,2"])
    assert (caught.value.code, seen) == (2, [0, 1])
    assert capsys.readouterr().err.endswith("error: demo_3 is damaged.\n")


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "configs/experiment").glob("*")))
def test_every_experiment_composes(name):
    cfg = load_config(TrainConfig, [f"+experiment={name}", "training.steps=900"])
    check(cfg)
    assert cfg.training.steps == 900
    without = load_config(TrainConfig)
    assert (cfg.split, cfg.augment, cfg.recipe) != (without.split, without.augment, without.recipe)


def test_own_folders_of_yaml_files(tmp_path, monkeypatch):
    own = tmp_path / "own"
    files = {
        "mine.yaml": "defaults: [train, _self_]\nseed: 9\n",
        "model/wide.yaml": (
            "defaults: [para_schema, head: volume, _self_]\nname: wide\nhorizon: 7\n"
        ),
        "model/bare.yaml": "name: bare\n",
        "experiment/small.yaml": "# @package _global_\ntraining: {steps: 60}\n",
    }
    for file, text in files.items():
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / file).write_text(text)
    seen = []
    run = script(TrainConfig, seen.append)
    run(["model=wide", "--config-dir", "own", "+experiment=small", "seed=1"])
    run(["--config-path=own", "--config-name", "mine", "model=wide"])
    run(["--config-dir=own", "--config-name", "mine", "model=wide", "training.steps=700"])
    first, second, third = seen
    assert (first.model.name, first.model.horizon, first.model.kind) == ("wide", 7, "para")
    assert (first.training.steps, first.seed) == (60, 1)
    assert (second.model.name, second.seed, second.training.steps) == ("wide", 9, 600)
    assert (third.model.name, third.seed, third.training.steps) == ("wide", 9, 700)


def test_a_component_without_a_schema_is_refused(tmp_path, capsys):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "bare.yaml").write_text("name: bare\n")
    with pytest.raises(SystemExit, match="2"):
        script(TrainConfig, print)(["--config-dir=own", "model=bare"])
    message = capsys.readouterr().err
    assert "model: its YAML file names no schema" in message
    assert "KIND_schema" in message


FLAGS = {
    "--info searchpath": ["para://train", "hydra.conf"],
    "--info defaults": ["profile/laptop", "schema/train"],
    "--cfg hydra": ["output_subdir: null", "multirun"],
    "--cfg job --package training": ["# @package training", "batch_size: 32"],
    "--hydra-help": ["hydra/launcher: basic"],
    "-sc install=bash": ["hydra_bash_completion"],
}


@pytest.mark.long
def test_flags_of_hydra(tmp_path):
    """One after the other in one process: they end without doing any work."""
    train = str(ROOT / "scripts" / "train.py")
    code = (
        "import runpy, sys\n"
        f"for flags in {list(FLAGS)!r}:\n"
        f"    sys.argv = [{train!r}, *flags.split()]\n"
        "    print('called')\n"
        "    try:\n"
        f"        runpy.run_path({train!r}, run_name='__main__')\n"
        "    except SystemExit as leaving:\n"
        "        assert not leaving.code\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, *said = done.stdout.split("called\n")
    for text, parts in zip(said, FLAGS.values(), strict=True):
        assert [part for part in parts if part not in text] == [], text
    assert list(tmp_path.iterdir()) == []


def test_shell_completion_lists_options_and_no_schemas(tmp_path):
    line = "python scripts/train.py model="
    environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "-sc", "query=bash"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    options = done.stdout.split()
    assert {"model=para", "model=act"} <= set(options)
    assert [option for option in options if "schema" in option] == []


@pytest.mark.parametrize("arguments", ["--help", "modle=para", "model=prara", "training.steps=x"])
def test_help_and_typos_do_without_torch(arguments):
    code = (
        f"import runpy, sys; sys.argv = ['train.py', {arguments!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'scripts' / 'train.py')!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    print('heavy:', {'torch', 'timm', 'matplotlib'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("heavy: set()\n"), done.stderr


def test_configurations_compose_inside_a_job_of_hydra(tmp_path):
    inner = []

    def body(cfg):
        before = HydraConfig.get().job.name
        inner.append(load_config(EvalConfig, ["model=mine"]).model)
        assert HydraConfig.get().job.name == before
        assert GlobalHydra.instance().is_initialized()

    script(TrainConfig, body)(["seed=1"])
    assert inner == ["mine"]
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert load_config(TrainConfig, ["seed=4"]).seed == 4
        assert GlobalHydra.instance().is_initialized()


LAUNCHED = """
from para.cli import para_main
from para.data.generate import GenerateConfig
from para.errors import DataError

@para_main(GenerateConfig, examples=[])
def main(cfg: GenerateConfig) -> None:
    with open(f"seed{cfg.seed}", "w") as file:
        file.write(f"{type(cfg).__name__} {cfg.dataset}")
    if cfg.seed == 2:
        raise DataError("demo_3 is damaged.")

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "package"),
    [
        pytest.param("joblib", "joblib", marks=pytest.mark.long),
        ("submitit_local", "submitit"),
    ],
)
def test_launchers_run_the_jobs_of_a_sweep(launcher, package, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher", reason="extra: launchers")
    (tmp_path / "tiny.py").write_text(LAUNCHED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def sweep(seeds: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "tiny.py", "-m", f"seed={seeds}", f"hydra/launcher={launcher}"]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=200
        )

    done = sweep("0,1")
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        assert (tmp_path / f"seed{seed}").read_text() == "GenerateConfig objpos"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "outputs", "seed0", "seed1", "tiny.py"
    ]  # fmt: skip

    failed = sweep("1,2")
    assert failed.returncode == 2
    assert failed.stderr.endswith("error: demo_3 is damaged.\n"), failed.stderr
    assert "Traceback" not in failed.stderr
