"""LIBERO's own demonstrations: recorded states of its simulator, set one by one and seen by us.

A file has one task, as LIBERO's scripts/create_dataset.py writes it (Liu et al., NeurIPS 2023):

    /data               attrs: bddl_file_name (the scene), env_args (control_freq)
    /data/demo_<k>      attrs: model_file (MJCF: where cabinet and stove stood)
        states          (N, 1 + nq + nv)  time, positions and velocities of MuJoCo before an action
        actions         (N, 7)            the last number opens (-1) or closes (1) the gripper
        obs/ee_pos      (N, 3)            tool centre one control step later [m]

Its pictures are left alone: cameras, poses and pictures are those of our simulator in these states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from envs.base import TASKS, Condition, EnvConfig, TaskConfig
from envs.demos import HUMAN
from envs.libero import TABLE_TOP
from envs.libero.env import LiberoEnv, place_of
from envs.libero.scenes import load_scene
from envs.libero.task import LiberoConfig, LiberoTask
from para import __version__
from para.data.format import OBJECTS, EpisodeMeta
from para.data.frame import seen_in
from para.data.sources.hdf5 import demos_in, rate_in
from para.data.sources.recording import Recording
from para.errors import ConfigError, DataError, one_line

SAME_PLACE = 0.01
"""Recorded and replayed tool centre may be so far apart [m], in the median of a demo's frames:
LIBERO played its actions again to record the former, and its warnings say that this drifts."""
ROBOT = "panda"


@dataclass(frozen=True)
class _Demo:
    """A demonstration of a file.

    Attributes:
        where: What it is called in messages.
        states: (N, 1 + nq + nv).
        actions: (N, 7).
        ee_pos: (N, 3) [m], LIBERO's frame.
        furniture: Name of a body in its world, what stands fixed among them -> (7,) pose, LIBERO's
            frame.
        rate: Frames per second.
    """

    where: str
    states: np.ndarray
    actions: np.ndarray
    ee_pos: np.ndarray
    furniture: dict[str, np.ndarray]
    rate: float


def recorded_task(path: Path, asked: TaskConfig) -> LiberoConfig:
    """The task that a file shows, which may be `asked` for; a task on our table asks for none.

    Raises:
        ConfigError: Another one is asked for.
        DataError: The file is damaged, does not say what it shows, or shows a scene without a task.
    """
    with demos_in(path) as (attributes, _):
        scene = PurePosixPath(_text(attributes.get("bddl_file_name", ""))).stem
    tasks = [task for name in TASKS.options() if isinstance(task := TASKS.load(name), LiberoConfig)]
    if isinstance(asked, LiberoConfig):
        if scene not in ("", asked.problem):
            raise ConfigError(
                f"{path} shows LIBERO's scene {one_line(scene)!r}, and task={asked.name} is "
                f"{asked.problem!r}. Leave task= away."
            )
        return asked
    if not scene:
        raise DataError(
            f"{path} does not say which scene it shows (bddl_file_name of /data): is it LIBERO's? "
            f"Then say it: task={tasks[0].name} ... {tasks[-1].name}."
        )
    for task in tasks:
        if task.problem == scene:
            return task
    raise DataError(
        f"{path} shows LIBERO's scene {one_line(scene)!r}, for which there is no task. There are "
        f"{', '.join(task.name for task in tasks)}."
    )


def read_libero(path: Path, task: LiberoTask, config: EnvConfig) -> Iterator[Recording]:
    """The recordings of a file, once all of it has been read.

    Args:
        path: The file.
        task: What it shows (`recorded_task`).
        config: Of the environment that shows it again; size of the pictures.

    Raises:
        DataError: The file is damaged or lacks something, its states are not of this scene, or put
            the hand elsewhere than it says.
    """
    size = load_scene(task.cfg.suite, task.cfg.problem).states.shape[1]
    with demos_in(path) as (attributes, groups):
        rate = rate_in(attributes)
        demos = [_read(f"{path}:{name}", group, size, rate) for name, group in groups.items()]
    env = task.environment(ROBOT, HUMAN, config)
    for demo in demos:
        if missing := sorted(env.sim.furniture.keys() - demo.furniture.keys()):
            raise DataError(
                f"{demo.where}: model_file does not say where {missing[0]} stands: it is of "
                f"another scene than {task.cfg.problem}."
            )
    for index, demo in enumerate(demos):
        yield _recording(env, demo, index)


# ---------------------------------------------------------------------------------------- the file


def _read(where: str, group: h5py.Group, size: int, rate: float) -> _Demo:
    columns = {"states": size, "actions": 7, "obs/ee_pos": 3}
    states, actions, ee_pos = (_numbers(where, group, name, n) for name, n in columns.items())
    for name, array in (("actions", actions), ("obs/ee_pos", ee_pos)):
        if len(array) != len(states):
            raise DataError(f"{where}: {name} has {len(array)} rows for {len(states)} states.")
    if len(states) < 2:
        raise DataError(f"{where} has {len(states)} states: a demonstration needs two.")
    return _Demo(where, states, actions, ee_pos, _furniture(where, group), rate)


def _numbers(where: str, group: h5py.Group, name: str, columns: int) -> np.ndarray:
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DataError(
            f"{where} has no {name}. LIBERO's published files have it; where it was left out the "
            "demos cannot be shown again."
        )
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise DataError(f"{where}: {name} are no rows of numbers ({found.dtype} {found.shape}).")
    if found.shape[1] != columns:
        raise DataError(
            f"{where}: {name} has rows of {found.shape[1]} numbers, and this scene has {columns}: "
            "it is of another scene or robot, or of another version of LIBERO."
        )
    array = found[()].astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"{where}: {name} of frame {row} is NaN or infinite. Leave the demo out.")
    return array


def _furniture(where: str, group: h5py.Group) -> dict[str, np.ndarray]:
    """Poses of the bodies that stand in the world of a demo's own model."""
    model = _text(group.attrs.get("model_file", ""))
    if not model:
        raise DataError(
            f"{where} has no attribute model_file, which says where its cabinet and stove stood: "
            "take LIBERO's published file, not one that was derived from it."
        )
    try:
        bodies = ElementTree.fromstring(model).findall("worldbody/body")
        return {body.get("name", ""): _pose(body) for body in bodies}
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{where}: model_file is no MJCF ({one_line(error)}).") from error


