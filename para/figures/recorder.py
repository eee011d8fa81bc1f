"""Videos of evaluated episodes: what happens, what the policy sees, what it predicts.

On the left the scene from the policy's own viewpoint with the predicted waypoints, on the right the
policy's input with the heatmap of the waypoint that is being executed, and how far the task is.
Recording only looks: the recorded episode is the evaluated one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.colors import to_rgb

from envs.base import Environment
from para.camera import Camera
from para.figures.style import DARK, FAIL_RED, SUCCESS_GREEN, model_style
from para.types import ActionChunk, Observation
from para.video import (
    Colour,
    draw_dot,
    draw_path,
    draw_text,
    open_video,
    overlay_heatmap,
    resize,
    text_width,
)

FPS = 25
STEPS_PER_FRAME = 2
"""Control steps of 20 ms: one second of video is one second of simulated time."""
MAIN, SIDE = 640, 320
"""The scene is MAIN x MAIN px, the panel beside it SIDE x MAIN px."""
VIEW = (112, 16, SIDE - 32)
"""Top, left within the panel, and side of the policy's input with its heatmap [px]."""
TOLD = 42
"""Letters of an instruction that fit beside each other."""
HOLD_S = 1.5
"""The last frame, with the outcome, stays for this long [s]."""


def _rgb(colour: str) -> Colour:
    return tuple(round(255 * c) for c in to_rgb(colour))


_SURFACE, _INK, _MUTED, _LINE = (_rgb(c) for c in (DARK.surface, DARK.ink, DARK.muted, DARK.grid))


