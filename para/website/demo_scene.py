"""The simulator for the demo: records frames, and knows where the scripted expert's hand works."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from envs.base import Task, TaskObject, build_task
from envs.episodes import Condition
from envs.regions import inside, nearest_grid_distance
from envs.table import workspace as ws
from envs.table.env import TableEnv
from para.errors import ConfigError
from para.runs.config import TrainConfig
from para.types import ActionChunk, Observation
from para.website.demo_frames import Frames, Place, Places

DRAWN = 150
"""Draws per half of the table of the places that medians are over, where several things move."""
_BELOW = np.array([0.0, 0.0, -5.0, 1.0, 0.0, 0.0, 0.0])
"""A pose out of every camera's sight."""


@dataclass(frozen=True)
class Grid:
    """Places of the objects, and cameras.

    Attributes:
        rows: Places along x, near to far.
        columns: Places along y, left to right.
        turns_deg: Where cameras stand, to the right of the trained view.
        tilts_deg: Likewise, above it. The trained view, 0 and 0, is among them.
    """

    rows: int = 20
    columns: int = 30
    turns_deg: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    tilts_deg: tuple[float, ...] = (-15.0, 0.0, 15.0)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows,) and y (columns,): the middles of equal parts of the workspace [m]."""
        halves = (self.rows, ws.X_HALF), (self.columns, ws.Y_HALF)
        x, y = ((np.arange(n) + 0.5) * 2 * half / n - half for n, half in halves)
        return x, y

    def views(self) -> list[tuple[float, float]]:
        """(turn, tilt) [deg], the trained view first."""
        all_views = [(turn, tilt) for tilt in self.tilts_deg for turn in self.turns_deg]
        return sorted(all_views, key=lambda view: view != (0.0, 0.0))


class Scene:
    """The simulator, and what is asked of it.

    Attributes:
        movers: How many things are dragged: all objects as one, or each.
        chosen: Places by half of the table, "trained" and "unseen": all of the grid, or DRAWN.
    """

    def __init__(self, cfg: TrainConfig, grid: Grid):
        self.cfg, self.grid = cfg, grid
        self.task: Task = build_task(cfg.task)
        self.movers = self.task.anchors(cfg.layout)
        self.env = self.task.environment(cfg.robot, cfg.layout, cfg.env)
        self.x, self.y = grid.places()
        self._rng = np.random.default_rng(0)
        cells = np.stack(np.meshgrid(self.x, self.y, indexing="ij"), -1)
        self._cells = cells.reshape(-1, 2)
        self._trained = inside(cfg.split.train_positions, self._cells)
        halves = {"trained": self._trained, "unseen": ~self._trained}
        self.chosen = {name: self._choose(half) for name, half in halves.items()}
        self.ee_position = np.zeros(3)
        self.gripper = 0.0

    def condition(self, places: Places, **view: Any) -> Condition:
        """The start with everything at some places of the grid."""
        return self.task.place(self._at(places), self.cfg.layout, **view)

    def record(self, turn: float, tilt: float) -> Frames:
        """Everything that a camera sees."""
        view = _angles(turn, tilt)
        layers, shape = [], (self.grid.rows, self.grid.columns)
        for k in range(self.movers):
            seen = []
            for cell in self._cells:
                self.env.begin(self._with(k, cell, **view))
                self._hide(item for j, item in enumerate(self.task.objects) if j != k)
                seen.append(self._observe())
            images = np.stack([one.image for one in seen])
            layers.append(images.reshape(*shape, *images.shape[1:]))
        empty = None
        if self.movers > 1:
            self._hide(self.task.objects)
            empty = self._observe().image
        return Frames(layers, empty, seen[0].camera, self.x, self.y)

    def differ(self, turn: float, tilt: float, seen: Sequence[Observation]) -> int:
        """How many of the pictures of `chosen` are not what the simulator renders."""
        count = 0
        for places, one in zip(self.all_chosen, seen, strict=True):
            self.env.begin(self.condition(places, **_angles(turn, tilt)))
            count += int((self._observe().image != one.image).any())
        return count

    @property
    def all_chosen(self) -> list[Places]:
        """Those of one half, then those of the other."""
        return [places for half in self.chosen.values() for places in half]

    def observations(self, frames: Frames) -> list[Observation]:
        """What a policy sees with everything at the chosen places."""
        state = self.ee_position, self.gripper
        chosen = self.all_chosen
        return [Observation(frames.image(places), frames.camera, *state) for places in chosen]

    def example(self, half: str) -> Places:
        """Places in a row across one half of the table, near and left to far and right."""
        cells = self._cells[self._trained if half == "trained" else ~self._trained]
        low, high = cells.min(0), cells.max(0)
        wanted = [low + (high - low) * (k + 0.5) / self.movers for k in range(self.movers)]
        return [self._nearest(point) for point in wanted]

    def marks(self, places: Places) -> list[np.ndarray]:
        """Where the expert's fingers close, and where they open again if they do; (3,) [m]."""
        path = self.task.waypoints(self.condition(places).poses())
        closed = next(k for k, waypoint in enumerate(path) if waypoint.gripper < 0.5)
        opened = [waypoint.position for waypoint in path[closed:] if waypoint.gripper >= 0.5]
        return [path[closed].position, *opened[:1]]

    def medians(self, chunks: Sequence[ActionChunk]) -> dict[str, dict[str, Any]]:
        """How far the fingers close from where the expert's do, by half of the table."""
        rest = iter(chunks)
        found = {}
        for name, half in self.chosen.items():
            away = [_closing_mm(next(rest), self.marks(places)[0]) for places in half]
            found[name] = _median(np.array(away))
        return found

    def facts(self) -> dict[str, Any]:
        """What the page is told of everything but views and policies."""
        known = self._cells[self._trained]
        low, high = known.min(0), known.max(0)
        half_cell = np.array([ws.X_HALF / self.grid.rows, ws.Y_HALF / self.grid.columns])
        apart = self.movers > 1
        distance = nearest_grid_distance(self._cells).min()
        return {
            "command": "python -m para.website.make_demo",
            "task": self.cfg.task.name,
            "split": self.cfg.split.name,
            "size": self.cfg.env.image_size,
            "x": self.x.round(6).tolist(),
            "y": self.y.round(6).tolist(),
            "workspace": [ws.X_HALF, ws.Y_HALF],
            "trained": [*(low - half_cell).tolist(), *(high + half_cell).tolist()],
            "ee_position": self.ee_position.tolist(),
            "gripper": self.gripper,
            "marks": self._relative_marks(),
            "from_demos_mm": None if apart else 1000 * float(distance),
            "spacing": self.task.spacing if apart else 0.0,
            "start": [list(place) for place in self.example("trained")],
            "movers": self._mover_facts(),
        }

    def _mover_facts(self) -> list[dict[str, Any]]:
        start = self.task.place([np.zeros(2)] * self.movers, self.cfg.layout)
        objects = [
            {
                "name": item.name,
                "radius": item.radius,
                "colour": list(item.colour),
                "offset": start.at(item.name).tolist(),
            }
            for item in self.task.objects
        ]
        groups = [[one] for one in objects] if self.movers > 1 else [objects]
        names = [" and ".join(one["name"] for one in group) for group in groups]
        return [
            {"title": name.capitalize(), "objects": group}
            for name, group in zip(names, groups, strict=True)
        ]

    def _relative_marks(self) -> list[dict[str, Any]]:
        """Whom each mark goes with, and where it is from there."""
        places = list(self.example("trained"))
        found = []
        for i, mark in enumerate(self.marks(places)):
            for k, (row, column) in enumerate(places):
                moved = [*places[:k], (row, column - 1), *places[k + 1 :]]
                shift = self._at(moved)[k] - self._at(places)[k]
                if np.allclose(self.marks(moved)[i] - mark, [*shift, 0]):
                    offset = mark - [*self._at(places)[k], 0]
                    found.append({"mover": k, "offset": offset.tolist()})
                    break
            else:
                raise ConfigError(
                    f"Where the expert of {self.cfg.task.name} goes does not move along with one "
                    "of its objects: a demo cannot say how far off a policy is."
                )
        return found

    def _choose(self, half: np.ndarray) -> list[Places]:
        cells = [divmod(int(i), self.grid.columns) for i in np.flatnonzero(half)]
        if self.movers == 1:
            return [[cell] for cell in cells]
        found: list[Places] = []
        while len(found) < DRAWN:
            drawn = [cells[i] for i in self._rng.choice(len(cells), self.movers)]
            if self.task.fits(self._at(drawn), self.cfg.layout):
                found.append(drawn)
        return found

    def _at(self, places: Places) -> list[np.ndarray]:
        return [np.array([self.x[row], self.y[column]]) for row, column in places]

    def _nearest(self, point: np.ndarray) -> Place:
        return int(np.abs(self.x - point[0]).argmin()), int(np.abs(self.y - point[1]).argmin())

    def _with(self, k: int, cell: np.ndarray, **view: Any) -> Condition:
        """A start with thing k at a place, and the others anywhere."""
        while True:
            drawn = self._rng.uniform(*ws.CORNERS, (self.movers, 2))
            drawn[k] = cell
            if self.task.fits(drawn, self.cfg.layout):
                return self.task.place(list(drawn), self.cfg.layout, **view)

    def _hide(self, items: Iterable[TaskObject]) -> None:
        if self.movers == 1:
            return
        if not isinstance(self.env, TableEnv):
            raise ConfigError(f"Objects of {self.cfg.task.name} are not dragged one by one.")
        for item in items:
            self.env.world.objects[item.name].put(self.env.data, _BELOW)
        mujoco.mj_forward(self.env.world.model, self.env.data)

    def _observe(self) -> Observation:
        seen = self.env.observe()
        if not np.abs(self.ee_position).any():
            self.ee_position, self.gripper = np.array(seen.ee_position), float(seen.gripper)
        if np.abs(seen.ee_position - self.ee_position).max() > 1e-6:  # the page knows one state
            raise ConfigError("The hand does not start at the same place in every frame.")
        return seen


def _angles(turn: float, tilt: float) -> dict[str, float]:
    return {
        "theta_deg": math.hypot(turn, tilt),
        "phi_deg": math.degrees(math.atan2(tilt, turn)) % 360,
    }


def _closing_mm(chunk: ActionChunk, grasp: np.ndarray) -> float:
    """From the first waypoint with closed fingers to where the expert's close [mm]; NaN: none."""
    closed = np.flatnonzero(chunk.gripper < 0.5)
    return (
        1000 * float(np.linalg.norm(chunk.positions[closed[0]] - grasp)) if len(closed) else np.nan
    )


def _median(distances: np.ndarray) -> dict[str, Any]:
    known = distances[~np.isnan(distances)]
    mm = round(float(np.median(known)), 1) if len(known) else None
    return {"n": len(distances), "never": len(distances) - len(known), "mm": mm}
