"""The simulated arm: it reads itself back, it is solid, and its torques have limits."""

import mujoco
import numpy as np
import pytest

from envs.base import load_task
from envs.table import robots
from envs.table import workspace as ws
from envs.table.controller import Feedback
from envs.table.env import TOLERANCE, TableEnv
from envs.table.expert import run_expert

TASK = load_task("bowl_on_plate")
GOALS = ((0.10, 0.10, 0.20), (-0.10, -0.30, 0.05), (0.15, 0.30, 0.10))


@pytest.fixture(scope="module", params=TASK.robots)
def env(request):
    return TableEnv(TASK, request.param, image_size=32)


@pytest.fixture
def model(env):
    """The model of `env`, which others share: what a test changes in it is put back."""
    model = env.world.model
    names = ("actuator_gainprm", "actuator_biasprm", "body_pos", "body_mass")
    before = {name: getattr(model, name).copy() for name in names}
    yield model
    for name, values in before.items():
        getattr(model, name)[:] = values


def _displace(env, model):
    """Mount the robot a centimetre from where its controller believes that it stands."""
    model.body_pos[model.body("link0" if env.robot == "panda" else "hand").id, 1] += 0.01


def _weaken(env, model):
    """Halve the stiffness of every joint and hang 3 kg (a Panda's payload) on the hand."""
    model.actuator_gainprm[env.world.arm_ctrl] *= 0.5
    model.actuator_biasprm[env.world.arm_ctrl] *= 0.5
    env.data.xfrc_applied[model.body("hand").id, 2] = -3 * 9.81


def _misses(env):
    """Distance that the servo leaves to each goal [m], and the control steps that it takes."""
    rows = [(env.servo_to(goal, 1.0), np.linalg.norm(env.ee_position - goal)) for goal in GOALS]
    steps, misses = np.transpose(rows)
    return misses, steps


@pytest.mark.parametrize("disturb", [_displace, _weaken])
def test_the_servo_closes_its_loop_on_the_measured_pose(env, model, disturb, monkeypatch):
    env.begin(TASK.grid(0))
    _, undisturbed = _misses(env)
    env.begin(TASK.grid(0))
    disturb(env, model)
    misses, steps = _misses(env)
    assert misses.max() < TOLERANCE
    assert (steps <= undisturbed + 10).all()
    # The same servo without feedback stays away, and waits in vain.
    monkeypatch.setattr(Feedback, "RATE", 0.0)
    env.begin(TASK.grid(0))
    disturb(env, model)
    misses, steps = _misses(env)
    assert misses.max() > 1.5 * TOLERANCE
    assert steps.max() > undisturbed.max() + 10


def test_a_hand_that_is_held_does_not_push_ever_harder():
    feedback, stuck = Feedback(), np.zeros(3)
    for _ in range(500):
        correction = feedback.step(np.array([0.1, 0.0, -0.1]), stuck)
    assert correction == pytest.approx([Feedback().limit, 0.0, -Feedback().limit])
    feedback.reset()
    assert not feedback.step(stuck, stuck).any()


def test_gravity_is_compensated_within_the_torque_limits(env, model):
    joints = [model.joint(name).id for name in robots.ROBOTS[env.robot]]
    limits = robots.ARM_TORQUE if env.robot == "panda" else np.full(3, robots.SLIDE_FORCE)
    assert model.jnt_actgravcomp[joints].all()
    assert model.jnt_actfrcrange[joints] == pytest.approx(np.outer(limits, [-1, 1]))
    dofs = model.jnt_dofadr[joints]
    rest = np.array(GOALS[0])
    moved = [i for i in range(model.nbody) if model.body_gravcomp[i]]
    for heavier, holds in ((1, True), (8 if env.robot == "panda" else 40, False)):
        model.body_mass[moved] *= heavier  # what compensates gravity knows the mass
        env.begin(TASK.grid(0))
        for _ in range(60):
            env.control_step(rest, 1.0)
            assert (np.abs(env.data.qfrc_actuator[dofs]) <= limits + 1e-6).all()
        assert (np.linalg.norm(env.ee_position - rest) < 2 * TOLERANCE) == holds


def _arm_contacts(env):
    """Pairs of bodies that touch, of which one is a link of the arm."""
    names = [env.world.model.body(int(i)).name for i in env.world.model.geom_bodyid]
    pairs = [sorted(names[i] for i in pair) for pair in env.data.contact.geom]
    return {tuple(pair) for pair in pairs if any(name.startswith("link") for name in pair)}


def test_links_collide_with_each_other_and_the_table_but_not_with_their_neighbours():
    env = TableEnv(TASK, "panda", image_size=32)
    env.begin(TASK.grid(0))
    low, high = np.array([env.world.model.joint(name).range for name in robots.ARM_JOINTS]).T
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        env.data.qpos[env.world.arm_qpos] = rng.uniform(low, high)
        mujoco.mj_forward(env.world.model, env.data)
        seen |= _arm_contacts(env)
    assert {("link0", "link6"), ("hand", "link1"), ("link6", "world")} <= seen
    neighbours = [f"link{i}" for i in range(8)] + ["hand"]
    assert not seen & {tuple(sorted(neighbours[i : i + 2])) for i in range(8)}
    # A bowl at the elbow is met too.
    seen.clear()
    env.begin(TASK.grid(0))
    bowl = env.world.objects["bowl"].qpos
    env.data.qpos[bowl : bowl + 3] = env.data.body("link4").xpos
    mujoco.mj_forward(env.world.model, env.data)
    assert ("bowl", "link4") in _arm_contacts(env)


def test_the_expert_touches_nothing_with_its_arm_and_its_elbow_keeps_still():
    """Index 8 is where the arm is folded most: version 1 shook there."""
    env = TableEnv(TASK, "panda", image_size=32)
    dofs = env.world.model.jnt_dofadr[
        [env.world.model.joint(name).id for name in robots.ARM_JOINTS]
    ]
    for index in (0, 8, 15, 255):
        env.begin(TASK.grid(index))
        contacts, lags, torques = set(), [], []

        def watch(env, contacts=contacts, lags=lags, torques=torques):
            contacts.update(_arm_contacts(env))
            lags.append(np.linalg.norm(env.target - env.ee_position))
            torques.append(np.abs(env.data.qfrc_actuator[dofs]))

        assert run_expert(env, on_step=watch)
        assert not contacts
        assert max(lags) < TOLERANCE
        assert (np.max(torques, axis=0)[[0, 2, 3]] < 80).all()


def test_the_start_is_where_every_episode_starts(env):
    env.begin(TASK.grid(0))
    assert env.ee_position == pytest.approx(ws.EE_START, abs=1e-3)
