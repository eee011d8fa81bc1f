"""Pictures show what the policy sees, and labels where they are."""

from __future__ import annotations

import json

import cv2
import numpy as np
import torch

from para.training.loop import train
from para.training.pictures import draw_batch, draw_heatmaps, observations_of
from para.types import ActionChunk
from para.video import write_picture


def test_a_picture_is_written_whole_into_a_folder_that_may_not_exist_yet(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = tmp_path / "figures" / "picture.png"
    write_picture(str(path), image)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], image)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_a_run_leaves_its_configuration_and_a_picture(config, datasets):
    summary = train(config("augment.rotate_deg=5"), progress=False, datasets=datasets)
    saved = json.loads((summary.folder / "config.json").read_text())
    assert saved["training"]["batch_size"] == 4
    assert saved["augment"]["rotate_deg"] == 5
    picture = cv2.imread(str(summary.folder / "augmented_batch.png"))
    assert picture.shape == (512, 512, 3)  # 4 samples of 32 px, enlarged 8 times


def test_drawn_labels_lie_where_the_camera_sees_them(datasets):
    batch = datasets[0].batch(np.arange(1))
    batch["image"] = torch.zeros_like(batch["image"])
    (observation,) = observations_of(batch)
    picture = draw_batch(batch)
    pixel = observation.camera.project(batch["waypoints"][0, -1].double().numpy())[0] * 8
    assert picture[int(pixel[1]), int(pixel[0])].tolist() == [255, 0, 0]  # the last one is red
    assert (picture.sum(-1) > 0).mean() < 0.1


def test_heatmaps_light_up_their_cell(datasets):
    observations = observations_of(datasets[0].batch(np.arange(2)))
    heatmaps = np.zeros((3, 16, 16))
    heatmaps[:, 4, 10] = 1.0
    chunk = ActionChunk(np.tile([0.0, 0.0, -50.0], (3, 1)), np.ones(3), heatmaps=heatmaps)
    picture = draw_heatmaps(observations, [chunk, chunk]).astype(int)
    before = np.concatenate(
        [cv2.resize(o.image, (256, 256), interpolation=cv2.INTER_NEAREST) for o in observations], 1
    )
    changed = np.abs(picture - before).sum(-1)[:, :256]
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(row - 72) <= 16
    assert abs(column - 168) <= 16
    assert draw_heatmaps(observations, [ActionChunk(np.zeros((3, 3)), np.ones(3))] * 2) is None
