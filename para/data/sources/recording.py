"""One recorded demonstration, as foreign data sets hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from para.data.format import ARRAYS, FRAME_SECONDS, EpisodeMeta
from para.errors import DataError

LONGEST_STEP = 0.25
"""Longest time between neighbouring frames [s]: one of ten a second may be lost."""


@dataclass(frozen=True)
class Recording:
    """A demonstration before it is a demo file.

    Attributes:
        where: What it is called in messages.
        times: (N,) when each frame was taken, ascending [s].
        images: Gives some frames (H, W, 3) uint8 RGB, by ascending numbers.
        arrays: Per-frame arrays as in `para.data.format.ARRAYS`, and those of objects.
        instruction: What is done in it; "": the set does not say.
        meta: What is known of it where it was a demo of ours; else None.
    """

    where: str
    times: np.ndarray
    images: Callable[[Sequence[int]], Iterator[np.ndarray]]
    arrays: dict[str, np.ndarray] = field(repr=False)
    instruction: str = ""
    meta: EpisodeMeta | None = None

    def ticks(self) -> np.ndarray:
        """Numbers of the frames that are nearest to every tenth of a second.

        A frame that was lost is replaced by its neighbour, so that time goes on evenly.

        Raises:
            DataError: Fewer than two frames, times that do not ascend, a pause, or a rate below
                10 Hz.
        """
        times = self.times - self.times[:1]
        if len(times) < 2:
            raise DataError(f"{self.where} has {len(times)} frames: a demonstration needs two.")
        steps = np.diff(times)
        if not np.isfinite(times).all() or (steps <= 0).any():
            raise DataError(
                f"{self.where}: the time of frame {int(np.argmin(steps)) + 1} is not after the one "
                "before. Times are seconds, and ascend."
            )
        slowest = float(np.median(steps))
        if slowest > 1.05 * FRAME_SECONDS:
            raise DataError(
                f"{self.where} has {1 / slowest:.3g} frames per second, and demos have "
                f"{1 / FRAME_SECONDS:.0f}: record at {1 / FRAME_SECONDS:.0f} Hz or faster (are its "
                "times seconds?)."
            )
        if (longest := float(steps.max())) > LONGEST_STEP:
            raise DataError(
                f"{self.where}: frame {int(np.argmax(steps)) + 1} comes {longest:.3f} s after the "
                f"one before, more than {LONGEST_STEP:g} s: where the hand went in a pause nobody "
                "knows. Cut the recording there into two, or record it again."
            )
        count = int(times[-1] / FRAME_SECONDS + 1e-3) + 1
        wanted = FRAME_SECONDS * np.arange(count)
        after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
        earlier = wanted - times[after - 1] <= times[after] - wanted
        return after - earlier

    def require_whole(self) -> None:
        """Raise `DataError` unless all arrays are there, finite and of one length."""
        for name, (shape, _) in ARRAYS.items():
            array = self.arrays.get(name)
            if array is None or array.shape != (len(self.times), *shape):
                got = "nothing" if array is None else array.shape
                raise DataError(
                    f"{self.where}: {name} must be {(len(self.times), *shape)}, got {got}."
                )
            if not np.isfinite(array).all():
                frame = int(np.argwhere(~np.isfinite(array))[0][0])
                raise DataError(
                    f"{self.where}: {name} of frame {frame} is NaN or infinite. Leave the frame "
                    "out, or the demonstration."
                )
