"""No command line whatever ends in a traceback: it runs, or says what is wrong in one sentence."""

from __future__ import annotations

import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import nonsense
from para.campaign.config import ReproduceConfig
from para.cli import load_config, para_main
from para.common import CommonConfig
from para.data.calibrating import CalibrateConfig
from para.data.check_config import CheckDataConfig
from para.data.exporting import ExportDemosConfig
from para.data.generate import GenerateConfig
from para.data.importing import ImportConfig
from para.evaluation.config import EvalConfig
from para.export.config import ExportConfig
from para.fields import check
from para.registry import options
from para.runs.config import TrainConfig
from para.serving.config import ServeConfig
from para.website.config import MakeWebsiteConfig

SCRIPTS = (
    TrainConfig,
    EvalConfig,
    GenerateConfig,
    ReproduceConfig,
    MakeWebsiteConfig,
    ServeConfig,
    ExportConfig,
    CommonConfig,
    ImportConfig,
    ExportDemosConfig,
    CheckDataConfig,
    CalibrateConfig,
)
FEW_KEYS = SCRIPTS[-4:]
"""These have a dozen keys and no groups: a quarter of the command lines tries them as often."""
GROUPS = ("model", "model/head", "backbone", "split", "task", "env", "profile", "recipe")
GROUPS += ("campaign", "experiment", "executor", "hydra/launcher", "hydra/sweeper", "profile/train")
VALUES = (
    *("", "0", "1", "-1", "2", "7", "0.5", "1e-3", "1e400", "-0", "inf", "-inf", "nan", "1e26"),
    *("true", "false", "null", "???", "None", "lr", "para", "act", "smoke", "off", "fp16"),
    *("'a b'", '"x', "a'b", "a,b", "1,2", "[1,2]", "[]", "[", "]", "{}", "{a:1}", "{a"),
    *(
        "[ood,ood]",
        "[-1]",
        "[nan]",
        "[0,0]",
        "[[1],[2]]",
        "['']",
        "{losses:[policy],steps:3}",
        "a=b",
    ),
    *("choice(1,2)", "choice()", "range(0,3)", "range(3)", "range(0,1,0)", "range(0,1e12)"),
    *("range(0.1,0.5,0.1)", "interval(0,1)", "interval(1)", "glob(*)", "glob(l*)", "glob(zz)"),
    *("glob([l*,n*],exclude=lr)", "shuffle(1,2,3)", "sort(3,1)", "int(2.5)", "str(3)", "tag(a,1)"),
    *("int(abc)", "float(inf)", "bool(1)", "extend_list(1)", "json_str({a:1})", "foo(1)"),
    *("${seed}", "${nope}", "${", "${oc.env:HOME}", "${oc.env:NOPE}", "${training}", "${.x}"),
    *("${hydra:runtime.cwd}", "${now:%Y}", "${oc.decode:'['}", "${a", "$", "${seed", "${model}"),
    *("x" * 300, "9" * 400, "[" * 60, "ü→🙂", "‮", "a\\\\b", "../../x", "/etc/passwd", "~", "*"),
    *("a\\nb", "\\t", "#", "%", "@", ":", "a:b", "(", ")", ")(", "!", "&", "|", "`id`", "$(id)"),
)
SMALL = ("1", "2", "0.5", "null")
FLAGS = (
    *("-m", "--multirun", "--cfg", "--cfg=job", "--cfg=all", "--resolve", "--package=training"),
    *("--package=", "-p", "--info", "--info=all", "--info=defaults", "--help", "-h", "--hlep"),
    *("--config-name=train", "--config-name=../x", "--config-dir=.", "--config-path=.", "-cd"),
    *("--version", "--run", "--", "-", "--experimental-rerun=x", "-sc", "--hydra-help", "-7"),
)
HYDRA = (
    *("hydra.verbose=true", "hydra.mode=MULTIRUN", "hydra.mode=x", "hydra.job.name=${seed}"),
    *("hydra.sweeper.max_batch_size=0", "hydra.launcher._target_=os.system", "hydra=1"),
    *("hydra.searchpath=[nowhere]", "hydra.searchpath=3", "hydra.nope=1", "hydra.run.dir=???"),
    *("hydra.callbacks.x._target_=nope", "hydra/launcher=nope", "hydra/job_logging=none", "hydra."),
    *("~hydra", "+hydra.x=1", "hydra.job.chdir=x", "hydra.sweep.dir=${nope}"),
)
PLUGINS = ("plugins=[nope]", "plugins=nope", "plugins=['']", "plugins=[.]", "plugins=[1]")


