"""Re-running recorded episodes for videos, in parallel processes.

An episode is decided by its checkpoint and its start condition, so it can be filmed long after it
was evaluated. Every re-run is compared with the record; one that ends otherwise is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from para.errors import ParaError
from para.executors import LocalExecutor
from para.types import Inference

SIMULATED_FPS = 50
"""Control steps per second of simulated time."""


class RerunError(ParaError):
    """A re-run of a recorded episode ended otherwise than the record says."""


@dataclass(frozen=True)
class EpisodeTask:
    """An episode to be filmed.

    Attributes:
        source: What is re-run, for messages: a result file or a demo.
        run_dir: The trained policy; None re-runs the scripted expert.
        robot: panda | hand.
        layout: together | independent.
        env: The `EnvConfig` as plain data.
        conditions: Start conditions (plain data) of the whole chunk that was evaluated in lock
            step.
        place: Which of them is filmed.
        index: Index of the episode, for messages.
        test: ood | sanity | demo.
        stage: Recorded stage, as the task calls it.
        meaning: The same in words.
        success: Did it succeed?
        steps: Recorded number of control steps.
        inference: How the policy was run when it was evaluated.
        size: Height and width of the film [px].
        stride: Control steps per frame.
        overlay: Also film the policy's input with its heatmap, to the right of the scene.
        out: File (.npy) for the frames (N, size, size or 2 size, 3) uint8.
    """

    source: str
    run_dir: str | None
    robot: str
    layout: str
    env: dict[str, Any]
    conditions: tuple[dict[str, Any], ...]
    place: int
    index: int
    test: str
    stage: str
    meaning: str
    success: bool
    steps: int
    inference: Inference
    size: int
    stride: int
    overlay: bool
    out: str


def shoot(tasks: Sequence[EpisodeTask], workers: int) -> Iterator[tuple[EpisodeTask, str | None]]:
    """Film episodes; yields each task when its frames are on disk, with an error message or None.

    One broken episode does not stop the others.
    """
    yield from LocalExecutor(workers=workers).run(_Camera, tasks)


class _Camera:
    """A worker: environments and the last policy are kept between episodes."""

    def __init__(self) -> None:
        import cv2
        import torch

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._envs: dict[tuple, list[Any]] = {}
        self._policy: tuple[str, Any, int] | None = None

    def __call__(self, task: EpisodeTask) -> str | None:
        try:
            frames = self._film(task)
        except ParaError as error:
            return str(error)
        np.save(task.out, np.stack(frames))
        return None

    def _film(self, task: EpisodeTask) -> list[np.ndarray]:
        if task.run_dir is None:
            return self._film_expert(task)
        # Alone is eight times cheaper than in its chunk, and rounding rarely decides an outcome.
        condition = task.conditions[task.place]
        for conditions, place in (((condition,), 0), (task.conditions, task.place)):
            recorder = _Recorder(task.size, task.stride, task.overlay)
            outcome = self._rollout(task, conditions, place, recorder)
            if outcome["stage"] == task.stage:
                return recorder.frames
        raise RerunError(
            f"{task.source}: {task.test} episode {task.index} ended in {outcome['stage']} after "
            f"{outcome['steps']} steps when it was run again, but {task.stage} after {task.steps} "
            f"steps is recorded. The checkpoint in {task.run_dir} or the code has changed since: "
            "evaluate again with fresh=true."
        )

    def _rollout(
        self, task: EpisodeTask, conditions: Sequence[dict[str, Any]], place: int, recorder: Any
    ) -> dict[str, Any]:
        from envs.base import Condition
        from para.evaluation.rollout import rollout

        policy = self._load(task.run_dir)
        starts = [Condition.from_dict(c) for c in conditions]
        envs = self._environments(task, starts[0].task, len(starts))
        outcomes = rollout(policy, envs, starts, task.inference, {place: recorder})
        return outcomes[place]

    def _film_expert(self, task: EpisodeTask) -> list[np.ndarray]:
        from envs.base import Condition
        from envs.table.expert import run_expert

        start = Condition.from_dict(task.conditions[0])
        (env,) = self._environments(task, start.task, 1)
        recorder = _Recorder(task.size, task.stride, overlay=False)
        env.begin(start)
        recorder.start(env)
        run_expert(env, on_step=recorder.step)
        if env.outcome.success != task.success:
            raise RerunError(
                f"{task.source}: the expert's demo ended in {env.outcome.stage} when it was run "
                "again, which is not what is recorded: make the demos again."
            )
        return recorder.frames

    def _load(self, run_dir: str) -> Any:
        import torch

        from para.runs.policy_file import load_policy

        if self._policy is None or self._policy[0] != run_dir:
            policy, _ = load_policy(Path(run_dir))
            policy = policy.to("cuda" if torch.cuda.is_available() else "cpu")  # as evaluated
            self._policy = run_dir, policy
        return self._policy[1]

    def _environments(self, task: EpisodeTask, what: str, count: int) -> list[Any]:
        from envs.base import EnvConfig, load_task

        key = what, task.robot, task.layout, tuple(sorted(task.env.items()))
        make: Callable[[], Any] = partial(
            load_task(what).environment, task.robot, task.layout, EnvConfig(**task.env)
        )
        envs = self._envs.setdefault(key, [])
        while len(envs) < count:
            envs.append(make())
        return envs[:count]


class _Recorder:
    """Takes a frame every `stride` control steps (see `para.evaluation.rollout.Recorder`)."""

    def __init__(self, size: int, stride: int, overlay: bool):
        self.size, self.stride, self.overlay = size, stride, overlay
        self.frames: list[np.ndarray] = []
        self._plan: tuple[Any, Any] | None = None
        self._executing = 0

    def start(self, env: Any) -> None:
        self._take(env)

    def plan(self, observation: Any, chunk: Any) -> None:
        self._plan, self._executing = (observation, chunk), 0

    def waypoint(self, k: int) -> None:
        self._executing = k

    def step(self, env: Any) -> None:
        if env.steps % self.stride == 0 or env.done:
            self._take(env)

    def _take(self, env: Any) -> None:
        scene = env.frame(preset="beauty", size=self.size)
        if self.overlay:
            scene = np.hstack([scene, self._seen(env)])
        self.frames.append(scene)

    def _seen(self, env: Any) -> np.ndarray:
        """What the policy last saw, with the heatmap of the waypoint that is being executed."""
        from para.video import draw_dot, overlay_heatmap, resize

        if self._plan is None:
            return resize(env.frame(), self.size, self.size)
        observation, chunk = self._plan
        picture = resize(observation.image, self.size, self.size)
        scale = self.size / observation.image.shape[1]
        if chunk.heatmaps is not None:
            picture = overlay_heatmap(picture, chunk.heatmaps[self._executing])
        pixels = observation.camera.project(chunk.positions)[0] * scale
        draw_dot(picture, pixels[self._executing], 4, (255, 255, 255))
        return picture
