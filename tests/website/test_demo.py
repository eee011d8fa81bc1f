"""The demo's folder: on the site or not, damaged, and runs that do not go together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from envs.table import workspace as ws
from envs.table.tasks.bowl_on_plate import BowlOnPlate
from para.camera import Camera
from para.errors import ConfigError
from para.website.build import build_site
from para.website.demo import FACTS, FILM, STILL, Demo, read_demo, runtime_files, shipped_demo
from para.website.demo_film import main, walk
from para.website.demo_frames import Frames
from para.website.make_demo import Grid, make_demo
from tests.results_fixture import make_result, write_result
from tests.runs_fixture import save_untrained
from tests.website.page_tree import parse

MOST_BYTES = 6_000_000
"""Of a model, and of all frames together."""
MOST_FILM_BYTES = 400_000


@pytest.fixture
def demo() -> Demo:
    folder = shipped_demo()
    assert folder is not None
    return read_demo(folder)


def test_the_one_that_comes_with_the_code_is_small_and_whole(demo):
    facts = demo.facts
    assert [policy.name for policy in facts.policies] == ["para", "regression"]
    assert max(policy.bytes for policy in facts.policies) < MOST_BYTES
    assert sum(view.bytes for view in facts.views) < MOST_BYTES
    for part in facts.policies:
        assert (demo.folder / part.file).stat().st_size == part.bytes
    for view in facts.views:
        files = [*view.sheets, *([view.empty] if view.empty else [])]
        assert sum((demo.folder / name).stat().st_size for name in files) == view.bytes
    assert max(path.stat().st_size for path in runtime_files()) < MOST_BYTES
    assert (facts.views[0].turn_deg, facts.views[0].tilt_deg) == (0, 0)
    assert facts.from_demos_mm > 9
    assert max(policy.moved_mm for policy in facts.policies) < 0.1
    assert len(facts.policies[0].unseen) == len(facts.views)
    assert (demo.folder / FILM).stat().st_size < MOST_FILM_BYTES
    assert (demo.film.codec, demo.film.pixel_format) == ("h264", "yuv420p")
    assert demo.film.frames == len(walk(len(facts.x), len(facts.y)))
    assert 5 < demo.film.seconds < 15


def test_on_a_site_or_left_out_without_a_trace(tmp_path, demo):
    write_result(tmp_path / "results", make_result("lr", ood=8, sanity=4))
    for name, shown in (("with", demo), ("without", None)):
        build_site(tmp_path / "results", tmp_path, [], tmp_path / name, demo=shown)
        page = parse((tmp_path / name / "index.html").read_text())
        assert len(page.find(id="try")) == bool(shown)
        assert ("#try" in (tmp_path / name / "index.html").read_text()) == bool(shown)
        assert (tmp_path / name / "demo").exists() == bool(shown)
    files = {path.name for path in (tmp_path / "with" / "demo").iterdir()}
    assert files == {*demo.facts.files, FILM, *(path.name for path in runtime_files())}


def test_what_is_nearer_hides_what_is_behind():
    camera = Camera.look_at((0.96, 0.0, 1.15), (0, 0, 0), 45, 2, 2)
    empty = np.zeros((2, 2, 3), np.uint8)
    layers = np.zeros((2, 2, 1, 2, 2, 3), np.uint8)  # thing, row, column, pixels
    layers[0, :, :, 0], layers[1, :, :, :, 0] = 1, 2  # the upper half, the left one
    frames = Frames(list(layers), empty, camera, np.array([-0.1, 0.1]), np.array([0.0]))
    behind, before = (0, 0), (1, 0)
    assert frames.image([behind, before])[..., 0].tolist() == [[2, 1], [2, 0]]
    assert frames.image([before, behind])[..., 0].tolist() == [[1, 1], [2, 0]]
    assert not empty.any()


def test_damage_is_named(tmp_path, demo, capsys):
    folder = tmp_path / "demo"
    with pytest.raises(ConfigError, match=r"does not exist\. Make it again"):
        read_demo(folder)
    shutil.copytree(demo.folder, folder)
    (folder / FILM).write_bytes(b"no film")
    with pytest.raises(ConfigError, match=r"film\.mp4 is not a readable video.*demo_film"):
        read_demo(folder)
    (folder / STILL).unlink()
    with pytest.raises(ConfigError, match=r"still\.webp does not exist"):
        read_demo(folder)
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "still.webp does not exist" in capsys.readouterr().err
    value = json.loads((folder / FACTS).read_text())
    del value["checksum"], value["views"]
    (folder / FACTS).write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="views is missing"):
        read_demo(folder)
    value = json.loads((demo.folder / FACTS).read_text())
    del value["checksum"]
    value["policies"][0]["file"] = "../../para.onnx"
    (folder / FACTS).write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"policies\.0\.file"):
        read_demo(folder)


def test_the_walk_is_closed_and_goes_through_both_halves():
    for movers in (1, 2):
        places = np.array(walk(20, 30, movers))
        assert places.shape[1:] == (movers, 2)
        assert places.min() >= 0
        assert (places.max(0) < (20, 30)).all()
        assert np.abs(np.diff(places, axis=0, append=places[:1])).max() <= 3
        assert (places.max(0) - places.min(0) > (12, 24)).all()
    apart = (places[:, 0] - places[:, 1]) * (2 * ws.X_HALF / 20, 2 * ws.Y_HALF / 30)
    assert np.linalg.norm(apart, axis=1).min() > BowlOnPlate.spacing


def save(folder: Path, *overrides: str) -> Path:
    save_untrained(folder, ["profile=smoke", "env.image_size=32", "robot=hand", *overrides])
    return folder


def test_runs_that_do_not_go_together_are_refused(tmp_path):
    small = "model.heatmap_size=8", "layout=together"
    para = save(tmp_path / "para", *small)
    far = save(tmp_path / "far", "split=nf", "model=regression", "layout=together")
    everywhere = save(tmp_path / "all", "split=demos_n256", *small)
    made, grid = tmp_path / "made", Grid(1, 2, (0.0,), (0.0,))
    with pytest.raises(ConfigError, match="another split"):
        make_demo([para, far], made, grid)
    with pytest.raises(ConfigError, match="of different names, not para, para"):
        make_demo([para, para], made, grid)
    with pytest.raises(ConfigError, match=r"split=demos_n256: .*split by regions"):
        make_demo([everywhere], made, grid)
    made.mkdir()
    (made / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not a demo"):
        make_demo([para], made, grid)
    assert [path.name for path in made.iterdir()] == ["mine.txt"]
