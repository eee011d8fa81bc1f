"""Workspace, viewpoints, meshes, reach, clutter, renderer, expert."""

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from envs.base import EnvConfig, load_task
from envs.table import rendering
from envs.table import workspace as ws
from envs.table.assets import AssetError, lathe, panda_mesh
from envs.table.distractors import POOL, body_name, draw_clutter
from envs.table.env import TableEnv
from envs.table.expert import FRAME_STEPS, run_expert
from envs.table.reach import reach_errors, task_points
from envs.table.viewpoints import LOOK_AT, PHIS_DEG, THETAS_DEG, viewpoint_camera
from para.errors import ConfigError, RenderError
from para.places import ROOT

TASK = load_task("bowl_on_plate")


def test_the_grid_covers_the_workspace_row_by_row():
    grid = ws.grid_positions()
    assert grid.shape == (256, 2)
    assert np.allclose(
        grid[[0, 15, 240, 255]], [(-0.195, -0.3), (-0.195, 0.3), (0.195, -0.3), (0.195, 0.3)]
    )
    assert np.allclose(grid[1] - grid[0], [0, 0.04])


def test_the_default_camera_is_where_the_contract_says():
    camera = viewpoint_camera(EnvConfig())
    eye = camera.T_world_camera[:3, 3] - LOOK_AT
    assert np.linalg.norm(eye) == pytest.approx(1.5)
    assert np.degrees(np.arcsin(eye[2] / 1.5)) == pytest.approx(50)
    origin, _ = camera.project(np.zeros(3))
    left, _ = camera.project(np.array([0, -0.1, 0.0]))
    far, _ = camera.project(np.array([0.1, 0, 0.0]))
    assert left[0] < origin[0]  # y < 0 is left in the image
    assert far[1] > origin[1]  # away from the robot is towards the camera


def test_viewpoints_lie_on_a_cap_and_look_at_one_point():
    default = viewpoint_camera(EnvConfig()).T_world_camera
    axis = default[:3, 3] - LOOK_AT
    for theta in THETAS_DEG:
        for phi in PHIS_DEG:
            camera = viewpoint_camera(EnvConfig(), theta, phi)
            eye = camera.T_world_camera[:3, 3] - LOOK_AT
            assert np.isclose(eye @ axis / 1.5**2, np.cos(np.radians(theta)), atol=1e-9)
            assert np.allclose(camera.project(LOOK_AT)[0], [64, 64])
    right = viewpoint_camera(EnvConfig(), 25, 0).T_world_camera[:3, 3]
    above = viewpoint_camera(EnvConfig(), 25, 90).T_world_camera[:3, 3]
    assert right[1] > 0.5
    assert above[2] > default[2, 3] + 0.1


def test_meshes_are_decimated_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("PARA_CACHE", str(tmp_path))
    vertices, faces = panda_mesh("link1", faces=800)
    assert 400 < len(faces) <= 850
    assert faces.max() < len(vertices)
    full = panda_mesh("link1", faces=10**6)
    assert len(full[1]) > 10_000
    assert np.allclose(vertices.min(0), full[0].min(0), atol=0.006)
    assert np.allclose(vertices.max(0), full[0].max(0), atol=0.006)
    monkeypatch.setattr("envs.table.assets._decimate", None)  # a second time, the cache answers
    again = panda_mesh("link1", faces=800)
    assert np.array_equal(again[0], vertices)
    assert np.array_equal(again[1], faces)
    with pytest.raises(AssetError, match="link9"):
        panda_mesh("link9")


def test_a_turned_cylinder_has_its_volume_and_faces_outwards():
    vertices, faces = lathe(np.array([(1e-6, 0.0), (0.05, 0.0), (0.05, 0.1), (1e-6, 0.1)]), 64)
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(np.pi * 0.05**2 * 0.1, rel=0.01)


def test_the_arm_reaches_every_corner_of_the_workspace():
    errors = reach_errors(task_points(TASK, 2))
    assert errors[:, 0].max() < 0.002
    assert np.degrees(errors[:, 1].max()) < 0.5
    assert errors[:, 2].min() > 0.02
    # The check can fail: 7 cm further back, the far corners are out of reach.
    assert reach_errors(task_points(TASK, 2)[3:4], np.array([-0.55, -0.047, 0.08]))[0, 0] > 0.01


