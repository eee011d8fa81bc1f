"""All that a session tells: log, progress display, pictures and Weights & Biases as one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np

from para.runs.contents import BATCH_PICTURE
from para.training import pictures
from para.training.data import first_batch
from para.training.log import Display, Row, RunLog, Wandb
from para.training.state import Progress, Run
from para.video import write_picture


class Monitor:
    """What one session of a run tells; a context manager.

    Args:
        run: Gives its folder and names.
        progress: Where the session begins.
        enabled: False tells nothing (all processes but the main one).
        show: Show a progress bar (or lines, where there is no terminal).
    """

    def __init__(self, run: Run, progress: Progress, enabled: bool, show: bool):
        cfg, self.enabled = run.cfg, enabled
        self.run, self.log = run, RunLog(run.folder, progress.step, enabled)
        self.wandb = Wandb(cfg, run.folder, enabled)
        self.display = Display(
            f"{cfg.model.name} on {cfg.split.train_set}",
            *(cfg.training.steps, progress.step, run.budget_seconds, show and enabled),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.display.close()
        self.wandb.close()

    @property
    def wants_pictures(self) -> bool:
        """Would `picture` show anything?"""
        return self.wandb.run is not None

    def first_batch(self, progress: Progress) -> None:
        """What the policy sees in training, labels drawn in: a file in the run's folder."""
        if self.enabled:
            image = pictures.draw_batch(first_batch(self.run))
            write_picture(self.run.folder / BATCH_PICTURE, image)
            self.picture("augmented_batch", image, progress)

    def picture(self, name: str, image: np.ndarray | None, progress: Progress) -> None:
        """An (H, W, 3) uint8 picture of this moment, if there is one."""
        if image is not None:
            self.wandb.picture(name, image, progress.step)

    def step(self, progress: Progress, loss: float, samples_per_s: float) -> None:
        """After every step."""
        self.display.update(progress.step, loss, samples_per_s, progress.seconds)

    def row(self, progress: Progress, numbers: Row) -> None:
        """Numbers of this step for the log; nothing to say makes no row."""
        if numbers:
            minutes = round(progress.seconds / 60, 3)
            row = {"step": progress.step} | numbers | {"minutes": minutes}
            self.log.write(row)
            self.wandb.row(row)
            self.display.row(row, progress.seconds)
