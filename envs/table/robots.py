"""The two robots: a Franka Emika Panda, and its hand alone on three slides.

Both end in the same physical hand, pointing straight down, fingers opening along world y. The tool
centre (site "tool") is midway between the fingertips' pads, 0.1034 m from the hand's frame.
"""

from __future__ import annotations

import mujoco
import numpy as np

from envs.table import workspace as ws
from envs.table.assets import panda_mesh

BASE = np.array([-0.48, -0.047, 0.08])
"""The Panda's base, world frame [m], chosen with `envs.table.reach`: nearer and the joints meet
their limits at the near side, further and the far corners are out of reach."""
REACH = 0.785
"""Horizontal distance from the Panda's base at which its tool, pointing down, still touches the
table [m], by `envs.table.reach`; 15 cm higher it is 2 cm more."""
TOOL = 0.1034
FINGER_OPEN = 0.04
"""Travel of each finger [m]."""
HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])
"""The Panda's usual home configuration [rad]."""
ARM_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
SLIDES = ("slide_x", "slide_y", "slide_z")
TURNS = ("turn_z", "turn_y", "turn_x")
"""Hinges of the hand alone, where a task turns it: about the tool centre, z outermost, so that
their angles are extrinsic xyz Euler angles in reverse order."""
ROBOTS = {"panda": ARM_JOINTS, "hand": SLIDES}
"""Robot -> the joints that its controller commands."""
FINGERS = ("finger_left", "finger_right")

ARM_KP = np.array([4500.0] * 4 + [2500.0] * 3)
ARM_KV = np.array([150.0] * 4 + [80.0] * 3)
ARM_TORQUE = np.array([87.0] * 4 + [12.0] * 3)
"""Stiffness [N m/rad], damping [N m s/rad] and torque limit [N m] of the arm's actuators."""
SLIDE_KP, SLIDE_KV, SLIDE_FORCE = 4500.0, 150.0, 200.0
TURN_KP, TURN_KV, TURN_TORQUE = 300.0, 11.0, 12.0

# Collision bits: objects and table (2) and links of the arm (4) meet everything; parts of the hand
# (1) do not meet each other.
HAND_BITS = {"contype": 1, "conaffinity": 6}
LINK_BITS = {"contype": 4, "conaffinity": 7}
OBJECT_BITS = {"contype": 2, "conaffinity": 7}
NO_CONTACT = {"contype": 0, "conaffinity": 0}
HULL_VERTICES = 64
"""Most corners of the convex hull with which a link collides."""
VISUAL, COLLISION = 2, 3
"""Geom groups; the renderer shows the first only."""

WHITE = (0.93, 0.93, 0.92, 1.0)
DARK = (0.24, 0.25, 0.27, 1.0)
RUBBER = (0.12, 0.12, 0.13, 1.0)