NONSENSE = (
    *("train training.learning_rate=inf", "train training.weight_decay=inf", "train seed=-1"),
    *("train training.clip_norm=inf", "train training.backbone_learning_rate=inf"),
    *("train model.head.height_max=inf", "train model.head.target_sigma=inf"),
    *("train augment.noise=inf", "train augment.rotate_deg=inf", "train augment.hue=5"),
    *("train augment.brightness=1e9", "train augment.camera_rotate_deg=100000"),
    *("train backbone=svd_tiny backbone.sigma=inf", "train backbone=svd_tiny backbone.size=[0,0]"),
    *("train backbone=svd_tiny backbone.size=[]", "train backbone.width=nan"),
    *("train backbone=svd_tiny backbone.added_time_ids=[]", "train backbone.width=-1"),
    *("train model.height_window=nan", "train model=act model.kl_weight=nan"),
    *("train env.theta_max_deg=nan", "train env.camera_elevation_deg=nan", f"train seed={10**26}"),
    *("train split.test_seed=-1", "train model=regression model.hidden=0"),
    *("train model=regression model.hidden=-4", "train model=act model.heads=0"),
    *("train model=act model.heads=-1", "train model.head.rotation_bins=-1"),
    *("train backbone.channels=0", "train backbone.channels=-8", "train backbone.width=0"),
    *("train model.kind=act", "train stage={losses:[policy],steps:3}", "train -m seed=glob(*)"),
    *(f"train model.name={'n' * 300}", f"train runs_dir={'r' * 5000}", "train model.name="),
    *("train model.name=../../esc", "train model.name='a/b'", "eval model=../x", "train data_dir="),
    *("train model=act model.encoder_layers=-1", "train model=act model.decoder_layers=0"),
    *("train model=act model.feedforward=0", "train model=act model.latent_dim=0"),
    *("train split.ood.episodes=-4", "eval split.ood.distractors=[-1,-1]", "eval tests=[ood,ood]"),
    *("eval split.ood.distractors=[5]", "eval split.ood.distractors=[5,1]", "train workers=100000"),
    *("eval split.name=../../x", "reproduce seeds=[]", "reproduce splits=[]"),
    *(
        "train training.data_workers=100000",
        "reproduce executor.name=../x",
        "train backbone.weights=x",
    ),
    *("reproduce models=[{a:1}]", "train backbone=svd_tiny backbone.blocks=[{a:1}]"),
    *("make_website only=[zzz]", f"train training.batch_size={10**26}", "train data_dir=/dev/null"),
    *("reproduce models=[]", "reproduce seeds=[-1]", "make_website out=", "make_website port=-1"),
    "make_website port=99999999",
    *("import_demos path=x fps=nan", "import_demos path=x source=foldre", "import_demos"),
    *("import_demos path=x limit=0", "import_demos path=x name=../x", "export_demos"),
    *("export_demos data=x crf=-1", "export_demos data=x camera=a/b", "check_data"),
    *("check_data data=x demos=inf", "calibrate", "calibrate path=x board.square=nan"),
    *("calibrate path=x size=[640]", "calibrate path=x cameras=x", "calibrate path=x name="),
    "train -m training.learning_rate=interval(1e-4,1e-3)",
)


def keys_of(config: object, prefix: str = "") -> dict[str, object]:
    """Dotted keys of a configuration with their values, inner ones too; not those of plug-ins."""
    keys = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            keys |= keys_of(value, f"{prefix}{field.name}.")
        elif field.name != "plugins":
            keys[prefix + field.name] = value
    return keys


