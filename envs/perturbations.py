"""What goes wrong between a camera and a hand, by how much: sweeps of an evaluation.

    python scripts/eval.py policy=para_lr sweep=calibration

A sweep repeats the held-out starts of a split undisturbed and at each level. A level is plain data
in the start (`Condition.perturbed`), so the episode depends on nothing else; directions are drawn
from the start's seed, the same at every level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from omegaconf import MISSING
from scipy.spatial.transform import Rotation

from envs.base import EnvConfig, Environment, Task, build_task
from envs.episodes import CONTROL_DT, Condition, Waypoint
from para.camera import Camera
from para.errors import ConfigError, UnknownNameError
from para.fields import LOCAL, marked, number, require, word
from para.registry import Registry

KINDS: dict[str, tuple[float, float, str]] = {
    "told_rotation_deg": (0, 90, "rotation error of the told camera [deg]"),
    "told_shift_mm": (0, 1000, "translation error of the told camera [mm]"),
    "drift_rotation_deg": (0, 90, "rotation of the real camera after a second [deg]"),
    "drift_shift_mm": (0, 1000, "translation of the real camera after a second [mm]"),
    "fovy_deg": (5, 150, "vertical field of view, told truly [deg]"),
    "distance_m": (0.3, 20, "distance of the camera, told truly [m]"),
    "roll_deg": (-180, 180, "roll of the camera, told truly [deg]"),
    "light": (0, 5, "light, as a multiple of the usual"),
    "noise": (0, 255, "standard deviation of image noise [of 255]"),
    "latency_s": (0, 60, "time from image to command [s]"),
    "bump_m_s": (0, 3, "speed that what is to be moved is bumped to, once [m/s]"),
    "missed_m": (0, 0.2, "by how much a first grasp has missed [m]"),
}
"""What can be perturbed: least and largest level, and what figures call it."""
DRIFT_FROM, DRIFT_OVER = 50, 50
"""Control steps before the real camera begins to move, and in which it gets to its new place."""
BUMP_FROM, BUMP_BEFORE = 40, 140
"""Control steps between which an object is bumped: 0.8 to 2.8 s."""
MISSED_HEIGHT = 0.12
"""Above the grasp, where the closed hand is after it has missed [m]."""


@dataclass
class SweepConfig:
    """configs/sweep"""

    name: str = word(MISSING)
    kind: str = "levels"
    title: str = marked(LOCAL, MISSING)
    """One line for tables and figures."""
    levels: dict[str, Any] = field(default_factory=dict)
    """What is perturbed -> levels, one at a time; see KINDS."""
    episodes: int = number(20, least=1, most=100_000)
    """Starts per level, unless the command line says episodes=."""

    def rules(self, key: str, run: Any) -> None:
        """Levels are known, in bounds, and leave time to act."""
        require(bool(self.levels), f"{key}.levels={{}} leaves nothing to vary.")
        for name, levels in self.levels.items():
            if name not in KINDS:
                raise UnknownNameError(f"perturbation in {key}.levels:", name, KINDS)
            low, high, _ = KINDS[name]
            require(
                isinstance(levels, list) and all(type(v) in (int, float) for v in levels),
                f"{key}.levels.{name}={levels} must be a list of numbers, as in [1,2].",
            )
            for level in levels:
                require(
                    low <= level <= high,
                    f"{key}.levels.{name} has {level:g}, which must be from {low:g} to {high:g}.",
                )
        if "missed_m" in self.levels:
            task = build_task(run.task)
            start = task.random(np.random.default_rng(0), run.layout)
            first_grasp(task, start.poses(), start.named)
        budget = run.env.max_steps * CONTROL_DT
        longest = max(self.levels.get("latency_s", [0.0]), default=0.0)
        require(
            longest < budget,
            f"{key}.levels.latency_s has {longest:g} s, but an episode takes {budget:g} s "
            "(env.max_steps): nothing would be done in it.",
        )


@dataclass(frozen=True)
class Sweep:
    """The levels of a configuration, in order: undisturbed first."""

    cfg: SweepConfig

    @property
    def levels(self) -> list[dict[str, float]]:
        """As `Condition.perturbed`."""
        swept = [{k: float(v)} for k, values in self.cfg.levels.items() for v in values]
        return [{}, *swept]

    def starts(self, starts: list[Condition]) -> list[Condition]:
        """All starts at each level, level by level."""
        return [replace(start, perturbed=level) for level in self.levels for start in starts]


SWEEPS: Registry[type[Sweep]] = Registry("sweep", "sweep", ("envs.perturbations",))
SWEEPS.register("levels", SweepConfig)(Sweep)


def seen_through(config: EnvConfig, perturbed: Mapping[str, float]) -> EnvConfig:
    """The configuration with the lens and distance that a start asks for."""
    return replace(
        config,
        camera_fovy_deg=perturbed.get("fovy_deg", config.camera_fovy_deg),
        camera_distance=perturbed.get("distance_m", config.camera_distance),
    )


def rolled(camera: Camera, perturbed: Mapping[str, float]) -> Camera:
    """The camera turned about its viewing axis by `roll_deg`."""
    angle = np.radians(perturbed.get("roll_deg", 0.0))
    turn = Rotation.from_rotvec([0, 0, angle]).as_matrix()
    return camera.rotated(turn)[0] if angle else camera


def told_camera(camera: Camera, condition: Condition) -> Camera:
    """What a policy is told of the camera; `camera` itself where nothing is wrong."""
    return _moved(camera, condition, "told")


def drifted_camera(camera: Camera, condition: Condition, steps: int) -> Camera:
    """Where the real camera is after so many control steps; itself where it does not move."""
    part = np.clip((steps - DRIFT_FROM) / DRIFT_OVER, 0.0, 1.0)
    return _moved(camera, condition, "drift", float(part))


def noisy(image: np.ndarray, condition: Condition, steps: int) -> np.ndarray:
    """The image (H, W, 3) uint8 with Gaussian noise of the start's level."""
    level = condition.perturbed.get("noise", 0.0)
    if not level:
        return image
    rng = np.random.default_rng([condition.seed, steps])
    return (image + rng.normal(0, level, image.shape)).round().clip(0, 255).astype(np.uint8)


