"""Batches: what is in them, in which order, at what cost."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic_demos import SIZE, make_dataset, make_episode

from para.camera import Camera
from para.data.config import AugmentConfig
from para.data.dataset import BatchLoader, DemoDataset, batch_samples
from para.data.format import episode_path, write_episode
from para.errors import DataError, UnknownNameError
from para.policies.frames import FRAMES
from para.text import build_text
from para.text.table import TableConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("set"), episodes=4, frames=20)


def test_a_sample_is_the_frame_and_its_future(folder):
    dataset = DemoDataset(folder, [1, 3], horizon=4, stride=3)
    assert len(dataset) == 40
    episode = make_episode(3)
    ee = episode.arrays["obs/ee_pose"][:, :3]
    batch = dataset.batch(np.array([20 + 10]))  # frame 10 of episode 3
    expected = np.moveaxis(episode.images()[10], -1, 0) / 255
    np.testing.assert_allclose(batch["image"][0], expected, atol=1e-6)
    np.testing.assert_allclose(batch["ee_position"][0], ee[10], atol=1e-6)
    np.testing.assert_allclose(batch["waypoints"][0], ee[[13, 16, 19, 19]], atol=1e-6)
    np.testing.assert_array_equal(batch["padded"][0], [False, False, False, True])
    np.testing.assert_array_equal(
        batch["waypoint_gripper"][0], episode.arrays["actions"][[13, 16, 19, 19], 3]
    )
    np.testing.assert_allclose(
        batch["T_world_camera"][0], episode.arrays["obs/T_world_camera"][10], atol=1e-6
    )
    np.testing.assert_allclose(batch["waypoint_rotation"], 0, atol=1e-6)


def test_waypoints_never_come_from_the_next_demo(folder):
    dataset = DemoDataset(folder, [0, 1, 2, 3])
    batch = dataset.batch(np.arange(len(dataset)))
    last = np.concatenate(
        [np.tile(make_episode(i).arrays["obs/ee_pose"][-1, :3], (20, 1)) for i in range(4)]
    )
    np.testing.assert_allclose(batch["waypoints"][:, -1], last, atol=1e-6)


def test_types_and_shapes(folder):
    batch = DemoDataset(folder, [0], horizon=5).batch(np.arange(6))
    shapes = {key: tuple(value.shape) for key, value in batch.items()}
    assert shapes == {
        "image": (6, 3, 64, 64),
        "intrinsics": (6, 3, 3),
        "T_world_camera": (6, 4, 4),
        "ee_position": (6, 3),
        "gripper": (6,),
        "waypoints": (6, 5, 3),
        "waypoint_gripper": (6, 5),
        "waypoint_rotation": (6, 5, 3),
        "padded": (6, 5),
    }
    types = {key: value.dtype for key, value in batch.items()}
    assert types.pop("padded") == torch.bool
    assert set(types.values()) == {torch.float32}
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1


def test_rotation_is_relative_to_pointing_down(tmp_path):
    angles = np.array([0.1, -0.2, 0.3])
    rotation = Rotation.from_euler("xyz", angles) * Rotation.from_quat([1, 0, 0, 0])  # x by pi
    episode = make_episode(0)
    episode.arrays["obs/ee_pose"][:, 3:] = rotation.as_quat(scalar_first=True)
    write_episode(episode_path(tmp_path, 0), episode)
    batch = DemoDataset(tmp_path, [0]).batch(np.array([2]))
    np.testing.assert_allclose(batch["waypoint_rotation"][0, 0], angles, atol=1e-6)


def test_decoding_on_the_fly_gives_the_same_images(folder):
    cached = DemoDataset(folder, range(4))
    partly = DemoDataset(folder, range(4), cache_bytes=10 * 64 * 64 * 3)
    samples = np.array([3, 50, 3, 9, 10, 79])
    for _ in range(2):
        assert torch.equal(cached.batch(samples)["image"], partly.batch(samples)["image"])
    assert partly._decoded.nbytes == 10 * 64 * 64 * 3


def test_statistics_are_those_of_the_batches(folder):
    dataset = DemoDataset(folder, [0, 2])
    everything = dataset.batch(np.arange(len(dataset)))
    stats = dataset.stats()
    waypoints = everything["waypoints"].flatten(0, 1)
    torch.testing.assert_close(stats["ee_mean"], everything["ee_position"].mean(0))
    torch.testing.assert_close(stats["waypoint_mean"], waypoints.mean(0))
    torch.testing.assert_close(stats["waypoint_std"], waypoints.std(0, correction=0))
    assert (stats["ee_std"] > 0.001).all()
    camera = Camera(everything["intrinsics"], everything["T_world_camera"], SIZE, SIZE)
    for frame in FRAMES:
        seen, visible = frame.encode(camera, everything["waypoints"])
        assert visible.all()
        mean, std = (stats[f"{frame.prefix}waypoint_{kind}"] for kind in ("mean", "std"))
        torch.testing.assert_close(mean, seen.flatten(0, 1).mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            std, seen.flatten(0, 1).std(0, correction=0), atol=1e-5, rtol=1e-4
        )
        back, _ = frame.decode(camera, seen)
        torch.testing.assert_close(back, everything["waypoints"], atol=1e-5, rtol=0)
    assert len(stats) == 4 * len(FRAMES)


def test_instructions_are_in_demos_and_batches_and_older_files_have_the_task_s(tmp_path):
    said = ["put the red bowl on the plate", ""]
    for index, instruction in enumerate(said):
        episode = make_episode(index, frames=5)
        meta = dataclasses.replace(episode.meta, instruction=instruction)
        write_episode(episode_path(tmp_path, index), dataclasses.replace(episode, meta=meta))
    known = [said[0], "put the bowl on the plate"]
    text = build_text(TableConfig("table", instructions=known))
    dataset = DemoDataset(tmp_path, range(2), text=text)
    samples = np.array([7, 0])
    assert dataset.instructions(samples) == known[::-1]
    assert torch.equal(dataset.batch(samples)["instruction"], text.features(known[::-1]))
    assert "instruction" not in DemoDataset(tmp_path, range(2)).batch(samples)
    with pytest.raises(UnknownNameError, match="put the bowl"):
        DemoDataset(
            tmp_path, range(2), text=build_text(TableConfig("table", instructions=known[1:]))
        )


def test_failed_demos_are_left_out_and_listed(tmp_path):
    for index in range(3):
        write_episode(episode_path(tmp_path, index), make_episode(index, success=index != 1))
    dataset = DemoDataset(tmp_path, range(3))
    assert [meta.index for meta in dataset.metas] == [0, 2]
    assert dataset.skipped == [1]
    with pytest.raises(DataError, match="failed ones"):
        DemoDataset(tmp_path, [1])


def test_empty_selection_and_damage_are_errors(tmp_path):
    make_dataset(tmp_path, episodes=2)
    with pytest.raises(DataError, match="none was selected"):
        DemoDataset(tmp_path, [])
    path = episode_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="demo_00001"):
        DemoDataset(tmp_path, [0, 1])


def test_mixed_image_sizes_are_refused(tmp_path):
    write_episode(episode_path(tmp_path, 0), make_episode(0, size=64))
    write_episode(episode_path(tmp_path, 1), make_episode(1, size=32))
    with pytest.raises(DataError, match="mixes image sizes"):
        DemoDataset(tmp_path, [0, 1])


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (7, 7), (5, 12)])
def test_every_epoch_visits_every_sample_once(n, batch_size):
    order = np.concatenate([batch_samples(n, batch_size, seed=1, step=s) for s in range(4 * n)])
    epochs = order[: len(order) // n * n].reshape(-1, n)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (len(epochs), 1)))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(order[:n], batch_samples(n, n, seed=2, step=0))


def test_groups_take_turns_and_each_visits_its_samples_once():
    sizes, steps = (4, 6, 5), 60
    batches = [batch_samples(sizes, 4, seed=1, step=s) for s in range(steps)]
    groups = np.searchsorted(np.cumsum(sizes), np.concatenate(batches), side="right")
    np.testing.assert_array_equal(groups, np.arange(4 * steps) % 3)
    for k, start in enumerate((0, 4, 10)):
        own = np.concatenate(batches)[groups == k] - start
        epochs = own[: len(own) // sizes[k] * sizes[k]].reshape(-1, sizes[k])
        assert (np.sort(epochs, axis=1) == np.arange(sizes[k])).all()
    np.testing.assert_array_equal(batch_samples([9], 4, 3, 2), batch_samples(9, 4, 3, 2))


EVERYTHING = AugmentConfig(
    crop=0.1, shift=0.05, scale=0.1, rotate_deg=5, camera_rotate_deg=2, brightness=0.1, noise=0.01
)


@pytest.mark.parametrize("workers", [1, 3])
def test_resumed_loader_gives_the_same_batches(folder, workers):
    dataset = DemoDataset(folder, range(4))

    def first(start: int, number: int, **other) -> list:
        loader = BatchLoader(dataset, 8, seed=5, start_step=start, augment=EVERYTHING, **other)
        return list(itertools.islice(loader, number))

    whole, rest = first(0, 12), first(7, 5, workers=workers)
    for expected, batch in zip(whole[7:], rest, strict=True):
        assert all(torch.equal(expected[key], batch[key]) for key in expected)
    assert not torch.equal(whole[0]["image"], whole[1]["image"])


def test_seed_changes_order_and_augmentation(folder):
    dataset = DemoDataset(folder, range(4))
    a, b = (BatchLoader(dataset, 80, seed, augment=EVERYTHING).load(0) for seed in (0, 1))
    assert not torch.equal(a["ee_position"], b["ee_position"])
    a, b = (BatchLoader(dataset, 8, 0, augment=EVERYTHING).load(step) for step in (0, 1))
    assert not torch.equal(a["intrinsics"], b["intrinsics"])


def test_errors_of_the_background_thread_reach_the_caller(folder):
    dataset = DemoDataset(folder, range(4))
    dataset._encoded[:] = [np.zeros(3, np.uint8)] * len(dataset)
    with pytest.raises(Exception, match=r"cvtColor|empty"):
        next(iter(BatchLoader(dataset, 4, seed=0)))


def test_clips_are_the_frames_ahead_and_the_last_one_stays(tmp_path):
    folder = make_dataset(tmp_path, episodes=2, frames=10)
    plain = DemoDataset(folder, range(2))
    dataset = DemoDataset(folder, range(2), clip=(4, 3))
    batch = dataset.batch(np.array([0, 5, 12]))
    assert batch["clip"].shape == (3, 4, 3, 64, 64)
    for row, times in enumerate([[0, 3, 6, 9], [5, 8, 9, 9], [12, 15, 18, 19]]):
        for frame, sample in enumerate(times):
            expected = torch.from_numpy(plain.image(sample)).permute(2, 0, 1) / 255
            torch.testing.assert_close(batch["clip"][row, frame], expected)
    for name, value in plain.batch(np.array([0, 5, 12])).items():
        assert torch.equal(batch[name], value)


def test_spread_images_cover_the_demos(tmp_path):
    dataset = DemoDataset(make_dataset(tmp_path, episodes=2, frames=10), range(2))
    images = dataset.spread(3)
    assert torch.equal(images[[0, 2]], dataset.batch(np.array([0, 19]))["image"])
    assert len(dataset.spread(100)) == 20
