"""Rows of numbers that survive a kill, and what Weights & Biases gets."""

from __future__ import annotations

import csv

from para.training.log import RunLog, read_log
from para.training.loop import train


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
