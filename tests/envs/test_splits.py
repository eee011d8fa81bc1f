"""What trains and what tests: sizes, disjointness, determinism, for every split."""

import numpy as np
import pytest

from envs import regions
from envs.base import Condition, EnvConfig, load_task
from envs.demos import DEMO_SETS
from envs.episodes import UNSEEN
from envs.regions import (
    OFF_GRID,
    RegionConfig,
    ViewConfig,
    grid_indices,
    nearest_grid_distance,
)
from envs.splits import (
    STARTS,
    load_split,
    split_names,
    test_conditions,
    training_conditions,
    training_indices,
)
from envs.table import workspace as ws
from envs.table.viewpoints import PHIS_DEG, THETAS_DEG
from para import registry
from para.errors import ConfigError, UnknownNameError

TASK = load_task("bowl_on_plate")
SPLITS = split_names(TASK)
VIEW_SPLITS = ["vp_lr", "vp_io"]
SEVERAL_CAMERAS = ["vp_train_8", "vp_train_64"]
LAYOUTS = ["together", "independent"]
HALF_CELL = np.array([ws.X_HALF, ws.Y_HALF]) / (ws.GRID - 1)

# split -> demos that train it, episodes of its ood test
SIZES = {
    "lr": (128, 100),
    "nf": (128, 100),
    "demos_n1": (1, 100),
    "demos_n2": (2, 100),
    "demos_n256": (256, 100),
    "corner_n4": (4, 100),
    "corner_n8": (8, 100),
    "corner_n16": (16, 100),
    "corner_n32": (32, 100),
    "corner_n64": (64, 100),
    "video_n4": (4, 100),
    "video_n16": (16, 100),
    "video_n64": (64, 100),
    "video_n256": (256, 100),
    "vp_default_to_all": (64, 168),
    "vp_train_1": (256, 112),
    "vp_train_8": (256, 112),
    "vp_train_64": (256, 112),
    "vp_lr": (320, 112),
    "vp_io": (320, 128),
    "distractor": (256, 100),
    "multi_task": (256, 100),
    "multi_task_lr": (128, 100),
    "appearance": (256, 100),
}


def _positions(conditions):
    return np.array([c.position for c in conditions])


def _view(condition):
    theta = THETAS_DEG.index(condition.theta_deg)
    return theta, PHIS_DEG.index(condition.phi_deg) if theta else 0


def test_the_splits_of_the_design_are_there():
    assert {name for name in split_names() if load_split(name).kind != "libero"} == {
        *SIZES,
        "composition",
        "own",
    }


@pytest.mark.parametrize("name", SPLITS)
def test_sizes(name):
    split = load_split(name)
    indices = training_indices(split, TASK)
    assert split.name == name
    assert len(indices) == len(set(indices)) == SIZES[name][0]
    assert len(test_conditions(split, "ood", TASK)) == SIZES[name][1]
    assert len(test_conditions(split, "sanity", TASK)) == 60


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("test", ["ood", "sanity"])
@pytest.mark.parametrize("name", SPLITS)
def test_conditions_are_fixed_and_never_on_the_grid(name, test, layout):
    split = load_split(name)
    conditions = test_conditions(split, test, TASK, layout)
    assert conditions == test_conditions(load_split(name), test, TASK, layout)
    # The first n are the same whatever n is, so a short test is a part of the long one.
    assert conditions[:7] == test_conditions(split, test, TASK, layout, episodes=7)
    assert conditions == [Condition.from_dict(c.to_dict()) for c in conditions]
    assert len({tuple(c.objects.values()) for c in conditions}) == len(conditions)
    if layout == "together":
        placed = _positions(conditions)
    else:
        placed = np.array([c.at(item) for c in conditions for item in c.objects])
    assert nearest_grid_distance(placed).min() >= OFF_GRID - 1e-9
    assert (np.abs(placed) <= [ws.X_HALF + 1e-9, ws.Y_HALF + 1e-9]).all()


@pytest.mark.parametrize("name", SPLITS)
def test_other_test_seeds_give_other_starts(name):
    split = load_split(name)
    before = test_conditions(split, "ood", TASK)
    split.test_seed += 1
    assert not set(before) & set(test_conditions(split, "ood", TASK))


