"""Schedule, averages, budgets, accumulation, logs."""

from __future__ import annotations

import csv
import fcntl
import itertools
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from para.errors import ConfigError
from para.policies.base import build_policy
from para.runs.config import TrainingConfig
from para.training import loop
from para.training.log import RunLog, read_log
from para.training.loop import train
from para.training.optimiser import averaged, learning_rate_factor, parameter_groups
from para.training.pictures import draw_batch, draw_heatmaps, observations_of, save_picture
from para.types import ActionChunk


def test_learning_rate_warms_up_and_ends_at_zero():
    training = TrainingConfig(steps=100, warmup_steps=9)
    factors = [learning_rate_factor(training, step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(factors[9], abs=0.01)
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert all(a > b for a, b in itertools.pairwise(factors[9:]))


def test_learning_rate_follows_what_ends_first():
    training = TrainingConfig(steps=100, warmup_steps=0)
    assert learning_rate_factor(training, 20, 0.5) == pytest.approx(0.5)
    assert learning_rate_factor(training, 50, 0.2) == pytest.approx(0.5)
    assert learning_rate_factor(training, 20, 1.5) == 0.0


def test_parameter_groups_decay_matrices_only_and_slow_the_backbone():
    policy = nn.Module()
    policy.backbone, policy.head = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    policy.frozen = frozen
    training = TrainingConfig(learning_rate=1e-3, backbone_learning_rate=1e-5, weight_decay=0.1)
    groups = {
        (group["lr"], group["weight_decay"]): [tuple(p.shape) for p in group["params"]]
        for group in parameter_groups(policy, training)
    }
    assert groups == {
        (1e-5, 0.1): [(3, 2)],
        (1e-5, 0.0): [(3,)],
        (1e-3, 0.1): [(4, 3)],
        (1e-3, 0.0): [(4,), (4,), (4,)],
    }


def test_average_follows_its_formula_and_continues_over_a_resume():
    def model() -> nn.Module:
        module = nn.BatchNorm1d(2)
        module.register_buffer("constant", torch.tensor([0.1, 0.7]))
        return module

    source, ema = model(), averaged(source := model(), 0.9)
    expected = None
    for n in range(60):
        source.weight.data.fill_(float(n))
        source.running_mean.fill_(float(-n))
        ema.update_parameters(source)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = float(n) if n == 0 else decay * expected + (1 - decay) * n
        assert ema.module.weight[0].item() == pytest.approx(expected, rel=1e-5)
        assert ema.module.running_mean[0].item() == pytest.approx(-expected, rel=1e-5)
        if n % 7 == 3:  # stop and go on
            resumed = averaged(source, 0.9)
            resumed.load_state_dict(ema.state_dict())
            ema = resumed
    assert torch.equal(ema.module.constant, source.constant)


def test_accumulated_batches_make_the_same_steps(config, datasets):
    common = ("training.precision=fp32", "training.log_every=1", "augment.brightness=0")
    sizes = {"a": (8, 1), "b": (4, 2), "c": (2, 4)}
    rows = {}
    for runs, (size, count) in sizes.items():
        counts = (f"training.batch_size={size}", f"training.accumulate={count}")
        run = train(config(*common, *counts, runs=runs), progress=False, datasets=datasets)
        rows[runs] = [(row["loss"], row["grad_norm"]) for row in read_log(run.folder)]
    assert len(rows["a"]) == 6
    np.testing.assert_allclose(rows["b"], rows["a"], rtol=2e-3)
    np.testing.assert_allclose(rows["c"], rows["a"], rtol=2e-3)
    assert np.ptp([loss for loss, _ in rows["a"]]) > 0.02  # the losses do change


@pytest.mark.parametrize("model", ["para", "para_volume", "regression", "act", "act_published"])
def test_every_parameter_is_trained(model, config, datasets):
    """DDP stops at a parameter without a gradient; and it would be dead weight."""
    cfg = config(f"model={model}")
    policy = build_policy(cfg.model, cfg.backbone, cfg.env.image_size).train()
    policy.loss(datasets[0].batch(np.arange(4)))["loss"].backward()
    assert [n for n, p in policy.named_parameters() if p.requires_grad and p.grad is None] == []


def test_time_budget_ends_the_run_and_its_schedule(config, datasets, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks))  # about 0.2 s per step
    monkeypatch.setattr(loop, "time", clock)
    cfg = config("training.steps=100000", "budget_minutes=0.05", "training.log_every=1")
    summary = train(cfg, progress=False, datasets=datasets)
    assert 8 <= summary.steps <= 20
    assert 0.05 <= summary.minutes < 0.08
    rates = [row["learning_rate"] for row in read_log(summary.folder)]
    assert rates[-1] < 0.1 * max(rates)
    assert train(cfg, progress=False).already_trained


def test_time_spent_before_a_stop_counts(config, datasets, monkeypatch):
    cfg = config("training.steps=100000", "budget_minutes=0.05", "training.checkpoint_every=1")
    save = loop.save

    def save_and_die(run, learner, progress):
        save(run, learner, progress)
        if progress.step == 5:
            raise SystemError("killed")

    def restart_clock():
        ticks = itertools.count()
        clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks))
        monkeypatch.setattr(loop, "time", clock)

    restart_clock()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", save_and_die)
        with pytest.raises(SystemError):
            train(cfg, progress=False, datasets=datasets)
    restart_clock()
    summary = train(cfg, progress=False, datasets=datasets)
    assert 0.05 <= summary.minutes < 0.08
    assert 8 <= summary.steps <= 20