def test_what_is_seen_is_what_is_simulated():
    model = TableEnv(TASK, "panda").world.model
    for dish in ("bowl", "plate"):
        body = model.body(dish)
        geoms = range(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
        staves = [g for g in geoms if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_BOX]
        assert len(staves) == 16
        tops, rims = [], []
        for g in staves:
            rotation = np.empty(9)
            mujoco.mju_quat2Mat(rotation, model.geom_quat[g])
            corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * model.geom_size[g]
            corners = corners @ rotation.reshape(3, 3).T + model.geom_pos[g]
            tops.append(corners[:, 2].max())
            rims.append(np.hypot(*corners[:, :2].T).max())
            assert corners[:, 2].min() > 0.0005  # a resting dish stands on its foot
        (shown,) = (g for g in geoms if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH)
        mesh = model.mesh(int(model.geom_dataid[shown]))
        vertices = model.mesh_vert[mesh.vertadr[0] : mesh.vertadr[0] + mesh.vertnum[0]]
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[shown])
        vertices = vertices @ rotation.reshape(3, 3).T + model.geom_pos[shown]
        assert max(tops) == pytest.approx(vertices[:, 2].max(), abs=0.001)
        assert max(rims) == pytest.approx(np.hypot(*vertices[:, :2].T).max(), abs=0.003)
    for pad in ("finger_left_pad", "finger_right_pad"):
        assert model.geom(pad).group[0] == 2  # visible


@pytest.mark.parametrize("seed", range(12))
def test_clutter_touches_nothing_and_stays_where_it_is(seed):
    env = TableEnv(TASK, "hand", image_size=64)
    rng = np.random.default_rng(seed)
    env.begin(TASK.random(rng, "independent", distractors=6, seed=seed))
    names = set(env.clutter.names)
    assert len(names) == 6
    model, data = env.world.model, env.data
    for pair in data.contact.geom:
        bodies = {model.body(model.geom_bodyid[g]).name for g in pair}
        assert "world" in bodies, bodies
    ids = [model.body(body_name(name)).id for name in env.clutter.names]
    before = data.xpos[ids].copy()
    assert np.allclose(before[:, :2], env.clutter.positions, atol=1e-3)
    assert np.abs(before[:, 2]).max() < 1e-3
    for _ in range(50):
        env.control_step(ws.EE_START, 1.0)
    assert np.abs(data.xpos[ids] - before).max() < 1e-3
    parked = [model.body(body_name(name)).id for name in POOL if name not in names]
    assert (data.xpos[parked, 0] > 5).all()
    pixels, depth = env.camera.project(data.xpos[ids] + np.array([0, 0, 0.02]))
    assert env.camera.in_view(pixels, depth).all()


def test_clutter_is_decided_by_the_seed_and_shows_in_the_picture():
    env = TableEnv(TASK, "hand", image_size=96)
    pictures = {}
    for seed, count in ((0, 4), (1, 4), (0, 0)):
        env.begin(TASK.grid(119, distractors=count, seed=seed))
        pictures[seed, count] = env.frame()
    env.begin(TASK.grid(119, distractors=4, seed=0))
    assert np.array_equal(env.frame(), pictures[0, 4])
    changed = (pictures[0, 4] != pictures[1, 4]).any(-1)
    clutter = (pictures[0, 4] != pictures[0, 0]).any(-1)
    assert changed.sum() > 60
    assert 60 < clutter.sum() < 0.2 * clutter.size
    other = TableEnv(TASK, "hand", image_size=96)  # shares the model, has other colours
    other.begin(TASK.grid(119, distractors=4, seed=1))
    other.frame()
    assert np.array_equal(env.frame(), pictures[0, 4])


def test_too_much_clutter_is_refused():
    with pytest.raises(ConfigError, match="pool has 12"):
        draw_clutter(13, 0, [], [])
    start = TASK.place([np.zeros(2)], "together")
    taken = [(start.at(item.name), item.radius) for item in TASK.objects]
    full = draw_clutter(12, 0, taken, TASK.hand_places(start))
    assert set(full.names) == set(POOL)