# Position, orientation (w, x, y, z), joint range [rad], mass [kg], centre of mass [m] and inertia
# (xx, yy, zz, xy, xz, yz) [kg m2] of links 1-7, relative to the link before: kinematics from the
# manufacturer's data sheet, inertias identified by Gaz et al. (RA-L 2019).
_H = 0.5**0.5
_LINKS = (
    ((0, 0, 0.333), (1, 0, 0, 0), (-2.8973, 2.8973), 4.970684,
     (0.003875, 0.002081, -0.04762),
     (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)),
    ((0, 0, 0), (_H, -_H, 0, 0), (-1.7628, 1.7628), 0.646926,
     (-0.003141, -0.02872, 0.003495),
     (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    ((0, -0.316, 0), (_H, _H, 0, 0), (-2.8973, 2.8973), 3.228604,
     (0.027518, 0.039252, -0.066502),
     (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    ((0.0825, 0, 0), (_H, _H, 0, 0), (-3.0718, -0.0698), 3.587895,
     (-0.05317, 0.104419, 0.027454),
     (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    ((-0.0825, 0.384, 0), (_H, -_H, 0, 0), (-2.8973, 2.8973), 1.225946,
     (-0.011953, 0.041065, -0.038437),
     (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    ((0, 0, 0), (_H, _H, 0, 0), (-0.0175, 3.7525), 1.666555,
     (0.060149, -0.014117, -0.010517),
     (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    ((0.088, 0, 0), (_H, _H, 0, 0), (-2.8973, 2.8973), 0.735522,
     (0.010517, -0.004252, 0.061597),
     (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)  # fmt: skip


def _add_mesh(spec: mujoco.MjSpec, name: str) -> None:
    vertices, faces = panda_mesh(name)
    mesh = spec.add_mesh(name=name, uservert=vertices.ravel(), userface=faces.ravel())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # decimation may leave it open
    mesh.maxhullvert = HULL_VERTICES


def _add_visual(body: mujoco.MjsBody, mesh: str, rgba: tuple = WHITE, **pose: tuple) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, group=VISUAL, mass=0, rgba=rgba,
        **NO_CONTACT, **pose,
    )  # fmt: skip


def _add_hull(body: mujoco.MjsBody, mesh: str) -> None:
    """What a link collides with: the convex hull of its mesh, as MuJoCo takes it."""
    body.add_geom(
        name=f"{mesh}_hull", type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, group=COLLISION,
        mass=0, **LINK_BITS,
    )  # fmt: skip


def _add_servo(
    spec: mujoco.MjSpec, joint: mujoco.MjsJoint, kp: float, kv: float, limit: float
) -> None:
    """A position actuator: force = kp (ctrl - q) - kv qd.

    What holds the weight of the links counts as its force too, and both together stay within
    +-limit.
    """
    joint.actgravcomp, joint.actfrclimited = True, True
    joint.actfrcrange = (-limit, limit)
    actuator = spec.add_actuator(
        name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT,
    )  # fmt: skip
    actuator.gaintype = mujoco.mjtGain.mjGAIN_FIXED
    actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0] = kp
    actuator.biasprm[:3] = (0.0, -kp, -kv)


def _add_hand(spec: mujoco.MjSpec, hand: mujoco.MjsBody, visual: bool) -> None:
    """Fill a body whose frame is that of the Panda's hand: palm, fingers, pads, tool site."""
    hand.mass, hand.ipos, hand.inertia = 0.73, (-0.01, 0, 0.03), (0.001, 0.0025, 0.0017)
    hand.explicitinertial = True
    hand.add_site(name="tool", pos=(0, 0, TOOL), group=COLLISION)
    box = mujoco.mjtGeom.mjGEOM_BOX
    hand.add_geom(
        name="palm", type=box, size=(0.021, 0.101, 0.030), pos=(0, 0, 0.032), group=COLLISION,
        **HAND_BITS,
    )  # fmt: skip
    if visual:
        for mesh in ("hand", "finger"):
            _add_mesh(spec, mesh)
        _add_visual(hand, "hand")
    for name, quat in zip(FINGERS, ((1, 0, 0, 0), (0, 0, 0, 1)), strict=True):
        finger = hand.add_body(name=name, pos=(0, 0, 0.0584), quat=quat, gravcomp=1)
        finger.mass, finger.inertia = 0.015, (2.375e-6, 2.375e-6, 7.5e-7)
        finger.explicitinertial = True
        joint = finger.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, 1, 0), range=(0, FINGER_OPEN),
            limited=True, damping=40, armature=0.02,
        )  # fmt: skip
        finger.add_geom(
            name=f"{name}_pad", type=box, size=(0.0095, 0.004, 0.011), pos=(0, 0.004, 0.0425),
            group=VISUAL, rgba=RUBBER, condim=4, friction=(1.5, 0.05, 0.001), priority=1,
            solref=(0.01, 1), solimp=(0.95, 0.99, 0.001, 0.5, 2), **HAND_BITS,
        )  # fmt: skip
        finger.add_geom(
            name=f"{name}_back", type=box, size=(0.010, 0.0055, 0.018), pos=(0, 0.0165, 0.018),
            group=COLLISION, **HAND_BITS,
        )  # fmt: skip
        if visual:
            _add_visual(finger, "finger", DARK)
        _add_servo(spec, joint, kp=400, kv=10, limit=15)
    # The real fingers are driven by one motor: they always open and close symmetrically.
    couple = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT, name1=FINGERS[0], name2=FINGERS[1], solref=(0.01, 1),
        solimp=(0.95, 0.99, 0.001, 0.5, 2),
    )  # fmt: skip
    couple.objtype = mujoco.mjtObj.mjOBJ_JOINT
    couple.data[:5] = (0, 1, 0, 0, 0)


def _add_panda(spec: mujoco.MjSpec, base: np.ndarray, visual: bool) -> mujoco.MjsBody:
    """Add the arm; return the body of its hand."""
    body = spec.worldbody.add_body(name="link0", pos=base)
    if visual:
        for i in range(8):
            _add_mesh(spec, f"link{i}")
        _add_visual(body, "link0")
        _add_hull(body, "link0")
        # MuJoCo spares a body and its parent, unless the parent stands still.
        spec.add_exclude(bodyname1="link0", bodyname2="link1")
    for i, (pos, quat, limits, mass, com, inertia) in enumerate(_LINKS, start=1):
        body = body.add_body(name=f"link{i}", pos=pos, quat=quat, gravcomp=1)
        body.mass, body.ipos, body.fullinertia = mass, com, inertia
        body.explicitinertial = True
        body.add_joint(
            name=ARM_JOINTS[i - 1], type=mujoco.mjtJoint.mjJNT_HINGE, axis=(0, 0, 1),
            range=limits, limited=True, damping=1, armature=0.1,
        )  # fmt: skip
        if visual:
            _add_visual(body, f"link{i}")
            _add_hull(body, f"link{i}")
    turn = np.radians(-45) / 2
    return body.add_body(
        name="hand", pos=(0, 0, 0.107), quat=(np.cos(turn), 0, 0, np.sin(turn)), gravcomp=1
    )


def in_reach(position: np.ndarray) -> bool:
    """Does either robot get its tool to a position (2,) or (3,) [m]?"""
    n = len(position)
    inside = (position >= ws.EE_LOW[:n]).all() and (position <= ws.EE_HIGH[:n]).all()
    return bool(inside and np.hypot(*(position[:2] - BASE[:2])) <= REACH)


def robot_joints(robot: str, turns: bool) -> tuple[str, ...]:
    """The joints that the controller of one of ROBOTS commands, in a task that `turns` or not."""
    return ROBOTS[robot] + (TURNS if turns and robot == "hand" else ())


def add_robot(spec: mujoco.MjSpec, robot: str, turns: bool = False) -> None:
    """Add one of ROBOTS with its hand, its actuators and what it stands on.

    `turns`: the task turns the hand; then the hand alone has hinges too.
    """
    if robot == "panda":
        hand = _add_panda(spec, BASE, visual=True)
        spec.worldbody.add_geom(
            name="pedestal", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.12, 0.11, BASE[2] / 2),
            pos=(BASE[0] - 0.04, BASE[1], BASE[2] / 2), material="metal", group=VISUAL,
            **OBJECT_BITS,
        )  # fmt: skip
        for name, kp, kv, limit in zip(ARM_JOINTS, ARM_KP, ARM_KV, ARM_TORQUE, strict=True):
            _add_servo(spec, spec.joint(name), kp, kv, limit)
    else:
        hand = spec.worldbody.add_body(name="hand", pos=(0, 0, TOOL), quat=(0, 1, 0, 0), gravcomp=1)
        # The hand's frame is turned upside down, so its slides' axes are written in that frame.
        for name, axis in zip(SLIDES, ((1, 0, 0), (0, -1, 0), (0, 0, -1)), strict=True):
            joint = hand.add_joint(
                name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, damping=1, armature=0.1
            )
            _add_servo(spec, joint, SLIDE_KP, SLIDE_KV, SLIDE_FORCE)
        axes = ((0, 0, -1), (0, -1, 0), (1, 0, 0)) if turns else ()
        for name, axis in zip(TURNS, axes, strict=False):
            joint = hand.add_joint(
                name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, pos=(0, 0, TOOL),
                damping=1, armature=0.1,
            )  # fmt: skip
            _add_servo(spec, joint, TURN_KP, TURN_KV, TURN_TORQUE)
    _add_hand(spec, hand, visual=True)


def arm_model(base: np.ndarray = BASE) -> mujoco.MjModel:
    """The Panda's seven joints alone, for inverse kinematics."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    hand = _add_panda(spec, base, visual=False)
    hand.mass, hand.inertia, hand.explicitinertial = 0.73, (0.001, 0.0025, 0.0017), True
    hand.add_site(name="tool", pos=(0, 0, TOOL))
    return spec.compile()