def test_training_learns(config, datasets):
    cfg = config("training.steps=40", "training.learning_rate=3e-3", "training.log_every=5")
    summary = train(cfg, progress=False, datasets=datasets)
    losses = [row["loss"] for row in read_log(summary.folder) if "loss" in row]
    assert losses[-1] < 0.75 * losses[0]


def test_a_second_process_in_the_same_folder_is_refused(config, datasets):
    from para.runs.folders import run_dir

    folder = run_dir(cfg := config())
    folder.mkdir(parents=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="Another process is training"):
            train(cfg, progress=False, datasets=datasets)


def test_fp16_without_a_gpu_is_refused(config, datasets):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(config("training.precision=fp16"), progress=False, datasets=datasets)


# --- logs and pictures ---------------------------------------------------------------------------


def test_log_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": step / 3})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # cut short by the kill
    log = RunLog(tmp_path, 2)
    log.write({"step": 3, "loss": 0.5, "val_loss": 0.25})
    log.export_csv()
    assert [(row["step"], row["loss"]) for row in read_log(tmp_path)] == [
        (1, 1 / 3),
        (2, 2 / 3),
        (3, 0.5),
    ]
    with open(tmp_path / "log.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == ["1", "2", "3"]
    assert [row["val_loss"] for row in table] == ["", "", "0.25"]
    assert float(table[0]["loss"]) == 1 / 3
    assert log.last("val_loss")["step"] == 3
    assert log.last("nothing") == {}


def test_a_picture_is_written_whole_into_a_folder_that_may_not_exist_yet(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = tmp_path / "figures" / "picture.png"
    save_picture(str(path), image)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], image)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_offline_wandb_gets_losses_and_pictures(config, datasets, monkeypatch):
    import wandb

    logged: list[tuple[int, set[str]]] = []

    class Run:
        def log(self, values, step):
            logged.append((step, set(values)))

        def finish(self):
            logged.append((-1, {"finished"}))

    monkeypatch.setattr(wandb, "init", lambda **options: Run())
    train(config("wandb=offline"), progress=False, datasets=datasets)
    names = set().union(*(keys for _, keys in logged))
    assert {"loss", "heatmap", "val_error_mm", "augmented_batch", "heatmaps"} <= names
    assert logged[-1] == (-1, {"finished"})
    assert [step for step, _ in logged[:-1]] == sorted(step for step, _ in logged[:-1])


def test_a_run_leaves_its_configuration_and_a_picture(config, datasets):
    summary = train(config("augment.rotate_deg=5"), progress=False, datasets=datasets)
    saved = json.loads((summary.folder / "config.json").read_text())
    assert saved["training"]["batch_size"] == 4
    assert saved["augment"]["rotate_deg"] == 5
    picture = cv2.imread(str(summary.folder / "augmented_batch.png"))
    assert picture.shape == (512, 512, 3)  # 4 samples of 32 px, enlarged 8 times


def test_drawn_labels_lie_where_the_camera_sees_them(datasets):
    batch = datasets[0].batch(np.arange(1))
    batch["image"] = torch.zeros_like(batch["image"])
    (observation,) = observations_of(batch)
    picture = draw_batch(batch)
    pixel = observation.camera.project(batch["waypoints"][0, -1].double().numpy())[0] * 8
    assert picture[int(pixel[1]), int(pixel[0])].tolist() == [255, 0, 0]  # the last one is red
    assert (picture.sum(-1) > 0).mean() < 0.1


def test_heatmaps_light_up_their_cell(datasets):
    observations = observations_of(datasets[0].batch(np.arange(2)))
    heatmaps = np.zeros((3, 16, 16))
    heatmaps[:, 4, 10] = 1.0
    chunk = ActionChunk(np.tile([0.0, 0.0, -50.0], (3, 1)), np.ones(3), heatmaps=heatmaps)
    picture = draw_heatmaps(observations, [chunk, chunk]).astype(int)
    before = np.concatenate(
        [cv2.resize(o.image, (256, 256), interpolation=cv2.INTER_NEAREST) for o in observations], 1
    )
    changed = np.abs(picture - before).sum(-1)[:, :256]
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(row - 72) <= 16
    assert abs(column - 168) <= 16
    assert draw_heatmaps(observations, [ActionChunk(np.zeros((3, 3)), np.ones(3))] * 2) is None