def bump(condition: Condition, steps: int) -> np.ndarray | None:
    """Velocity along the table (2,) [m/s] that an object is given now; None: it is left alone.

    When, and in which direction, follows from the start's seed.
    """
    speed = condition.perturbed.get("bump_m_s", 0.0)
    if not speed:
        return None
    rng = np.random.default_rng([condition.seed, len("bump")])
    when, way = rng.integers(BUMP_FROM, BUMP_BEFORE), rng.uniform(0, 2 * np.pi)
    return speed * np.array([np.cos(way), np.sin(way)]) if steps == when else None


def begin_missed(env: Environment) -> bool:
    """Where its start says so, an episode begins after a first grasp that has missed.

    The hand is closed and lifted, `missed_m` beside where it should have been, in a direction of
    the start's seed, and nothing was touched. Return whether it was moved there.
    """
    start = env.condition
    distance = start.perturbed.get("missed_m", 0.0)
    if not distance:
        return False
    grasp = first_grasp(env.task, env.objects(), start.named)
    way = np.random.default_rng([start.seed, len("missed")]).uniform(0, 2 * np.pi)
    beside = np.array([distance * np.cos(way), distance * np.sin(way), MISSED_HEIGHT])
    env.servo_to(grasp.position + beside, 0.0, rotation=grasp.rotation)
    return True


def first_grasp(task: Task, objects: Mapping[str, np.ndarray], named: Sequence[str]) -> Waypoint:
    """Where the expert closes its hand first.

    Raises:
        ConfigError: It never does, or there is no expert.
    """
    path = task.waypoints(objects, named)
    for before, after in pairwise(path):
        if before.gripper > 0.5 > after.gripper:
            return after
    raise ConfigError(
        f"No grasp of task={task.cfg.name} can be missed (missed_m): no scripted expert of it "
        "closes its hand on anything."
    )


def latency_steps(condition: Condition) -> int:
    """Control steps that pass between an image and the command that follows from it."""
    return round(condition.perturbed.get("latency_s", 0.0) / CONTROL_DT)


def _moved(camera: Camera, condition: Condition, how: str, part: float = 1.0) -> Camera:
    """The camera turned about its centre and shifted, in directions of the start's seed."""
    angle = part * np.radians(condition.perturbed.get(f"{how}_rotation_deg", 0.0))
    shift = part * condition.perturbed.get(f"{how}_shift_mm", 0.0) / 1000
    if not angle and not shift:
        return camera
    axis, way = np.random.default_rng([condition.seed, len(how)]).normal(size=(2, 3))
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    T = camera.T_world_camera.copy()
    T[:3, :3] = T[:3, :3] @ turn
    T[:3, 3] += shift * way / np.linalg.norm(way)
    return replace(camera, T_world_camera=T)
