"""One MuJoCo model of table, bowl, plate and robot: what is simulated is what is seen."""

from __future__ import annotations

import mujoco
import numpy as np

from envs import robots
from envs import workspace as ws
from envs.assets import lathe, wood_texture
from envs.distractors import add_pool
from envs.rendering import Renderer
from envs.robots import COLLISION, NO_CONTACT, OBJECT_BITS, VISUAL

PHYSICS_DT = 0.004
"""One physics step [s]."""
SEGMENTS = 16
"""Flat staves that approximate a round dish, in collision; the visible one has three times that."""

TABLE_LOW, TABLE_HIGH = np.array([-0.74, -0.68]), np.array([0.44, 0.68])
TABLE_THICKNESS = 0.04
FLOOR_Z = -0.75

BOWL_RGBA = (0.80, 0.13, 0.11, 1.0)
PLATE_RGBA = (0.11, 0.36, 0.62, 1.0)
WELL_RGBA = (0.80, 0.81, 0.80, 1.0)

# Outlines (radius, height) [m] of the middle of the wall, from the foot to the rim.
BOWL_FOOT, BOWL_HEIGHT, BOWL_WALL = 0.041, 0.046, 0.005
PLATE_FOOT, PLATE_HEIGHT, PLATE_WALL = 0.058, 0.011, 0.005


def _add_dish(
    spec: mujoco.MjSpec,
    name: str,
    foot: float,
    rim: float,
    height: float,
    wall: float,
    mass: float,
    rgba: tuple[float, ...],
    well_rgba: tuple[float, ...] | None = None,
) -> None:
    """A free body: flat round foot of radius `foot`, straight slanted wall up to radius `rim`.

    Collision: a cylinder and SEGMENTS boxes. The visible mesh has the same outline.
    """
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    contact = {
        "group": COLLISION, "friction": (0.8, 0.02, 0.001), "solref": (0.01, 1), **OBJECT_BITS,
    }  # fmt: skip
    area = foot**2 / (foot**2 + (rim + foot) * np.hypot(rim - foot, height))
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(foot, wall / 2, 0), pos=(0, 0, wall / 2),
        mass=mass * area, **contact,
    )  # fmt: skip
    # The wall's outer face runs from (foot, 0) to (rim, height); boxes lie just inside it. They
    # start 2 mm up: resting on the foot alone costs 8 contacts instead of 72, and half the time.
    lean = np.arctan2(rim - foot, height)
    outward, along = np.array([np.cos(lean), -np.sin(lean)]), np.array([np.sin(lean), np.cos(lean)])
    start = 0.002 / np.cos(lean)
    length = np.hypot(rim - foot, height) - start
    centre_r, centre_z = np.array([foot, 0]) + along * (start + length / 2) - outward * wall / 2
    for k in range(SEGMENTS):
        angle = 2 * np.pi * k / SEGMENTS
        half_angle, half_lean = angle / 2, lean / 2
        # Rotate about z by the angle, then lean about the local y axis.
        quat = np.empty(4)
        mujoco.mju_mulQuat(
            quat,
            np.array([np.cos(half_angle), 0, 0, np.sin(half_angle)]),
            np.array([np.cos(half_lean), 0, np.sin(half_lean), 0]),
        )
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(wall / 2, (rim - outward[0] * wall / 2) * np.tan(np.pi / SEGMENTS), length / 2),
            pos=(centre_r * np.cos(angle), centre_r * np.sin(angle), centre_z),
            quat=quat, mass=mass * (1 - area) / SEGMENTS, **contact,
        )  # fmt: skip
    inner_foot = foot - wall * (1 / np.cos(lean) - np.tan(lean))
    top_inside = (rim - wall * np.cos(lean), height + wall * np.sin(lean))
    outline = np.array(
        [
            (1e-4, 0.0), (foot, 0.0), (rim, height), top_inside,
            (inner_foot, wall), (1e-4, wall),
        ]
    )  # fmt: skip
    vertices, faces = lathe(outline, 3 * SEGMENTS)
    mesh = spec.add_mesh(name=name, uservert=vertices.ravel(), userface=faces.ravel())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, group=VISUAL, mass=0,
        **NO_CONTACT,
    )  # fmt: skip
    spec.add_material(name=name, rgba=rgba, specular=0.3, shininess=0.4)
    if well_rgba:  # a coat of paint on the inside of the foot
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(inner_foot, 0.0002, 0),
            pos=(0, 0, wall), rgba=well_rgba, group=VISUAL, mass=0, **NO_CONTACT,
        )  # fmt: skip


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


def build_model(robot: str, distractors: bool = False) -> mujoco.MjModel:
    """Compile the scene of a robot, with or without the pool of distractor objects."""
    spec = mujoco.MjSpec()
    spec.modelname = f"para-{robot}"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = PHYSICS_DT
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10
    _add_room(spec)
    robots.add_robot(spec, robot)
    if robot == "panda":
        spec.worldbody.add_geom(
            name="pedestal", type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(0.12, 0.11, robots.BASE[2] / 2),
            pos=(robots.BASE[0] - 0.04, robots.BASE[1], robots.BASE[2] / 2),
            material="metal", group=VISUAL, **OBJECT_BITS,
        )  # fmt: skip
    _add_dish(
        spec, "bowl", BOWL_FOOT, ws.BOWL_RADIUS, BOWL_HEIGHT, BOWL_WALL, mass=0.12, rgba=BOWL_RGBA
    )
    _add_dish(
        spec, "plate", PLATE_FOOT, ws.PLATE_RADIUS, PLATE_HEIGHT, PLATE_WALL, mass=0.35,
        rgba=PLATE_RGBA, well_rgba=WELL_RGBA,
    )  # fmt: skip
    if distractors:
        add_pool(spec)
    return spec.compile()


class World:
    """A compiled model, the indices that the environment needs, and the model's renderers."""

    def __init__(self, robot: str, distractors: bool):
        self.model = model = build_model(robot, distractors)
        self._renderers: dict[tuple[str, int, int], Renderer] = {}

        def joint_address(name: str) -> int:
            return int(model.joint(name).qposadr[0])

        arm = robots.ARM_JOINTS if robot == "panda" else robots.SLIDES
        self.arm_qpos = np.array([joint_address(j) for j in arm])
        self.arm_ctrl = np.array([model.actuator(j).id for j in arm])
        self.finger_qpos = np.array([joint_address(j) for j in robots.FINGERS])
        self.finger_qvel = np.array([int(model.joint(j).dofadr[0]) for j in robots.FINGERS])
        self.finger_ctrl = np.array([model.actuator(j).id for j in robots.FINGERS])
        self.bowl, self.plate = model.body("bowl").id, model.body("plate").id
        self.bowl_qpos, self.plate_qpos = joint_address("bowl"), joint_address("plate")
        self.bowl_qvel = int(model.joint("bowl").dofadr[0])
        self.robot_bodies = np.array(
            [model.body(name).id for name in ("hand", *robots.FINGERS)], dtype=np.int32
        )
        self.tool = model.site("tool").id

    def renderer(self, preset: str, width: int, height: int) -> Renderer:
        """The one renderer of this preset and size [px]."""
        key = (preset, width, height)
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.model, *key)
        return self._renderers[key]


_worlds: dict[tuple[str, bool], World] = {}


def shared_world(robot: str, distractors: bool = False) -> World:
    """The process's one world of a robot; environments share its model and its renderers."""
    if (robot, distractors) not in _worlds:
        _worlds[robot, distractors] = World(robot, distractors)
    return _worlds[robot, distractors]
