"""What a run writes down while it trains: log.jsonl, log.csv, the progress display, wandb."""

from __future__ import annotations

import csv
import hashlib
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from para.errors import ConfigError
from para.files import atomic_write, sealed_line
from para.runs.config import TrainConfig
from para.runs.contents import LOG, LOG_TABLE
from para.runs.log import Row, read_log

_logger = logging.getLogger(__name__)


class RunLog:
    """Rows of numbers, each with a `step`: appended to log.jsonl, exported to log.csv.

    Args:
        folder: The run's folder.
        step: Where the run goes on. Rows beyond it belong to steps that were lost with a killed
            process and will be made again, so they are dropped.
        enabled: False writes nothing (all processes but the main one).
    """

    def __init__(self, folder: Path, step: int, enabled: bool = True):
        self.path, self.csv_path, self.enabled = folder / LOG, folder / LOG_TABLE, enabled
        self.rows = [row for row in read_log(folder) if row["step"] <= step]
        if enabled:
            with atomic_write(self.path) as aside:
                aside.write_text("".join(sealed_line(row) for row in self.rows))

    def write(self, row: Row) -> None:
        """Append one row."""
        self.rows.append(row)
        if self.enabled:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(sealed_line(row))

    def last(self, key: str) -> Row:
        """The last row that has `key`; empty if none has."""
        return next((row for row in reversed(self.rows) if key in row), {})

    def export_csv(self) -> None:
        """Write all rows so far as a table; its columns are all keys that occur."""
        if not self.enabled:
            return
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with atomic_write(self.csv_path) as aside, open(aside, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


class Display:
    """A progress bar on a terminal; elsewhere a line per logged row, as in a log file.

    Args:
        title: Stands before the bar.
        steps: Steps of the whole run.
        step: Steps that are done already.
        budget_seconds: Time limit, for the time left; infinite without one.
        enabled: False shows nothing.
    """

    def __init__(self, title: str, steps: int, step: int, budget_seconds: float, enabled: bool):
        self.steps, self.first, self.budget = steps, step, budget_seconds
        self.enabled, self.start = enabled, time.perf_counter()
        console = Console(stderr=True)
        self.bar: Progress | None = None
        if enabled and console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                console=console,
            )
            self.task = self.bar.add_task(title, total=steps, completed=step, text="")
            self.bar.start()

    def update(self, step: int, loss: float, samples_per_s: float, seconds: float) -> None:
        """After every step: `seconds` is the training time so far, over all sessions."""
        if self.bar:
            text = (
                f"loss {loss:.3f}  {samples_per_s:.0f} samples/s  {self._left(step, seconds)} left"
            )
            self.bar.update(self.task, completed=step, text=text)

    def row(self, row: Row, seconds: float) -> None:
        """After every logged row."""
        if self.enabled and not self.bar:
            step = int(row["step"])
            numbers = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "step")
            _logger.info(
                "step %d/%d  %s  (%s left)", step, self.steps, numbers, self._left(step, seconds)
            )

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar:
            self.bar.stop()

    def _left(self, step: int, seconds: float) -> str:
        pace = (time.perf_counter() - self.start) / max(1, step - self.first)
        left = min((self.steps - step) * pace, max(0.0, self.budget - seconds))
        return f"{int(left) // 60}:{int(left) % 60:02d}"


class Wandb:
    """Weights & Biases, where `wandb=offline|online` asks for it; otherwise it does nothing."""

    def __init__(self, cfg: TrainConfig, folder: Path, enabled: bool = True):
        self.run: Any = None
        if cfg.wandb == "off" or not enabled:
            return
        import wandb

        # The same folder is the same run, so that a resumed training continues its curves.
        identity = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]
        try:
            self.run = wandb.init(
                project="para",
                name="/".join(folder.parts[-4:]),
                id=identity,
                resume="allow",
                mode=cfg.wandb,
                dir=str(folder),
                config=asdict(cfg),
                settings=wandb.Settings(silent=True),
            )
        except (wandb.errors.Error, OSError) as error:
            raise ConfigError(
                f"wandb=online could not start: {error}. Log in with `wandb login`, or use "
                "wandb=offline or wandb=off (the CSV and JSONL logs are always written)."
            ) from error

    def row(self, row: Row) -> None:
        """Log the numbers of a row at its step."""
        if self.run:
            self.run.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Log an (H, W, 3) uint8 picture."""
        if self.run:
            import wandb

            self.run.log({name: wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Upload what is left."""
        if self.run:
            self.run.finish()