def _pose(body: ElementTree.Element) -> np.ndarray:
    """(7,) position [m] and quaternion (w, x, y, z) of a body of MJCF."""
    numbers = f"{body.get('pos', '0 0 0')} {body.get('quat', '1 0 0 0')}".split()
    pose = np.array(numbers, np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all() or not pose[3:].any():
        raise ValueError(f"body {body.get('name')} stands at {' '.join(numbers)}")
    return pose


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


# ---------------------------------------------------------------------------------- shown again


def _recording(env: LiberoEnv, demo: _Demo, index: int) -> Recording:
    rows = []
    with env.sim.furnished(demo.furniture):
        for state in demo.states:
            env.show(state)
            rows.append(seen_in(env))
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    positions = arrays["obs/ee_pose"][:, :3]
    _require_same_place(demo, positions)
    return Recording(
        where=demo.where,
        times=np.arange(len(rows)) / demo.rate,
        images=partial(_pictures, env, demo),
        arrays={"actions": np.column_stack([positions, demo.actions[:, 6] < 0]), **arrays},
        meta=_meta(env, arrays, index),
    )


def _require_same_place(demo: _Demo, shown: np.ndarray) -> None:
    """Raise `DataError` unless the recorded places of the tool are those that the states show.

    Each is compared with the state beside it and with the next one: which of the two it belongs to
    depends on who wrote the file.
    """
    told = demo.ee_pos - [0, 0, TABLE_TOP]
    pairs = (told, shown), (told[:-1], shown[1:])
    error = min(float(np.median(np.linalg.norm(a - b, axis=1))) for a, b in pairs)
    if error > SAME_PLACE:
        raise DataError(
            f"{demo.where}: obs/ee_pos is {1000 * error:.0f} mm from where its states put the hand "
            f"(median; {1000 * SAME_PLACE:.0f} mm are borne): it was recorded with another robot, "
            "another base, or another version of LIBERO."
        )


def _pictures(env: LiberoEnv, demo: _Demo, which: Sequence[int]) -> Iterator[np.ndarray]:
    with env.sim.furnished(demo.furniture):
        for number in which:
            env.show(demo.states[number])
            yield env.frame()


def _meta(env: LiberoEnv, arrays: dict[str, np.ndarray], index: int) -> EpisodeMeta:
    import mujoco

    task = env.task
    places = {
        name.removeprefix(OBJECTS): place_of(poses[0])
        for name, poses in arrays.items()
        if name.startswith(OBJECTS)
    }
    start = Condition(task.cfg.name, places, origin=f"{task.cfg.suite}/0")
    return EpisodeMeta(
        index=index,
        seed=index,
        dataset=task.datasets[0],
        task=dataclasses.asdict(task.cfg),
        robot=ROBOT,
        layout=HUMAN,
        condition=start.to_dict(),
        env=dataclasses.asdict(env.config),
        success=True,
        num_samples=len(arrays["obs/ee_pose"]),
        environment_version=task.version,
        code_version=__version__,
        mujoco_version=mujoco.__version__,
        instruction=task.instruct(start),
    )