def written(value: object) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{}"
    return "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def command_lines(keys: dict[str, object]) -> st.SearchStrategy[list[str]]:
    """Arguments: keys and groups of the script and of others, right and wrong values, flags.

    Args:
        keys: Those of the script, with values that work.
    """
    names = sorted(keys)
    likely = st.one_of(
        st.sampled_from(names).map(lambda name: f"{name}={written(keys[name])}"),
        st.builds("{}={}".format, st.sampled_from(names), st.sampled_from(SMALL)),
        st.sampled_from(("seed=3", "seed=1,2", "profile=smoke", "robot=hand", "-m")),
    )
    key = st.one_of(
        st.sampled_from(names),
        st.sampled_from(names).map(lambda name: name[:-1]),
        st.sampled_from(GROUPS),
        st.text(max_size=6),
        st.sampled_from(("a.b", "model.", ".x", "model.head.bins", "a@b", "backbone.unet.x", "0")),
    )
    value = st.one_of(
        st.sampled_from(VALUES),
        st.sampled_from(VALUES),
        st.text(max_size=20),
        st.integers().map(str),
        st.floats().map(str),
    )
    sign = st.sampled_from(("",) * 8 + ("+", "++", "~"))
    choice = st.sampled_from(GROUPS).flatmap(
        lambda group: st.sampled_from(options(group) or ["nope"]).map(lambda o: f"{group}={o}")
    )
    override = st.one_of(
        st.builds("{}{}={}".format, sign, key, value),
        st.builds("{}{}={}".format, sign, key, value),
        choice,
        st.builds("{}{}".format, sign, choice),
        st.builds("~{}".format, key),
        st.sampled_from(VALUES),
        st.sampled_from(HYDRA),
        st.sampled_from(PLUGINS),
        st.text(max_size=20),
    )
    word = st.one_of(*[override] * 5, st.sampled_from(FLAGS))
    mistakes = st.lists(override, min_size=1, max_size=2)
    words = st.lists(word, min_size=1, max_size=2)
    mixed = st.builds(list.__add__, st.lists(likely, max_size=2), words)
    return st.one_of(mistakes, mistakes, mixed, mixed, mixed, st.lists(likely, max_size=4))


def outcome(config_class: type[CommonConfig], arguments: list[str]) -> int:
    """Exit status of a script whose work is nothing; anything but a clear end is an error."""
    ran = []

    def main(cfg: CommonConfig) -> None:
        """Does nothing."""
        assert isinstance(cfg, config_class)
        check(cfg)
        ran.append(cfg)

    out, err, status = io.StringIO(), io.StringIO(), None
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            para_main(config_class, examples=[])(main)(arguments)
    except SystemExit as end:
        status = end.code
    finally:  # --info and hydra.verbose would make all later calls talk, and compose for it
        root.setLevel(level)
        root.handlers[:] = handlers
    messages = err.getvalue().splitlines()
    errors = [line for line in messages if line.startswith("error: ")]
    assert "Traceback" not in err.getvalue()
    assert status in (None, 0, 2), messages
    if status == 2:
        assert errors == messages[-1:], messages
        assert 10 < len(errors[0]) < 3000
    else:
        assert ran or out.getvalue()
        assert not errors
    return status or 0


EXAMPLES = int(os.environ.get("PARA_FUZZ", "60"))
"""Random command lines per script; `make fuzz` takes 500."""


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A folder of its own; what never changes is composed, or copied by Hydra, only once."""
    monkeypatch.chdir(tmp_path)
    with nonsense.quick():
        yield


@pytest.mark.parametrize("arguments", NONSENSE)
def test_values_that_cannot_work_are_refused(arguments, quick):
    """Each of these once ended in a traceback, was accepted, or wrote where it should not."""
    name, *overrides = arguments.split()
    config_class = {cls.script: cls for cls in SCRIPTS}[name]
    assert outcome(config_class, overrides) == 2


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config_class", SCRIPTS, ids=lambda cls: cls.script)
def test_random_command_lines(config_class, quick):
    keys = keys_of(load_config(config_class))

    @settings(
        max_examples=EXAMPLES // 4 if config_class in FEW_KEYS else EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(keys))
    def never_a_traceback(arguments: list[str]) -> None:
        # Python 3.11 maps and unmaps memory with each call that crosses a border of its stack of
        # frames. Below pytest and Hypothesis that is often the case, and takes half of the time; a
        # thread starts a stack of its own.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(outcome, config_class, arguments).result()

    never_a_traceback()