@pytest.mark.parametrize(
    ("name", "axis", "trained"), [("lr", 1, -1), ("nf", 0, -1)], ids=["lr", "nf"]
)
def test_halves(name, axis, trained):
    split = load_split(name)
    train = ws.grid_positions()[training_indices(split, TASK)]
    assert (np.sign(train[:, axis]) == trained).all()
    # Tests lie in the other half and reach to its ends in both directions.
    held_out = _positions(test_conditions(split, "ood", TASK))
    assert (np.sign(held_out[:, axis]) == -trained).all()
    span = [2 * ws.X_HALF, 2 * ws.Y_HALF]
    span[axis] /= 2
    assert (np.ptp(held_out, axis=0) > 0.93 * np.array(span)).all()


@pytest.mark.parametrize("test", ["ood", "sanity"])
@pytest.mark.parametrize("name", SPLITS)
def test_dev_and_final_starts_share_nothing(name, test):
    split = load_split(name)
    dev, final = (test_conditions(split, test, TASK, starts=starts) for starts in STARTS)
    assert dev == test_conditions(split, test, TASK)
    assert len(final) == len(dev)
    assert not {tuple(c.objects.values()) for c in final} & {tuple(c.objects.values()) for c in dev}
    assert not {c.seed for c in final} & {c.seed for c in dev}
    views = [[(c.theta_deg, c.phi_deg) for c in starts] for starts in (dev, final)]
    assert views[0] == views[1]
    with pytest.raises(UnknownNameError, match="dev, final"):
        test_conditions(split, test, TASK, starts="finale")


@pytest.mark.parametrize("task", ["bowl_on_plate", "pick_named", "push_to_target", "open_drawer"])
@pytest.mark.parametrize(
    ("name", "axis", "trained"), [("lr", 1, -1), ("nf", 0, -1)], ids=["lr", "nf"]
)
def test_halves_hold_all_objects_when_they_are_independent(name, axis, trained, task):
    split, task = load_split(name), load_task(task)
    layout = "independent"
    starts = training_conditions(split, task, layout)
    assert len(starts) == 128
    for condition in starts:
        assert set(np.sign(task.where(condition, layout)[:, axis])) == {trained}
    for condition in test_conditions(split, "ood", task, layout):
        assert set(np.sign(task.where(condition, layout)[:, axis])) == {-trained}


def test_points_are_those_that_uniform_draws():
    """Published starts were drawn by it."""
    first, second = (np.random.default_rng(3) for _ in range(2))
    for _ in range(1000):
        np.testing.assert_array_equal(ws.somewhere(first, *ws.CORNERS), second.uniform(*ws.CORNERS))
    assert first.random() == second.random()


def test_demos_of_one_half_are_those_of_the_grid_where_objects_stand_together():
    together, apart = (load_split("lr").dataset_for(TASK, layout) for layout in TASK.layouts)
    assert (together, apart) == ("objpos", "objpos_lr")
    starts = {
        name: [DEMO_SETS[name].condition(i, TASK, "independent", EnvConfig()) for i in range(256)]
        for name in ("objpos", "objpos_lr", "objpos_nf")
    }
    for name, axis in (("objpos_nf", 0), ("objpos_lr", 1)):
        sides = [np.sign(TASK.where(start, "independent")[:, axis]) for start in starts[name]]
        assert all(len(set(pair)) == 1 for pair in sides)
        firsts = [TASK.where(start, "independent")[0] for start in starts[name]]
        np.testing.assert_array_equal(firsts, ws.grid_positions())
        others = [tuple(TASK.where(start, "independent")[1]) for start in starts[name]]
        assert len(set(others)) == 256