class VideoRecorder:
    """Records one episode (see `para.evaluation.rollout.Recorder`).

    Args:
        folder: Where the video goes.
        stem: Its name without "_success.mp4" or "_fail.mp4", which the outcome decides.
        model: Name of the policy in results; decides its colour.
        subtitle: What is tested, a line or two.
        comment: Stored in the file's metadata.
    """

    def __init__(self, folder: Path, stem: str, model: str, subtitle: str, comment: str):
        self.folder, self.stem = folder, stem
        style = model_style(model)
        self._label, self._colour = style.label, _rgb(style.colour)
        self._subtitle = subtitle
        self._unfinished = folder / f".{stem}.mp4"
        self._stack = ExitStack()
        self._video = self._stack.enter_context(
            open_video(self._unfinished, FPS, crf=20, comment=comment)
        )
        self._observation: Observation | None = None
        self._chunk: ActionChunk | None = None
        self._executing = self._plans = 0

    def start(self, env: Environment) -> None:
        """Take the first frame."""
        self.step(env)

    def plan(self, observation: Observation, chunk: ActionChunk) -> None:
        """Show this plan from now on."""
        self._observation, self._chunk = observation, chunk
        self._executing, self._plans = 0, self._plans + 1

    def waypoint(self, k: int) -> None:
        """Mark waypoint `k` as the one that is being executed."""
        self._executing = k

    def step(self, env: Environment) -> None:
        """Take a frame, every other control step."""
        if env.steps % STEPS_PER_FRAME == 0:
            self._video.add(self._compose(env))

    def finish(self, env: Environment) -> Path:
        """Show the outcome, complete the file and return its path."""
        frame = self._compose(env)
        success = env.outcome.success
        word, colour = ("SUCCESS", SUCCESS_GREEN) if success else ("FAILED", FAIL_RED)
        frame[MAIN - 56 : MAIN - 12, 12:212] = _rgb(colour)
        mark = "\N{CHECK MARK}" if success else "\N{BALLOT X}"
        draw_text(frame, f"{mark} {word}", (112, MAIN - 34), size=24, bold=True, anchor="mm")
        for _ in range(round(HOLD_S * FPS)):
            self._video.add(frame)
        self._stack.close()
        for older in self.folder.glob(f"{self.stem}_*.mp4"):
            older.unlink()
        path = self.folder / f"{self.stem}_{'success' if success else 'fail'}.mp4"
        os.replace(self._unfinished, path)
        return path

    def discard(self) -> None:
        """Drop an unfinished recording."""
        self._stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def _compose(self, env: Environment) -> np.ndarray:
        frame = np.empty((MAIN, MAIN + SIDE, 3), np.uint8)
        frame[:, :MAIN] = self._scene(env)
        frame[:, MAIN:] = self._panel(env)
        return frame

    def _scene(self, env: Environment) -> np.ndarray:
        scene = env.frame(preset="beauty", size=MAIN)
        if self._chunk is not None:
            camera = env.camera.resized(MAIN, MAIN)
            self._draw_waypoints(scene, camera, env.ee_position, radius=5)
        return scene

    def _panel(self, env: Environment) -> np.ndarray:
        panel = np.full((MAIN, SIDE, 3), _SURFACE, np.uint8)
        top, x, size = VIEW
        whole = (s for s in range(24, 9, -1) if text_width(self._label, s, True) <= SIDE - 2 * x)
        large = next(whole, 9)
        draw_text(panel, self._label, (x, 14), large, _lighter(self._colour), bold=True)
        draw_text(panel, self._subtitle, (x, 48), size=14, colour=_MUTED)
        if self._observation is None:
            view = env.frame()
            caption = f"policy input, {view.shape[1]} px"
            view = resize(view, size, size)
        else:
            view = resize(self._observation.image, size, size)
            caption = f"policy input, {self._observation.image.shape[1]} px"
            if self._chunk.heatmaps is not None:
                view = overlay_heatmap(view, self._chunk.heatmaps[self._executing])
                caption += f" + heatmap, waypoint {self._executing + 1}"
            else:
                camera = self._observation.camera.resized(size, size)
                self._draw_waypoints(view, camera, self._observation.ee_position, radius=3)
        panel[top : top + size, x : x + size] = view
        draw_text(panel, caption, (x, top + size + 5), size=13, colour=_MUTED)
        told = wrap(env.task.instruct(env.condition), TOLD, max_lines=2, placeholder=" ...")
        draw_text(panel, "\n".join(told), (x, top + size + 23), size=13)
        stages = env.task.stages
        reached = [stage.name for stage in stages].index(env.outcome.stage)
        for row, stage in enumerate(stages):
            y = 466 + 40 * row
            current = row == reached
            last = row == len(stages) - 1
            colour = (_rgb(SUCCESS_GREEN) if last else _INK) if current else _LINE
            draw_dot(panel, (x + 8, y + 9), 7, colour, outline=0)
            if not current and row > reached:
                draw_dot(panel, (x + 8, y + 9), 5, _SURFACE, outline=0)
            ink = _INK if current else _MUTED
            draw_text(panel, stage.name, (x + 26, y), size=16, colour=ink, bold=current)
            draw_text(panel, stage.progress, (x + 98, y + 2), size=13, colour=ink)
        clock = f"{env.steps * 0.02:4.1f} s    plan {self._plans}"
        draw_text(panel, clock, (x, MAIN - 34), size=15, colour=_MUTED)
        return panel

    def _draw_waypoints(
        self, image: np.ndarray, camera: Camera, start: np.ndarray, radius: float
    ) -> None:
        """Predicted waypoints from the one being executed on; hollow where the gripper is open."""
        positions = self._chunk.positions[self._executing :]
        pixels, depth = camera.project(np.concatenate([start[None], positions]).astype(np.float64))
        if not (depth > 0).all():  # behind the camera, or a miss (NaN): no path to draw
            return
        colour = _lighter(self._colour)
        draw_path(image, pixels, colour, thickness=2)
        for k, pixel in reversed(list(enumerate(pixels[1:]))):
            r = radius * (1.5 if k == 0 else 1.0)
            draw_dot(image, pixel, r, colour)
            if self._chunk.gripper[self._executing + k] > 0.5:
                draw_dot(image, pixel, 0.5 * r, (255, 255, 255), outline=0)


def _lighter(colour: Colour) -> Colour:
    """A tint that reads on dark surfaces."""
    return tuple(round(c + 0.25 * (255 - c)) for c in colour)
