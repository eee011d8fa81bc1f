"""The picture of test-time augmentation."""

import numpy as np

from para.figures.several_looks import COUNT, answers, draw


def test_every_look_answers_and_the_median_is_among_the_answers(tmp_path):
    found = answers()
    assert len(found.seen) == len(found.grasps) == COUNT
    low, high = found.grasps.min(0), found.grasps.max(0)
    assert (low <= found.median).all()
    assert (found.median <= high).all()
    assert np.ptp(found.grasps[:, :2], axis=0).max() > 0.001, "looks are not all of one mind"
    for view, grasp in zip(found.seen, found.grasps, strict=True):
        assert view.camera.in_view(*view.camera.project(grasp[None])).all()
    draw(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 50_000