@pytest.mark.parametrize("name", [n for n in SPLITS if n not in VIEW_SPLITS + SEVERAL_CAMERAS])
def test_sanity_starts_are_training_starts_moved_by_half_a_cell(name):
    split = load_split(name)
    train = ws.grid_positions()[training_indices(split, TASK)]
    conditions = test_conditions(split, "sanity", TASK)
    offsets = np.abs(_positions(conditions)[:, None] - train[None])
    nearest = (offsets / HALF_CELL).max(-1)
    assert (nearest.min(axis=1) <= 1 + 1e-9).all()
    assert {(c.theta_deg, c.phi_deg, c.distractors) for c in conditions} == {(0.0, 0.0, 0)}
    # Spread over the training positions, not drawn again and again from a few.
    used = np.bincount(nearest.argmin(axis=1), minlength=len(train))
    assert used.max() <= -(-60 // len(train)) + 4
    assert (used > 0).sum() >= min(len(train), 60) * 0.7


def test_default_to_all_covers_every_other_view_three_times():
    split = load_split("vp_default_to_all")
    train = ws.grid_positions()[training_indices(split, TASK)]
    assert len(set(train[:, 0])) == len(set(train[:, 1])) == 8
    assert np.allclose(np.diff(sorted(set(train[:, 0]))), 2 * 2 * HALF_CELL[0])
    views = [(c.theta_deg, c.phi_deg) for c in test_conditions(split, "ood", TASK)]
    assert {views.count(view) for view in views} == {3}
    assert len(set(views)) == 56


def _anchor(condition, layout):
    """Where the object stands that the training grid places."""
    return TASK.where(condition, layout)[0]


def _seen_view(condition):
    """All azimuths are one view at theta = 0."""
    return condition.theta_deg, condition.phi_deg if condition.theta_deg else 0.0


def _held_out(split, layout, env=None):
    """In which ways no start of the ood test is like one of training."""
    training = training_conditions(split, TASK, layout, env)
    tested = test_conditions(split, "ood", TASK, layout, env=env)
    middles = np.array([_anchor(start, layout) for start in training])
    positions = np.array([_anchor(start, layout) for start in tested])
    in_cell = (np.abs(positions[:, None] - middles) <= HALF_CELL + 1e-9).all(-1).any(1)
    views = {_seen_view(start) for start in training}
    ways = {
        "position": not in_cell.any(),
        "view": not any(_seen_view(start) in views for start in tested),
        "clutter": all(start.distractors > 0 for start in tested),
        "look": all(start.appearance == UNSEEN for start in tested),
    }
    return {way for way, held in ways.items() if held}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SPLITS)
def test_held_out_starts_are_none_that_training_saw(name, layout):
    split = load_split(name)
    assert split.everywhere == (name.startswith("video_n") or name in ("demos_n256", "multi_task"))
    assert _held_out(split, layout) or split.everywhere


def test_pairs_that_are_held_out_are_never_trained_and_their_objects_are():
    task, split = load_task("pick_named"), load_split("composition")
    trained = {start.named for start in training_conditions(split, task)}
    tested = {start.named for start in test_conditions(split, "ood", task)}
    assert trained == {start.named for start in test_conditions(split, "sanity", task)}
    assert trained | tested == set(task.namings)
    assert not trained & tested
    assert {name for pair in trained for name in pair} == {item.name for item in task.objects}
    told = {task.instruct(start) for start in training_conditions(split, task)}
    assert not told & {task.instruct(start) for start in test_conditions(split, "ood", task)}


@pytest.mark.parametrize(
    ("task", "held_out", "reason"),
    [
        ("bowl_on_plate", [1], "always names the same. Choose one of: pick_named"),
        ("pick_named", [0, 6], "must be indices from 0 to 5"),
        ("pick_named", [2, 3], "leaves green_bowl without any demo"),
    ],
)
def test_compositions_that_cannot_be_are_refused(task, held_out, reason):
    split = load_split("composition")
    split.held_out = held_out
    with pytest.raises(ConfigError, match=reason):
        training_indices(split, load_task(task))


def test_the_check_of_held_out_starts_can_fail():
    corners = load_split("corner_n64")
    corners.ood.avoid = None
    assert not _held_out(corners, "together")
    views = load_split("vp_default_to_all")
    views.ood.views.thetas.insert(0, 0)
    assert not _held_out(views, "together")


def test_views_of_tests_move_with_those_of_demos():
    """At 40 deg the inner four angles are 0 to 17.1 deg: a test from 14.3 deg on is none."""
    split, env = load_split("vp_io"), EnvConfig(theta_max_deg=40.0)
    tested = {start.theta_deg for start in test_conditions(split, "ood", TASK, env=env)}
    assert sorted(tested) == pytest.approx([40 * i / 7 for i in (4, 5, 6, 7)])
    trained = {start.theta_deg for start in training_conditions(split, TASK, env=env)}
    assert sorted(trained) == pytest.approx([40 * i / 7 for i in (0, 1, 2, 3)])
    assert _held_out(split, "together", env) == {"view"}
    again = {start.theta_deg for start in test_conditions(split, "sanity", TASK, env=env)}
    assert again == trained


