"""Varied appearance: what it draws, that nothing of a test is trained, that fixed stays fixed."""

import colorsys
import itertools

import mujoco
import numpy as np
import pytest

from envs.base import Condition, EnvConfig, load_task, setting_name
from envs.episodes import FIXED, UNSEEN, VARIED
from envs.splits import load_split, test_conditions
from envs.table.appearance import PALETTES, draw_look, shapes_of
from envs.table.dishes import BOWLS, PLATES, SHAPES, add_dish
from envs.table.expert import run_expert
from envs.table.robots import COLLISION, VISUAL
from envs.table.task import table_tasks
from envs.table.textures import PATTERNS, pattern
from para.cli import load_config
from para.errors import ConfigError, UnknownNameError
from para.fields import check
from para.runs.config import TrainConfig
from para.runs.folders import run_dir
from para.runs.identity import Setting

TASK = load_task("bowl_on_plate")
SMALL = EnvConfig(image_size=48)
START = TASK.grid(120, "independent")


@pytest.fixture(scope="module")
def env():
    return TASK.environment("hand", "independent", SMALL)


def _hue(rgb):
    return colorsys.rgb_to_hsv(*rgb)[0]


def test_what_is_tested_as_unseen_is_never_trained():
    """Hues, patterns and shapes, as they are declared and as they are drawn."""
    trained, unseen = PALETTES[VARIED], PALETTES[UNSEEN]
    assert trained.hues[1] < unseen.hues[0]
    assert not {*trained.patterns} & {*unseen.patterns}
    assert {*trained.patterns, *unseen.patterns} <= {*PATTERNS}
    assert len(SHAPES["bowl"][VARIED]) >= 3
    assert len(SHAPES["plate"][VARIED]) >= 2
    for kind in SHAPES.values():
        assert not {*kind[VARIED]} & {*kind[UNSEEN]}
    for appearance, palette in PALETTES.items():
        patterns, shapes = set(), set()
        for look in range(60):
            start = Condition(TASK.cfg.name, {}, distractors=6, appearance=appearance, look=look)
            drawn = draw_look(start, [None, None, None])
            patterns |= {drawn.table[0], drawn.floor[0]}
            shapes |= {*(shapes_of(start, SHAPES) or ())}
            colours = [*drawn.colours, *drawn.distractors, drawn.table[1], drawn.floor[1]]
            hues = [_hue(colour) for colour in colours]
            assert palette.hues[0] - 1e-9 <= min(hues) <= max(hues) <= palette.hues[1] + 1e-9
        assert patterns == {*palette.patterns}
        assert shapes == {(kind, s) for kind, known in SHAPES.items() for s in known[appearance]}


def test_colours_say_nothing_about_what_a_thing_is():
    """Every part's hue is spread over the whole palette, and clutter takes colours of objects."""
    looks = [
        draw_look(
            Condition(TASK.cfg.name, {}, distractors=4, appearance=VARIED, look=k), [None, None]
        )
        for k in range(200)
    ]
    hues = np.array([[_hue(colour) for colour in look.colours] for look in looks])
    assert np.allclose(hues.mean(axis=0), np.mean(PALETTES[VARIED].hues), atol=0.04)
    shared = [
        any(np.array_equal(own, colour) for colour in look.colours)
        for look in looks
        for own in look.distractors
    ]
    assert 0.4 < np.mean(shared) < 0.6
    for look in looks:
        assert 0.2 < look.strength.mean() < 1
        assert -1 < look.light[2] < -0.5
        assert np.linalg.norm(look.light) == pytest.approx(1)


def test_an_episode_looks_the_same_whatever_was_drawn_before(env):
    """The model is shared and painted for every picture."""
    other = TASK.environment("hand", "independent", SMALL)
    looks = [0, *(k for k in range(1, 60) if _shapes(k) == _shapes(0))][:2]
    first, second = (START.dressed(VARIED, look) for look in looks)
    env.begin(first)
    picture = env.frame()
    other.begin(second)
    assert other.world is env.world
    assert np.abs(other.frame().astype(int) - picture).mean() > 10
    assert np.array_equal(env.frame(), picture)
    for _ in range(3):
        env.control_step(env.target, 1.0)
        other.frame()
    env.begin(second)
    env.frame()
    env.begin(first)
    assert np.array_equal(env.frame(), picture)


def _shapes(look):
    return shapes_of(START.dressed(VARIED, look), SHAPES)


def test_fixed_stays_what_it_was_to_the_bit(env):
    """Same keys, same places, same model, same picture beside episodes that look otherwise."""
    assert START.dressed(FIXED, 7) == START
    assert not {"appearance", "look"} & START.to_dict().keys()
    assert Setting().name == setting_name("bowl_on_plate", "panda", "together")
    env.begin(START)
    assert env.world.painter is None
    picture, state = env.frame(), env.data.qpos.copy()
    env.begin(START.dressed(VARIED, 3))
    assert np.abs(env.frame().astype(int) - picture).mean() > 10
    env.begin(START)
    assert np.array_equal(env.frame(), picture)
    assert np.array_equal(env.data.qpos, state)
    model = env.world.model
    assert {model.material(i).name for i in range(model.nmat)} <= {
        *("wood", "floor", "metal", "bowl", "plate")
    }
    # One straight wall from foot to rim, as it always was.
    foot, stave = model.body("bowl").geomadr[0] + np.arange(2)
    assert model.geom_size[foot] == pytest.approx([0.041, 0.0025, 0])
    assert model.geom_size[stave] == pytest.approx([0.0025, 0.01066631, 0.02314012], abs=1e-8)
    assert model.geom_pos[stave] == pytest.approx([0.04644926, 0, 0.02477505], abs=1e-8)
    assert model.body("bowl").mass == pytest.approx(0.12)
    assert model.body("plate").mass == pytest.approx(0.35)


