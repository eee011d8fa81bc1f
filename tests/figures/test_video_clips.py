"""What is drawn beside generated clips, and which rollouts on the video backbone are shown."""

from pathlib import Path

import numpy as np
import pytest
from results_fixture import make_video_result, write_result

from para.figures import video_clips
from para.figures.sources import NotRun, Sources
from para.figures.style import LIGHT, themed
from para.figures.video_clips import Expected
from para.video import probe_video, read_video

N, F, SIZE = 2, 3, 32


@pytest.fixture
def expected(monkeypatch):
    """Black true frames, white generated ones, keypoints in opposite corners."""
    shape = (N, F, SIZE, SIZE, 3)
    corner = np.full((N, F, 2), 4.0)
    maps = np.zeros((N, F, 8, 8))
    maps[:, 1:, 6, 6] = 1
    made = Expected(
        model="para",
        demos=(10, 20),
        true=np.zeros(shape, np.uint8),
        generated=np.full(shape, 255, np.uint8),
        true_pixels=corner,
        pixels=SIZE - corner,
        heatmaps=maps,
        seconds=np.arange(F) * 0.6,
        steps=200,
    )
    monkeypatch.setattr(video_clips, "_expected", lambda sources: made)
    return made


def tiles(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first true tile of a film's frame, and the generated one below it."""
    tile, header = video_clips._TILE, video_clips._HEADER
    true = frame[header : header + tile, :tile]
    return true, frame[2 * header + tile : 2 * header + 2 * tile, :tile]


def test_keypoints_are_drawn_where_they_are_predicted(expected, tmp_path):
    (media,) = video_clips.alignment_film(None).compose([], tmp_path)
    assert media.file == "ood_alignment.mp4"
    film = read_video(tmp_path / media.file)
    info = probe_video(tmp_path / media.file)
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    true, generated = tiles(film[-1])
    ring = int(4 * video_clips._TILE / SIZE)
    assert true[:48, :48].max() > 150
    assert true[96:, 96:].max() < 40
    assert generated[-ring - 12 : -ring + 12, -ring - 12 : -ring + 12].min() < 150
    assert generated[:96, :96].min() > 200


def test_heatmaps_begin_with_the_first_predicted_frame(expected, tmp_path):
    (media,) = video_clips.heatmap_film(None).compose([], tmp_path)
    assert media.file == "gt_vs_gen_heatmaps_200.mp4"
    film = read_video(tmp_path / media.file)
    first, _ = tiles(film[0])
    last, _ = tiles(film[-1])
    assert first.max() < 40
    bright = np.argwhere(last.sum(-1) > 300).mean(0) / video_clips._TILE
    assert bright == pytest.approx(6.5 / 8, abs=0.05)


def test_a_clip_is_drawn_as_true_above_generated_frames(expected):
    with themed(LIGHT):
        drawing = video_clips.generated_frames(None, LIGHT, clip=1)
    pictures = [axes.images[0].get_array() for axes in drawing.figure.axes]
    assert [int(p.max()) for p in pictures] == [0, 0, 255, 255]
    assert drawing.data == {"demo": 20}


def test_rollouts_are_the_first_that_differ_and_the_first_failure(tmp_path, monkeypatch):
    runs = {}
    for model, outcomes in (
        (video_clips.TWO_STAGE, [True, True, False, True]),
        (video_clips.GLOBAL, [True, False, False, False]),
    ):
        result = make_video_result("lr", model, 600, 200)
        ood = [e for e in result["episodes"] if e["test"] == "ood"]
        for episode, success in zip(ood, outcomes, strict=False):
            episode |= {"success": success, "stage": "PLACE" if success else "MISS"}
        write_result(tmp_path, result)
        runs[model] = result
    wanted = []

    def task(sources, result, test, index, size, stride):
        wanted.append((result.model, index))
        return index

    monkeypatch.setattr(video_clips, "episode_task", task)
    film = video_clips.rollouts(Sources.open(tmp_path, tmp_path, tmp_path))
    assert wanted == [
        (video_clips.TWO_STAGE, 1),
        (video_clips.GLOBAL, 1),
        (video_clips.TWO_STAGE, 2),
        (video_clips.GLOBAL, 2),
    ]
    assert film.tasks == (1, 1, 2, 2)


def test_clips_are_those_of_the_video_model_that_learned_longest(tmp_path):
    for model, steps in ((video_clips.TWO_STAGE, 600), (video_clips.LONG_VIDEO, 2400)):
        write_result(tmp_path, make_video_result("lr", model, steps, 200))
        sources = Sources.open(tmp_path, tmp_path, tmp_path)
        assert video_clips._result(sources).model == model


def test_without_a_result_the_training_is_named(tmp_path: Path):
    with pytest.raises(NotRun) as error:
        video_clips.clip_inputs(Sources.open(tmp_path, tmp_path, tmp_path))
    assert "recipe=two_stage" in error.value.command
