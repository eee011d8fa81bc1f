"""Rows of numbers that survive a kill, and what Weights & Biases gets."""

from __future__ import annotations

import csv
import math
import os

import pytest

from para.errors import CheckpointError
from para.training.log import RunLog, read_log
from para.training.loop import train
from para.training.state import Window


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


def test_damaged_rows_are_named_and_left_out(tmp_path, caplog):
    log = RunLog(tmp_path, 0)
    for step in (1, 2, 3, 4):
        log.write({"step": step, "loss": 0.5 / step})
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4]
    assert not caplog.records
    path = tmp_path / "log.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("0.25", "0.26")
    lines[2] = lines[2].replace('"loss": 0', '"loss": NaN, "x": 0')
    # rows of before there were checksums: good, and not
    lines += ['{"step": 5, "loss": 1}', lines[0], '{"step": "6", "loss": 1}', '{"loss": 2}', "[1]"]
    path.write_text("\n".join(lines))
    assert [row["step"] for row in read_log(tmp_path)] == [1, 4, 5]
    assert f"{path}: 6 rows are damaged and left out (line 2: it was altered" in caplog.text
    assert [row["step"] for row in RunLog(tmp_path, 4).rows] == [1, 4]
    caplog.clear()
    assert len(read_log(tmp_path)) == 2  # written anew
    assert not caplog.records


@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "folder"), (os.mkfifo, "named pipe")])
def test_what_is_no_log_is_named_and_not_waited_for(make, what, tmp_path):
    make(tmp_path / "log.jsonl")
    with pytest.raises(CheckpointError, match=rf"log\.jsonl is a {what}, not a file.*move it away"):
        RunLog(tmp_path, 4)


def test_a_step_that_fp16_skips_leaves_numbers_that_can_be_written():
    window = Window()
    window.add({"loss": 1.0, "grad_norm": 2.0}, 0.5)
    window.add({"loss": 3.0, "grad_norm": math.inf}, 0.5)
    assert window.means() == {"loss": 2.0, "grad_norm": 1.0}


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
