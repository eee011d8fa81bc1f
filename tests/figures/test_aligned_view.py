"""The picture of views that are shown as the usual one."""

import numpy as np

from para.figures.aligned_view import arrow, draw, pairs


def test_arrows_point_as_in_the_usual_view_once_it_is_aligned(tmp_path):
    usual, *others = pairs(size=64)
    assert usual.shown is usual.seen
    for pair in others:
        np.testing.assert_allclose(arrow(pair.shown)[0], arrow(usual.seen)[0], atol=1e-6)
        turned, straight = (np.ptp(arrow(view), axis=0)[1] for view in (pair.seen, pair.shown))
        assert straight < 0.1 < turned
    draw(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 100_000