@pytest.mark.parametrize("robot", ["panda", "hand"])
@pytest.mark.parametrize("layout", ["together", "independent"])
def test_the_expert_and_the_replay_of_its_frames_succeed(robot, layout):
    env = TableEnv(TASK, robot, layout)
    for index in (0, 15, 240, 255, 119):
        condition = TASK.grid(index, layout)
        frames = []
        env.begin(condition)
        assert run_expert(env, lambda e, f=frames: f.append((e.ee_position, e.gripper_command)))
        assert len(frames) == env.steps // FRAME_STEPS + 1
        assert 30 < len(frames) < 65
        env.begin(condition)
        for position, gripper in (*frames[3::3], frames[-1]):
            env.servo_to(position, gripper)
        assert env.outcome.success, index


# Rendering ----------------------------------------------------------------------------------------


def test_presets_differ_in_shadows_and_renderers_are_shared():
    env = TableEnv(TASK, "hand")
    env.begin(TASK.grid(119))
    fast, beauty = env.frame("fast", 96), env.frame("beauty", 96)
    assert fast.shape == beauty.shape == (96, 96, 3)
    assert np.abs(fast.astype(int) - beauty).mean() > 1
    assert env.world.renderer("fast", 96, 96) is env.world.renderer("fast", 96, 96)
    assert np.array_equal(env.frame("fast", 96), fast)  # the other renderer left this one alone


def test_unknown_presets_and_wrong_sizes_are_refused():
    env = TableEnv(TASK, "hand", image_size=96)
    with pytest.raises(Exception, match="beauty"):
        env.frame("beautiful")
    with pytest.raises(RenderError, match="resized"):
        env.world.renderer("fast", 96, 96).render(env.data, env.camera.resized(32, 32))


@pytest.mark.parametrize("chosen", ["glfw", "EGL ", "disable", "on"])
def test_the_users_backend_is_respected(monkeypatch, chosen):
    monkeypatch.setenv("MUJOCO_GL", chosen)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: f"lib{name}.so")
    assert rendering.choose_backend() == os.environ["MUJOCO_GL"] == chosen


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [("zzz", "no such backend; use egl or osmesa"), ("osmesa", "OSMesa is not installed")],
)
def test_a_backend_that_mujoco_cannot_be_imported_with_is_named(monkeypatch, chosen, reason):
    """It is turned off, also for our other processes; the first picture says why."""
    monkeypatch.setenv("MUJOCO_GL", chosen)
    monkeypatch.setenv(rendering._REFUSED, "")
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(rendering, "probe_backend", lambda name: {"works": False})
    assert rendering.choose_backend() == os.environ["MUJOCO_GL"] == "disable"
    assert rendering.choose_backend() == "disable"  # in a process of ours
    with pytest.raises(RenderError, match=f"MUJOCO_GL='{chosen}': .*{reason}"):
        rendering.Renderer(None, "fast", 8, 8)


def test_no_backend_is_an_error_that_names_the_packages(tmp_path, monkeypatch):
    """Physics still runs without any backend; the first picture says what to install."""
    code = (
        "import envs.table.rendering as r\n"
        "import os\n"
        "assert os.environ['MUJOCO_GL'] == 'disable', os.environ['MUJOCO_GL']\n"
        "from envs.table.env import make\n"
        "from para.errors import RenderError\n"
        "env = make('bowl_on_plate', robot='hand')\n"
        "env.control_step(env.ee_position, 1.0)\n"
        "try: env.frame()\n"
        "except RenderError as error: print(error)\n"
    )
    start = (
        "import ctypes.util, sys; sys.path.insert(0, '.')\n"
        "ctypes.util.find_library = lambda name: None\n"
    )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        env={**environment, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip
    assert "libegl1" in done.stdout
    assert "libosmesa6" in done.stdout


def test_a_probe_of_a_backend_that_does_not_exist_says_why():
    result = rendering.probe_backend("nonsense")
    assert not result["works"]
    assert "nonsense" in result["reason"]


@pytest.mark.long
def test_osmesa_draws_or_is_refused_in_one_sentence():
    """Software rendering without EGL, where its library is installed."""
    code = (
        "from envs.table.env import make\n"
        "from para.errors import RenderError\n"
        "try: print(make('bowl_on_plate', robot='hand').frame().std() > 10)\n"
        "except RenderError as error: print(error)\n"
    )
    unset = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**unset, "PYTHONPATH": str(ROOT), "MUJOCO_GL": "osmesa"},
        capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip
    (said,) = done.stdout.splitlines()
    if rendering.probe_backend("osmesa")["works"]:
        assert said == "True"
    else:
        assert "MUJOCO_GL='osmesa'" in said
        assert "libosmesa6" in said
