"""Learning rates: everyone gets the same tries, all of them are written down, the best is named."""

from __future__ import annotations

import json

import pytest

from para.campaign.config import ReproduceConfig
from para.campaign.run import CampaignRun
from para.campaign.tuning import LEARNING_RATES, Try, chosen, tries, tune
from para.cli import load_config
from para.errors import ConfigError
from para.evaluation.config import EvalConfig
from para.fields import check
from para.figures.study import THREE_WAY_MODELS
from para.places import ROOT
from para.runs.config import TrainConfig
from para.runs.folders import run_dir


def config(tmp_path, *overrides: str) -> ReproduceConfig:
    folders = [f"{name}_dir={tmp_path / name}" for name in ("outputs", "results", "data")]
    return load_config(ReproduceConfig, [*overrides, *folders])


def test_every_policy_gets_the_same_learning_rates(tmp_path):
    cfg = config(tmp_path, "models=[para,act]", "splits=[lr,corner_n8]", "robot=hand", "seeds=[3]")
    found = tries(cfg, ["augment=camera"], ["episodes=7"])
    assert len({one.name for one in found}) == len(found) == 2 * 2 * len(LEARNING_RATES)
    assert {(one.label, one.split, one.rate) for one in found} == {
        (model, split, rate)
        for model in ("para", "act")
        for split in ("lr", "corner_n8")
        for rate in LEARNING_RATES
    }
    folders = set()
    for one in (found[0], found[1], found[-1]):
        train, evaluation = one.jobs()
        trained = load_config(TrainConfig, train.arguments)
        check(trained)
        folders.add(run_dir(trained))
        assert trained.training.learning_rate == one.rate
        assert (trained.model.kind, trained.augment.shift, trained.seed) == (one.label, 0.15, 3)
        evaluated = load_config(EvalConfig, evaluation.arguments)
        check(evaluated)
        assert (evaluated.model, evaluated.tests) == (trained.model.name, ["sanity"])
        assert (evaluated.episodes, evaluated.runs_dir) == (7, trained.runs_dir)
        assert evaluation.needs == (train.name,)
    assert len(folders) == 3


def test_a_recipe_has_learning_rates_of_its_own(tmp_path):
    cfg = config(tmp_path, "models=[para_two_stage-svd_tiny]", "splits=[lr]")
    with pytest.raises(ConfigError, match=r"Tune models=\[para\]"):
        tries(cfg, [], [])


RECORDS = sorted((ROOT / "results" / "tuning").glob("*/*/*/*.json"))


def test_every_policy_that_is_compared_has_a_record():
    compared = {f"{model}-seed0" for model in (*THREE_WAY_MODELS, "act", "act_camera")}
    assert compared <= {path.stem for path in RECORDS}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_policies_train_with_the_rate_that_was_chosen(path):
    record = json.loads(path.read_text())
    assert record["chosen"] == chosen(record["tries"])
    cfg = load_config(TrainConfig, [f"model={record['model']}", f"profile={record['profile']}"])
    assert cfg.training.learning_rate == record["chosen"]


def outcome(rate: float, successes: int, loss: float) -> dict:
    return {
        "learning_rate": rate,
        "successes": successes,
        "n": 60,
        "validation": {"val_loss": loss},
    }


def test_most_successes_win_and_then_the_least_validation_loss():
    tried = [outcome(3e-4, 50, 0.1), outcome(1e-3, 58, 0.3), outcome(3e-3, 58, 0.2)]
    assert chosen(tried) == 3e-3
    assert chosen(tried[:2]) == 1e-3


def test_all_tries_are_written_down(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(CampaignRun, "run", lambda self: ran.extend(self.jobs))
    best = {"para": 1e-3, "act": 3e-4}
    monkeypatch.setattr(
        Try, "outcome", lambda self: outcome(self.rate, 60 * (self.rate == best[self.label]), 1)
    )
    cfg = config(tmp_path, "models=[para,act]", "splits=[lr]", "robot=hand")
    paths = tune(cfg, ["training.steps=400"], ["episodes=60"])
    assert [job.kind for job in ran] == ["demos", *["train", "eval"] * 6]
    for path, (model, rate) in zip(paths, best.items(), strict=True):
        assert path.relative_to(cfg.results_dir).parts[:2] == (
            "tuning",
            "bowl_on_plate-hand-together",
        )
        record = json.loads(path.read_text())
        assert (record["model"], record["chosen"]) == (model, rate)
        assert [one["learning_rate"] for one in record["tries"]] == list(LEARNING_RATES)
        assert record["train"] == ["training.steps=400"]
        assert record["evaluate"] == ["tests=[sanity]", "episodes=60"]