def test_what_is_avoided_can_leave_nothing(monkeypatch):
    monkeypatch.setattr(regions, "TRIES", 20)
    split = load_split("lr")
    split.ood.avoid = [RegionConfig("right")]
    with pytest.raises(ConfigError, match="region right and outside what is avoided"):
        test_conditions(split, "ood", TASK, episodes=1)


@pytest.mark.parametrize("name", VIEW_SPLITS)
def test_view_splits_never_test_a_trained_view(name):
    split = load_split(name)
    trained = {
        (theta, phi if theta else 0)  # all azimuths are one view at theta = 0
        for theta, phi in (divmod(i // 10, 8) for i in training_indices(split, TASK))
    }
    tested = [_view(c) for c in test_conditions(split, "ood", TASK)]
    assert not trained & set(tested)
    assert {tested.count(view) for view in tested} == {4}
    assert {_view(c) for c in test_conditions(split, "sanity", TASK)} <= trained


def test_view_splits_use_the_right_views():
    lr, io = load_split("vp_lr"), load_split("vp_io")
    assert {c.phi_deg for c in test_conditions(lr, "ood", TASK)} == {180, 225, 270, 315}
    assert {c.theta_deg for c in test_conditions(lr, "ood", TASK)} == set(THETAS_DEG[1:])
    assert {c.theta_deg for c in test_conditions(io, "ood", TASK)} == set(THETAS_DEG[4:])
    assert {i // 10 % 8 for i in training_indices(lr, TASK)} == {0, 1, 2, 3}
    assert {i // 80 for i in training_indices(io, TASK)} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["vp_default_to_all", *VIEW_SPLITS])
def test_any_prefix_is_spread_over_the_polar_angles(name):
    split = load_split(name)
    thetas = [c.theta_deg for c in test_conditions(split, "ood", TASK, episodes=19)]
    counts = [thetas.count(theta) for theta in set(thetas)]
    assert len(counts) == len(split.ood.views.thetas)
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("n", [4, 8, 16, 32, 64])
def test_corners_are_nested_symmetric_blocks(n):
    chosen = set(grid_indices(RegionConfig("corner", n)))
    assert chosen <= set(grid_indices(RegionConfig("corner", 64)))
    ix, iy = np.divmod(sorted(chosen), 16)
    assert {i for i in chosen if i in (0, 15, 240, 255)} == {0, 15, 240, 255}
    assert chosen == {int(i) for i in (15 - ix) * 16 + iy} == {int(i) for i in ix * 16 + 15 - iy}
    side = int(np.ceil(np.sqrt(n / 4)))
    assert (np.minimum(ix, 15 - ix) < side).all()
    assert (np.minimum(iy, 15 - iy) < side).all()


@pytest.mark.parametrize(
    "names",
    [
        [f"demos_n{n}" for n in (1, 2, 256)] + [f"corner_n{n}" for n in (4, 8, 16, 32, 64)],
        ["vp_train_1", *SEVERAL_CAMERAS],
        ["video_n4", "video_n16", "video_n64", "video_n256", "distractor"],
    ],
)
def test_splits_of_a_curve_test_the_same_positions(names):
    first, *others = (_positions(test_conditions(load_split(n), "ood", TASK)) for n in names)
    for other in others:
        assert (other == first).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_few_demos_stand_in_the_middle_or_in_the_corners(layout):
    def trained(name):
        return ws.grid_positions()[training_indices(load_split(name), TASK, layout)]

    (middle,) = trained("demos_n1")
    assert (np.abs(middle) <= HALF_CELL + 1e-9).all()
    near_left, far_right = trained("demos_n2")
    assert near_left == pytest.approx([-ws.X_HALF, -ws.Y_HALF])
    assert far_right == pytest.approx([ws.X_HALF, ws.Y_HALF])
    assert {tuple(p) for p in trained("demos_n2")} < {tuple(p) for p in trained("corner_n4")}
    tested = [
        TASK.where(c, layout)[0]
        for c in test_conditions(load_split("corner_n8"), "ood", TASK, layout)
    ]
    assert not (np.abs(np.array(tested) - middle) <= HALF_CELL).all(-1).any()


@pytest.mark.parametrize(("name", "cameras"), [("vp_train_8", 8), ("vp_train_64", 57)])
def test_several_cameras_see_the_same_positions_in_turn(name, cameras):
    split, one = load_split(name), load_split("vp_train_1")
    starts, alone = training_conditions(split, TASK), training_conditions(one, TASK)
    assert [c.objects for c in starts] == [c.objects for c in alone]
    views = [_seen_view(start) for start in starts]
    assert len(set(views)) == cameras
    by_index = [_view(start) if start.theta_deg else start.phi_deg for start in starts]
    assert {by_index.count(view) for view in by_index} == {256 // (8 if cameras == 8 else 64)}
    # Neighbouring positions are not seen from neighbouring views: no row has one theta only.
    thetas = np.array([start.theta_deg for start in starts]).reshape(ws.GRID, ws.GRID)
    assert min(len(set(row)) for row in (*thetas, *thetas.T)) > 1
    assert {_seen_view(c) for c in test_conditions(split, "sanity", TASK)} <= set(views)


def test_views_between_those_of_the_cap_are_half_a_step_off():
    views = {_seen_view(c) for c in test_conditions(load_split("vp_train_64"), "ood", TASK)}
    steps = np.array(sorted(views)) / [THETAS_DEG[1], PHIS_DEG[1]]
    assert len(steps) == 56
    assert np.allclose(steps % 1, 0.5)
    env = EnvConfig(theta_max_deg=14.0)
    moved = test_conditions(load_split("vp_train_8"), "ood", TASK, env=env, episodes=20)
    assert {round(c.theta_deg) for c in moved} == {1, 3, 5, 7, 9, 11, 13}
    with pytest.raises(ConfigError, match="takes indices from 0 to 6"):
        ViewConfig([7], between=True).rules("split.ood.views", None)


def test_distractors():
    split = load_split("distractor")
    numbers = [c.distractors for c in test_conditions(split, "ood", TASK)]
    assert set(numbers) == {4, 5, 6, 7, 8}
    assert len({c.seed for c in test_conditions(split, "ood", TASK)}) == 100
    assert {c.distractors for c in test_conditions(split, "sanity", TASK)} == {0}


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="Did you mean 'distractor'"):
        load_split("distractors")
    with pytest.raises(UnknownNameError, match="ood"):
        test_conditions(load_split("lr"), "test", TASK)
    with pytest.raises(UnknownNameError, match="left"):
        grid_indices(RegionConfig("lleft"))


@pytest.mark.parametrize(
    "region",
    [
        RegionConfig("corner", 6),
        RegionConfig("corner"),
        RegionConfig("grid", 10),
        RegionConfig("left", 4),
    ],
)
def test_counts_that_cannot_be(region):
    with pytest.raises(ConfigError, match=f"got {region.count}|only makes sense"):
        grid_indices(region)


def test_data_sets_without_a_grid_or_without_views():
    split = load_split("vp_lr")
    split.train_positions.kind = "left"
    with pytest.raises(ConfigError, match="no position grid"):
        training_indices(split, TASK)
    split = load_split("lr")
    split.train_views.thetas = [0, 1]
    with pytest.raises(ConfigError, match="default view only"):
        training_indices(split, TASK)


def test_spread_positions_are_centred_on_the_grid():
    for count in (4, 16, 64, 256):
        ix, iy = np.divmod(grid_indices(RegionConfig("spread", count)), ws.GRID)
        assert len(ix) == count
        assert np.mean(ix) == pytest.approx(7.5, abs=0.5)
        assert np.mean(iy) == pytest.approx(7.5, abs=0.5)
        assert len(set(np.diff(sorted(set(ix))))) <= 1


def test_splits_of_plugins_are_read_against_their_schema(tmp_path, monkeypatch):
    folder = tmp_path / "split"
    folder.mkdir()
    monkeypatch.setattr(registry, "_plugins", {"lab": tmp_path})
    (folder / "lr_few.yaml").write_text("defaults: [lr, _self_]\nname: lr_few\ntrain_set: few\n")
    (folder / "bare.yaml").write_text("name: bare\n")
    (folder / "typo.yaml").write_text("defaults: [regions_schema, _self_]\ntest_sed: 3\n")
    assert {"lr_few", "lr"} <= set(split_names())
    few = load_split("lr_few")
    assert (few.name, few.train_set, few.ood) == ("lr_few", "few", load_split("lr").ood)
    with pytest.raises(registry.RegistryError, match=r"bare\.yaml names no schema"):
        load_split("bare")
    with pytest.raises(ConfigError, match=r"typo\.yaml: Key 'test_sed'"):
        load_split("typo")
