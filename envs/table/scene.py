"""One MuJoCo model of table, robot and a task's objects: what is simulated is what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from envs.table import robots
from envs.table.appearance import Painter, Shapes, add_patterns
from envs.table.assets import wood_texture
from envs.table.distractors import add_pool
from envs.table.rendering import Renderer
from envs.table.robots import NO_CONTACT, OBJECT_BITS, VISUAL

if TYPE_CHECKING:
    from envs.table.task import TableTask

PHYSICS_DT = 0.004
"""One physics step [s]."""

TABLE_LOW, TABLE_HIGH = np.array([-0.74, -0.68]), np.array([0.44, 0.68])
TABLE_THICKNESS = 0.04
FLOOR_Z = -0.75


def _add_room(spec: mujoco.MjSpec) -> None:
    """Table, floor, background and lights."""
    texture = spec.add_texture(name="wood", type=mujoco.mjtTexture.mjTEXTURE_2D)
    picture = wood_texture()
    texture.width, texture.height, texture.nchannel = picture.shape[1], picture.shape[0], 3
    texture.data = picture.tobytes()
    wood = spec.add_material(name="wood", specular=0.05, shininess=0.1)
    wood.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "wood"
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, width=128, height=768,
        rgb1=(0.86, 0.89, 0.92), rgb2=(0.70, 0.74, 0.79),
    )  # fmt: skip
    spec.add_material(name="floor", rgba=(0.45, 0.47, 0.50, 1), specular=0, shininess=0)
    spec.add_material(name="metal", rgba=(0.30, 0.31, 0.33, 1), specular=0.2, shininess=0.3)

    world, box = spec.worldbody, mujoco.mjtGeom.mjGEOM_BOX
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(8, 8, 1), pos=(0, 0, FLOOR_Z),
        material="floor", group=VISUAL, **OBJECT_BITS,
    )  # fmt: skip
    centre, half = (TABLE_LOW + TABLE_HIGH) / 2, (TABLE_HIGH - TABLE_LOW) / 2
    world.add_geom(
        name="table", type=box, size=(*half, TABLE_THICKNESS / 2),
        pos=(*centre, -TABLE_THICKNESS / 2), material="wood", group=VISUAL,
        friction=(0.8, 0.02, 0.001), solref=(0.01, 1), **OBJECT_BITS,
    )  # fmt: skip
    leg = (FLOOR_Z - TABLE_THICKNESS) / 2
    for x in (TABLE_LOW[0] + 0.06, TABLE_HIGH[0] - 0.06):
        for y in (TABLE_LOW[1] + 0.06, TABLE_HIGH[1] - 0.06):
            world.add_geom(
                type=box, size=(0.03, 0.03, (-FLOOR_Z - TABLE_THICKNESS) / 2), pos=(x, y, leg),
                material="metal", group=VISUAL, **NO_CONTACT,
            )  # fmt: skip
    world.add_light(
        pos=(0.6, -0.9, 2.2), dir=(-0.3, 0.42, -1), diffuse=(0.62, 0.61, 0.58),
        specular=(0.25, 0.25, 0.25), castshadow=True,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )  # fmt: skip
    world.add_light(
        pos=(0.5, 1.2, 2.0), dir=(-0.3, -0.6, -1), diffuse=(0.22, 0.23, 0.26),
        specular=(0.0, 0.0, 0.0), castshadow=False, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )  # fmt: skip
    # The shadow map covers the extent around the centre. Smaller gives sharper shadows but
    # speckles on the floor.
    spec.stat.center, spec.stat.extent = (-0.1, 0.0, 0.2), 2.0
    spec.visual.headlight.ambient = (0.28, 0.28, 0.29)
    spec.visual.headlight.diffuse = (0.12, 0.12, 0.12)
    spec.visual.headlight.specular = (0, 0, 0)


def build_model(
    task: TableTask, robot: str, distractors: bool = False, shapes: Shapes | None = None
) -> mujoco.MjModel:
    """Compile the scene of a task and a robot, with or without the pool of distractor objects.

    `shapes`: Of the task's objects, in a scene that can be painted; None for the fixed appearance.
    """
    spec = mujoco.MjSpec()
    spec.modelname = f"para-{robot}"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = PHYSICS_DT
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10
    _add_room(spec)
    robots.add_robot(spec, robot, task.turns)
    task.add_objects(spec, **dict(shapes or ()))
    if shapes is not None:
        add_patterns(spec)
    if distractors:
        add_pool(spec)
    return spec.compile()


@dataclass(frozen=True)
class Place:
    """Where an object of the task is found in a compiled model.

    Attributes:
        body: Its index.
        qpos: First of its 7 positions; -1 for a mark on the table.
        qvel: First of its 6 velocities; -1 for a mark.
        mocap: Index among the mocap bodies of a mark; -1 for what has a free joint.
    """

    body: int
    qpos: int
    qvel: int
    mocap: int = -1

    @classmethod
    def of(cls, model: mujoco.MjModel, name: str) -> Place:
        """The place of the body called `name`, and of its free joint of that name."""
        body = model.body(name)
        if (mocap := int(body.mocapid[0])) >= 0:
            return cls(body.id, -1, -1, mocap)
        joint = model.joint(name)
        return cls(body.id, int(joint.qposadr[0]), int(joint.dofadr[0]))

    def put(self, data: mujoco.MjData, pose: np.ndarray) -> None:
        """Set the pose (7,): position [m] and quaternion (w, x, y, z)."""
        if self.mocap >= 0:
            data.mocap_pos[self.mocap], data.mocap_quat[self.mocap] = pose[:3], pose[3:]
        else:
            data.qpos[self.qpos : self.qpos + 7] = pose

    def push(self, data: mujoco.MjData, velocity: np.ndarray) -> None:
        """Set what is not a mark in motion along the table, at (2,) [m/s]."""
        data.qvel[self.qvel : self.qvel + 2] = velocity


class World:
    """A compiled model, the indices that the environment needs, and the model's renderers.

    `painter` paints it where its appearance is not fixed, and is None where it is.
    """

    def __init__(
        self, task: TableTask, robot: str, distractors: bool, shapes: Shapes | None = None
    ):
        self.model = model = build_model(task, robot, distractors, shapes)
        self._renderers: dict[tuple[str, int, int], Renderer] = {}

        def joint_address(name: str) -> int:
            return int(model.joint(name).qposadr[0])

        arm = robots.robot_joints(robot, task.turns)
        self.arm_qpos = np.array([joint_address(j) for j in arm])
        self.arm_ctrl = np.array([model.actuator(j).id for j in arm])
        self.finger_qpos = np.array([joint_address(j) for j in robots.FINGERS])
        self.finger_qvel = np.array([int(model.joint(j).dofadr[0]) for j in robots.FINGERS])
        self.finger_ctrl = np.array([model.actuator(j).id for j in robots.FINGERS])
        self.objects = {item.name: Place.of(model, item.name) for item in task.objects}
        self.robot_bodies = np.array(
            [model.body(name).id for name in ("hand", *robots.FINGERS)], dtype=np.int32
        )
        self.tool = model.site("tool").id
        bodies = [place.body for place in self.objects.values()]
        varied = shapes is not None
        self.painter = Painter(model, bodies, keep=task.named_by_colour) if varied else None

    def to_move(self, named: Sequence[str]) -> Place:
        """Of the objects that an instruction names, else of all, the first that is no mark."""
        places = [self.objects[name] for name in (*named, *self.objects)]
        return next(place for place in places if place.mocap < 0)

    def renderer(self, preset: str, width: int, height: int) -> Renderer:
        """The one renderer of this preset and size [px]."""
        key = (preset, width, height)
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.model, *key)
        return self._renderers[key]


_worlds: dict[tuple[str, str, bool, Shapes | None], World] = {}


def shared_world(
    task: TableTask, robot: str, distractors: bool = False, shapes: Shapes | None = None
) -> World:
    """The process's one world of a task and a robot; environments share model and renderers."""
    key = repr(task.cfg), robot, distractors, shapes
    if key not in _worlds:
        _worlds[key] = World(task, robot, distractors, shapes)
    return _worlds[key]