@pytest.mark.parametrize("name", table_tasks())
def test_every_task_has_looks(name):
    """Each object's parts are painted, or keep the colours that instructions name."""
    task = load_task(name)
    env = task.environment("hand", task.layouts[0], EnvConfig(image_size=64))
    start = task.grid(120, distractors=2, seed=1)
    pictures = []
    for look in (1, 2):
        env.begin(start.dressed(VARIED, look))
        pictures.append(env.frame().astype(int))
        parts = env.world.painter.parts
        assert len(parts) >= len(task.objects)
        assert all((part is not None) == task.named_by_colour for part in parts)
    assert np.abs(pictures[0] - pictures[1]).mean() > 10
    if task.named_by_colour:
        colours = draw_look(start.dressed(VARIED, 1), parts).colours
        for item in task.objects:
            assert min(np.abs(colours - item.colour).max(axis=1)) < 1e-6


def test_the_expert_does_it_with_every_shape(env):
    """Each shape of bowl and plate once."""
    left = {(kind, s) for kind, known in SHAPES.items() for names in known.values() for s in names}
    for look, appearance in itertools.product(range(40), (VARIED, UNSEEN)):
        start = TASK.grid(7 * look % 256, "independent").dressed(appearance, look)
        shapes = {*shapes_of(start, SHAPES)}
        if shapes <= left or (left and shapes & left and look > 8):
            env.begin(start)
            assert run_expert(env), (shapes, env.outcome)
            left -= shapes
    assert not left


@pytest.mark.parametrize(("kind", "shape"), [
    *(("bowl", name) for name in BOWLS), *(("plate", name) for name in PLATES)
])  # fmt: skip
def test_what_a_dish_meets_is_what_is_seen_of_it(kind, shape):
    """Rays from outside and from the axis meet the visible mesh and the collision boxes alike."""
    spec = mujoco.MjSpec()
    dish = {"bowl": BOWLS, "plate": PLATES}[kind][shape]
    add_dish(spec, "dish", dish, (1, 0, 0, 1))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert model.body("dish").mass == pytest.approx(dish.mass)
    out = np.array([np.cos(0.02), np.sin(0.02), 0.0])  # not along an edge of the mesh
    height = dish.outline[-1][1]

    def meet(group, z, start, way):
        groups, up = np.eye(6, dtype=np.uint8)[group], np.array([0, 0, z])
        hit = np.zeros(1, np.int32)
        distance = mujoco.mj_ray(model, data, start * out + up, way * out, groups, 1, -1, hit)
        return start + way * distance

    for start, way, lowest in ((0.2, -1, 0.0045), (0.0, 1, dish.wall + 0.001)):
        heights = np.linspace(lowest, height - 0.001, 25)
        seen, felt = (
            np.array([meet(group, z, start, way) for z in heights]) for group in (VISUAL, COLLISION)
        )
        assert (seen > 0.02).all()
        assert (seen < dish.outline[-1][0] + 1e-4).all()
        assert np.abs(seen - felt).max() < {"bowl": 0.0015, "plate": 0.0035}[kind]


def test_patterns_are_pictures():
    for name in PATTERNS:
        picture = pattern(name)
        assert picture.dtype == np.uint8
        assert picture.std() > 1
        assert picture.mean() > 120


def test_the_split_tests_what_no_demo_shows():
    split = load_split("appearance")
    held_out = test_conditions(split, "ood", TASK, episodes=8, appearance=VARIED)
    known = test_conditions(split, "sanity", TASK, episodes=8, appearance=VARIED)
    assert {start.appearance for start in held_out} == {UNSEEN}
    assert {start.appearance for start in known} == {VARIED}
    assert len({start.look for start in held_out}) == 8
    others = test_conditions(load_split("lr"), "ood", TASK, episodes=2, appearance=VARIED)
    assert {start.appearance for start in others} == {VARIED}
    plain = test_conditions(load_split("lr"), "ood", TASK, episodes=2)
    assert [start.dressed(FIXED, 0) for start in others] == plain
    assert Condition.from_dict(held_out[0].to_dict()) == held_out[0]


def test_appearance_is_part_of_what_a_run_is():
    with pytest.raises(ConfigError, match=r"appearance=fixed: add appearance=varied\."):
        check(load_config(TrainConfig, ["split=appearance"]))
    with pytest.raises(UnknownNameError, match=r"appearance: 'unseen'\. Available: fixed, varied"):
        check(load_config(TrainConfig, ["appearance=unseen"]))
    cfg = load_config(TrainConfig, ["split=appearance", "appearance=varied"])
    assert "bowl_on_plate-panda-together-varied" in run_dir(cfg).parts
    with pytest.raises(UnknownNameError, match="Available: fixed, unseen, varied"):
        START.dressed("dark", 0)


@pytest.mark.parametrize(
    ("overrides", "longer", "recoloured"),
    [
        ([], False, False),
        (["appearance=varied"], True, True),
        (["appearance=varied", "task=pick_named"], True, False),  # its colours are names
        (["appearance=varied", "split=multi_task"], True, False),
    ],
)
def test_policies_of_varied_looks_train_longer_and_see_more_colours(overrides, longer, recoloured):
    cfg, usual = (load_config(TrainConfig, each) for each in (overrides, []))
    assert (cfg.training.steps > usual.training.steps) == longer
    assert (cfg.augment.saturation > usual.augment.saturation) == bool(overrides)
    assert (cfg.augment.hue > usual.augment.hue) == recoloured
