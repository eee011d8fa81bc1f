"""Closed-loop episodes, several in lock step so that the policy is asked for all of them at once.

The numbers of an episode depend on the policy, on its start condition and on which episodes share
its chunk (batched inference may round differently in another batch), never on timing, on the number
of processes or on what ran before. So a chunk is the unit that is repeated, resumed and recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from envs.base import Condition, Environment
from envs.perturbations import latency_steps
from para.errors import CheckpointError, ConfigError
from para.evaluation.aligned import aligned
from para.evaluation.ensemble import Ensemble
from para.types import ActionChunk, Inference, Observation

WAIT_STEPS = 5
"""Control steps that pass when all waypoints of a plan have been reached already: 0.1 s."""


NEAR = 0.006
"""While time passes, the hand goes on to the next waypoint from this distance [m]."""


class Predicts(Protocol):
    """What can be rolled out: a policy, or one that learned nothing (baselines/floors.py)."""

    def predict(
        self, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        """A plan for each observation, in order."""


class Recorder(Protocol):
    """Watches one episode without touching it (see para/figures/recorder.py)."""

    def start(self, env: Environment) -> None:
        """Called after the reset."""

    def plan(self, observation: Observation, chunk: ActionChunk) -> None:
        """Called with each plan, before it is executed."""

    def waypoint(self, k: int) -> None:
        """Called before waypoint `k` of the plan is executed."""

    def step(self, env: Environment) -> None:
        """Called after each control step (20 ms)."""


def rollout(
    policy: Predicts,
    envs: Sequence[Environment],
    conditions: Sequence[Condition],
    inference: Inference,
    recorders: Mapping[int, Recorder] | None = None,
) -> list[dict[str, Any]]:
    """Run one episode per condition; return their outcomes, in order.

    The first `inference.execute` waypoints of each plan are servoed to, then the policy plans
    again, until the env says that the episode is over (success, or its control steps used up).
    A plan with a miss among them (`ActionChunk.missed`) goes nowhere: the robot holds still, and
    the policy plans again. With `inference.ensemble` a plan is first averaged with those before it,
    with `inference.align_view` the policy, and the film, is shown each view as the usual one.

    Args:
        policy: Asked for all episodes that go on at once.
        envs: At least as many as there are conditions.
        conditions: Start conditions.
        inference: How the policy is run.
        recorders: By position in `conditions`.

    Returns:
        Per episode: stage, success, steps (of 20 ms) and the task's metrics, seconds (wall time;
        inference is shared out evenly), plans, misses (plans that held still because a ray met no
        table), objects: name -> [x, y, z] at the end [m].
    """
    recorders = recorders or {}
    seconds = [0.0] * len(conditions)
    plans, misses = [0] * len(conditions), [0] * len(conditions)
    before: dict[int, tuple[ActionChunk, int]] = {}
    ensembles = [Ensemble() for _ in conditions]
    for i, condition in enumerate(conditions):
        begin = time.perf_counter()
        envs[i].begin(condition)
        if i in recorders:
            recorders[i].start(envs[i])
        seconds[i] += time.perf_counter() - begin

    while active := [i for i in range(len(conditions)) if not envs[i].done]:
        begin = time.perf_counter()
        observations = [envs[i].observe() for i in active]
        if inference.align_view:
            observations = [
                aligned(seen, envs[i].usual_camera, envs[i].task.workspace)
                for i, seen in zip(active, observations, strict=True)
            ]
        chunks = policy.predict(observations, inference)
        shared = (time.perf_counter() - begin) / len(active)
        for i, observation, chunk in zip(active, observations, chunks, strict=True):
            begin = time.perf_counter()
            _require_finite(chunk, envs[i].task.turns)
            if inference.ensemble:
                chunk = ensembles[i].mix(chunk)
            _wait(envs[i], before.get(i), recorders.get(i))
            count = _execute(envs[i], observation, chunk, inference.execute, recorders.get(i))
            ensembles[i].advance(count)
            before[i] = chunk, count
            plans[i] += 1
            misses[i] += bool(chunk.missed[: inference.execute].any())
            seconds[i] += shared + time.perf_counter() - begin

    return [
        {
            **env.outcome.to_dict(),
            "seconds": round(seconds[i], 3),
            "plans": plans[i],
            "misses": misses[i],
            "objects": {name: pose[:3].tolist() for name, pose in env.objects().items()},
        }
        for i, env in enumerate(envs[: len(conditions)])
    ]


def _require_finite(chunk: ActionChunk, turns: bool) -> None:
    whole = np.isfinite(chunk.positions).all(-1)
    if turns:
        if chunk.rotations is None:
            raise ConfigError("The task turns the hand, and this policy predicts no rotation.")
        whole &= np.isfinite(chunk.rotations).all(-1)
    broken = ~(whole | chunk.missed) | ~np.isfinite(chunk.gripper)
    if broken.any():
        raise CheckpointError("The policy predicts NaN or infinity: its training went wrong.")


def _wait(
    env: Environment, before: tuple[ActionChunk, int] | None, recorder: Recorder | None
) -> None:
    """Let the time pass until the command that follows from an image begins (`latency_s`).

    The hand goes on with the plan before, from the waypoint after those that were executed; without
    one it holds still. As in `servo_to` the fingers move when it is there; it stays there then.
    """
    chunk, k = before or (None, 0)
    moves = False  # the fingers
    for _ in range(latency_steps(env.condition)):
        if env.done:
            return
        goal, opening, turn = env.target, env.gripper_command, None
        if chunk is not None and k < len(chunk.positions) and np.isfinite(chunk.positions[k]).all():
            goal = chunk.positions[k]
            if env.task.turns and np.isfinite(chunk.rotations[k]).all():
                turn = chunk.rotations[k]
            if np.linalg.norm(env.target - goal) < NEAR:
                opening = float(chunk.gripper[k] > 0.5)
                moves = opening != env.gripper_command or moves
                k += not moves
        env.control_step(goal, opening, turn)
        if recorder is not None:
            recorder.step(env)


def _execute(
    env: Environment,
    observation: Observation,
    chunk: ActionChunk,
    execute: int,
    recorder: Recorder | None,
) -> int:
    """Servo to the first `execute` waypoints of a plan; hold still where one of them is a miss.

    Rotations are executed where the task turns the hand.

    Returns:
        How many waypoints the robot was sent to.
    """
    if recorder is not None:
        recorder.plan(observation, chunk)
    steps = env.steps
    count = 0 if chunk.missed[:execute].any() else min(execute, len(chunk.positions))
    for k in range(count):
        if env.done:
            return k
        if recorder is not None:
            recorder.waypoint(k)
        on_step = None if recorder is None else recorder.step
        turn = chunk.rotations[k] if env.task.turns else None
        if turn is not None and np.isnan(turn).any():
            turn = None  # a miss whose place an ensemble knows: the hand stays as it is turned
        env.servo_to(chunk.positions[k], float(chunk.gripper[k]), on_step=on_step, rotation=turn)
    if env.steps == steps:
        # It stays where it is. Time passes all the same, or this would never end.
        for _ in range(WAIT_STEPS):
            if not env.done:
                env.control_step(env.target, env.gripper_command)
                if recorder is not None:
                    recorder.step(env)
    return count
